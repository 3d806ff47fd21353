"""OAUTHBEARER and XOAUTH2: log-ins by tokens that somebody else signed, over SMTP and IMAP."""
import base64
import imaplib
import json
import os
import subprocess
import time

import pytest

ISSUER, AUDIENCE = 'https://id.example.test', 'mail'


def b64url(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()).rstrip(b'=').decode()


def openssl(*args, data=None):
    return subprocess.run(['openssl', *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=True).stdout


class Signer:
    """Signs by RS256; .pem is its public key."""

    def __init__(self, dir_):
        self.key = os.path.join(str(dir_), 'key.pem')
        openssl('genrsa', '-out', self.key, '2048')
        self.pem = openssl('rsa', '-in', self.key, '-pubout')

    def token(self, name, alg='RS256', **claims):
        body = dict(iss=ISSUER, aud=AUDIENCE, exp=int(time.time()) + 300, email=name)
        body.update(claims)
        text = b64url(json.dumps({'alg': alg})) + '.' + b64url(json.dumps(body))
        if alg == 'none':
            return text + '.'
        return text + '.' + b64url(openssl('dgst', '-sha256', '-sign', self.key, data=text.encode()))


@pytest.fixture
def signed(make_house, tmp_path):
    """(a house that takes the tokens of a signer, the signer)"""
    s = Signer(tmp_path)
    house = make_house(start=False)
    keys = os.path.join(house.dir, 'token-keys.pem')
    with open(keys, 'wb') as f:
        f.write(s.pem)
    house.add('auth { token-keys file "%s"  token-issuer "%s"  token-audience "%s" }\n' % (keys, ISSUER, AUDIENCE))
    house.start()
    return house, s


def bearer(token, user=''):
    return 'n,%s,\x01host=localhost\x01auth=Bearer %s\x01\x01' % ('a=' + user if user else '', token)


def xoauth2(token, user):
    return 'user=%s\x01auth=Bearer %s\x01\x01' % (user, token)


def over_smtp(house, mech, message, tls=True):
    with house.smtp('submission') as c:
        if tls:
            c.starttls(context=house.tls_context())
        c.ehlo()
        offers = c.esmtp_features.get('auth', '').split()
        if mech not in offers:
            return None
        code, text = c.docmd('AUTH', mech + ' ' + base64.b64encode(message.encode()).decode())
        if code == 334:
            assert json.loads(base64.b64decode(text))['status'] == 'invalid_token'
            code, text = c.docmd(base64.b64encode(b'\x01').decode())
        return code


def over_imap(house, mech, message):
    m = house.imap(tls=True)
    try:
        return m.authenticate(mech, lambda challenge: message.encode() if not challenge else b'\x01')[0]
    except imaplib.IMAP4.error:
        return 'NO'
    finally:
        m.shutdown()


def test_good(signed):
    house, s = signed
    user = house.user('user1')
    token = s.token(str(user))
    assert over_smtp(house, 'OAUTHBEARER', bearer(token)) == 235
    assert over_smtp(house, 'OAUTHBEARER', bearer(token, str(user))) == 235
    assert over_smtp(house, 'XOAUTH2', xoauth2(token, str(user))) == 235
    assert over_imap(house, 'OAUTHBEARER', bearer(token, str(user))) == 'OK'
    assert over_imap(house, 'XOAUTH2', xoauth2(token, str(user))) == 'OK'


def test_bad(signed, tmp_path):
    """Each refused alike, whoever is named; the reason is for the log."""
    house, s = signed
    user, other = house.user('user1'), house.user('user2')
    os.mkdir(str(tmp_path / 'x'))
    stranger = Signer(tmp_path / 'x')
    good = s.token(str(user))
    for token in (stranger.token(str(user)), s.token(str(user), alg='none'), s.token(str(user), alg='HS256'),
                  s.token(str(user), aud='web')):
        assert over_smtp(house, 'OAUTHBEARER', bearer(token)) == 535
    house.run('reload')
    for token in (s.token(str(user), exp=int(time.time()) - 300), s.token('nobody@example.test')):
        assert over_smtp(house, 'OAUTHBEARER', bearer(token)) == 535
    assert over_smtp(house, 'XOAUTH2', xoauth2(good, str(other))) == 535, 'a token is nobody else'
    assert over_imap(house, 'XOAUTH2', xoauth2(good, str(other))) == 'NO'
    why = [e['why'] for e in house.events('auth.token_refused')]
    assert why[:4] == ['no key fits the token', 'not a token', 'no key fits the token',
                       'the token is for another audience']


def test_failures_count(signed):
    """Bad tokens grow the same delay as bad passwords."""
    house, s = signed
    user = house.user('user1')
    bad = bearer(s.token(str(user), aud='web'), str(user))
    took = []
    for _ in range(6):
        start = time.monotonic()
        assert over_smtp(house, 'OAUTHBEARER', bad) == 535
        took.append(time.monotonic() - start)
    assert max(took[4:]) > min(took[:2]) + 0.5, took


def test_only_where_it_may(signed, make_house):
    house, s = signed
    user = house.user('user1')
    assert over_smtp(house, 'OAUTHBEARER', bearer(s.token(str(user))), tls=False) is None, 'not without TLS'
    plain = make_house()
    assert over_smtp(plain, 'OAUTHBEARER', bearer(s.token(str(user)))) is None, 'not without keys'


def test_suspended(signed):
    house, s = signed
    user = house.user('user1')
    house.run('user', 'suspend', user)
    assert over_smtp(house, 'OAUTHBEARER', bearer(s.token(str(user)))) == 535
