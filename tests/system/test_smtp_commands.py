"""RFC 5321 and its extensions, command by command: reply codes, enhanced codes, order."""
import base64
import contextlib
import socket

import pytest


@contextlib.contextmanager
def greeted(house, listener='smtp'):
    with house.raw(listener) as c:
        assert c.reply()[0] == 220
        assert c.say('EHLO client.test')[0] == 250
        yield c


@pytest.fixture
def client(house):
    house.user('user1')
    with greeted(house) as c:
        yield c


def expect(c, line, code, enhanced=None):
    got, lines = c.say(line)
    assert got == code, (line, got, lines)
    if enhanced:
        assert lines[-1].startswith(enhanced + ' '), (line, lines)
    return lines


def test_ehlo(house):
    with house.raw() as c:
        code, lines = c.reply()
        assert code == 220 and lines[0].startswith('mail.example.test ESMTP')
        lines = expect(c, 'EHLO client.test', 250)
        assert lines[0].split()[0] == 'mail.example.test'
        offers = {x.split()[0]: x.split()[1:] for x in lines[1:]}
        assert offers.pop('SIZE') == [str(50 << 20)]
        assert offers.pop('XCLIENT') and offers.pop('XFORWARD')
        assert offers.pop('LIMITS') == ['RCPTMAX=1000']
        assert set(offers) == {'PIPELINING', 'STARTTLS', 'ENHANCEDSTATUSCODES', '8BITMIME', 'BINARYMIME', 'CHUNKING', 'SMTPUTF8', 'DSN',
                               'DELIVERBY', 'MT-PRIORITY'}
        for bad in ('EHLO', 'HELO', 'EHLO a b', 'EHLO a\tb', 'EHLO <x>', 'EHLO h\u00f6st'):
            expect(c, bad, 501, '5.5.4')
        expect(c, 'EHLO [192.0.2.1]', 250)
        expect(c, 'EHLO [IPv6:2001:db8::1]', 250)
        assert expect(c, 'HELO client.test', 250) == ['mail.example.test']
        expect(c, 'LHLO client.test', 500, '5.5.2')


SINGLE = [
    ('RSET', 250, '2.0.0'), ('RSET x', 501, '5.5.4'), ('NOOP', 250, '2.0.0'), ('NOOP some words', 250, '2.0.0'),
    ('noop', 250, '2.0.0'), ('HELP', 214, '2.0.0'), ('HELP MAIL', 214, '2.0.0'), ('VRFY user1', 252, '2.0.0'),
    ('VRFY', 501, '5.5.4'), ('EXPN list', 502, '5.5.1'), ('TURN', 500, '5.5.2'), ('', 500, '5.5.2'),
    ('QUIT x', 501, '5.5.4'), ('QUIT', 221, '2.0.0'), ('DATA', 503, '5.5.1'), ('RCPT TO:<user1@example.test>', 503, '5.5.1'),
    ('BDAT 0 LAST', 503, '5.5.1'), ('STARTTLS x', 501, '5.5.4'), ('AUTH PLAIN', 502, '5.5.1'),
    ('GET / HTTP/1.1', 421, '4.7.0'), ('NOOP ' + 'x' * 500, 250, '2.0.0'), ('NOOP ' + 'x' * 5000, 500, '5.5.2'),
    ('NOOP ' + 'x' * 20000, 500, '5.5.2'),
]


def test_single(house):
    house.user('user1')
    for line, code, enhanced in SINGLE:
        with greeted(house) as c:
            expect(c, line, code, enhanced)


