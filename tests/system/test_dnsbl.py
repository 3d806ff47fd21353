"""dnsbl: clients and domains on DNS lists, seen by SMTP clients behind a PROXY header."""
import os
import time

import pytest

from conftest import Refused, build_folder, wait_for
from dnsserver import DnsServer
from test_proxy import v1

BLOCK = '''
plugin dnsbl {
	file "%s"
	grant dns, headers
	list "a.example 127.0.0.2-11 2", "b.example 1"
	allow-list "white.example"
	domain-list "dbl.example 3"
	threshold %d
	%s
}
'''


@pytest.fixture
def dns():
    with DnsServer() as d:
        d.add('2.0.0.127.a.example', 'A', '127.0.0.2')
        yield d


def start(make_house, dns, more='', threshold=3):
    h = make_house(start=False, proxy=True, dns=dns, dns__timeout='3s')
    h.add(BLOCK % (os.path.join(build_folder(), 'plugins/dnsbl/dnsbl.so'), threshold, more))
    h.start()
    h.test_user = h.user('user1')
    return h


def rcpt(h, ip, helo='client.example', sender='a@sender.example', to=None, data=False):
    """What RCPT is told; with data the message is sent too."""
    with h.raw() as c:
        c.send(v1(ip, '2001:db8::25' if ':' in ip else '192.0.2.25'))
        assert c.reply()[0] == 220
        c.say('EHLO ' + helo)
        assert c.say('MAIL FROM:<%s>' % sender)[0] == 250
        code, text = c.say('RCPT TO:<%s>' % (to or h.test_user))[:2]
        if data and code == 250:
            assert c.say('DATA')[0] == 354
            assert c.say('Subject: hello\r\nX-DNSBL: forged\r\n\r\nHello.\r\n.')[0] == 250
        return code, str(text)


def test_scores(make_house, dns):
    dns.add('9.2.0.192.a.example', 'A', '127.0.0.4')
    dns.add('9.2.0.192.a.example', 'TXT', 'see a.example/why')
    dns.add('9.2.0.192.b.example', 'A', '127.0.0.2')
    dns.add('8.2.0.192.a.example', 'A', '127.0.0.4')
    dns.add('9.' + '0.' * 23 + '8.b.d.0.1.0.0.2.a.example', 'A', '127.0.0.2')
    dns.add('9.' + '0.' * 23 + '8.b.d.0.1.0.0.2.b.example', 'A', '127.0.0.2')
    dns.add('bad.example.dbl.example', 'A', '127.0.1.2')
    h = start(make_house, dns)
    code, text = rcpt(h, '192.0.2.9')
    assert code == 554 and 'client 192.0.2.9 is listed by a.example: see a.example/why' in text
    assert rcpt(h, '2001:db8::9')[0] == 554
    assert rcpt(h, '192.0.2.7', sender='x@Bad.Example')[0] == 554
    assert rcpt(h, '192.0.2.7', helo='bad.example')[0] == 554
    assert rcpt(h, '192.0.2.8', data=True)[0] == 250
    h.wait_stored(h.test_user, 1)
    with open(h.stored(h.test_user)[0].path) as f:
        text = f.read()
    assert 'X-DNSBL: below; score=2; a.example=127.0.0.4' in text and 'forged' not in text
    h.wait_event('plugin.log', lambda f: 'client=192.0.2.9 score=3' in f['text'])
    rows = h.metrics()
    assert any('dnsbl' in k and 'rejected' in k and v == 4 for k, v in rows.items()), rows


def test_log_in_and_own_networks_are_let_through(make_house, dns):
    for n in (6, 5):
        dns.add('%d.2.0.192.dbl.example' % n, 'A', '127.0.0.2')
        dns.add('%d.2.0.192.a.example' % n, 'A', '127.0.0.2')
        dns.add('%d.2.0.192.b.example' % n, 'A', '127.0.0.2')
    dns.add('5.2.0.192.white.example', 'A', '127.0.0.1')
    h = start(make_house, dns, 'trust 192.0.2.6/32')
    assert rcpt(h, '192.0.2.6')[0] == 250
    assert rcpt(h, '192.0.2.5', data=True)[0] == 250
    assert not [n for n, *_ in dns.asked if n.startswith('6.2.0.192')]
    assert rcpt(h, '127.0.0.1')[0] == 250


def test_lists_that_lie_hang_or_are_gone(make_house, dns):
    huge = ['x' * 255] * 60
    for i in range(1, 10):
        dns.add('%d.2.0.192.b.example' % i, 'A', '198.51.100.7')
    dns.add('1.0.0.127.dbl.example', 'A', '127.0.0.2')
    dns.add('invalid.dbl.example', 'A', '127.0.0.2')
    dns.add('sender.example.dbl.example', 'A', '127.0.0.2')
    dns.add('9.2.0.192.a.example', 'A', '127.0.0.2')
    dns.add('9.2.0.192.a.example', 'TXT', huge)
    h = start(make_house, dns, threshold=2)
    code, text = rcpt(h, '192.0.2.9')
    assert code == 554 and len(text) < 500
    h.wait_event('plugin.log', lambda f: 'dbl.example has what no list may have' in f['text'] or
                 'b.example gives answers outside' in f['text'])
    assert rcpt(h, '192.0.2.8')[0] == 250  # listed by b (a lie) and dbl (dead)
    h.wait_event('plugin.log', lambda f: 'dbl.example has what no list may have' in f['text'])
    h.wait_event('plugin.log', lambda f: 'b.example gives answers outside' in f['text'])
    h.wait_event('plugin.log', lambda f: 'b.example has no test entry' in f['text'])
    for n in range(1, 4):
        dns.misbehave('%d.2.0.192.a.example' % n, 'hang')
    began = time.monotonic()
    assert rcpt(h, '192.0.2.3')[0] == 250
    h.wait_event('plugin.log', lambda f: 'a.example does not answer' in f['text'])
    middle = time.monotonic()
    assert rcpt(h, '192.0.2.2')[0] == 250  # the list rests
    assert middle - began < 9 and time.monotonic() - middle < 2


def test_mark(make_house, dns):
    dns.add('9.2.0.192.a.example', 'A', '127.0.0.2')
    h = start(make_house, dns, 'mode mark', threshold=1)
    assert rcpt(h, '192.0.2.9', data=True)[0] == 250
    h.wait_stored(h.test_user, 1)
    with open(h.stored(h.test_user)[0].path) as f:
        assert 'X-DNSBL: listed; score=2; a.example=127.0.0.2' in f.read()


def test_bad_block(make_house, dns):
    h = start(make_house, dns)
    h.allow('plugin.refused|filterd')
    h.config(h.config().replace('"b.example 1"', '"b.example 127.0.0"'))
    with pytest.raises(Refused):
        h.reload()
    wait_for('the reason', lambda: any('addresses' in f['text'] for f in h.events('plugin.refused')))
