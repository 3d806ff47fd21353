"""Large messages: stored byte for byte, in bounded memory, up to the limit and not above."""
import threading

import pytest

LINE = b'%07d 0123456789 abcdefghij ABCDEFGHIJ 0123456789 abcdefgh\r\n'


def body(n):
    return b''.join(LINE % i for i in range(n // 66))


def send(house, text, size=None):
    with house.raw() as c:
        c.reply()
        c.say('EHLO client.test')
        code, lines = c.say('MAIL FROM:<>' + (' SIZE=%d' % size if size is not None else ''))
        if code != 250:
            return code, lines
        assert c.say('RCPT TO:<user1@example.test>')[0] == 250
        assert c.say('DATA')[0] == 354
        c.send(text + b'.\r\n')
        return c.reply()


@pytest.mark.parametrize('n', [200 << 10, (256 << 10) - 40, 256 << 10, (256 << 10) + 70, 5 << 20])
def test_sizes(house, n):
    user = house.user('user1')
    text = b'Subject: large\r\n\r\n' + body(n)
    assert send(house, text)[0] == 250
    [s] = house.wait_stored(user, 1)
    with open(s.path, 'rb') as f:
        assert f.read().endswith(b'\r\n' + text)


def test_limit(make_house):
    house = make_house(smtp__message_size_limit='1M')
    user = house.user('user1')
    code, lines = send(house, b'', (1 << 20) + 1)
    assert code == 552 and lines[0].startswith('5.3.4')
    code, lines = send(house, b'Subject: x\r\n\r\n' + body(3 << 20))
    assert code == 552 and lines[0].startswith('5.3.4')
    assert send(house, b'Subject: x\r\n\r\n' + body((1 << 20) - 2000), 1 << 20)[0] == 250
    house.wait_stored(user, 1)


def test_many_in_little_memory(make_house):
    """Thirty of 2 MB at once where 4 MB of content may be kept."""
    house = make_house(smtp__memory_limit='4M')
    user = house.user('user1')
    text = b'Subject: x\r\n\r\n' + body(2 << 20)
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(send(house, text)[0])) for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert codes == [250] * 30
    house.wait_stored(user, 30)


def test_long_line(make_house):
    """A line longer than the buffer, within line-limit; and one above it."""
    house = make_house()
    user = house.user('user1')
    text = b'Subject: x\r\n\r\n' + b'.' + b'y' * 900000 + b'\r\n'
    assert send(house, text.replace(b'\n.', b'\n..'))[0] == 250
    [s] = house.wait_stored(user, 1)
    with open(s.path, 'rb') as f:
        assert f.read().endswith(b'\r\n' + text)
    code, lines = send(house, b'Subject: x\r\n\r\n' + b'y' * (2 << 20) + b'\r\n')
    assert code == 554 and lines[0].startswith('5.6.0')


def test_header_too_large(house):
    house.user('user1')
    code, lines = send(house, b''.join(b'X-%d: %s\r\n' % (i, b'z' * 60) for i in range(6000)) + b'\r\nx\r\n')
    assert code in (552, 554), lines


def test_queued_dies_midway(house):
    """Nothing of a large message is taken for the whole."""
    user = house.user('user1')
    text = b'Subject: cut\r\n\r\n' + body(2 << 20)
    with house.raw() as c:
        c.reply()
        for line in ('EHLO client.test', 'MAIL FROM:<>', 'RCPT TO:<user1@example.test>', 'DATA'):
            assert c.say(line)[0] in (250, 354)
        c.send(text[:1 << 20])
        house.kill('queued')
        house.wait_ready()
        c.send(text[1 << 20:] + b'.\r\n')
        code = c.reply()[0]
    assert code == 451, 'part of it went to the queued that died'
    assert send(house, text)[0] == 250
    [s] = house.wait_stored(user, 1)
    with open(s.path, 'rb') as f:
        assert f.read().endswith(b'\r\n' + text)