MAIL = [
    ('FROM:<a@b.test>', 250, '2.1.0'), ('from:<a@b.test>', 250, '2.1.0'), ('FROM: <a@b.test>', 250, '2.1.0'),
    ('FROM:<>', 250, '2.1.0'), ('FROM:<@x.test,@y.test:a@b.test>', 250, '2.1.0'), ('FROM:<a@[192.0.2.1]>', 250, '2.1.0'),
    ('FROM:<a@[IPv6:2001:db8::1]>', 250, '2.1.0'), ('FROM:<"a b"@b.test>', 250, '2.1.0'),
    ('FROM:<"a\\"b"@b.test>', 250, '2.1.0'), ('FROM:<' + 'l' * 64 + '@b.test>', 250, '2.1.0'),
    ('FROM:<' + 'l' * 65 + '@b.test>', 501, '5.1.7'), ('FROM:<a@' + 'd' * 64 + '.test>', 501, '5.1.7'),
    ('', 501, '5.5.4'), ('TO:<a@b.test>', 501, '5.5.4'), ('FROM:a@b.test', 501, '5.1.7'), ('FROM:<a@b.test', 501, '5.1.7'),
    ('FROM:<a>', 501, '5.1.7'), ('FROM:<a@>', 501, '5.1.7'), ('FROM:<@b.test>', 501, '5.1.7'), ('FROM:<a..b@c.test>', 501, '5.1.7'),
    ('FROM:<a b@c.test>', 501, '5.1.7'), ('FROM:<a@b..test>', 501, '5.1.7'), ('FROM:<a@[1.2.3]>', 501, '5.1.7'),
    ('FROM:<a@b.test>SIZE=1', 501, '5.1.7'), ('FROM:<a@b.test> SIZE=1000', 250, '2.1.0'), ('FROM:<a@b.test> SIZE=0', 250, '2.1.0'),
    ('FROM:<a@b.test> SIZE=', 501, '5.5.4'), ('FROM:<a@b.test> SIZE=1k', 501, '5.5.4'), ('FROM:<a@b.test> SIZE', 501, '5.5.4'),
    ('FROM:<a@b.test> SIZE=99999999999999999999', 552, '5.3.4'), ('FROM:<a@b.test> SIZE=1 SIZE=1', 501, '5.5.4'),
    ('FROM:<a@b.test> BODY=8BITMIME', 250, '2.1.0'), ('FROM:<a@b.test> body=7bit', 250, '2.1.0'),
    ('FROM:<a@b.test> BODY=9BIT', 501, '5.5.4'), ('FROM:<a@b.test> COLOR=red', 555, '5.5.4'),
    ('FROM:<a@b.test> SMTPUTF8', 250, '2.1.0'), ('FROM:<a@b.test> SMTPUTF8=1', 501, '5.5.4'),
    ('FROM:<\u00e4@b.test> SMTPUTF8', 250, '2.1.0'), ('FROM:<\u00e4@b.test>', 553, '5.6.7'),
    ('FROM:<a@b\u00fccher.test>', 553, '5.6.7'), ('FROM:<a@b\u00fccher.test> SMTPUTF8', 250, '2.1.0'),
    ('FROM:<a@b.test> AUTH=<>', 555, '5.5.4'),
]


def test_mail(house):
    for arg, code, enhanced in MAIL:
        with greeted(house) as c:
            expect(c, 'MAIL ' + arg, code, enhanced)
            expect(c, 'MAIL FROM:<a@b.test>', 503 if code == 250 else 250)


RCPT = [
    ('TO:<user1@example.test>', 250, '2.1.5'), ('TO:<USER1@EXAMPLE.TEST>', 250, '2.1.5'), ('TO:<user1+x@example.test>', 250, '2.1.5'),
    ('TO:<"user1"@example.test>', 250, '2.1.5'), ('TO:<@a.test:user1@example.test>', 250, '2.1.5'),
    ('TO:<Postmaster>', 250, '2.1.5'), ('TO:<postMASTER@example.test>', 250, '2.1.5'), ('TO:<user1@[127.0.0.1]>', 250, '2.1.5'),
    ('TO:<postmaster@[127.0.0.1]>', 250, '2.1.5'), ('TO:<user1@[192.0.2.1]>', 550, '5.7.1'),
    ('TO:<nobody@example.test>', 550, '5.1.1'), ('TO:<a@elsewhere.test>', 550, '5.7.1'), ('TO:<>', 501, '5.1.3'),
    ('TO:<user1>', 501, '5.1.3'), ('TO:user1@example.test', 501, '5.1.3'), ('FROM:<user1@example.test>', 501, '5.5.4'),
    ('TO:<user1@example.test> NOTIFY=NEVER', 250, '2.1.5'), ('TO:<user1@example.test> COLOR=red', 555, '5.5.4'), ('TO:<us\u00e9r@example.test>', 553, '5.6.7'),
    ('TO:<user1%elsewhere.test@example.test>', 550, '5.1.1'), ('TO:<a@elsewhere.test@example.test>', 501, '5.1.3'),
]


