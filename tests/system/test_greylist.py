"""greylist: strangers come again, and are known then; also to the next life of the instance."""
import contextlib
import os
import time

import pytest

from conftest import build_folder
from dnsserver import DnsServer
from test_proxy import v1

BLOCK = '''
plugin greylist {
	file "%s"
	grant files
	%s
}
'''


def start(make_house, more, before=''):
    h = make_house(start=False, proxy=True)
    h.add(before + BLOCK % (os.path.join(build_folder(), 'plugins/greylist/greylist.so'), more))
    h.start()
    h.test_user = h.user('user1')
    return h


def rcpt(h, ip, sender='a@sender.example'):
    with h.raw() as c:
        c.send(v1(ip, '2001:db8::25' if ':' in ip else '192.0.2.25'))
        assert c.reply()[0] == 220
        c.say('EHLO client.example')
        assert c.say('MAIL FROM:<%s>' % sender)[0] == 250
        code, text = c.say('RCPT TO:<%s>' % h.test_user)[:2]
        return code, str(text)


def test_a_stranger_comes_again(make_house):
    h = start(make_house, 'delay 2s allow-after 2')
    code, text = rcpt(h, '192.0.2.9')
    assert code == 451 and 'try again in 2 seconds' in text and '4.7.1' in text
    assert rcpt(h, '2001:db8::9')[0] == 451
    assert rcpt(h, '127.0.0.1')[0] == 250
    time.sleep(2.1)
    assert rcpt(h, '192.0.2.77')[0] == 250  # another machine of the same network
    assert rcpt(h, '2001:db8::a')[0] == 250
    assert rcpt(h, '192.0.2.9', 'b@sender.example')[0] == 451
    h.stop()
    h.start()
    assert rcpt(h, '192.0.2.9')[0] == 250
    time.sleep(2.1)
    assert rcpt(h, '192.0.2.9', 'b@sender.example')[0] == 250
    assert rcpt(h, '192.0.2.10', 'c@sender.example')[0] == 250  # two passed: it is known
    assert rcpt(h, '198.51.100.1', 'c@sender.example')[0] == 451
    h.kill('filterd')
    h.wait_ready()
    assert rcpt(h, '192.0.2.9', 'd@sender.example')[0] == 250


def test_a_damaged_database(make_house):
    h = start(make_house, 'delay 1h')
    assert rcpt(h, '192.0.2.9')[0] == 451
    h.stop()
    path = os.path.join(h.dir, 'plugins/greylist/greylist.db')
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path + '-wal')  # it would repair the file
    with open(path, 'r+b') as f:
        f.write(b'x' * 6000)
    h.start()
    assert rcpt(h, '192.0.2.9')[0] == 451
    h.wait_event('plugin.log', lambda f: 'was damaged' in f['text'])
    assert os.path.exists(path + '.damaged')


def test_allowed_by_a_list(make_house):
    """What dnsbl found out spares the client the delay."""
    with DnsServer() as dns:
        dns.add('9.2.0.192.white.example', 'A', '127.0.0.1')
        h = make_house(start=False, proxy=True, dns=dns, dns__timeout='3s')
        h.add('plugin dnsbl {\n file "%s"\n grant dns\n allow-list "white.example"\n}\n' %
              os.path.join(build_folder(), 'plugins/dnsbl/dnsbl.so') +
              BLOCK % (os.path.join(build_folder(), 'plugins/greylist/greylist.so'), 'delay 1h skip dnswl'))
        h.start()
        h.test_user = h.user('user1')
        assert rcpt(h, '192.0.2.9')[0] == 250
        assert rcpt(h, '192.0.2.8')[0] == 451
