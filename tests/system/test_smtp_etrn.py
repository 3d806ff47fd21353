"""ETRN: what waits for a domain is tried at once, and goes where it always goes."""
import os
import sys

import pytest

from conftest import TOP, wait_for

sys.path.insert(0, os.path.join(TOP, 'tests', 'mta'))
from relay_house import Server  # noqa: E402


@pytest.fixture
def waiting(make_house):
    """A house with mail for far.test and for sub.far.test, whose next hop does not listen."""
    s, t = Server('127.0.0.2'), Server('127.0.0.2')
    s.close(), t.close()
    house = make_house(start=False, relay_from='127.0.0.0/8')
    house.add('route { transports hops }\nspool { retry-min 1h site-retry-max 1h }\n'
              'table hops { entry "far.test [127.0.0.2]:%d" entry "sub.far.test [127.0.0.2]:%d" }\n' % (s.port, t.port))
    house.start()
    with greeted(house) as c:
        for to in ('a@far.test', 'b@sub.far.test'):
            assert c.say('MAIL FROM:<x@example.test>')[0] == 250
            assert c.say('RCPT TO:<%s>' % to)[0] == 250
            assert c.say('DATA')[0] == 354
            assert c.say('Subject: waits\r\n\r\nx\r\n.')[0] == 250
    wait_for('both to be deferred', lambda: len(house.events('queue.deferred')) == 2)
    return house, s.port, t.port


def greeted(house, listener='smtp'):
    c = house.raw(listener)
    assert c.reply()[0] == 220
    assert c.say('EHLO client.test')[0] == 250
    return c


def sent_to(server, n):
    wait_for('%d messages elsewhere' % n, lambda: len(server.mail) >= n)
    return sorted(r.split('<')[1].split('>')[0] for m in server.mail for r in m[1])


def test_domain(waiting):
    house, *ports = waiting
    far, below = [Server('127.0.0.2', p) for p in ports]
    try:
        with greeted(house) as c:
            code, lines = c.say('ETRN far.test')
            assert code == 253 and '1 pending' in lines[0]
            assert sent_to(far, 1) == ['a@far.test'] and not below.mail
            wait_for('one to be left', lambda: house.queue()['messages'] == 1)
            assert c.say('ETRN far.test')[0] == 251
            code, lines = c.say('ETRN @FAR.test')
            assert code == 253 and '1 pending' in lines[0], 'and below it'
            assert sent_to(below, 1) == ['b@sub.far.test']
        house.wait_queue_empty()
    finally:
        far.close(), below.close()
    assert [e['messages'] for e in house.events('smtp.etrn')] == ['1', '0', '1']


def test_held_stays(waiting):
    house, *_ = waiting
    house.run('queue', 'hold', '--all')
    with greeted(house) as c:
        assert c.say('ETRN far.test')[0] == 251


def test_syntax(waiting):
    house, *_ = waiting
    with greeted(house) as c:
        assert 'ETRN' in c.say('EHLO client.test')[1]
        for arg, code in (('', 501), ('@', 501), ('a b', 501), ('[192.0.2.1]', 501), ('#queue', 459),
                          ('unheard-of.test', 251)):
            assert c.say('ETRN ' + arg)[0] == code, arg
        assert c.say('MAIL FROM:<x@example.test>')[0] == 250
        assert c.say('ETRN far.test')[0] == 503


def test_who(make_house):
    house = make_house()
    user = house.user('user1')
    with greeted(house) as c:
        assert 'ETRN' not in c.say('EHLO client.test')[1]
        assert c.say('ETRN example.test')[0] == 459, 'strangers may not'
    with house.smtp('submission', user) as c:
        assert c.docmd('ETRN', 'far.test')[0] == 459, 'RFC 6409 section 7'
    house.set('smtp', 'etrn', 'anyone')
    house.run('reload')
    with greeted(house) as c:
        assert c.say('ETRN far.test')[0] == 251
    house.set('smtp', 'etrn', 'off')
    house.run('reload')
    with greeted(house) as c:
        assert c.say('ETRN far.test')[0] == 502
    with house.raw('lmtp') as c:
        c.reply()
        c.say('LHLO client.test')
        assert c.say('ETRN far.test')[0] == 500
