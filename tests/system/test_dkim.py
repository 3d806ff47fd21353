"""The plugin dkim: what others sign is verified, what users submit is signed."""
import base64
import os
import subprocess

import dkim
import nacl.signing
import pytest

from conftest import build_folder, wait_for
from dnsserver import DnsServer

FILE = os.path.join(os.path.abspath(build_folder()), 'plugins/dkim/dkim.so')
pytestmark = pytest.mark.skipif(not os.path.exists(FILE), reason='built without libopendkim')
BLOCK = '''
plugin dkim {
	file "%s"
	grant %s
	%s
}
'''
SIGNER = b'elsewhere.test'
MAIL = (b'From: Sender <sender@elsewhere.test>\r\nTo: user1@example.test\r\nSubject: signed\r\n'
        b'Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@elsewhere.test>\r\n\r\nHello.\r\n')


def parts(text):
    return [text[i:i + 200] for i in range(0, len(text), 200)]


class Signer:
    """Somebody elsewhere who signs with python3-dkim, and publishes his keys."""
    def __init__(self, dns, folder):
        self.rsa = self.make_rsa(str(folder / 'rsa.pem'), 2048)
        self.ed = nacl.signing.SigningKey.generate()
        public = base64.b64encode(self.ed.verify_key.encode()).decode()
        dns.add('r._domainkey.elsewhere.test', 'TXT', parts('v=DKIM1; p=' + self.public))
        dns.add('e._domainkey.elsewhere.test', 'TXT', 'v=DKIM1; k=ed25519; p=' + public)

    def make_rsa(self, path, bits):
        subprocess.run(['openssl', 'genrsa', '-traditional', '-out', path, str(bits)], check=True, capture_output=True)
        der = subprocess.run(['openssl', 'rsa', '-in', path, '-pubout', '-outform', 'DER'], check=True,
                             capture_output=True).stdout
        self.public = base64.b64encode(der).decode()
        with open(path, 'rb') as f:
            return f.read()

    def sign(self, mail, **more):
        return dkim.sign(mail, b'r', SIGNER, self.rsa, **more) + mail

    def sign_ed(self, mail, **more):
        return dkim.sign(mail, b'e', SIGNER, base64.b64encode(self.ed.encode()), signature_algorithm=b'ed25519-sha256',
                         **more) + mail


@pytest.fixture
def dns():
    with DnsServer() as server:
        yield server


@pytest.fixture
def signer(dns, tmp_path):
    return Signer(dns, tmp_path)


@pytest.fixture
def verifier(dns, make_house):
    """Makes a house that verifies."""
    def make(more='', **settings):
        h = make_house(dns=dns, start=False, **settings)
        h.add(BLOCK % (FILE, 'dns', more))
        h.start()
        h.test_user = h.user('user1')
        return h
    return make


def offer(house, mail):
    with house.raw() as c:
        c.reply()
        c.say('EHLO elsewhere.test')
        c.say('MAIL FROM:<sender@elsewhere.test>')
        c.say('RCPT TO:<%s>' % house.test_user)
        c.say('DATA')
        c.send(mail + b'.\r\n')
        return c.reply()


def verdict(house, mail, want):
    """The mail is taken, and this is what the plugin thinks of its signatures."""
    seen = len(house.events('plugin.log'))
    assert offer(house, mail)[0] == 250
    wait_for('the verdict', lambda: len(house.events('plugin.log')) > seen)
    text = house.events('plugin.log')[-1]['text']
    assert text.split('verified: ')[1] == want[:700]


CANONS = [(a, b) for a in (b'simple', b'relaxed') for b in (b'simple', b'relaxed')]


def test_what_python_signs(verifier, signer):
    h = verifier()
    for canon in CANONS:
        verdict(h, signer.sign(MAIL, canonicalize=canon), 'pass elsewhere.test r')
        verdict(h, signer.sign_ed(MAIL, canonicalize=canon), 'pass elsewhere.test e')
    verdict(h, signer.sign_ed(signer.sign(MAIL)), 'pass elsewhere.test e;pass elsewhere.test r')
    verdict(h, signer.sign(MAIL).replace(b'Hello', b'Hallo'), 'fail elsewhere.test r')
    verdict(h, signer.sign(MAIL).replace(b'Subject: signed', b'Subject: Signed'), 'fail elsewhere.test r')
    verdict(h, signer.sign(MAIL, length=True) + b'Buy this.\r\n', 'policy elsewhere.test r')
    assert sum(v for k, v in h.metrics().items() if 'event="verify_pass"' in k) == 10


def test_lies_of_the_dns(verifier, signer, dns):
    h = verifier(dns__timeout='3s')
    right = parts('v=DKIM1; p=' + signer.public)
    for n, (records, want) in enumerate([
            ([right, ['v=spf1 -all']], 'pass'), ([right, right[:1] + ['x']], 'permerror'), ([['v=DKIM1; p=']], 'permerror'),
            ([['x' * 250] * 200], 'permerror'), ([['\0' * 200]], 'permerror'), ([['v=DKIM1; p=' + 'A' * 200] * 8], 'permerror'),
            ([['v=DKIM1; k=rsa; p=MAA=']], 'permerror'), ([], 'permerror')]):
        name = 's%d._domainkey.elsewhere.test' % n
        for r in records:
            dns.add(name, 'TXT', r)
        mail = dkim.sign(MAIL, b's%d' % n, SIGNER, signer.rsa) + MAIL
        verdict(h, mail, '%s elsewhere.test s%d' % (want, n))
    dns.misbehave('late._domainkey.elsewhere.test', 'servfail')
    verdict(h, dkim.sign(MAIL, b'late', SIGNER, signer.rsa) + MAIL, 'temperror elsewhere.test late')


def test_required_signatures(verifier, signer, dns):
    h = verifier('mode enforce require elsewhere.test')
    assert offer(h, signer.sign(MAIL))[0] == 250
    code, text = offer(h, MAIL)
    assert code == 550 and '5.7.20' in str(text)
    assert offer(h, signer.sign(MAIL).replace(b'Hello', b'Hallo'))[0] == 550
    assert offer(h, MAIL.replace(b'From: Sender <sender@elsewhere.test>', b'From: "a@b.test" <x@sub.elsewhere.test>'))[0] == 550
    assert offer(h, MAIL.replace(b'@elsewhere.test', b'@other.test'))[0] == 250
    dns.misbehave('late._domainkey.elsewhere.test', 'servfail')
    assert offer(h, dkim.sign(MAIL, b'late', SIGNER, signer.rsa) + MAIL)[0] == 451


def test_mail_made_to_hurt(verifier, signer):
    h = verifier(smtp__header_size_limit='1M')
    field = signer.sign(MAIL)[:-len(MAIL)]
    verdict(h, field * 50 + MAIL, ';'.join(['pass elsewhere.test r'] * 10 + ['policy elsewhere.test r'] * 40))
    verdict(h, field + b'X-Long: ' + b'x\r\n ' * 40000 + b'y\r\n' + MAIL, 'policy elsewhere.test r')
    verdict(h, field[:-2] + b';\r\n z=' + b'From:x|' * 1500 + b'\r\n' + MAIL, 'policy - -')
    assert offer(h, b'DKIM-Signature: ' + b'a' * 500 + b'\r\n' + MAIL)[0] == 250
    assert offer(h, signer.sign(MAIL))[0] == 250