def test_rcpt(house):
    house.user('user1')
    for arg, code, enhanced in RCPT:
        with greeted(house) as c:
            expect(c, 'MAIL FROM:<a@b.test>', 250)
            expect(c, 'RCPT ' + arg, code, enhanced)


def test_utf8_recipient(house, client):
    user = house.user('us\u00e9r')
    expect(client, 'MAIL FROM:<\u00e4@b.test> SMTPUTF8', 250)
    expect(client, 'RCPT TO:<us\u00e9r@example.test>', 250)
    expect(client, 'DATA', 354)
    expect(client, 'Subject: \u00e4\r\n\r\nx\r\n.', 250)
    [s] = house.wait_stored(user, 1)
    with open(s.path, encoding='utf-8') as f:
        assert 'with UTF8SMTP id' in f.read()


def test_order(client):
    expect(client, 'MAIL FROM:<a@b.test>', 250)
    expect(client, 'DATA', 554, '5.5.1')
    expect(client, 'RCPT TO:<user1@example.test>', 250)
    expect(client, 'EHLO client.test', 250)
    expect(client, 'DATA', 503, '5.5.1')
    expect(client, 'MAIL FROM:<a@b.test>', 250)
    expect(client, 'RCPT TO:<user1@example.test>', 250)
    expect(client, 'DATA x', 501, '5.5.4')
    expect(client, 'RSET', 250)
    expect(client, 'DATA', 503, '5.5.1')


def test_before_hello(house):
    with house.raw() as c:
        c.reply()
        for line in ('MAIL FROM:<a@b.test>', 'RCPT TO:<a@b.test>', 'DATA', 'AUTH PLAIN', 'BDAT 0 LAST'):
            expect(c, line, 503, '5.5.1')
        for line in ('NOOP', 'RSET'):
            expect(c, line, 250, '2.0.0')
        expect(c, 'HELO client.test', 250)
        expect(c, 'MAIL FROM:<a@b.test>', 250)


def test_ahead_of_turn(house):
    """What follows a command that must be waited for is never obeyed."""
    house.user('user1')
    for first in ('EHLO client.test', 'DATA', 'STARTTLS', 'HELO client.test'):
        with greeted(house) as c:
            expect(c, 'MAIL FROM:<a@b.test>', 250)
            expect(c, 'RCPT TO:<user1@example.test>', 250)
            c.send(first + '\r\nQUIT\r\n')
            assert c.reply()[0] == 554
            assert c.reply()[0] == 0


def test_before_greeting(house):
    for _ in range(20):  # whether it comes before the greeting is a race
        with socket.create_connection(('127.0.0.1', house.port('smtp'))) as s:
            s.settimeout(10)
            s.sendall(b'EHLO client.test\r\n' * 2)
            got = s.recv(4096)
            while got.startswith(b'220 ') and b'\r\n554 ' not in got:
                more = s.recv(4096)
                assert more
                got += more
            assert b'554 5.5.0' in got


def test_trace_and_return_path(house, client):
    """One Received line is added, a Return-Path of the sender's is replaced."""
    expect(client, 'MAIL FROM:<a@b.test>', 250)
    expect(client, 'RCPT TO:<user1@example.test>', 250)
    expect(client, 'DATA', 354)
    expect(client, 'Return-Path: <x@y.test>\r\nSubject: x\r\nreturn-path: <z@y.test>\r\nBcc: b@c.test\r\n\r\nx\r\n.', 250)
    account = house.json('user', 'show', 'user1@example.test')['account']
    [s] = house.wait_stored(type('User', (), {'account': account}), 1)
    with open(s.path, 'rb') as f:
        text = f.read().decode()
    lines = text.split('\r\n')
    assert lines[0] == 'Return-Path: <a@b.test>'
    assert text.lower().count('return-path:') == 1
    assert text.count('Received: from client.test ([127.0.0.1])\r\n\tby mail.example.test') == 1
    assert '\r\n\tfor <user1@example.test>;\r\n' in text
    assert 'Bcc: b@c.test' in text, 'what others sent is left as it is'


