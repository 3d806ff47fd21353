"""Only CRLF.CRLF ends a message, and no lone CR or LF passes as a line end (smuggling)."""
import pytest

INNER = b'MAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<user1@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n'
ENDS = [b'\n.\n', b'\n.\r\n', b'\r\n.\n', b'\r.\r', b'\r\n.\r', b'\r.\r\n', b'\r\n\0.\r\n', b'\r\r\n.\r\r\n',
        b'\r\n.\r\r\n', b'\n\n.\n\n', b'\r\n. \r\n', b'\r\n.\0\r\n']


def data(house, text):
    """The replies to DATA with that text and the end."""
    with house.raw() as c:
        c.reply()
        for line in ('EHLO client.test', 'MAIL FROM:<a@elsewhere.test>', 'RCPT TO:<user1@example.test>'):
            assert c.say(line)[0] == 250
        assert c.say('DATA')[0] == 354
        c.send(text + b'\r\n.\r\nQUIT\r\n')
        out = []
        while True:
            code, lines = c.reply()
            if not code:
                return out
            out.append((code, lines[0].split()[0]))


def test_nothing_is_smuggled(house):
    user = house.user('user1')
    n = 0
    for end in ENDS:
        replies = data(house, b'Subject: outer\r\n\r\nbody' + end + INNER)
        assert len(replies) == 2, (end, replies)
        assert replies[0] in [(550, '5.6.11'), (250, '2.0.0')] and replies[1][0] == 221, (end, replies)
        n += replies[0][0] == 250
    for s in house.wait_stored(user, n):
        with open(s.path, 'rb') as f:
            text = f.read()
        assert b'Subject: outer' in text and b'smuggled' in text
        assert not text.replace(b'\r\n', b'').count(b'\r') and b'\n' not in text.replace(b'\r\n', b'')


def test_convert(make_house):
    """bare-newlines convert: each becomes a CRLF; still none ends the message."""
    house = make_house(smtp__bare_newlines='convert')
    user = house.user('user1')
    for i, end in enumerate(ENDS):
        replies = data(house, b'Subject: outer %02d\r\n\r\nbody' % i + end + INNER)
        assert [r[0] for r in replies] == [250, 221], (end, replies)
    for s in house.wait_stored(user, len(ENDS)):
        with open(s.path, 'rb') as f:
            text = f.read()
        rest = text.replace(b'\r\n', b'')
        assert b'\r' not in rest and b'\n' not in rest, text
        assert b'smuggled' in text


def test_convert_large(make_house):
    """A long text without a single CRLF, larger than what is kept in memory."""
    house = make_house(smtp__bare_newlines='convert')
    user = house.user('user1')
    body = b''.join(b'%07d some text\n' % i for i in range(60000))
    assert [r[0] for r in data(house, b'Subject: x\n\n' + body)] == [250, 221]
    [s] = house.wait_stored(user, 1)
    with open(s.path, 'rb') as f:
        assert f.read().endswith(b'Subject: x\r\n\r\n' + body.replace(b'\n', b'\r\n') + b'\r\n')


@pytest.mark.parametrize('line', [b'NOOP\n', b'NOOP\rNOOP\r\n', b'NOOP \0\r\n', b'EHLO client.test\n'])
def test_command_lines(house, line):
    with house.raw() as c:
        c.reply()
        assert c.say('EHLO client.test')[0] == 250
        c.send(line)
        assert c.reply()[0] == 500
        assert c.say('NOOP')[0] == 250


def test_dots(house):
    """Dot-stuffing is undone, whatever the cuts (RFC 5321 section 4.5.2)."""
    user = house.user('user1')
    sent = b'Subject: dots\r\n\r\n..\r\n...\r\n.x\r\nx.\r\n....\r\n'
    want = b'Subject: dots\r\n\r\n.\r\n..\r\nx\r\nx.\r\n...\r\n'
    with house.raw() as c:
        c.reply()
        for line in ('EHLO client.test', 'MAIL FROM:<>', 'RCPT TO:<user1@example.test>', 'DATA'):
            assert c.say(line)[0] in (250, 354)
        for i in range(len(sent)):
            c.send(sent[i:i + 1])
        c.send(b'.\r\n')
        assert c.reply()[0] == 250
    [s] = house.wait_stored(user, 1)
    with open(s.path, 'rb') as f:
        assert f.read().endswith(b'\r\n' + want)
