"""MTA-STS (RFC 8461): what a domain's policy forbids is not done, whatever its web server does."""
import hashlib
import subprocess
import time

import pytest

from conftest import wait_for
from stsworld import World, answer, hang, policy


@pytest.fixture
def world(make_house, tmp_path):
    w = World(make_house, tmp_path)
    yield w
    w.close()


def test_enforced(world):
    """The right certificate: verified; the policy is fetched once, and found again after a restart
    although its server is gone."""
    world.web.page = policy()
    world.start()
    world.send()
    world.arrives()
    assert world.house.events('relay.tried')[-1]['verified'] == '1'
    assert b'GET /.well-known/mta-sts.txt HTTP/1.1\n' in world.web.requests[0][0]
    assert world.house.events('sts.policy')[0]['mode'] == 'enforce'
    world.send('b@dest.test')
    world.arrives(n=2)
    assert len(world.web.requests) == 1
    assert 'mode: enforce' in world.house.run('tls', 'policy', 'dest.test').stdout
    assert world.house.json('tls', 'policy', 'dest.test')['mx'] == ['mx.dest.test']
    world.house.wait_event('relay.tried')
    world.web.close()
    time.sleep(3)   # what was fetched is written down within two seconds
    world.house.kill('fetchd')
    world.house.wait_ready()
    del world.records['_mta-sts.dest.test', 'TXT']
    world.tell()
    world.mx.mail.clear()
    world.mx.tls = world.tls('stranger')
    world.house.kill('relayd', 0)
    world.house.kill('relayd', 1)
    world.house.wait_ready()
    world.send('c@dest.test')
    world.kept('the certificate was refused')
    world.mx.tls = world.tls('mx.dest.test')
    world.arrives()
    assert world.house.metric('sts_policies') == 1


@pytest.mark.parametrize('cert', ['stranger', 'own', None])
def test_mismatch(world, cert):
    """Another's certificate, one of an unknown authority, no TLS: the mail is kept."""
    world.web.page = policy(mx=['*.dest.test'])
    world.mx.tls = cert and world.tls(cert)
    world.start()
    world.send()
    world.kept('certificate was refused' if cert else 'offers no TLS')


def test_stranger(world):
    """A mail server that the policy does not name is passed over, and the next one taken."""
    world.web.page = policy(mx=['other.dest.test'], eol='\n')
    world.records['dest.test', 'MX'] = ['5 mx.dest.test.', '10 other.dest.test.']
    world.records['other.dest.test', 'A'] = ['127.0.0.3']
    other = world.server('127.0.0.3', 'other.dest.test')
    world.start()
    world.send()
    world.arrives(other)
    assert not world.mx.connections
    assert 'not among the servers' in world.house.events('relay.host_failed')[0]['text']


def test_testing(world):
    """A policy that is only tried: it is heeded first, and then the mail goes as it would without."""
    world.web.page = policy('testing')
    world.mx.tls = world.tls('stranger')
    world.start()
    world.send()
    world.arrives()
    assert world.house.events('relay.sts_failed')[0]['host'] == 'mx.dest.test'
    assert world.house.events('relay.tried')[-1]['tls'].startswith('TLS')


def test_mode_none(world):
    world.web.page = policy('none', mx=[])
    world.mx.tls = None
    world.start()
    world.send()
    world.arrives()


def test_expired(world):
    """A policy holds for its max_age and no longer, when no new one can be had."""
    world.web.page = policy(max_age=10)
    world.start()
    world.send()
    world.arrives()
    world.web.page = lambda conn, head: conn.sendall(answer(b'gone', '404 Not Found'))
    world.mx.tls = world.tls('stranger')
    world.mx.mail.clear()
    world.house.kill('relayd', 0)   # connections that are open go with them
    world.house.kill('relayd', 1)
    world.house.wait_ready()
    before = time.monotonic()
    world.send('b@dest.test')
    world.arrives()
    assert time.monotonic() - before > 0.5


