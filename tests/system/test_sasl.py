"""SCRAM-SHA-256 and -PLUS over SMTP and IMAP, app passwords; no user oracle."""
import base64
import contextlib
import hashlib
import hmac
import imaplib
import os
import smtplib

import pytest


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


class Scram:
    """A client (RFC 5802); say(text or None) -> the server's challenge as bytes, or what ended it."""

    def __init__(self, user, password, header='n,,', binding=b''):
        self.nonce = b64(os.urandom(18))
        self.bare = 'n=%s,r=%s' % (user.replace('=', '=3D').replace(',', '=2C'), self.nonce)
        self.header, self.binding, self.password = header, binding, password

    def first(self):
        return self.header + self.bare

    def final(self, server_first):
        fields = dict(f.split('=', 1) for f in server_first.split(','))
        assert fields['r'].startswith(self.nonce) and len(fields['r']) > len(self.nonce) + 10
        self.iterations, self.salt = int(fields['i']), fields['s']
        salted = hashlib.pbkdf2_hmac('sha256', self.password.encode(), base64.b64decode(fields['s']), self.iterations)
        key = hmac.digest(salted, b'Client Key', 'sha256')
        without = 'c=%s,r=%s' % (b64(self.header.encode() + self.binding), fields['r'])
        auth = ','.join((self.bare, server_first, without)).encode()
        sign = hmac.digest(hashlib.sha256(key).digest(), auth, 'sha256')
        self.want = 'v=' + b64(hmac.digest(hmac.digest(salted, b'Server Key', 'sha256'), auth, 'sha256'))
        return without + ',p=' + b64(bytes(a ^ b for a, b in zip(key, sign)))


def over_smtp(c, scram, mech='SCRAM-SHA-256'):
    """The reply code at the end; c: Lines behind EHLO."""
    code, lines = c.say('AUTH %s %s' % (mech, b64(scram.first())))
    if code != 334:
        return code
    code, lines = c.say(b64(scram.final(base64.b64decode(lines[0]).decode())))
    if code != 334:
        return code
    assert base64.b64decode(lines[0]).decode() == scram.want, 'the server does not know the password'
    return c.say('')[0]


@contextlib.contextmanager
def greeted(house, listener='submission', tls=False):
    with house.raw(listener) as c:
        assert c.reply()[0] == 220
        c.offers = c.say('EHLO client.test')[1]
        if tls:
            assert c.say('STARTTLS')[0] == 220
            c.sock = house.tls_context().wrap_socket(c.sock, server_hostname='localhost')
            c.file = c.sock.makefile('rb')
            c.offers = c.say('EHLO client.test')[1]
        yield c


def end_point(c):
    return hashlib.sha256(c.sock.getpeercert(True)).digest()


def test_scram_smtp(house):
    user = house.user('user1')
    with greeted(house) as c:
        assert 'AUTH PLAIN LOGIN SCRAM-SHA-256' in c.offers
        assert over_smtp(c, Scram(user.address, user.password)) == 235
        assert c.say('MAIL FROM:<user1@example.test>')[0] == 250
    with greeted(house) as c:
        assert over_smtp(c, Scram(user.address, 'wrong')) == 535
        assert over_smtp(c, Scram('user1', user.password)) == 235, 'the one domain may be left out'
    with greeted(house) as c:
        assert over_smtp(c, Scram(user.address, user.password, 'n,a=other@example.test,')) == 535
        assert over_smtp(c, Scram(user.address, user.password, 'n,a=user1@example.test,')) == 235


def test_scram_malformed(house):
    user = house.user('user1')
    with greeted(house) as c:
        for first in ('', 'x', 'n,,n=,r=a', 'n,,m=x,n=a,r=b', 'p=tls-unique,,n=user1,r=abc', 'n,,n=a'):
            assert c.say('AUTH SCRAM-SHA-256 ' + (b64(first) or '='))[0] == 535, first
        assert c.say('AUTH SCRAM-SHA-256-PLUS ' + b64('p=tls-exporter,,n=user1,r=abc'))[0] == 504, 'not without TLS'
        assert c.say('AUTH SCRAM-SHA-256 %%%')[0] == 501
        assert c.say('AUTH SCRAM-SHA-256')[0] == 334
        assert c.say('*')[0] == 501
        assert c.say('AUTH SCRAM-SHA-256 ' + b64('n,,n=user1,r=abc'))[0] == 334
        assert c.say(b64('c=biws,r=other,p=' + b64(b'x' * 32)))[0] == 535
        assert over_smtp(c, Scram(user.address, user.password)) == 235


