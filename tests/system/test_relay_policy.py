"""Who may send to other domains: nobody but clients that logged in and relay-from. No trick makes an open relay."""
import base64
import contextlib

ELSEWHERE = 'someone@elsewhere.test'

#: What open relays were once tricked with. None may be answered 2xx to a stranger.
TRICKS = [
    'someone@elsewhere.test', 'someone@ELSEWHERE.TEST', '"someone@elsewhere.test"', '"someone"@elsewhere.test',
    'someone%elsewhere.test@example.test', '"someone%elsewhere.test"@example.test', 'someone%elsewhere.test@[127.0.0.1]',
    'someone%elsewhere.test@mail.example.test', 'someone%elsewhere.test', '"someone@elsewhere.test"@example.test',
    'someone@elsewhere.test@example.test', 'someone@example.test@elsewhere.test', '@example.test:someone@elsewhere.test',
    '@example.test,@mail.example.test:someone@elsewhere.test', '@[127.0.0.1]:someone@elsewhere.test',
    'elsewhere.test!someone', 'elsewhere.test!someone@example.test', 'example.test!elsewhere.test!someone@elsewhere.test',
    'someone@[192.0.2.1]', 'someone@[IPv6:2001:db8::1]', 'someone@[IPv6:::ffff:192.0.2.1]', 'someone@[IPv6:::1]',
    'user1@[127.0.0.2]', 'user1@localhost', 'user1@127.0.0.1', 'user1@example.test.', 'user1@sub.example.test',
    'user1@xexample.test', 'user1@example.test.elsewhere.test', 'user1@elsewhere.test;user1@example.test',
    'user1@example.test,someone@elsewhere.test', 'user1@example.test someone@elsewhere.test', 'someone',
    'postmaster@elsewhere.test', 'user1+someone@elsewhere.test', 'user1\\@elsewhere.test@example.test',
    '"user1@example.test"@elsewhere.test', 'user1@example.test\\@elsewhere.test', '<user1@example.test>someone@elsewhere.test',
]
SENDERS = ['', 'user1@example.test', 'postmaster@example.test', 'root@localhost', 'someone@elsewhere.test',
           'user1@[127.0.0.1]']


@contextlib.contextmanager
def greeted(house, listener='smtp', hello='EHLO'):
    with house.raw(listener) as c:
        assert c.reply()[0] == 220
        assert c.say(hello + ' mail.example.test')[0] == 250
        yield c


def say_rcpt(c, to):
    return c.say('RCPT TO:<%s>' % to)


def log_in(c, user):
    plain = base64.b64encode(('\0%s\0%s' % (user.address, user.password)).encode()).decode()
    assert c.say('AUTH PLAIN ' + plain)[0] == 235


def test_no_open_relay(house):
    """Whoever claims to send it, after EHLO and HELO; error-limit is 20."""
    house.user('user1')
    for hello in ('EHLO', 'HELO'):
        for sender in SENDERS:
            for at in range(0, len(TRICKS), 15):
                with greeted(house, hello=hello) as c:
                    assert c.say('MAIL FROM:<%s>' % sender)[0] == 250
                    for to in TRICKS[at:at + 15]:
                        code, text = say_rcpt(c, to)
                        assert 500 <= code < 560, (sender, to, code, text)
    assert house.queue()['messages'] == 0


def test_lmtp_is_no_relay(house):
    house.user('user1')
    with greeted(house, 'lmtp', 'LHLO') as c:
        assert c.say('MAIL FROM:<user1@example.test>')[0] == 250
        assert say_rcpt(c, ELSEWHERE) == (550, ['5.7.1 Relaying denied'])


def test_failed_login_gives_nothing(house):
    house.user('user1')
    with greeted(house, 'submission') as c:
        assert c.say('AUTH PLAIN ' + base64.b64encode(b'\0user1@example.test\0wrong').decode())[0] == 535
        assert c.say('MAIL FROM:<user1@example.test>')[0] == 530
        assert say_rcpt(c, ELSEWHERE)[0] == 503