def test_loop(client):
    expect(client, 'MAIL FROM:<a@b.test>', 250)
    expect(client, 'RCPT TO:<user1@example.test>', 250)
    expect(client, 'DATA', 354)
    expect(client, 'Received: x\r\n' * 60 + '\r\nx\r\n.', 554, '5.4.6')


# ---- STARTTLS (RFC 3207) ----

def start_tls(house, c, line='STARTTLS'):
    expect(c, line, 220, '2.0.0')
    c.file.close()
    c.sock = house.tls_context().wrap_socket(c.sock, server_hostname='localhost')
    c.file = c.sock.makefile('rb')


def test_starttls(house, client):
    expect(client, 'MAIL FROM:<a@b.test>', 250)
    start_tls(house, client)
    expect(client, 'MAIL FROM:<a@b.test>', 503, '5.5.1')
    lines = expect(client, 'EHLO client.test', 250)
    assert 'STARTTLS' not in lines
    expect(client, 'STARTTLS', 503, '5.5.1')
    expect(client, 'MAIL FROM:<a@b.test>', 250)
    expect(client, 'RCPT TO:<user1@example.test>', 250)
    expect(client, 'DATA', 354)
    expect(client, 'Subject: x\r\n\r\nx\r\n.', 250)


def test_starttls_required(make_house):
    house = make_house(start=False)
    house.config(house.config().replace('listen smtp {', 'listen smtp { tls required'))
    house.start()
    house.user('user1')
    with house.raw() as c:
        c.reply()
        expect(c, 'EHLO client.test', 250)
        expect(c, 'MAIL FROM:<a@b.test>', 530, '5.7.0')
        c.send('BDAT 6 LAST\r\nQUIT\r\n')
        assert c.reply()[0] == 530
        start_tls(house, c)
        expect(c, 'EHLO client.test', 250)
        expect(c, 'MAIL FROM:<a@b.test>', 250)


def test_starttls_garbage(house, client):
    """A handshake that fails ends this session and no other."""
    expect(client, 'STARTTLS', 220)
    client.send(b'NOOP\r\n' * 20)
    try:
        while client.line():
            pass
    except ConnectionError:
        pass
    with house.raw() as c:
        assert c.reply()[0] == 220


# ---- AUTH (RFC 4954) ----

def b64(text):
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def submission(house):
    house.user('user1')
    with house.raw('submission') as c:
        assert c.reply()[0] == 220
        assert any(x.startswith('AUTH PLAIN LOGIN ') for x in expect(c, 'EHLO client.test', 250))
        yield c


GOOD = b64('\0user1@example.test\0secret-user1')


AUTH = [
    [('AUTH PLAIN ' + GOOD, 235)],
    [('AUTH PLAIN', 334), (GOOD, 235)],
    [('auth plain', 334), (GOOD, 235)],
    [('AUTH PLAIN ' + b64('user1@example.test\0user1@example.test\0secret-user1'), 235)],
    [('AUTH LOGIN', 334), (b64('user1@example.test'), 334), (b64('secret-user1'), 235)],
    [('AUTH LOGIN ' + b64('user1@example.test'), 334), (b64('secret-user1'), 235)],
    [('AUTH PLAIN ' + b64('\0user1@example.test\0wrong'), 535)],
    [('AUTH PLAIN ' + b64('\0nobody@example.test\0wrong'), 535)],
    [('AUTH PLAIN', 334), ('*', 501), ('NOOP', 250)],
    [('AUTH LOGIN', 334), (b64('user1@example.test'), 334), ('*', 501), ('NOOP', 250)],
    [('AUTH PLAIN =', 501)], [('AUTH PLAIN !!!', 501)], [('AUTH PLAIN ' + b64('x'), 501)],
    [('AUTH PLAIN ' + b64('\0a\0b\0c'), 501)], [('AUTH PLAIN', 334), ('!!!', 501), ('NOOP', 250)],
    [('AUTH', 501)], [('AUTH CRAM-MD5', 504)], [('AUTH PLAIN', 334), ('x' * 20000, 500), ('NOOP', 250)],
    [('AUTH PLAIN ' + b64('\0user1@example.test\0' + 'x' * 6000), 535)],
]


