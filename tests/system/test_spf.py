"""spf: who may send for a domain, seen by SMTP clients behind a PROXY header."""
import os

import pytest

from conftest import build_folder
from dnsserver import DnsServer
from test_proxy import v1

BLOCK = '''
plugin spf {
	file "%s"
	grant dns, headers
	%s
}
'''


@pytest.fixture
def dns():
    with DnsServer() as d:
        d.add('sender.example', 'TXT', 'v=spf1 include:_spf.sender.example -all exp=why.sender.example')
        d.add('_spf.sender.example', 'TXT', ('v=spf1 ip4:192.0.', '2.7 a:mx.sender.example'))
        d.add('mx.sender.example', 'AAAA', '2001:db8::7')
        d.add('why.sender.example', 'TXT', '%{i} is none of ours')
        d.add('helo.example', 'TXT', 'v=spf1 a -all')
        d.add('helo.example', 'A', '192.0.2.7')
        yield d


def start(make_house, dns, more=''):
    h = make_house(start=False, proxy=True, dns=dns, dns__timeout='3s')
    h.add(BLOCK % (os.path.join(os.path.abspath(build_folder()), 'plugins/spf/spf.so'), more))
    h.start()
    h.test_user = h.user('user1')
    return h


def mail(h, ip, sender='a@sender.example', helo='client.example', data=False):
    """What MAIL is told; with data a message is sent."""
    with h.raw() as c:
        c.send(v1(ip, '2001:db8::25' if ':' in ip else '192.0.2.25'))
        assert c.reply()[0] == 220
        c.say('EHLO ' + helo)
        code, text = c.say('MAIL FROM:<%s>' % sender)[:2]
        if data and code == 250:
            assert c.say('RCPT TO:<%s>' % h.test_user)[0] == 250
            assert c.say('DATA')[0] == 354
            assert c.say('Subject: hello\r\n\r\nHello.\r\n.')[0] == 250
        return code, str(text)


def test_fail_is_refused(make_house, dns):
    h = start(make_house, dns, 'received-spf on')
    assert mail(h, '192.0.2.7')[0] == 250
    assert mail(h, '2001:db8::7')[0] == 250
    code, text = mail(h, '192.0.2.8')
    assert code == 550 and '5.7.23' in text and '192.0.2.8 is none of ours' in text
    assert mail(h, '192.0.2.8', 'a@norecord.example')[0] == 250
    assert mail(h, '192.0.2.7', '', 'helo.example')[0] == 250
    assert mail(h, '192.0.2.8', '', 'helo.example')[0] == 550
    assert mail(h, '192.0.2.8', 'a@norecord.example', 'helo.example')[0] == 550
    h.wait_event('plugin.log', lambda f: f['text'] == 'fail: client 192.0.2.8, mfrom sender.example: -all')
    mail(h, '192.0.2.7', data=True)
    h.wait_stored(h.test_user, 1)
    with open(h.stored(h.test_user)[0].path, encoding='utf-8') as f:
        assert 'Received-SPF: pass client-ip=192.0.2.7;' in f.read()


def test_mark_refuses_nothing(make_house, dns):
    h = start(make_house, dns, 'mode mark received-spf on')
    assert mail(h, '192.0.2.8', data=True)[0] == 250
    h.wait_stored(h.test_user, 1)
    with open(h.stored(h.test_user)[0].path, encoding='utf-8') as f:
        assert 'Received-SPF: fail client-ip=192.0.2.8;' in f.read()


def test_a_silent_dns(make_house, dns):
    dns.misbehave('sender.example', 'servfail')
    h = start(make_house, dns, 'temperror defer')
    h.allow('dns|plugin')
    code, text = mail(h, '192.0.2.7')
    assert code == 451 and '4.7.24' in text


def test_skipped_networks(make_house, dns):
    h = start(make_house, dns, 'skip "192.0.2.0/29 2001:db8::/32"')
    assert mail(h, '192.0.2.1')[0] == 250
    assert mail(h, '192.0.2.8')[0] == 550
