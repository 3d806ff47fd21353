"""Parameters of MAIL and RCPT beyond RFC 5321: DSN, REQUIRETLS, DELIVERBY, FUTURERELEASE, MT-PRIORITY, LIMITS."""
import base64
import contextlib
import datetime

import pytest


@contextlib.contextmanager
def greeted(house, listener='smtp', hello='EHLO'):
    with house.raw(listener) as c:
        assert c.reply()[0] == 220
        c.offers = c.say(hello + ' client.test')[1]
        yield c


def start_tls(house, c):
    assert c.say('STARTTLS')[0] == 220
    c.sock = house.tls_context().wrap_socket(c.sock, server_hostname='localhost')
    c.file = c.sock.makefile('rb')
    c.offers = c.say('EHLO client.test')[1]


def log_in(c, user):
    plain = base64.b64encode(('\0%s\0%s' % (user.address, user.password)).encode()).decode()
    assert c.say('AUTH PLAIN ' + plain)[0] == 235


def mail(c, params, sender='a@b.test'):
    code, lines = c.say('MAIL FROM:<%s> %s' % (sender, params))
    c.say('RSET')
    return code, lines[-1].split()[0]


MAIL = [
    ('RET=FULL', 250), ('ret=hdrs', 250), ('RET=BODY', 501), ('RET', 501), ('RET=FULL RET=FULL', 501),
    ('ENVID=QQ314159', 250), ('ENVID=a+2Bb', 250), ('ENVID=' + 'x' * 100, 250), ('ENVID=' + 'x' * 101, 501),
    ('ENVID=', 501), ('ENVID', 501), ('ENVID=a+0A', 501), ('ENVID=a+zz', 501), ('ENVID=a=b', 501), ('ENVID=x ENVID=y', 501),
    ('RET=HDRS ENVID=x SIZE=100 BODY=8BITMIME SMTPUTF8', 250), ('NOTIFY=NEVER', 555), ('ORCPT=rfc822;a@b.test', 555),
    ('BY=120;R', 250), ('BY=-1;N', 250), ('BY=120;RT', 250), ('BY=0;R', 501), ('BY=-1;R', 501), ('BY=120', 501),
    ('BY=1000000000;R', 501), ('BY=120;R BY=120;R', 501), ('MT-PRIORITY=3', 250), ('MT-PRIORITY=-9', 250),
    ('MT-PRIORITY=10', 501), ('MT-PRIORITY', 501), ('HOLDFOR=60', 555), ('HOLDUNTIL=2030-01-01T00:00:00Z', 555),
    ('REQUIRETLS', 555),
]
RCPT = [
    ('NOTIFY=NEVER', 250), ('NOTIFY=SUCCESS,FAILURE,DELAY', 250), ('notify=success', 250), ('NOTIFY=NEVER,DELAY', 501),
    ('NOTIFY=', 501), ('NOTIFY', 501), ('NOTIFY=ALWAYS', 501), ('NOTIFY=DELAY NOTIFY=DELAY', 501),
    ('ORCPT=rfc822;user1@example.test', 250), ('ORCPT=rfc822;a+2Bb@example.test NOTIFY=SUCCESS', 250),
    ('ORCPT=rfc822;' + 'x' * 493, 250), ('ORCPT=rfc822;' + 'x' * 494, 501), ('ORCPT=user1@example.test', 501),
    ('ORCPT=rfc822;a+0D+0Ab', 501), ('ORCPT=;x', 501), ('ORCPT=rfc822;', 501), ('ORCPT', 501),
    ('ORCPT=utf-8;us\\x{E9}r@example.test', 250), ('ORCPT=utf-8;us\u00e9r@example.test', 501),
    ('ORCPT=rfc822;a ORCPT=rfc822;b', 501), ('RET=FULL', 555), ('SIZE=1', 555),
]