def test_auth(make_house):
    house = make_house(auth__delay_max='none')
    house.user('user1')
    for lines in AUTH:
        with greeted(house, 'submission') as c:
            for line, code in lines:
                expect(c, line, code)


def test_auth_codes(submission):
    expect(submission, 'MAIL FROM:<user1@example.test>', 530, '5.7.0')
    expect(submission, 'AUTH PLAIN ' + b64('\0user1@example.test\0wrong'), 535, '5.7.8')
    expect(submission, 'AUTH PLAIN ' + GOOD, 235, '2.7.0')
    expect(submission, 'AUTH PLAIN ' + GOOD, 503, '5.5.1')
    expect(submission, 'MAIL FROM:<user1@example.test> AUTH=<>', 250)
    expect(submission, 'AUTH PLAIN ' + GOOD, 503, '5.5.1')
    expect(submission, 'RSET', 250)
    expect(submission, 'MAIL FROM:<user1@example.test> AUTH=+ZZ', 501, '5.5.4')
    expect(submission, 'MAIL FROM:<other@example.test>', 553, '5.7.1')
    expect(submission, 'MAIL FROM:<other@elsewhere.test>', 553, '5.7.1')
    expect(submission, 'MAIL FROM:<User1+lists@example.test>', 250)
    expect(submission, 'RCPT TO:<a@elsewhere.test>', 250, '2.1.5')


def test_auth_is_forgotten_by_tls(house, submission):
    expect(submission, 'AUTH PLAIN ' + GOOD, 235)
    start_tls(house, submission)
    expect(submission, 'EHLO client.test', 250)
    expect(submission, 'MAIL FROM:<user1@example.test>', 530, '5.7.0')


def test_auth_needs_tls(make_house):
    house = make_house(start=False)
    house.set(None, 'plaintext-auth-from', 'none')
    house.start()
    house.user('user1')
    with house.raw('submission') as c:
        c.reply()
        assert not [x for x in expect(c, 'EHLO client.test', 250) if x.startswith('AUTH')]
        expect(c, 'AUTH PLAIN ' + GOOD, 538, '5.7.11')
        start_tls(house, c)
        assert any(x.startswith('AUTH PLAIN LOGIN ') for x in expect(c, 'EHLO client.test', 250))
        expect(c, 'AUTH PLAIN ' + GOOD, 235)


# ---- LMTP (RFC 2033) ----

def test_lmtp(house):
    users = [house.user('user%d' % i) for i in (1, 2)]
    with house.raw('lmtp') as c:
        assert c.reply()[0] == 220
        expect(c, 'EHLO client.test', 500)
        expect(c, 'HELO client.test', 500)
        expect(c, 'MAIL FROM:<a@b.test>', 503)
        assert 'PIPELINING' in expect(c, 'LHLO client.test', 250)
        expect(c, 'MAIL FROM:<a@b.test>', 250)
        expect(c, 'DATA', 503)
        for u, code in ((users[0].address, 250), ('nobody@example.test', 550), (users[1].address, 250)):
            expect(c, 'RCPT TO:<%s>' % u, code)
        expect(c, 'DATA', 354)
        c.send('Subject: x\r\n\r\nx\r\n.\r\n')
        assert [c.reply()[0] for _ in range(2)] == [250, 250]
        expect(c, 'MAIL FROM:<a@b.test>', 250)
        for u in users:
            expect(c, 'RCPT TO:<%s>' % u, 250)
        c.send(b'BDAT 17 LAST\r\nSubject: x\r\n\r\nx\r\n')
        assert [c.reply()[0] for _ in range(2)] == [250, 250]
        expect(c, 'MAIL FROM:<a@b.test>', 250)
        for u in users:
            expect(c, 'RCPT TO:<%s>' % u, 250)
        expect(c, 'DATA', 354)
        c.send('Subject: x\n\r\nx\r\n.\r\n')
        assert [c.reply()[0] for _ in range(2)] == [550, 550]
        expect(c, 'QUIT', 221)
    for u in users:
        house.wait_stored(u, 2)
