"""The PROXY header, version 1 and 2, before anything else of a connection."""
import socket
import ssl
import struct

import pytest
from conftest import wait_for

SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'


def v1(src, dst='192.0.2.99', sport=4711, dport=25):
    return ('PROXY TCP%d %s %s %d %d\r\n' % (6 if ':' in src else 4, src, dst, sport, dport)).encode()


def v2(src, dst='192.0.2.99', command=0x21, tail=b''):
    family = socket.AF_INET6 if ':' in src else socket.AF_INET
    body = b''.join(socket.inet_pton(family, a) for a in (src, dst)) + struct.pack('>HH', 4711, 25) + tail
    return SIGNATURE + struct.pack('>BBH', command, 0x21 if ':' in src else 0x11, len(body)) + body


LOCAL = SIGNATURE + b'\x20\0\0\0'


@pytest.fixture
def proxied(make_house):
    house = make_house(proxy=True)
    house.user('user1')
    return house


def rejected_ip(house, c):
    """The client address of the session, as an event tells it."""
    seen = len(house.events('smtp.rejected'))
    c.say('EHLO client.test')
    c.say('MAIL FROM:<a@elsewhere.test>')
    assert c.say('RCPT TO:<nobody@example.test>')[0] == 550
    return wait_for('the event', lambda: house.events('smtp.rejected')[seen:])[0]['ip']


GOOD = [
    (v1('192.0.2.7'), '192.0.2.7'),
    (v1('2001:db8::7', '2001:db8::1'), '2001:db8::7'),
    (b'PROXY UNKNOWN\r\n', '127.0.0.1'),
    (b'PROXY UNKNOWN ff:: what ever 1\r\n', '127.0.0.1'),
    (v2('192.0.2.7'), '192.0.2.7'),
    (v2('2001:db8::7', '2001:db8::1'), '2001:db8::7'),
    (v2('192.0.2.7', tail=b'\x01\0\2h2\x04\0\1\0'), '192.0.2.7'),
    (LOCAL, '127.0.0.1'),
]


def test_header(proxied):
    for head, ip in GOOD:
        with proxied.raw() as c:
            for at in range(len(head)):  # a byte at a time
                c.send(head[at:at + 1])
            assert c.reply()[0] == 220
            assert rejected_ip(proxied, c) == ip, head


BAD = [
    b'EHLO client.test\r\n', b'PROXY TCP4 192.0.2.7 192.0.2.8 1\r\n', b'PROXY TCP5 a b 1 2\r\n',
    b'PROXY TCP4 192.0.2.7 192.0.2.8 1 99999\r\n', b'PROXY TCP4 192.0.2.7 192.0.2.8 1 2\n',
    b'PROXY ' + b'x' * 200, v2('192.0.2.7', command=0x31), v2('192.0.2.7', tail=b'\x01\0\x09x'),
    SIGNATURE + b'\x21\x11\0\4abcd', SIGNATURE + b'\x21\x11\xff\xff', b'\r\n\r\n\0\r\nQUIX\n',
]


def test_bad_header(proxied):
    """The connection closes without a word, and is counted."""
    for head in BAD:
        with proxied.raw() as c:
            c.send(head)
            try:
                assert c.reply()[0] == 0, head
            except ConnectionResetError:
                pass
    bad = [v for k, v in proxied.metrics().items() if 'proxy_headers_total' in k and 'result="bad"' in k]
    assert sum(bad) == len(BAD)
    assert len(proxied.wait_event('proxy.bad_header')) == len(BAD)


def test_client_not_trusted_for_xclient(proxied):
    """XCLIENT is for the proxies, not for their clients."""
    with proxied.raw() as c:
        c.send(v1('192.0.2.7'))
        c.reply()
        assert not [x for x in c.say('EHLO client.test')[1] if x.startswith('XCLIENT')]


def test_before_tls(proxied):
    """The header stands before the handshake, even in the same packet."""
    context = proxied.tls_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname='localhost')
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with socket.create_connection(('127.0.0.1', proxied.port('submissions')), 10) as s:
        s.sendall(v2('192.0.2.7') + outgoing.read())
        while True:
            incoming.write(s.recv(65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
            finally:
                s.sendall(outgoing.read())
        while True:
            try:
                assert tls.read(4096).startswith(b'220 ')
                break
            except ssl.SSLWantReadError:
                incoming.write(s.recv(65536))


def test_only_from_trusted_addresses(make_house):
    """From others no header is read: what looks like one is a command that came too early."""
    house = make_house(start=False, proxy=True)
    house.set(None, 'trust-proxy', '192.0.2.0/24')
    house.start()
    with house.raw() as c:
        assert c.reply()[0] == 220
        assert c.say('EHLO client.test')[0] == 250
    with house.raw() as c:
        c.send(v1('192.0.2.7'))
        code, _ = c.reply()
        if code == 220:
            code, _ = c.reply()
        assert code in (500, 554)
