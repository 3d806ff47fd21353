"""sendmail, mailq, newaliases and the maildrop, as cron, scripts and mail programs use them."""
import glob
import os
import pwd
import stat
import subprocess

import pytest

from conftest import PATIENCE, wait_for

TEXT = 'Subject: by sendmail\n\nHello.\n'


def call(house, *args, input=TEXT, name='sendmail', check=True, user=None):
    """Runs the command; as another user when one is given (root only)."""
    link = house.root + '/' + name
    if not os.path.lexists(link):
        os.symlink(house.build + '/mta/sendmail', link)
    command = [link, '-C', house.dir] + list(args)
    if user:
        command = ['setpriv', '--reuid', user, '--regid', str(pwd.getpwnam(user).pw_gid),
                   '--clear-groups'] + command
    if not isinstance(input, bytes):
        input = input.encode()
    done = subprocess.run(command, input=input, env=house.env, timeout=PATIENCE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done.out, done.err = done.stdout.decode(), done.stderr.decode()
    assert not check or done.returncode == 0, (done.returncode, done.err)
    return done


def content(stored):
    with open(stored.path, 'rb') as f:
        return f.read().replace(b'\r\n', b'\n').decode()


def waiting(house):
    return os.listdir(house.dir + '/maildrop/new')


def bad(house):
    return os.listdir(house.dir + '/maildrop/bad')


def test_by_recipient(house):
    one, two = house.user('user1'), house.user('user2')
    call(house, '-oi', '-f', one.address, '-F', 'User One', two.address, 'user1')
    [stored] = house.wait_stored(two, 1)
    house.wait_stored(one, 1)
    text = content(stored)
    assert 'Return-Path: <user1@example.test>' in text
    assert '\nFrom: User One <user1@example.test>\n' in text
    assert 'from userid %d)' % os.getuid() in text
    assert '\nMessage-ID: <' in text and '\nDate: ' in text
    assert text.endswith('\n\nHello.\n')
    wait_for('an empty maildrop', lambda: not waiting(house))


def test_by_header(house):
    one, two, three = (house.user('user%d' % n) for n in (1, 2, 3))
    call(house, '-t', '-i', input='To: "One, User" <user1@example.test>\nCc: user2\nBcc: user3@example.test\n'
         'From: Somebody <somebody@example.test>\nSubject: =?utf-8?q?caf=C3=A9?=\n\ntext\n.\nmore\n')
    for user in (one, two, three):
        [stored] = house.wait_stored(user, 1)
        text = content(stored)
        assert 'Bcc' not in text and '\nFrom: Somebody <somebody@example.test>\n' in text
        assert text.endswith('\n\ntext\n.\nmore\n')


def test_resent(house):
    one, two = house.user('user1'), house.user('user2')
    call(house, '-t', input='Resent-To: user2@example.test\nTo: user1@example.test\n\ntext\n')
    house.wait_stored(two, 1)
    assert not house.stored(one)


def test_a_dot_ends_it(house):
    user = house.user('user1')
    call(house, user.address, input='Subject: x\n\nfirst\n.\nnever\n')
    [stored] = house.wait_stored(user, 1)
    assert content(stored).endswith('\n\nfirst\n')


def test_null_sender_and_bytes(house):
    user = house.user('user1')
    call(house, '-f', '<>', user.address, input=b'From user1 Mon Nov 23 10:00:00 2026\r\nSubject: x\r\n\r\nno end \xe9')
    [stored] = house.wait_stored(user, 1)
    with open(stored.path, 'rb') as f:
        text = f.read()
    assert text.startswith(b'Return-Path: <>\r\n') and text.endswith(b'\r\n\r\nno end \xe9\r\n')
    assert b'\nFrom user1' not in text


def test_options_of_others(house):
    """What cron, PHP, mutt, git and logwatch give along; unknown ones of other systems are ignored."""
    user = house.user('user1')
    for args in (['-FCronDaemon', '-odi', '-oem', '-oi', '-t', '-f', 'root'],
                 ['-FCronDaemon', '-i', '-B8BITMIME', '-oem', user.address],
                 ['-t', '-i'], ['-t', '-i', '-fuser1@example.test'], ['-oem', '-oi', user.address],
                 ['-bm', '-i', '--', user.address], ['-v', '-U', '-n', '-G', '-h', '3', '-odq', user.address],
                 ['-O', 'DeliveryMode=b', '-ODeliveryMode=b', '-N', 'failure,delay', '-R', 'hdrs', '-V', 'id1',
                  '-L', 'tag', '-Ac', '-X', '/dev/null', user.address]):
        call(house, *args, input='To: user1@example.test\nSubject: options\n\nx\n')
    house.wait_stored(user, 8)


@pytest.mark.parametrize('args, status', [
    ([], 64), (['-t'], 64), (['-bd'], 64), (['-q30m'], 64), (['-bd', '-q30m'], 64), (['-bt'], 64),
    (['-N', 'sometimes', 'user1'], 64), (['-R', 'some', 'user1'], 64),
    (['-k', 'user1'], 64), (['-Fa\nb', 'user1'], 64), (['user1\n@example.test'], None),
])
def test_wrong(house, args, status):
    done = call(house, *args, input='no recipients here\n', check=False)
    assert status is None or (done.returncode == status and done.err), (done.returncode, done.err)
    assert not [f for f in house.events('pickup.bad_file')]


def test_instance_down(house):
    user = house.user('user1')
    house.stop()
    for n in range(5):
        call(house, user.address, input='Subject: %d\n\nx\n' % n)
    assert len(waiting(house)) == 5
    house.start()
    house.wait_stored(user, 5)
    assert house.subjects(user) == ['0', '1', '2', '3', '4']
    wait_for('an empty maildrop', lambda: not waiting(house))


def test_killed_between(house):
    """pickupd and submitd die while messages come: every one arrives, none twice."""
    user = house.user('user1')
    for n in range(40):
        call(house, user.address, input='Subject: %02d\n\nx\n' % n)
        if n % 10 == 5:
            house.kill(('pickupd', 'submitd', 'pickupd', 'queued')[n // 10])
            house.wait_ready()
    house.wait_stored(user, 40, PATIENCE * 3)
    assert house.subjects(user) == ['%02d' % n for n in range(40)]
    wait_for('an empty maildrop', lambda: not waiting(house))


def test_smtp_on_stdin(house):
    one, two = house.user('user1'), house.user('user2')
    done = call(house, '-bs', input='EHLO here\r\nMAIL FROM:<user1@example.test>\r\nRCPT TO:<nonsense\r\n'
                'RCPT TO:<user2@example.test>\r\nDATA\r\nSubject: s\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\n'
                'RCPT TO:<user1@example.test>\r\nDATA\r\nSubject: t\r\n\r\nx\r\n.\r\nFOO\r\nQUIT\r\n')
    codes = [line[:3] for line in done.out.splitlines() if line[3:4] == ' ']
    assert codes == ['220', '250', '250', '501', '250', '354', '250', '250', '250', '354', '250', '502', '221']
    [stored] = house.wait_stored(two, 1)
    assert content(stored).endswith('\n\n.dot\n')
    house.wait_stored(one, 1)


def test_mailq(house):
    user = house.user('user1')
    assert call(house, name='mailq').out == 'Mail queue is empty\n'
    house.run('queue', 'hold', '--new', 'on')
    call(house, '-f', 'user1@example.test', user.address)
    wait_for('the message in the queue', lambda: house.queue()['messages'] == 1)
    out = call(house, '-bp').out
    [row] = house.json('queue', 'list')
    assert out.startswith('----Queue ID-----') and '-- 1 Kbytes in 1 Request.' in out
    assert '\n%s! ' % row['id'].upper() in out and ' user1@example.test\n' in out
    house.run('queue', 'hold', '--new', 'off')
    house.run('queue', 'release', '--all')
    house.wait_stored(user, 1)
    for args in ([], ['-qI' + row['id']], ['-qRexample.test'], ['-qSuser1@example.test']):
        call(house, *(args or ['-q']))
    assert call(house, name='newaliases').out == ''
    assert call(house, '-bi').returncode == 0
    house.stop()
    assert call(house, '-bp', check=False).returncode == 69
    assert call(house, name='newaliases').returncode == 0


def test_verify(house):
    house.user('user1')
    done = call(house, '-bv', 'user1', 'nobody@example.test', check=False)
    assert done.returncode == 67
    assert 'user1... deliverable: mailer local, user user1@example.test' in done.out
    assert 'nobody@example.test... User unknown' in done.out


def test_unknown_recipients(house):
    """The others get theirs; the sender is told by mail, once, whatever is killed."""
    user, sender = house.user('user1'), house.user('user2')
    call(house, '-f', sender.address, 'nobody@example.test', user.address)
    house.wait_stored(user, 1)
    [bounce] = house.wait_stored(sender, 1)
    text = content(bounce)
    assert 'Return-Path: <>' in text and 'nobody@example.test' in text and '5.1.1' in text
    assert 'Subject: by sendmail' in text
    call(house, '-f', sender.address, '-N', 'never', 'nobody@example.test')
    house.wait_event('pickup.refused', lambda f: f['to'] == 'nobody@example.test' and f['smtp'] == '550')
    wait_for('an empty maildrop', lambda: not waiting(house))


def test_files_that_are_none(house):
    """What anybody can put into the folder does no harm, and stays to be looked at."""
    user = house.user('user1')
    new = house.dir + '/maildrop/new'
    house.allow(r'ev=pickup\.bad_file')
    with open(house.root + '/other', 'w') as f:
        f.write('x')
    os.link(house.root + '/other', new + '/link')
    os.symlink('/etc/passwd', new + '/symlink')
    os.mkfifo(new + '/fifo', 0o777)
    os.mkdir(new + '/folder', 0o777)
    call(house, user.address)
    house.wait_stored(user, 1)
    house.kill('pickupd')
    house.wait_ready()
    house.run('queue', 'hold', '--new', 'off')
    for name, text in (('empty', b''), ('text', b'hello\n'), ('crc', b'posthorn-drop 1 00000000\nrcpt user1\n\nx\r\n'),
                       ('version', b'posthorn-drop 9 00000000\n'), ('null', bytes(4096))):
        with open(new + '/.' + name, 'wb') as f:
            f.write(text)
        os.chmod(new + '/.' + name, 0o740)
        os.rename(new + '/.' + name, new + '/' + name)
    # another user's folder cannot be moved out by a pickupd with a user of its own
    wait_for('all of them set aside', lambda: set(waiting(house)) <= {'folder'})
    assert sorted(set(bad(house)) | {'folder'}) == sorted(['crc', 'empty', 'fifo', 'folder', 'link', 'null', 'symlink', 'text', 'version'])
    assert len(house.stored(user)) == 1
    for e in house.events('pickup.bad_file'):
        assert e['uid'] == str(os.getuid()) and e['why']


def test_too_large(house):
    house.set('smtp', 'message-size-limit', '64K')
    house.reload()
    user = house.user('user1')
    assert call(house, user.address, input='x' * 70000, check=False).returncode == 65
    assert not waiting(house)


def test_modes(house):
    call(house, 'nobody@example.test')
    st = os.stat(house.dir + '/maildrop/new')
    assert stat.S_IMODE(st.st_mode) == 0o3733
    assert stat.S_IMODE(os.stat(house.dir + '/maildrop/bad').st_mode) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason='needs root')
def test_unprivileged(house):
    """A user that may not list the folder, nor read others' files there, sends all the same."""
    one = house.user('user1')
    os.chmod(house.dir + '/maildrop', 0o711)
    call(house, '-f', 'daemon@example.test', one.address, user='daemon')
    [stored] = house.wait_stored(one, 1)
    assert 'from userid %d)' % pwd.getpwnam('daemon').pw_uid in content(stored)
    house.stop()
    call(house, one.address, user='daemon')
    [path] = glob.glob(house.dir + '/maildrop/new/*')
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o740
    for command in (['ls', house.dir + '/maildrop/new'], ['cat', path], ['rm', '-f', path]):
        done = subprocess.run(['setpriv', '--reuid', 'nobody', '--regid', 'nogroup', '--clear-groups'] + command,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode != 0, command
    house.start()
    [first, second] = house.wait_stored(one, 2)
    texts = content(first) + content(second)
    assert '\nFrom: daemon <daemon@example.test>\n' in texts or 'From: ' in texts
