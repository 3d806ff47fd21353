"""XFORWARD: a content filter's proxy says whose a message is; it decides nothing."""
import pytest

from conftest import wait_for

OFFER = 'XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT'


@pytest.fixture
def client(house):
    house.user('user1')
    with house.raw() as c:
        assert c.reply()[0] == 220
        assert OFFER in c.say('EHLO filter.test')[1]
        yield c


def send(c, to='user1@example.test'):
    assert c.say('MAIL FROM:<sender@elsewhere.test>')[0] == 250
    assert c.say('RCPT TO:<%s>' % to)[0] == 250
    assert c.say('DATA')[0] == 354
    assert c.say('Subject: one\r\n\r\nHello.\r\n.')[0] == 250


def accepted(house, n):
    return wait_for('%d messages' % n, lambda: (lambda e: e if len(e) == n else None)(
        house.events('smtp.accepted')))


def test_said_for_one_message(house, client):
    assert client.say('XFORWARD NAME=host.elsewhere.test ADDR=192.0.2.7 PORT=4711')[0] == 250
    assert client.say('XFORWARD PROTO=ESMTP HELO=my+20pc IDENT=4Xy8Zz SOURCE=REMOTE')[0] == 250
    send(client)
    send(client)
    first, second = accepted(house, 2)
    assert first['ident'] == '4Xy8Zz' and first['ip'] == '127.0.0.1'
    assert not second.get('ident'), 'the second message has an own client'
    [said] = house.wait_event('smtp.xforward')
    assert said['txn'] == first['txn'] and said['client'] == '192.0.2.7' and said['helo'] == 'my pc'
    user = house.json('user', 'show', 'user1@example.test')
    stored = house.wait_stored(type('User', (), {'account': user['account']}), 2)
    for s in stored:
        with open(s.path) as f:
            assert 'Received: from filter.test ([127.0.0.1])' in f.read(), 'trace says who connected'


def test_forgotten(house, client):
    for undo in ('RSET', 'EHLO filter.test'):
        assert client.say('XFORWARD ADDR=192.0.2.7')[0] == 250
        assert client.say(undo)[0] == 250
        send(client)
    accepted(house, 2)
    assert not house.events('smtp.xforward')


def test_decides_nothing(make_house):
    """An address that may relay gains nothing by being named, and none is lost."""
    h = make_house(relay_from='192.0.2.0/24')
    with h.raw() as c:
        c.reply()
        c.say('EHLO filter.test')
        assert c.say('XFORWARD ADDR=192.0.2.7')[0] == 250
        assert c.say('MAIL FROM:<sender@elsewhere.test>')[0] == 250
        code, lines = c.say('RCPT TO:<someone@far.test>')
        assert code == 550 and lines[0].startswith('5.7.1')


def test_pipelined(client):
    client.send('XFORWARD ADDR=192.0.2.7\r\nMAIL FROM:<>\r\nRCPT TO:<user1@example.test>\r\n')
    assert [client.reply()[0] for _ in range(3)] == [250, 250, 250]
    assert client.say('XFORWARD ADDR=192.0.2.8')[0] == 503


@pytest.mark.parametrize('args', ['', 'ADDR', 'ADDR=', 'ADDR=1.2.3', 'LOGIN=user1@example.test',
                                  'SOURCE=SPACE', 'IDENT=a+0Ab', 'HELO=' + 'x' * 300])
def test_bad(client, args):
    code, lines = client.say(('XFORWARD ' + args).strip())
    assert code == 501 and lines[0].startswith('5.5.4')


def test_only_proxies(make_house):
    h = make_house(trust_proxy='192.0.2.1')
    with h.raw() as c:
        c.reply()
        assert OFFER not in c.say('EHLO client.test')[1]
        assert c.say('XFORWARD ADDR=192.0.2.7')[0] == 550
