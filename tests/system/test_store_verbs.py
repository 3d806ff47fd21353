"""posthorn store check, rebuild, stat on a running instance; several processes of the store."""
import glob
import os

from conftest import wait_for


def flags(house, user):
    with house.imap(user) as m:
        m.select('INBOX', readonly=True)
        return {n: sorted(m.fetch(str(n), '(FLAGS)')[1][0].decode().split('(')[2].strip('))').split())
                for n in range(1, len(m.search(None, 'ALL')[1][0].split()) + 1)}


def check(house, user):
    """(exit status, [(what, uid)])"""
    done = house.run('--json', 'store', 'check', user, check=False)
    rows = house.json('store', 'check', user, check=False)
    return done.returncode, sorted((r['what'], r['uid']) for r in rows)


def test_check_rebuild_stat(house):
    user = house.user('user1')
    for i in range(5):
        house.send(user, subject='m%d' % i)
    house.wait_stored(user, 5)
    with house.imap(user) as m:
        m.select('INBOX')
        m.store('2:3', '+FLAGS', '(\\Flagged Blue)')
    before = flags(house, user)
    assert check(house, user) == (0, [])
    stat = house.json('store', 'stat', user)
    assert stat['messages'] == 5 and stat['bytes'] > 500
    boxes = {b['mailbox']: b['messages'] for b in house.json('store', 'stat', user, '--mailboxes')}
    assert boxes['INBOX'] == 5 and boxes['Sent'] == 0
    gone = sorted(glob.glob(house.maildir(user) + '/cur/*'))[0]
    os.rename(gone, house.root + '/gone')
    assert check(house, user) == (1, [('row-without-file', 1)])
    assert os.path.basename(gone) in house.run('store', 'check', user, check=False).stdout
    os.rename(house.root + '/gone', gone)
    house.run('store', 'rebuild', user)
    assert check(house, user) == (0, [])
    assert flags(house, user) == before
    house.send(user, subject='after')
    house.wait_stored(user, 6)


def test_a_damaged_index(house):
    """Its mail waits, the others' does not; a rebuild lets it in."""
    user, other = house.user('user1'), house.user('user2')
    for i in range(3):
        house.send(user, subject='m%d' % i)
    house.wait_stored(user, 3)
    with house.imap(user) as m:
        m.select('INBOX')
    house.stop()
    with open(house.maildir(user) + '/index.db', 'r+b') as f:
        f.seek(4096)
        f.write(b'\xaa' * 20000)
    house.start()
    with house.raw('imap') as c:
        c.line()
        c.send('a LOGIN %s %s\r\n' % (user, user.password))
        assert c.line().startswith('a NO')
    house.send(user, other, subject='waits')
    house.wait_stored(other, 1)
    status, found = check(house, user)
    assert status == 1 and found[0][0] == 'damage'
    house.run('store', 'rebuild', user)
    assert check(house, user) == (0, [])
    house.run('queue', 'retry', '--all')
    house.wait_stored(user, 4)
    with house.imap(user) as m:
        assert m.select('INBOX')[1] == [b'4']


def test_two_processes(make_house):
    """Accounts are shared out; each serves its own."""
    house = make_house(processes__maild=2)
    users = [house.user('user%d' % i) for i in range(6)]
    house.send(*users, subject='to all')
    for u in users:
        house.wait_stored(u, 1)
        with house.imap(u) as m:
            assert m.select('INBOX')[1] == [b'1']
        assert check(house, u) == (0, [])
    rows = house.json('store', 'stat')
    assert [r['maild'] for r in rows] == [0, 1]
    assert sum(r['accounts_known'] for r in rows) == 6
    house.kill('maild', 1)
    house.wait_ready()
    house.send(*users, subject='again')
    for u in users:
        house.wait_stored(u, 2)


def test_purge(house):
    user = house.user('user1')
    house.send(user)
    house.wait_stored(user, 1)
    path = house.maildir(user)
    house.run('user', 'delete', user, '--purge')
    wait_for('the mail to go', lambda: not os.path.exists(path))
