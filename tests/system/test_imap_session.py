"""The life of an IMAP session: greeting, TLS, log-in, capabilities, limits, malformed input."""
import base64
import socket
import time

import pytest

from conftest import PATIENCE, wait_for
from imapscript import Imap


def caps(answer):
    return answer.find(r'CAPABILITY (.*)')[0].split()


def plain(user, password=None, authzid=''):
    return base64.b64encode('\0'.join([authzid, user.address, password or user.password]).encode()).decode()


@pytest.fixture
def user(house):
    return house.user('user1')


def test_greeting_and_capabilities(house, user):
    with Imap(house) as c:
        assert c.greeting.startswith('* OK [CAPABILITY IMAP4rev1 ')
        before = caps(c.ok('CAPABILITY'))
        assert {'STARTTLS', 'AUTH=PLAIN', 'SASL-IR', 'LITERAL+', 'ID', 'ENABLE'} <= set(before)
        assert 'LOGINDISABLED' not in before   # plaintext is allowed on loopback
        c.bad('SELECT INBOX')
        c.bad('LIST "" *')
        c.ok('NOOP')
        c.ok('ID ("name" "test" "version" NIL)')
        c.ok('ID NIL')
        r = c.ok('LOGIN %s %s' % (user, user.password))
        assert r.code().startswith('CAPABILITY ')
        after = caps(c.ok('CAPABILITY'))
        assert {'IDLE', 'NAMESPACE', 'UIDPLUS', 'MOVE', 'UNSELECT', 'CHILDREN', 'SPECIAL-USE',
                'CONDSTORE', 'LITERAL+', 'ENABLE'} <= set(after)
        assert not {'STARTTLS', 'AUTH=PLAIN', 'LOGINDISABLED'} & set(after)
        c.bad('LOGIN %s %s' % (user, user.password))
        c.bad('STARTTLS')
        assert c.ok('NAMESPACE').has(r'NAMESPACE \(\("" "/"\)\) NIL NIL')
        r = c.ok('LOGOUT')
        assert r.has('BYE ')
        assert c.response() == ''


def test_log_in_ways(house, user):
    u, p = user.address, user.password
    good = ['LOGIN %s %s' % (u, p), 'LOGIN "%s" "%s"' % (u, p), 'login %s %s' % (u.upper(), p)]
    for line in good:
        with Imap(house) as c:
            c.ok(line)
    with Imap(house) as c:
        c.ok('LOGIN', u.encode(), p.encode())
    with Imap(house) as c:   # non-synchronizing literals
        c.send('t LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n' % (len(u), u, len(p), p))
        assert c.answer('t').status == 'OK'
    with Imap(house) as c:   # an initial response
        c.ok('AUTHENTICATE PLAIN ' + plain(user))
    with Imap(house) as c:   # authzid may name oneself
        c.ok('AUTHENTICATE PLAIN ' + plain(user, authzid=u))
    with Imap(house) as c:
        tag = c.begin('AUTHENTICATE PLAIN')
        assert c.response() == '+ '
        c.send(plain(user) + '\r\n')
        assert c.answer(tag).status == 'OK'
        c.ok('SELECT INBOX')
    with Imap(house) as c:
        tag = c.begin('AUTHENTICATE LOGIN')
        for word in (u, p):
            assert c.response().startswith('+ ')
            c.send(base64.b64encode(word.encode()) + b'\r\n')
        assert c.answer(tag).status == 'OK'
    assert house.imap(user, tls=True).select()[0] == 'OK'


