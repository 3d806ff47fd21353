"""Mail comes in by the clients that people and scripts use."""
import os
import subprocess

import pytest

from conftest import PATIENCE, message, need


def run(command, check=True, **kw):
    """A client's output. Fails the test with it when the client says it failed."""
    kw.setdefault('env', dict(os.environ, HOME=kw.pop('home', '/nonexistent'), LC_ALL='C.UTF-8'))
    done = subprocess.run(command, text=True, errors='replace', stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=3 * PATIENCE, **kw)
    if check:
        assert done.returncode == 0, '%s\n%s' % (' '.join(command), done.stdout)
    return done.stdout


@pytest.fixture
def two(house):
    """A running instance with user1 and user2."""
    house.users = [house.user('user1'), house.user('user2')]
    return house


def write(path, text, mode=0o600):
    with open(path, 'w') as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def test_swaks_submits_with_starttls(two):
    one, other = two.users
    run([need('swaks'), '--server', 'localhost:%d' % two.port('submission'), '--tls', '--tls-verify',
         '--tls-ca-path', two.dir + '/cert.pem', '--auth', 'PLAIN', '--auth-user', one.address,
         '--auth-password', one.password, '--from', one.address, '--to', other.address,
         '--header', 'Subject: by swaks', '--timeout', str(int(PATIENCE))])
    two.wait_stored(other, 1)
    assert two.subjects(other) == ['by swaks']


def test_swaks_is_no_open_relay(two):
    done = run([need('swaks'), '--server', 'localhost:%d' % two.port('smtp'), '--from', 'a@elsewhere.test',
                '--to', 'b@elsewhere.test', '--timeout', str(int(PATIENCE))], check=False)
    assert '<** 550 5.7.1' in done


def test_swaks_by_lmtp(two):
    run([need('swaks'), '--protocol', 'LMTP', '--server', 'localhost:%d' % two.port('lmtp'),
         '--from', 'a@elsewhere.test', '--to', ','.join(map(str, two.users)), '--timeout', str(int(PATIENCE))])
    for u in two.users:
        two.wait_stored(u, 1)


def test_curl_submits_with_tls(two):
    one, other = two.users
    path = write(two.root + '/message', message('by curl', 'From curl.\r\n', one.address, [other]))
    run([need('curl'), '-sS', '--max-time', str(int(PATIENCE)), '--cacert', two.dir + '/cert.pem',
         '--user', '%s:%s' % (one.address, one.password), '--mail-from', one.address,
         '--mail-rcpt', other.address, '--upload-file', path,
         'smtps://localhost:%d' % two.port('submissions')])
    two.wait_stored(other, 1)
    assert two.subjects(other) == ['by curl']


def test_curl_with_a_wrong_password(two):
    one, other = two.users
    path = write(two.root + '/message', message('refused'))
    out = run([need('curl'), '-sS', '--max-time', str(int(PATIENCE)), '--cacert', two.dir + '/cert.pem',
               '--user', one.address + ':wrong', '--mail-from', one.address, '--mail-rcpt', other.address,
               '--upload-file', path, 'smtps://localhost:%d' % two.port('submissions')], check=False)
    assert 'denied' in out, out
    assert two.stored(other) == []