def test_newer_cannot_be_fetched(world):
    """A new id, and a server that fails: the old policy still holds. Then it is there."""
    world.web.page = policy()
    world.start()
    world.send()
    world.arrives()
    world.web.page = lambda conn, head: conn.sendall(answer(b'no', '500 Oops'))
    world.mx.mail.clear()
    world.mx.tls = world.tls('stranger')
    world.id(2)
    world.tell()
    time.sleep(1.1)
    world.house.kill('relayd', 0)   # connections that are open go with them
    world.house.kill('relayd', 1)
    world.house.wait_ready()
    world.send('b@dest.test')
    failed = world.house.wait_event('sts.fetch_failed')[0]
    assert failed['kept'] == '1' and 'answers 500' in failed['why']
    world.kept('certificate was refused')
    world.web.page = policy('none', mx=[])
    world.arrives()
    assert world.house.events('sts.policy')[-1]['id'] == '2'


def test_refreshed(world):
    """Past half of its life a policy that is in use is fetched again, under the same id."""
    world.web.page = policy(max_age=6)
    world.start()
    world.send()
    world.arrives()
    got = world.house.wait_event('sts.policy', lambda f: f['refreshed'] == '1')
    assert got[0]['id'] == '1' and len(world.web.requests) >= 2


def raw(data):
    return lambda conn, head: conn.sendall(data)


def endless(conn, head):
    conn.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n')
    for _ in range(10000):
        conn.sendall(b'mx: mx.dest.test\n' * 100)


def header(conn, head):
    conn.sendall(b'HTTP/1.1 200 OK\r\n')
    for _ in range(10000):
        conn.sendall(b'X-More: ' + b'x' * 1000 + b'\r\n')