def test_logged_in(house):
    """Another domain is queued, ours is delivered; a name of ours that nobody has stays refused."""
    a, b = house.user('user1'), house.user('user2')
    with greeted(house, 'submission') as c:
        log_in(c, a)
        assert c.say('MAIL FROM:<user1@example.test>')[0] == 250
        assert say_rcpt(c, ELSEWHERE)[0] == 250
        assert say_rcpt(c, 'user3@[192.0.2.77]')[0] == 250
        assert say_rcpt(c, b.address)[0] == 250
        assert say_rcpt(c, 'nobody@example.test') == (550, ['5.1.1 User unknown'])
        assert say_rcpt(c, 'someone%elsewhere.test@example.test')[0] == 550
        assert c.say('DATA')[0] == 354
        assert c.say('Subject: for three\r\n\r\nx\r\n.')[0] == 250
    house.wait_stored(b, 1)
    [event] = house.wait_event('smtp.accepted')
    assert event['rcpts'] == '3'


def test_login_ends_with_rset_of_tls(house):
    """STARTTLS forgets who logged in."""
    a = house.user('user1')
    with greeted(house, 'submission') as c:
        log_in(c, a)
        assert c.say('STARTTLS')[0] == 220
        c.sock = house.tls_context().wrap_socket(c.sock, server_hostname='localhost')
        c.file = c.sock.makefile('rb')
        assert c.say('EHLO client.test')[0] == 250
        assert c.say('MAIL FROM:<user1@example.test>')[0] == 530


def test_relay_from(make_house):
    """The client's address decides, as PROXY and XCLIENT have it, in whichever way it is written."""
    house = make_house(start=False)
    house.set(None, 'relay-from', '192.0.2.0/24, 2001:db8:7::/48')
    house.start()
    house.user('user1')
    for address, code in (('192.0.2.7', 250), ('192.0.3.7', 550), ('IPV6:::ffff:192.0.2.9', 250),
                          ('IPV6:2001:db8:7::1', 250), ('IPV6:2001:db8:8::1', 550), ('[UNAVAILABLE]', 550),
                          ('127.0.0.1', 550), ('IPV6:::ffff:192.0.3.9', 550), ('0.0.0.0', 550), ('IPV6:::', 550)):
        with greeted(house) as c:
            assert c.say('XCLIENT ADDR=' + address)[0] == 220
            assert c.say('EHLO client.test')[0] == 250
            assert c.say('MAIL FROM:<x@elsewhere.test>')[0] == 250
            assert say_rcpt(c, ELSEWHERE)[0] == code, address
            assert say_rcpt(c, 'nobody@example.test')[0] == 550


def test_xclient_needs_trust(make_house):
    """A stranger cannot name itself a relay-from client."""
    house = make_house(start=False)
    house.set(None, 'relay-from', '192.0.2.0/24')
    house.set(None, 'trust-proxy', '192.0.2.99')
    house.start()
    with greeted(house) as c:
        assert c.say('XCLIENT ADDR=192.0.2.7')[0] == 550
        assert c.say('MAIL FROM:<x@elsewhere.test>')[0] == 250
        assert say_rcpt(c, ELSEWHERE)[0] == 550


def test_posthorn_send(house):
    """Both are taken; the sender may get a report of the one whose domain no name server knows."""
    a, b = house.user('user1'), house.user('user2')
    done = house.run('send', '--from', a, '--to', ELSEWHERE, '--to', b, '--subject', 'by send', input='Hello.\n')
    assert len(done.stdout.strip()) == 16
    house.wait_stored(b, 1)
    assert house.subjects(b) == ['by send']
    [event] = house.wait_event('submit.accepted', lambda e: e['qid'] == done.stdout.strip())
    assert event['rcpts'] == '2'
