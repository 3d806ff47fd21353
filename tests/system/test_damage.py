"""Files damaged on purpose: reported with file and offset, the rest is served."""
import glob
import os

import pytest


def flip(path, at, n=8):
    """Inverts n bytes at an offset."""
    with open(path, 'r+b') as f:
        f.seek(at)
        was = f.read(n)
        f.seek(at)
        f.write(bytes(b ^ 0xff for b in was))


def find(pattern, needle):
    """(file, offset) of the bytes in the files of a pattern."""
    for path in sorted(glob.glob(pattern)):
        with open(path, 'rb') as f:
            at = f.read().find(needle)
        if at >= 0:
            return path, at
    pytest.fail('not found: %r' % needle)


def test_a_damaged_message_in_the_spool(house):
    """Its batch is skipped and named; what stands before and behind it is served."""
    user = house.user('user1')
    house.run('queue', 'hold', '--new', 'on')
    for i in range(20):
        house.send(user, subject='number %02d' % i)
    house.stop()
    path, at = find(house.dir + '/spool/log/*.seg', b'Subject: number 07')
    flip(path, at)
    house.start()
    house.run('queue', 'hold', '--new', 'off')
    house.run('queue', 'release', '--all')
    house.wait_queue_empty_but(1)
    assert house.subjects(user) == ['number %02d' % i for i in range(20) if i != 7]
    [told] = house.events('queue.damage')
    assert told['file'] == 'log/' + os.path.basename(path)
    assert int(told['offset']) <= at < int(told['offset']) + int(told['length'])
    assert house.queue()['held'] == 1, 'it stays for the admin'
    assert house.events('queue.unreadable')[0]['qid'] == house.json('queue', 'list')[0]['id']


def test_a_torn_tail(house):
    """A last batch that is not whole, as a power cut leaves it: cut, and said."""
    user = house.user('user1')
    house.run('queue', 'hold', '--new', 'on')
    for i in range(5):
        house.send(user, subject='number %d' % i)
    house.kill_all()
    path, at = find(house.dir + '/spool/log/*.seg', b'Subject: number 4')
    flip(path, at)
    house.start()
    house.run('queue', 'release', '--all')
    house.wait_stored(user, 4)
    assert house.subjects(user) == ['number %d' % i for i in range(4)]
    told = house.events('queue.torn_tail') + house.events('queue.damage')
    assert [t['file'] for t in told] == ['log/' + os.path.basename(path)]
    assert 0 < int(told[0]['offset']) <= at


def test_a_damaged_index(house):
    """The account says so and is rebuilt by the admin; others are served meanwhile."""
    user, other = house.user('user1'), house.user('user2')
    for i in range(3):
        house.send(user, other, subject='number %d' % i)
    house.wait_stored(user, 3)
    house.wait_stored(other, 3)
    house.stop()
    for path in glob.glob(house.maildir(user) + '/index.db*'):
        with open(path, 'r+b') as f:
            f.write(b'\x55' * os.path.getsize(path))
    house.start()
    house.send(user, other, subject='number 3')
    house.wait_stored(other, 4)
    done = house.run('store', 'check', user, check=False)
    assert done.returncode == 1, done
    assert 'index.db' in house.log()
    assert house.run('store', 'check', other).returncode == 0
    house.run('store', 'rebuild', user)
    house.run('queue', 'retry', '--all')
    house.wait_stored(user, 4)
    house.wait_queue_empty()
    assert house.subjects(user) == ['number %d' % i for i in range(4)]
    assert house.run('store', 'check', user).returncode == 0
    with house.imap(user) as m:
        assert m.select('INBOX')[1] == [b'4']


def test_garbage_where_a_segment_should_be(house):
    """A file that is no segment is reported and left alone."""
    user = house.user('user1')
    house.run('queue', 'hold', '--new', 'on')
    house.send(user, subject='stays')
    house.stop()
    log = os.stat(house.dir + '/spool/log')
    with open(house.dir + '/spool/log/99999999.seg', 'wb') as f:
        f.write(os.urandom(1 << 20))
        os.fchown(f.fileno(), log.st_uid, log.st_gid)
    house.start()
    assert house.queue()['held'] == 1
    house.run('queue', 'release', '--all')
    house.wait_stored(user, 1)
