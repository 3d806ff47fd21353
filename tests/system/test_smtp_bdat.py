"""Messages in chunks by BDAT (RFC 3030): what is stored, what is refused, what is never obeyed."""
import pytest

TEXT = b'Subject: chunks\r\n\r\n.a line\r\nlast line\r\n'


@pytest.fixture
def client(house):
    """A greeted session with a transaction and one recipient."""
    house.user('user1')
    with house.raw() as c:
        assert c.reply()[0] == 220
        code, lines = c.say('EHLO client.test')
        assert code == 250 and 'CHUNKING' in lines
        begin(c)
        yield c


def begin(c, rcpt='user1@example.test', want=250):
    assert c.say('MAIL FROM:<sender@elsewhere.test>')[0] == 250
    assert c.say('RCPT TO:<%s>' % rcpt)[0] == want


def chunk(c, data, last=False):
    c.send(b'BDAT %d%s\r\n' % (len(data), b' LAST' if last else b'') + data)
    return c.reply()


def stored(house, n=1):
    user = house.json('user', 'show', 'user1@example.test')
    account = type('User', (), {'account': user['account'], 'address': 'user1@example.test'})
    out = []
    for s in house.wait_stored(account, n):
        with open(s.path, 'rb') as f:
            out.append(f.read())
    return out


def test_pieces(house, client):
    """Any cut gives the same message; dots are text."""
    for at in (0, 1, 16, 17, 18, 19, len(TEXT) - 1, len(TEXT)):
        code, lines = chunk(client, TEXT[:at])
        assert code == 250 and lines[0].startswith('2.0.0 %d octets' % at), lines
        assert chunk(client, TEXT[at:], last=True)[0] == 250
        begin(client)
    assert chunk(client, TEXT)[0] == 250
    assert client.say('BDAT 0 LAST')[0] == 250
    for text in stored(house, 9):
        assert text.endswith(b'\r\n' + TEXT), text
        assert b'with ESMTP id' in text


def test_pipelined(house, client):
    """A whole transaction and the next in one go."""
    one = b'BDAT 10\r\n' + TEXT[:10] + b'BDAT %d LAST\r\n' % len(TEXT[10:]) + TEXT[10:]
    client.send(one + b'MAIL FROM:<>\r\nRCPT TO:<user1@example.test>\r\n' + one + b'QUIT\r\n')
    assert [client.reply()[0] for _ in range(7)] == [250, 250, 250, 250, 250, 250, 221]
    assert len(stored(house, 2)) == 2


def test_no_recipient_consumes(client):
    """Octets of a chunk that is refused are not commands."""
    assert client.say('RSET')[0] == 250
    begin(client, 'nobody@example.test', 550)
    client.send(b'BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n')
    assert [client.reply()[0] for _ in range(3)] == [554, 554, 250]


def test_before_mail_consumes(client):
    assert client.say('RSET')[0] == 250
    client.send(b'BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n')
    assert client.reply()[0] == 503
    assert client.reply()[0] == 250


def test_not_mixed_with_data(house, client):
    assert chunk(client, b'Subject: x\r\n')[0] == 250
    assert client.say('DATA')[0] == 503
    assert client.say('RCPT TO:<user1@example.test>')[0] == 503
    assert client.say('MAIL FROM:<>')[0] == 503
    assert client.say('NOOP')[0] == 250
    assert client.say('RSET')[0] == 250
    assert client.say('DATA')[0] == 503
    assert client.say('BDAT 0 LAST')[0] == 503


def test_lone_newlines(client):
    """A CR or LF alone makes the message one to refuse, also when a cut hides it."""
    for a, b in ((b'Subject: x\n', b'\r\n'), (b'Subject: x\r', b'y\r\n'), (b'A: b\r\n\r\n', b'\rx')):
        first = chunk(client, a)[0]
        code, lines = chunk(client, b, last=True)
        assert (first, code) in ((550, 503), (250, 550)), (a, b, first, code, lines)
        begin(client)
    assert chunk(client, b'A: b\r\n\r\nthe end is a CR\r', last=True)[0] == 550


def test_bad_syntax_ends_the_session(client):
    """Where the chunk ends is not known, so nothing behind it is obeyed."""
    client.send(b'BDAT 1x LAST\r\nRSET\r\nNOOP\r\n')
    assert client.reply()[0] == 501
    assert client.reply()[0] == 0


def test_too_big(make_house):
    house = make_house(smtp__message_size_limit='64K')
    house.user('user1')
    with house.raw() as c:
        c.reply()
        c.say('EHLO client.test')
        begin(c)
        assert chunk(c, b'Subject: x\r\n\r\n' + b'x' * 70 + b'\r\n')[0] == 250
        code, lines = chunk(c, (b'y' * 62 + b'\r\n') * 1100)
        assert code == 552 and lines[0].startswith('5.3.4')
        assert chunk(c, b'more\r\n', last=True)[0] == 503
        begin(c)
        assert chunk(c, TEXT, last=True)[0] == 250
    assert len(stored(house)) == 1


def test_large(house, client):
    """More than a session keeps in memory, in chunks of odd sizes."""
    body = b''.join(b'%07d %s\r\n' % (i, b'z' * 60) for i in range(30000))
    text = b'Subject: large\r\n\r\n' + body
    for at in range(0, len(text), 300007):
        assert chunk(client, text[at:at + 300007])[0] == 250
    assert client.say('BDAT 0 LAST')[0] == 250
    [got] = stored(house)
    assert got.endswith(b'\r\n' + text), len(got)


def test_line_without_end(house, client):
    """Text that ends within a line gets its CRLF: only whole lines are stored."""
    assert chunk(client, b'Subject: x\r\n\r\nno end', last=True)[0] == 250
    [got] = stored(house)
    assert got.endswith(b'\r\n\r\nno end\r\n')
