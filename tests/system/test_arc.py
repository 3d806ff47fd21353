"""The plugin arc: chains that others made are validated, and ours by others."""
import os

import dkim
import pytest

from conftest import build_folder, wait_for
from test_dkim import MAIL, Signer, dns, offer, signer  # noqa: F401  (fixtures)

authres = pytest.importorskip('authres')
FILE = os.path.join(os.path.abspath(build_folder()), 'plugins/arc/arc.so')
BLOCK = '''
plugin arc {
	file "%s"
	grant dns, headers
	%s
}
'''
SEALING = 'seal all\n domain elsewhere.test\n selector r\n key file "%s"'
DOMAIN = b'elsewhere.test'


@pytest.fixture
def house(dns, signer, make_house, tmp_path):  # noqa: F811
    def make(more=''):
        h = make_house(dns=dns, start=False)
        h.add(BLOCK % (FILE, more))
        h.start()
        h.test_user = h.user('user1')
        return h
    return make


def seal(signer, mail, arc=b'none', results=b'spf=pass smtp.mailfrom=a@elsewhere.test; dmarc=pass'):  # noqa: F811
    """One more hop of python3-dkim's."""
    field = b'Authentication-Results: hop.test; arc=%s; %s\r\n' % (arc, results)
    lines = dkim.arc_sign(field + mail, b'r', DOMAIN, signer.rsa, b'hop.test',
                          include_headers=[b'from', b'to', b'subject', b'date'])
    return b''.join(lines) + mail


def verdict(h, mail):
    seen = len(h.events('plugin.log'))
    assert offer(h, mail)[0] == 250
    wait_for('the verdict', lambda: len(h.events('plugin.log')) > seen)
    return h.events('plugin.log')[-1]['text'].split('chain ')[1]


def test_what_python_seals(house, signer):  # noqa: F811
    h = house()
    one = seal(signer, MAIL)
    assert verdict(h, one) == 'of 1 passes'
    two = seal(signer, one, b'pass')
    assert verdict(h, two) == 'of 2 passes'
    assert verdict(h, seal(signer, two, b'fail')) == 'of 3 fails at 3: a sealer says that it fails'
    assert verdict(h, two.replace(b'Hello', b'Hallo')) == 'of 2 fails at 2: the body was changed'
    assert verdict(h, two.replace(b'Subject: signed', b'Subject: x')) == \
        'of 2 fails at 2: the message signature does not verify'
    assert verdict(h, two.replace(b'cv=pass', b'cv=none')) == "of 2 fails at 2: the seal's cv= does not fit"
    assert verdict(h, two.replace(b'ARC-Seal: i=1', b'X-Seal: i=1')) == 'of 2 fails at 1: a field is missing'


def test_python_validates_what_we_seal(house, signer, tmp_path):  # noqa: F811
    h = house(SEALING % (tmp_path / 'rsa.pem'))

    def ask(name, timeout=5):
        return b'v=DKIM1; p=' + signer.public.encode() if name.startswith(b'r._domainkey') else None

    def through(mail):
        before = {p.path for p in h.stored(h.test_user)}
        assert offer(h, mail)[0] == 250
        h.wait_stored(h.test_user, len(before) + 1)
        with open(next(p.path for p in h.stored(h.test_user) if p.path not in before), 'rb') as f:
            return f.read().replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')

    mail = through(MAIL)
    for hops in range(1, 4):
        cv, results, reason = dkim.arc_verify(mail, dnsfunc=ask)
        assert (cv, len(results)) == (b'pass', hops), reason
        assert mail.count(b'\r\nARC-Seal: i=%d;' % hops) == 1
        assert dkim.arc_verify(mail.replace(b'Hello', b'Hallo'), dnsfunc=ask)[0] == b'fail'
        broken = through(mail.replace(b'Hello', b'Hallo'))
        assert broken.count(b'ARC-Seal:') == hops, 'a broken chain was continued'
        mail = through(mail)
    mixed = through(seal(signer, MAIL))
    assert dkim.arc_verify(mixed, dnsfunc=ask)[0] == b'pass' and mixed.count(b'ARC-Seal:') == 2