def test_scram_plus(house):
    user = house.user('user1')
    with greeted(house, tls=True) as c:
        assert 'AUTH PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS' in c.offers
        data, plus, header = end_point(c), 'SCRAM-SHA-256-PLUS', 'p=tls-server-end-point,,'
        assert over_smtp(c, Scram(user.address, user.password, header, b'x' * 32), plus) == 535, 'another channel'
        assert over_smtp(c, Scram(user.address, user.password, header), plus) == 535
        assert over_smtp(c, Scram(user.address, user.password), plus) == 535, 'no binding'
        assert over_smtp(c, Scram(user.address, user.password, header, data)) == 535, 'the other mechanism'
        assert over_smtp(c, Scram(user.address, user.password, 'y,,')) == 535, 'the offer was taken out'
        assert over_smtp(c, Scram(user.address, user.password, header, data), plus) == 235


def test_no_oracle(house):
    """A name that nobody has looks like any other: same salt each time, same iterations."""
    user = house.user('user1')
    salts = {}
    with greeted(house) as c:
        for name in (user.address, 'nobody@example.test', 'nobody', 'nobody@example.test', 'other@example.test',
                     user.address, 'user1'):
            scram = Scram(name, 'x')
            assert over_smtp(c, scram) == 535
            salts.setdefault(name.partition('@')[0], set()).add((scram.salt, scram.iterations))
    assert all(len(s) == 1 for s in salts.values()), salts
    assert len({s for v in salts.values() for s, _ in v}) == 3
    assert len({i for v in salts.values() for _, i in v}) == 1
    house.stop()
    house.start()
    with greeted(house) as c:
        scram = Scram('nobody@example.test', 'x')
        assert over_smtp(c, scram) == 535
        assert salts['nobody'] == {(scram.salt, scram.iterations)}, 'a restart changes nothing'


def imap_scram(m, scram, mech):
    def step(data, state=[]):
        state.append(data)
        if not data:
            return scram.first().encode()
        text = bytes(data).decode()
        if text.startswith('v='):
            assert text == scram.want
            return b''
        return scram.final(text).encode()
    return m.authenticate(mech, step)


def test_scram_imap(house):
    user = house.user('user1')
    m = house.imap()
    assert {'AUTH=PLAIN', 'AUTH=LOGIN', 'AUTH=SCRAM-SHA-256'} <= set(m.capabilities)
    with pytest.raises(imaplib.IMAP4.error):
        imap_scram(m, Scram(user.address, 'wrong'), 'SCRAM-SHA-256')
    assert imap_scram(m, Scram(user.address, user.password), 'SCRAM-SHA-256')[0] == 'OK'
    assert m.select()[0] == 'OK'
    m.logout()
    m = house.imap(tls=True)
    assert 'AUTH=SCRAM-SHA-256-PLUS' in m.capabilities
    data = hashlib.sha256(m.sock.getpeercert(True)).digest()
    scram = Scram(user.address, user.password, 'p=tls-server-end-point,,', data)
    assert imap_scram(m, scram, 'SCRAM-SHA-256-PLUS')[0] == 'OK'
    m.logout()


def test_new_password(house):
    """The keys change with the password."""
    user = house.user('user1')
    house.run('user', 'passwd', user, input='another\n')
    with greeted(house) as c:
        assert over_smtp(c, Scram(user.address, user.password)) == 535
        assert over_smtp(c, Scram(user.address, 'another')) == 235


def test_suspended(house):
    user = house.user('user1')
    house.run('user', 'suspend', user)
    with greeted(house) as c:
        assert over_smtp(c, Scram(user.address, user.password)) == 535


def test_app_passwords(house):
    user = house.user('user1')
    made = {label: house.run('user', 'app-password', 'add', user, label).stdout.strip() for label in ('phone', 'tablet')}
    assert len(set(made.values())) == 2 and all(len(p) == 29 for p in made.values())
    assert house.run('user', 'app-password', 'add', user, 'phone', check=False).returncode
    assert house.run('user', 'app-password', 'add', 'nobody@example.test', 'x', check=False).returncode
    assert [r['label'] for r in house.json('user', 'app-password', 'list', user)] == ['phone', 'tablet']
    for password in (*made.values(), user.password):
        with house.smtp('submission') as s:
            s.login(user.address, password)
        m = house.imap()
        assert m.login(user.address, password)[0] == 'OK'
        m.logout()
    m = house.imap()
    m.login(user.address, made['phone'])
    house.run('user', 'app-password', 'delete', user, 'phone')
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        for _ in range(50):
            m.noop()
    for password in (made['phone'], 'a' + made['tablet'][1:] if made['tablet'][0] != 'a' else 'b' + made['tablet'][1:]):
        with house.smtp('submission') as s, pytest.raises(smtplib.SMTPAuthenticationError):
            s.login(user.address, password)
    with house.smtp('submission') as s:
        s.login(user.address, made['tablet'])
    assert house.run('user', 'app-password', 'delete', user, 'phone', check=False).returncode
    with open(house.dir + '/directory/directory.db', 'rb') as f:
        assert made['tablet'].encode() not in f.read(), 'only a hash is kept'
