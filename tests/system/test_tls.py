"""Certificates: chosen by name (SNI), taken anew by a reload; a broken one changes nothing."""
import shutil
import socket
import ssl

import pytest

from conftest import PATIENCE, Refused


def certificate(house, listener, name, cafile):
    """The DER certificate that a client gets which asks for `name` and trusts cafile."""
    context = ssl.create_default_context(cafile=cafile)
    with socket.create_connection(('127.0.0.1', house.port(listener)), timeout=PATIENCE) as s:
        with context.wrap_socket(s, server_hostname=name) as t:
            assert t.version() in ('TLSv1.2', 'TLSv1.3')
            return t.getpeercert(binary_form=True)


def der(path):
    with open(path) as f:
        return ssl.PEM_cert_to_DER_cert(f.read())


def take_pair(house, other, name):
    """Copies the other instance's pair into this one under that name."""
    shutil.copy(other.dir + '/cert.pem', '%s/%s.pem' % (house.dir, name))
    shutil.copy(other.dir + '/key.pem', '%s/%s-key.pem' % (house.dir, name))


@pytest.fixture
def two(make_house):
    """A running instance, and one that is there for its certificate alone."""
    return make_house(), make_house(start=False, domain='other.test')


def test_a_certificate_by_name(two):
    house, other = two
    take_pair(house, other, 'other')
    house.add('tls { certificate other.pem key other-key.pem }')
    house.reload()
    ours, theirs = house.dir + '/cert.pem', other.dir + '/cert.pem'
    assert certificate(house, 'submissions', 'mail.example.test', ours) == der(ours)
    assert certificate(house, 'submissions', 'mail.other.test', theirs) == der(theirs)
    assert certificate(house, 'submissions', 'localhost', ours) == der(ours), 'the first is for the rest'


def test_a_reload_takes_the_renewed_certificate(two):
    house, other = two
    with house.smtp() as old:
        old.ehlo('client.test')
        before = der(house.dir + '/cert.pem')
        take_pair(house, other, 'new')
        shutil.move(house.dir + '/new.pem', house.dir + '/cert.pem')
        shutil.move(house.dir + '/new-key.pem', house.dir + '/key.pem')
        house.reload()
        now = certificate(house, 'submissions', 'mail.other.test', other.dir + '/cert.pem')
        assert now == der(other.dir + '/cert.pem') != before
        assert old.noop()[0] == 250


@pytest.mark.parametrize('what', ['missing', 'not PEM', 'key of another'])
def test_a_broken_pair_is_refused(two, what):
    house, other = two
    if what == 'missing':
        house.set('tls', 'key', 'gone.pem')
    elif what == 'not PEM':
        with open(house.dir + '/cert.pem.bad', 'w') as f:
            f.write('not a certificate\n')
        house.set('tls', 'certificate', 'cert.pem.bad')
    else:
        take_pair(house, other, 'other')
        house.set('tls', 'key', 'other-key.pem')
    house.allow(r'ev=tls\.')
    with pytest.raises(Refused):
        house.reload()
    ours = house.dir + '/cert.pem'
    assert certificate(house, 'submissions', 'mail.example.test', ours) == der(ours)


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_old_versions_are_refused(house):
    context = ssl.create_default_context(cafile=house.dir + '/cert.pem')
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers('ALL:@SECLEVEL=0')
    with socket.create_connection(('127.0.0.1', house.port('submissions')), timeout=PATIENCE) as s:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            context.wrap_socket(s, server_hostname='localhost')


def test_garbage_instead_of_tls(house):
    """It ends that connection; others are served."""
    user = house.user('user1')
    with house.raw('submissions') as c:
        c.send(b'EHLO client.test\r\n' * 10)
        with pytest.raises((ConnectionResetError, EOFError)):
            while c.sock.recv(4096):
                pass
            raise EOFError
    with house.smtp('submissions', user) as s:
        assert s.noop()[0] == 250
