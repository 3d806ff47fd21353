"""Submission with swaks and smtplib: what is added, what is left out, who may send as whom."""
import re
import subprocess

from conftest import need


def text_of(house, user, n=1):
    """The newest of n stored messages."""
    stored = sorted(house.wait_stored(user, n), key=lambda s: s.path)
    texts = []
    for s in stored:
        with open(s.path, 'rb') as f:
            texts.append(f.read())
    return texts


def submit(house, user, to, text, listener='submission'):
    with house.smtp(listener, user) as s:
        return s.sendmail(user.address, [t.address for t in to], text)


def test_completed(house):
    """Date and Message-ID are added once each; Bcc and its like left out."""
    a, b = house.user('user1'), house.user('user2')
    submit(house, a, [b], 'Bcc: hidden@example.test\r\nSubject: bare\r\nBCC: two@example.test,\r\n'
           ' three@example.test\r\nResent-Bcc: r@example.test\r\nContent-Length: 4\r\n\r\nBcc: in the body\r\n')
    [text] = text_of(house, b)
    head, _, body = text.partition(b'\r\n\r\n')
    assert len(re.findall(rb'(?mi)^Date: \w\w\w, \d+ \w\w\w \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r$', head + b'\r\n')) == 1
    assert len(re.findall(rb'(?mi)^Message-ID: <[^ <>@]+@mail\.example\.test>\r$', head + b'\r\n')) == 1
    for left_out in (b'hidden@', b'two@', b'three@', b'r@example.test', b'Content-Length'):
        assert left_out not in head, left_out
    assert body == b'Bcc: in the body\r\n'
    assert b'with ESMTPSA id' in head


def test_left_alone(house):
    """What has both is not touched; nor is what other servers bring."""
    a, b = house.user('user1'), house.user('user2')
    text = 'Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <x@y.test>\r\nSubject: full\r\n\r\nx\r\n'
    submit(house, a, [b], text, 'submissions')
    [got] = text_of(house, b)
    assert got.endswith(b'\r\n' + text.encode())
    house.send(a, subject='by smtp')
    with house.smtp() as s:
        s.sendmail('z@elsewhere.test', [a.address], 'Bcc: b@c.test\r\nSubject: other\r\n\r\nx\r\n')
    texts = text_of(house, a, 2)
    assert any(b'Bcc: b@c.test' in t and b'Message-ID' not in t for t in texts)


def test_no_header_at_all(house):
    a, b = house.user('user1'), house.user('user2')
    with house.raw('submissions') as c:
        c.file.close()
        c.sock = house.tls_context().wrap_socket(c.sock, server_hostname='localhost')
        c.file = c.sock.makefile('rb')
        assert c.reply()[0] == 220
    submit(house, a, [b], 'just a line\r\n')
    [text] = text_of(house, b)
    assert text.endswith(b'\r\n\r\njust a line\r\n')


def swaks(house, *args):
    done = subprocess.run([need('swaks'), '--server', 'localhost', *args], text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def test_swaks(house):
    """All ways of swaks to log in and send."""
    a, b = house.user('user1'), house.user('user2')
    login = ['--auth-user', a.address, '--auth-password', a.password]
    n = 0
    for args in (
            ['--port', house.port('submission'), '--tls', '--auth', 'PLAIN'],
            ['--port', house.port('submission'), '--tls', '--auth', 'LOGIN'],
            ['--port', house.port('submission'), '--auth', 'PLAIN'],
            ['--port', house.port('submissions'), '--tls-on-connect', '--auth', 'LOGIN', '--pipeline'],
    ):
        n += 1
        status, out = swaks(house, '--from', a.address, '--to', b.address, *login, *map(str, args))
        assert status == 0, out
    house.wait_stored(b, n)
    status, out = swaks(house, '--port', str(house.port('submission')), '--from', a.address, '--to', b.address)
    assert status and '530 5.7.0' in out
    status, out = swaks(house, '--port', str(house.port('submission')), '--tls', '--auth', 'PLAIN', '--auth-user',
                        a.address, '--auth-password', 'wrong', '--from', a.address, '--to', b.address)
    assert status and '535 5.7.8' in out
    status, out = swaks(house, '--port', str(house.port('submission')), '--tls', '--auth', 'PLAIN', *login,
                        '--from', b.address, '--to', b.address)
    assert status and '553 5.7.1' in out


def test_swaks_lmtp_and_smtp(house):
    a = house.user('user1')
    status, out = swaks(house, '--port', str(house.port('lmtp')), '--protocol', 'LMTP', '--from', 'x@elsewhere.test',
                        '--to', a.address)
    assert status == 0, out
    status, out = swaks(house, '--port', str(house.port('smtp')), '--tls', '--pipeline', '--from', '<>', '--to',
                        'postmaster')
    assert status == 0, out
    house.wait_stored(a, 2)
    status, out = swaks(house, '--port', str(house.port('smtp')), '--from', 'x@elsewhere.test', '--to',
                        'x@elsewhere.test')
    assert status and '550 5.7.1' in out


def test_sender_any(make_house):
    house = make_house(smtp__submission_sender='any')
    a = house.user('user1')
    with house.smtp('submission', a) as s:
        assert s.mail('other@elsewhere.test')[0] == 250
