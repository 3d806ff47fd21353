"""XCLIENT: a trusted proxy says who its client is; nobody else may."""
import pytest

OFFER = 'XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT'


@pytest.fixture
def client(house):
    house.user('user1')
    with house.raw() as c:
        assert c.reply()[0] == 220
        assert OFFER in c.say('EHLO proxy.test')[1]
        yield c


def send(c, subject):
    assert c.say('MAIL FROM:<sender@elsewhere.test>')[0] == 250
    assert c.say('RCPT TO:<user1@example.test>')[0] == 250
    assert c.say('DATA')[0] == 354
    assert c.say('Subject: %s\r\n\r\nHello.\r\n.' % subject)[0] == 250


def test_client_in_trace(house, client):
    code, lines = client.say('XCLIENT NAME=host.elsewhere.test ADDR=192.0.2.7 PORT=4711')
    assert code == 220 and 'ESMTP' in lines[0]
    assert client.say('MAIL FROM:<a@b.test>')[0] == 503, 'the session is a new one'
    assert OFFER in client.say('EHLO client.test')[1], 'the proxy may go on'
    send(client, 'by proxy')
    [event] = house.wait_event('smtp.accepted')
    assert event['ip'] == '192.0.2.7'
    user = house.json('user', 'show', 'user1@example.test')
    [stored] = house.wait_stored(type('User', (), {'account': user['account']}), 1)
    with open(stored.path) as f:
        assert 'Received: from client.test (host.elsewhere.test [192.0.2.7])' in f.read()


def test_ipv6_helo_proto(house, client):
    code, _ = client.say('XCLIENT ADDR=IPV6:2001:db8::1 NAME=[UNAVAILABLE] HELO=said.test PROTO=ESMTP')
    assert code == 220
    send(client, 'HELO is known')
    [event] = house.wait_event('smtp.accepted')
    assert event['ip'] == '2001:db8::1'


def test_xtext_and_case(client):
    assert client.say('xclient name=[tempunavail] addr=+31.2.3.4')[0] == 220
    assert client.say('XCLIENT ADDR=[UNAVAILABLE]')[0] == 220
    assert client.say('EHLO client.test')[0] == 250


BAD = [
    '', 'ADDR', 'ADDR=', 'ADDR=1.2.3', 'ADDR=1.2.3.4.5', 'PORT=65536', 'PORT=x', 'PROTO=HTTP',
    'HELO=a+0Db', 'NAME=a b', 'COLOR=red', 'LOGIN=+ZZ', 'NAME=+', 'ADDR=1.2.3.4 HELO=' + 'x' * 300,
    'LOGIN=nobody@example.test',
]


def test_bad(client):
    for args in BAD:
        code, lines = client.say(('XCLIENT ' + args).strip())
        assert code == 501 and lines[0].startswith('5.5.4'), (args, lines)
        assert client.say('NOOP')[0] == 250


def test_not_in_transaction(client):
    assert client.say('MAIL FROM:<sender@elsewhere.test>')[0] == 250
    assert client.say('XCLIENT ADDR=192.0.2.7')[0] == 503


def test_sent_ahead(client):
    client.send('XCLIENT ADDR=192.0.2.7\r\nEHLO client.test\r\n')
    assert client.reply()[0] == 554
    assert client.reply()[0] == 0


def test_login(house, client):
    """Who the proxy has logged in may submit as that account."""
    with house.raw('submission') as c:
        c.reply()
        c.say('EHLO proxy.test')
        assert c.say('XCLIENT ADDR=192.0.2.7 LOGIN=user1@example.test')[0] == 220
        c.say('EHLO client.test')
        assert c.say('MAIL FROM:<user1@example.test>')[0] == 250
        assert c.say('RSET')[0] == 250
        assert c.say('MAIL FROM:<other@example.test>')[0] == 553


def test_not_trusted(make_house):
    house = make_house(start=False)
    house.set(None, 'trust-proxy', '192.0.2.0/24')
    house.start()
    with house.raw() as c:
        c.reply()
        assert not [x for x in c.say('EHLO client.test')[1] if x.startswith('XCLIENT')]
        assert c.say('XCLIENT ADDR=192.0.2.7')[0] == 550
