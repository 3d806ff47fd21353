"""`posthorn send`: the admin's way in, through submitd."""
import pytest

MESSAGE = 'Subject: by hand\n\nfirst line\n.\nlast line'


def send(house, *args, text=MESSAGE, **more):
    return house.run('send', *args, input=text, **more)


def test_send(house):
    one, two = house.user('user1'), house.user('user2')
    qid = send(house, '--from', one, '--to', two, '--to', one).stdout.strip()
    for user in (one, two):
        [stored] = house.wait_stored(user, 1)
        with open(stored.path, 'rb') as f:
            text = f.read()
        assert text.endswith(b'Subject: by hand\r\n\r\nfirst line\r\n.\r\nlast line\r\n')
        assert b'\r\nMessage-ID: <' in text and b'\r\nDate: ' in text
        assert qid in stored.path
    house.wait_queue_empty()


def test_only_the_text(house):
    one, two = house.user('user1'), house.user('user2')
    send(house, '--from', one, '--to', two, '--subject', 'Hello', text='caf\u00e9\n')
    [stored] = house.wait_stored(two, 1)
    with open(stored.path, 'rb') as f:
        text = f.read()
    assert b'\r\nSubject: Hello\r\n' in text and b'\r\nFrom: <user1@example.test>\r\n' in text
    assert text.endswith(b'\r\n\r\ncaf\xc3\xa9\r\n')


def test_large(house):
    user = house.user('user1')
    text = 'Subject: large\n\n' + 'a line of the message\n' * 100000
    send(house, '--from', '<>', '--to', user, text=text)
    [stored] = house.wait_stored(user, 1)
    with open(stored.path, 'rb') as f:
        assert f.read().endswith(text.replace('\n', '\r\n').encode())


def test_once_a_day(house):
    user = house.user('user1')
    first = send(house, '--from', '<>', '--to', user, '--dedup-key', 'k').stdout.split()[0]
    house.wait_stored(user, 1)
    house.stop()
    house.start()
    again = send(house, '--from', '<>', '--to', user, '--dedup-key', 'k').stdout
    assert again.split()[0] == first and 'before' in again
    house.wait_queue_empty()
    assert len(house.wait_stored(user, 1)) == 1


@pytest.mark.parametrize('args, status, word', [
    (['--from', 'user1@example.test', '--to', 'nobody@example.test'], 1, 'user list'),
    (['--from', 'user1@example.test', '--to', 'nonsense'], 1, 'syntax'),
    (['--from', 'user1@example.test'], 2, '--to'),
    (['--to', 'user1@example.test'], 2, '--from'),
])
def test_refused(house, args, status, word):
    house.user('user1')
    done = send(house, *args, check=False)
    assert done.returncode == status and word in done.stderr, done
    house.wait_queue_empty()