def test_log_ins_refused(house, user):
    with Imap(house) as c:
        r = c.no('LOGIN %s wrong' % user)
        assert r.code() == 'AUTHENTICATIONFAILED'
        r = c.no('LOGIN nobody@example.test wrong')
        assert r.code() == 'AUTHENTICATIONFAILED'
        c.no('AUTHENTICATE PLAIN ' + plain(user, 'wrong'))
    with Imap(house) as c:
        c.no('AUTHENTICATE PLAIN ' + plain(user, authzid='other@example.test'))
        c.no('AUTHENTICATE NTLM')
        c.bad('AUTHENTICATE PLAIN !!!')
        c.bad('AUTHENTICATE PLAIN ' + base64.b64encode(b'no zeros').decode())
        c.bad('AUTHENTICATE PLAIN =')
        tag = c.begin('AUTHENTICATE PLAIN')
        c.response()
        c.send('*\r\n')
        assert c.answer(tag).status == 'BAD'
        c.bad('LOGIN')
        c.bad('LOGIN one')
        c.bad('LOGIN one two three')
        c.ok('LOGIN %s %s' % (user, user.password))


def test_starttls(house, user):
    with Imap(house) as c:
        # what comes ahead of the handshake must not count after it
        c.send('t STARTTLS\r\nx LOGIN %s %s\r\n' % (user, user.password))
        assert c.answer('t').status == 'OK'
        c.starttls(house)
        r = c.ok('CAPABILITY')
        assert 'STARTTLS' not in caps(r)
        assert not any(line.startswith('x ') for line in r.untagged)
        c.bad('STARTTLS')
        c.bad('SELECT INBOX')
        c.ok('LOGIN %s %s' % (user, user.password))
        c.ok('SELECT INBOX')


def test_no_log_in_without_tls(make_house):
    house = make_house(start=False)
    house.set(None, 'plaintext-auth-from', 'none')
    house.start()
    user = house.user('user1')
    with Imap(house) as c:
        assert 'LOGINDISABLED' in c.greeting and 'AUTH=' not in c.greeting
        assert c.no('LOGIN %s %s' % (user, user.password)).code() == 'PRIVACYREQUIRED'
        assert c.no('AUTHENTICATE PLAIN ' + plain(user)).code() == 'PRIVACYREQUIRED'
        c.ok('STARTTLS')
        c.starttls(house)
        assert 'LOGINDISABLED' not in caps(c.ok('CAPABILITY'))
        c.ok('AUTHENTICATE PLAIN ' + plain(user))


def test_malformed_input(house, user):
    before = house.metric('imap_bad_commands_total')
    with Imap(house) as c:
        for line in ['', ' ', '*', '* OK', '+ x', '(a) NOOP', '"a" NOOP', '\x00\x01', '\xff\xfe NOOP']:
            c.send(line.encode('latin-1') + b'\r\n')
            assert ' BAD ' in c.response(), line
        c.bad('NO\0OP')
        c.bad('NOOP NOOP')
        c.bad('NOOP ')
        c.bad('FROBNICATE')
        c.bad('')
        c.ok('NOOP')
    assert house.metric('imap_bad_commands_total') >= before + 13
    with Imap(house, user) as c:
        c.ok('SELECT INBOX')
        for line in ['UID', 'UID NOOP', 'UID SELECT INBOX', 'SELECT', 'SELECT ()', 'SELECT "INBOX',
                     'SELECT INBOX (QRESYNC)', 'STATUS INBOX', 'STATUS INBOX ()', 'STATUS INBOX (SIZES)',
                     'STORE 1', 'STORE 0 FLAGS ()', 'STORE 1 FLAGS (\\Wrong)', 'STORE 1 FLUGS ()',
                     'COPY 1', 'COPY x INBOX', 'UID EXPUNGE']:
            c.bad(line)
            c.ok('NOOP')   # so that the row of BADs does not end the session
        c.bad('CREATE "&Jjo"')   # not modified UTF-7
    with Imap(house, user) as c:
        for _ in range(20):
            c.bad('FROB')
        c.send('t FROB\r\n')
        assert [c.response()[:5] for _ in range(3)] == ['t BAD', '* BYE', '']