BAD = {
    'hang': (hang, 'timeout'),
    'endless': (endless, 'too-long'),
    'header': (header, 'broken'),
    'large': (raw(answer(policy() + b'x: y\n' * 20000)), 'too-long'),
    'type': (raw(answer(policy(), kind='text/html')), 'text/html'),
    'no type': (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'), 'not text/plain'),
    'redirect': (raw(answer(b'', '302 Found', more='Location: https://mta-sts.dest.test/other\r\n')), 'answers 302'),
    'gone': (raw(answer(b'', '404 Not Found')), 'answers 404'),
    'nothing': (raw(b''), 'broken'),
    'garbage': (raw(b'220 mail.example.test ESMTP\r\n' * 10), 'broken'),
    'short': (raw(answer(policy())[:-10]), 'broken'),
    'version': (raw(answer(policy().replace(b'STSv1', b'STSv2'))), 'version'),
    'no mx': (raw(answer(policy(mx=[]))), 'no mx'),
    'bad mx': (raw(answer(policy(mx=['mx dest']))), 'no host'),
    'no age': (raw(answer(b'version: STSv1\nmode: enforce\nmx: mx.dest.test\n')), 'no max_age'),
    'no field': (raw(answer(policy() + b'what\n')), 'no field'),
    'binary': (raw(answer(bytes(range(256)) * 8)), 'a NUL'),
}


def test_bad_web_servers(world):
    """Whatever the policy's server does, within bounded time the mail goes as it would without a
    policy; the log says what was wrong. Each has an id of its own."""
    world.start()
    for i, (name, (page, why)) in enumerate(BAD.items()):
        world.web.page = page
        world.id(i + 10)
        world.tell()
        time.sleep(1.1)
        world.send('%d@dest.test' % i)
        wait_for('a message after ' + name, lambda: len(world.mx.mail) > i)
        failed = world.house.wait_event('sts.fetch_failed', lambda f: f['id'] == str(i + 10))[0]
        assert why in failed['why'], name
    assert world.house.metric('sts_policies') == 0
    assert not any(b'/other' in head for head, _ in world.web.requests)


def test_bad_certificate_of_the_web_server(world):
    world.web.page = policy(mx=['other.dest.test'])
    world.web.tls = world.tls('stranger')
    world.start()
    world.send()
    world.arrives()
    assert 'TLS: ' in world.house.wait_event('sts.fetch_failed')[0]['why']
    assert not world.web.requests
    assert world.house.metrics()['posthorn_sts_fetches_total{proc="fetchd.0",result="webpki-invalid"}'] == 1


def test_two_records(world):
    """More than one record is as good as none."""
    world.web.page = policy(mx=['other.dest.test'])
    world.records['_mta-sts.dest.test', 'TXT'] = ['"v=STSv1; id=1;"', '"v=STSv1; id=2;"']
    world.start()
    world.send()
    world.arrives()
    assert not world.web.handshakes
    world.house.wait_event('sts.bad_record')


def test_private_address(world):
    """A policy server's name that leads into a private network is not followed there."""
    world.base = world.base.replace(' private-networks 127.0.0.0/8', '')
    world.web.page = policy(mx=['other.dest.test'])
    world.start()
    world.send()
    world.arrives()
    assert 'no public address' in world.house.wait_event('sts.fetch_failed')[0]['why']
    assert not world.web.handshakes


def test_off(world):
    world.base = world.base.replace('relay { ', 'relay { mta-sts off ')
    world.web.page = policy(mx=['other.dest.test'])
    world.start()
    world.send()
    world.arrives()
    assert not world.web.handshakes


def test_dane_decides(world):
    """Where the host has TLSA records, they decide: a certificate of no authority is good although the
    policy forbids it; and a wrong one is bad although the policy would take it."""
    key = subprocess.run(['openssl', 'x509', '-in', world.path('own'), '-noout', '-pubkey'], capture_output=True, check=True)
    der = subprocess.run(['openssl', 'pkey', '-pubin', '-outform', 'DER'], input=key.stdout, capture_output=True, check=True)
    digest = hashlib.sha256(der.stdout).hexdigest()
    world.records['_%d._tcp.mx.dest.test' % world.mx.port, 'TLSA'] = ['3 1 1 ' + digest]
    world.web.page = policy(mx=['other.dest.test'])
    world.mx.tls = world.tls('own')
    world.start()
    world.send()
    world.arrives()
    assert world.house.events('relay.tried')[-1]['verified'] == '1'
    world.mx.mail.clear()
    world.web.page = policy()
    world.id(2)
    world.mx.tls = world.tls('mx.dest.test')
    world.tell()
    world.house.kill('relayd', 0)
    world.house.kill('relayd', 1)
    world.house.wait_ready()
    world.send('b@dest.test')
    world.kept('certificate was refused')


def test_print(world):
    """What our own domain should publish, as the tests' own reader understands it."""
    out = world.house.json('tls', 'print', '--mode', 'enforce', '--mx', 'localhost', '--max-age', '1d')[0]
    assert out['domain'] == 'example.test'
    assert out['url'] == 'https://mta-sts.example.test/.well-known/mta-sts.txt'
    assert out['policy'] == 'version: STSv1\nmode: enforce\nmx: localhost\nmax_age: 86400\n'
    records = {(r['name'], r['type']): r['data'] for r in out['records']}
    assert records['_mta-sts.example.test', 'TXT'].startswith('"v=STSv1; id=')
    assert records['_smtp._tls.example.test', 'TXT'] == '"v=TLSRPTv1; rua=mailto:postmaster@example.test"'
    key = subprocess.run(['openssl', 'x509', '-in', world.house.dir + '/cert.pem', '-noout', '-pubkey'],
                         capture_output=True, check=True)
    der = subprocess.run(['openssl', 'pkey', '-pubin', '-outform', 'DER'], input=key.stdout, capture_output=True, check=True)
    assert records['_25._tcp.localhost', 'TLSA'] == '3 1 1 ' + hashlib.sha256(der.stdout).hexdigest()
    world.house.start()
