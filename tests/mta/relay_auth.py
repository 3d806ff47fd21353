"""The servers' side of AUTH for relay_house: PLAIN, LOGIN, XOAUTH2, SCRAM-SHA-256 by hashlib."""
import base64
import hashlib
import hmac


def coded(b):
    return base64.b64encode(b if isinstance(b, bytes) else b.encode()).decode()


def read(session):
    return base64.b64decode(session.f.readline().strip())


def end(session, good):
    session.say('235 2.7.0 welcome' if good else '535 5.7.8 no')


def plain(session, first):
    _, user, password = base64.b64decode(first).decode().split('\0')
    end(session, session.s.users.get(user) == password)


def login(session, first):
    session.say('334 ' + coded('Username:'))
    user = read(session).decode()
    session.say('334 ' + coded('Password:'))
    end(session, session.s.users.get(user) == read(session).decode())


def xoauth2(session, first):
    parts = base64.b64decode(first).decode().split('\1')
    user, token = parts[0][5:], parts[1][len('auth=Bearer '):]
    if session.s.users.get(user) == token:
        end(session, True)
        return
    session.say('334 ' + coded('{"status":"401"}'))
    session.f.readline()
    end(session, False)


def scram(session, first):
    client_first = base64.b64decode(first).decode()
    bare = client_first[3:]
    attrs = dict(x.split('=', 1) for x in bare.split(','))
    user = attrs['n'].replace('=2C', ',').replace('=3D', '=')
    salt, count = b'salt of the test', 4096
    server_first = 'r=%sMORE,s=%s,i=%d' % (attrs['r'], coded(salt), count)
    if session.s.script.get('scram') == 'short':
        server_first = 'r=%s,s=%s,i=%d' % (attrs['r'], coded(salt), count)
    if session.s.script.get('scram') == 'cheap':
        server_first = 'r=%sMORE,s=%s,i=1' % (attrs['r'], coded(salt))
    session.say('334 ' + coded(server_first))
    final = read(session).decode()
    without, proof = final.rsplit(',p=', 1)
    message = ','.join((bare, server_first, without)).encode()
    salted = hashlib.pbkdf2_hmac('sha256', session.s.users.get(user, 'nobody').encode(), salt, count)
    client_key = hmac.digest(salted, b'Client Key', 'sha256')
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, 'sha256')
    if bytes(a ^ b for a, b in zip(client_key, signature)) != base64.b64decode(proof):
        end(session, False)
        return
    server = hmac.digest(hmac.digest(salted, b'Server Key', 'sha256'), message, 'sha256')
    if session.s.script.get('scram') == 'liar':
        server = bytes(32)
    session.say('334 ' + coded(b'v=' + coded(server).encode()))
    session.f.readline()
    end(session, True)


def serve(session, line):
    words = line.split(' ')
    run = {'PLAIN': plain, 'LOGIN': login, 'XOAUTH2': xoauth2, 'SCRAM-SHA-256': scram}.get(words[1])
    if not run:
        session.say('504 5.5.4 what?')
        return
    run(session, words[2] if len(words) > 2 else '')