def test_long_lines_and_literals(house, user):
    with Imap(house) as c:
        c.send(b't LOGIN ' + b'x' * 100000 + b' y\r\n')
        assert c.answer('t').status == 'BAD'
        assert c.bad('LOGIN', b'u' * 20000).code() == 'TOOBIG'
        c.send(b't LOGIN {20000+}\r\n' + b'u' * 20000 + b' {5+}\r\nabcde\r\n')
        r = c.answer('t')
        assert (r.status, r.code()) == ('BAD', 'TOOBIG')
        c.ok('LOGIN %s %s' % (user, user.password))
        c.send(b't SELECT ' + b'x' * 3000000 + b'\r\n')
        assert c.answer('t').status == 'BAD'
        c.send(b't SELECT "' + b'x' * 3000000 + b'" {7+}\r\nx NOOP\r\n\r\n')
        r = c.answer('t')
        assert r.status == 'BAD' and not any(u.startswith('x ') for u in r.untagged)
        c.bad('SELECT {99999999999999999999}')
        c.bad('SELECT {5000000000}')
        c.ok('SELECT INBOX')
        c.send(b't SELECT {5000000000+}\r\n')
        r = c.answer('t')
        assert r.status == '' and r.has(r'BYE \[TOOBIG\]')


def test_pipelined_commands(house, user):
    with Imap(house, user) as c:
        c.send(''.join('p%d %s\r\n' % (i, line) for i, line in enumerate(
            ['SELECT INBOX', 'NOOP', 'STATUS Sent (MESSAGES)', 'CREATE a', 'SELECT a', 'CLOSE', 'DELETE a',
             'LOGOUT'])))
        for i in range(8):
            assert c.answer('p%d' % i).status == 'OK', i
    with Imap(house, user) as c:   # byte by byte
        for b in b'q SELECT "INBOX"\r\n':
            c.send(bytes([b]))
        assert c.answer('q').status == 'OK'
    with Imap(house, user) as c:   # lines that end in LF alone are understood
        c.send('q NOOP\n')
        assert c.answer('q').status == 'OK'


def test_time_limits(make_house):
    house = make_house(start=False)
    house.set('imap', 'login-timeout', '1s')
    house.set('imap', 'idle-limit', '2s')
    house.set('imap', 'keepalive', '1s')
    house.start()
    user = house.user('user1')
    with Imap(house) as c:
        assert c.response().startswith('* BYE [UNAVAILABLE]')
        assert c.response() == ''
    with Imap(house, user) as c:
        c.ok('SELECT INBOX')
        began = time.monotonic()
        assert c.response().startswith('* BYE ')
        assert time.monotonic() - began > 1
    with Imap(house, user) as c:
        c.begin('IDLE')
        assert c.response().startswith('+ ')
        assert c.response() == '* OK Still here'


def test_session_limits(make_house):
    house = make_house(start=False)
    house.set('imap', 'sessions-per-user', '3')
    house.set('imap', 'sessions', '10')
    house.set('processes', 'imapd', '1')
    house.start()
    user = house.user('user1')
    three = [Imap(house, user) for _ in range(3)]
    with Imap(house) as c:
        assert c.no('LOGIN %s %s' % (user, user.password)).code() == 'LIMIT'
    three.pop().close()

    def again():
        with Imap(house) as c:
            return c.cmd('LOGIN %s %s' % (user, user.password)).status == 'OK'
    wait_for('room for one more session', again)
    more = [socket.create_connection(('127.0.0.1', house.port('imap')), timeout=PATIENCE) for _ in range(15)]
    try:
        greetings = [s.recv(100) for s in more]
        assert greetings[-1].startswith(b'* BYE ')
    finally:
        for s in more + three:
            s.close()


def test_revocation(house, user):
    with Imap(house, user) as c, Imap(house, user) as idle:
        c.ok('SELECT INBOX')
        idle.ok('SELECT INBOX')
        idle.begin('IDLE')
        idle.response()
        house.run('user', 'passwd', user.address, input='another-secret\n')
        assert idle.response().startswith('* BYE ')
        assert idle.response() == ''
        assert c.response().startswith('* BYE ')
    with Imap(house) as c:
        c.no('LOGIN %s %s' % (user, user.password))
        c.ok('LOGIN %s another-secret' % user)
        house.run('user', 'delete', user.address)
        assert c.response().startswith('* BYE ')
