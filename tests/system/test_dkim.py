"""The plugin dkim: what others sign is verified, what users submit is signed."""
import base64
import json
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


# -- signing --

@pytest.fixture
def house(dns, make_house):
    """A house that signs, with keys for its domain."""
    h = make_house(dns=dns, start=False)
    h.add(BLOCK % (FILE, 'dns, files, headers', 'sign on'))
    h.run('dkim', 'create', 'example.test', '--after', '0s')
    h.start()
    h.test_user = h.user('user1')
    h.other = h.user('user2')
    h.records = {r['name']: parts(r['value']) for r in h.json('dkim', 'show', 'example.test')}
    return h


def submit(h, mail, sender=None, user=None):
    before = {p.path for p in h.stored(h.other)}
    with h.smtp('submission', user or h.test_user) as s:
        s.sendmail(sender or str(h.test_user), [str(h.other)], mail)
    h.wait_stored(h.other, len(before) + 1)
    with open(next(p.path for p in h.stored(h.other) if p.path not in before), 'rb') as f:
        text = f.read()
    return text.replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')


OURS = MAIL.replace(b'sender@elsewhere.test', b'user1@example.test')


def results(h, mail):
    """What python3-dkim thinks of each signature."""
    def ask(name, timeout=5):
        return ''.join(h.records.get(name.decode().rstrip('.'), [])).encode() or None
    d = dkim.DKIM(mail)
    count = len([f for f in d.headers if f[0].lower() == b'dkim-signature'])

    def verify(i):
        try:
            return dkim.DKIM(mail).verify(idx=i, dnsfunc=ask)
        except dkim.DKIMException:
            return False
    return [verify(i) for i in range(count)]


def opendkim_agrees(h, mail, tmp_path):
    path = tmp_path / 'records.json'
    path.write_text(json.dumps(h.records))
    helper = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'opendkim_verify.py')
    done = subprocess.run(['unshare', '-nm', '/usr/bin/python3', helper, str(path)], input=mail.replace(b'\r\n', b'\n'),
                          capture_output=True)
    return done.returncode == 0, done.stderr


def signatures(mail):
    """The tags of each signature."""
    fields = [v for k, v in dkim.DKIM(mail).headers if k.lower() == b'dkim-signature']
    return [{t.split(b'=', 1)[0].strip().decode(): b''.join(t.split(b'=', 1)[1].split()).decode()
             for t in f.strip().split(b';')} for f in fields]


def test_others_verify_what_we_sign(house, tmp_path):
    mail = submit(house, OURS)
    assert results(house, mail) == [True, True]
    tags = signatures(mail)
    assert sorted(t['a'] for t in tags) == ['ed25519-sha256', 'rsa-sha256']
    for t in tags:
        names = t['h'].lower().split(':')
        assert t['d'] == 'example.test' and names.count('from') == 2 and names.count('subject') == 2
    assert results(house, mail.replace(b'Hello', b'Hallo')) == [False, False]
    assert results(house, b'Subject: another\r\n' + mail) == [False, False]
    long = OURS + b''.join(b'line %d  \t with  blanks \r\n' % i for i in range(5000)) + b'\r\n\r\n'
    assert results(house, submit(house, long)) == [True, True]
    if os.getuid() == 0 and os.path.exists('/usr/sbin/opendkim-testmsg'):
        assert opendkim_agrees(house, mail, tmp_path) == (True, b'')
        assert not opendkim_agrees(house, mail.replace(b'Hello', b'Hallo'), tmp_path)[0]


def test_what_opendkim_signs(verifier, signer, tmp_path):
    """Its tool knows rsa-sha1 only, which RFC 8301 forbids to believe."""
    if not os.path.exists('/usr/sbin/opendkim-testmsg'):
        pytest.skip('opendkim-tools is not there')
    h = verifier()
    done = subprocess.run(['/usr/sbin/opendkim-testmsg', '-C', '-d', 'elsewhere.test', '-s', 'r', '-k',
                           str(tmp_path / 'rsa.pem')], input=MAIL.replace(b'\r\n', b'\n'), capture_output=True, check=True)
    assert b'a=rsa-sha1' in done.stdout
    verdict(h, done.stdout.replace(b'\r\n', b'\n').replace(b'\n', b'\r\n'), 'permerror elsewhere.test r')


def test_only_own_mail_is_signed(house):
    h = house
    assert not signatures(submit(h, OURS.replace(b'user1@example.test', b'user1@other.test')))
    assert not signatures(submit(h, OURS.replace(b'From: ', b'From: a@other.test, ')))
    mail = OURS.replace(b'From: Sender <user1@example.test>', b'From: "x@other.test" (y@other.test) <User1@EXAMPLE.test>')
    assert len(signatures(submit(h, mail))) == 2
    assert offer(h, OURS)[0] == 250  # nobody who has logged in
    h.wait_stored(h.test_user, 1)
    with open(h.stored(h.test_user)[0].path, 'rb') as f:
        assert b'DKIM-Signature' not in f.read()


def test_keys_are_the_plugins_alone(house):
    folder = house.dir + '/plugins/dkim/keys'
    files = [os.path.join(d, f) for d, _, names in os.walk(folder) for f in names]
    assert len(files) == 2
    owner = os.stat('/proc/%d' % house.pids('filterd')[0]).st_uid
    for path in files + [folder, folder + '/example.test']:
        st = os.stat(path)
        assert st.st_mode & 0o077 == 0 and st.st_uid == owner, path


def test_rotation(house):
    h = house
    assert 'dkim rotate' in h.run('dkim', 'create', 'example.test', check=False).stderr
    h.run('dkim', 'rotate', 'example.test', '--after', '3s')
    states = [r['state'] for r in h.json('dkim', 'list', 'example.test')]
    assert sorted(states) == ['signing', 'signing', 'waiting', 'waiting']
    assert 'still waits' in h.run('dkim', 'rotate', 'example.test', check=False).stderr
    old = {s['s'] for s in signatures(submit(h, OURS))}
    h.records = {r['name']: parts(r['value']) for r in h.json('dkim', 'show', 'example.test')}
    assert len(h.records) == 4
    wait_for('the new keys', lambda: {s['s'] for s in signatures(submit(h, OURS))} not in (old, set()), 90, 1)
    mail = submit(h, OURS)
    new = {s['s'] for s in signatures(mail)}
    assert len(new) == 2 and not new & old and results(h, mail) == [True, True]
    assert 'still needed' in h.run('dkim', 'delete', 'example.test', min(old), check=False).stderr
    for selector in old:
        h.run('dkim', 'delete', 'example.test', selector, '--force')
    assert {r['selector'] for r in h.json('dkim', 'list')} == new


def test_records_are_printed(house):
    text = house.run('dkim', 'show', 'example.test').stdout
    assert text.count(' 3600 IN TXT (') == 2 and '"v=DKIM1; k=ed25519; p=' in text
    for line in text.splitlines():
        assert len(line) < 260
    for bad in ('a b', '../x', '', 'x..y'):
        assert house.run('dkim', 'create', bad, check=False).returncode == 2, bad


def test_results_are_in_the_message(verifier, signer):
    h = verifier()
    assert offer(h, signer.sign(MAIL))[0] == 250
    h.wait_stored(h.test_user, 1)
    with open(h.stored(h.test_user)[0].path, 'rb') as f:
        text = b' '.join(f.read().split())
    assert b' dkim=pass header.d=elsewhere.test header.s=r ' in text