@pytest.mark.parametrize('listener', ['smtp', 'lmtp'])
def test_syntax(make_house, listener):
    house = make_house(smtp__error_limit=1000)
    house.user('user1')
    with greeted(house, listener, 'LHLO' if listener == 'lmtp' else 'EHLO') as c:
        assert {'DSN', 'DELIVERBY', 'MT-PRIORITY', 'LIMITS RCPTMAX=1000'} <= set(c.offers)
        assert not [x for x in c.offers if x.startswith(('FUTURERELEASE', 'REQUIRETLS'))]
        for params, code in MAIL:
            assert mail(c, params)[0] == code, params
        for params, code in RCPT:
            assert c.say('MAIL FROM:<a@b.test>')[0] == 250
            assert c.say('RCPT TO:<user1@example.test> ' + params)[0] == code, params
            assert c.say('RSET')[0] == 250
        assert c.say('MAIL FROM:<a@b.test> SMTPUTF8')[0] == 250
        assert c.say('RCPT TO:<user1@example.test> ORCPT=utf-8;us\u00e9r@example.test')[0] == 250


def test_enhanced_codes(house):
    house.user('user1')
    with greeted(house) as c:
        assert mail(c, 'MT-PRIORITY=11') == (501, '5.5.2')
        assert mail(c, 'MT-PRIORITY=4') == (250, '2.3.6'), 'a stranger gets no priority'
        assert mail(c, 'MT-PRIORITY=-4') == (250, '2.1.0')
        assert mail(c, 'ENVID=a=b') == (501, '5.5.4')


def test_priority_of_users(house):
    user = house.user('user1')
    with greeted(house, 'submission') as c:
        log_in(c, user)
        assert mail(c, 'MT-PRIORITY=4', user) == (250, '2.1.0')


def test_future_release(make_house):
    house = make_house(smtp__future_release_max='1h')
    user = house.user('user1')

    def at(seconds):
        when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        return when.strftime('%Y-%m-%dT%H:%M:%SZ')

    with greeted(house, 'submission') as c:
        [offer] = [x for x in c.offers if x.startswith('FUTURERELEASE ')]
        _, interval, until = offer.split()
        assert interval == '3600' and at(3500) < until < at(3700)
        log_in(c, user)
        for params, code in (('HOLDFOR=3600', 250), ('HOLDFOR=3700', 501), ('HOLDFOR=0', 501), ('HOLDFOR=x', 501),
                             ('HOLDUNTIL=' + at(1800), 250), ('HOLDUNTIL=' + at(4000), 501), ('HOLDUNTIL=' + at(-60), 501),
                             ('HOLDUNTIL=tomorrow', 501), ('HOLDFOR=60 HOLDUNTIL=' + at(60), 501)):
            assert mail(c, params, user)[0] == code, params


def test_future_release_off(make_house):
    house = make_house(smtp__future_release_max='off')
    user = house.user('user1')
    with greeted(house, 'submission') as c:
        assert not [x for x in c.offers if x.startswith('FUTURERELEASE')]
        log_in(c, user)
        assert mail(c, 'HOLDFOR=60', user)[0] == 555


def test_requiretls(house):
    house.user('user1')
    with greeted(house) as c:
        start_tls(house, c)
        assert 'REQUIRETLS' in c.offers
        assert mail(c, 'REQUIRETLS')[0] == 250
        assert mail(c, 'REQUIRETLS=1')[0] == 501
        assert mail(c, 'REQUIRETLS REQUIRETLS')[0] == 501


def test_discard_extensions(make_house):
    house = make_house(smtp__discard_extensions='"dsn 8BITMIME SMTPUTF8 XCLIENT"')
    house.user('user1')
    with greeted(house) as c:
        words = [x.split()[0] for x in c.offers]
        assert not {'DSN', '8BITMIME', 'SMTPUTF8', 'XCLIENT'} & set(words)
        assert {'PIPELINING', 'MT-PRIORITY'} <= set(words)
        for params in ('RET=FULL', 'BODY=8BITMIME', 'SMTPUTF8'):
            assert mail(c, params) == (555, '5.5.4')


def test_long_command_line(house):
    """RFC 3461 section 5.4: ORCPT of 500 characters beside the longest path."""
    house.user('user1')
    with greeted(house) as c:
        assert c.say('MAIL FROM:<a@b.test>')[0] == 250
        path = '@' + '.'.join(['x' * 60] * 4) + ':user1@example.test'
        line = 'RCPT TO:<%s> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;%s' % (path, 'y' * 493)
        assert c.say(line)[0] == 250
