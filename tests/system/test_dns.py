"""dnsd, seen through `posthorn dns ask`: what servers say, lie about, or keep to themselves."""
import time

import pytest

from conftest import wait_for
from dnsserver import DnsServer


@pytest.fixture
def dns():
    with DnsServer() as server:
        yield server


@pytest.fixture
def asked(dns, make_house):
    """A house with that server and short patience."""
    return make_house(dns=dns, dns__timeout='3s')


def ask(house, name, kind='A'):
    done = house.json('dns', 'ask', name, kind, check=False)
    return done


def test_records(dns, asked):
    dns.add('example.org', 'MX', (20, 'b.example.org'), (10, 'a.example.org'))
    dns.add('example.org', 'TXT', ['v=STSv1; ', 'id=1'])
    dns.add('a.example.org', 'A', '192.0.2.1', '192.0.2.2')
    dns.add('a.example.org', 'AAAA', '2001:db8::1')
    dns.add('_25._tcp.a.example.org', 'TLSA', (3, 1, 1, b'\xab' * 32))
    got = ask(asked, 'example.org', 'MX')
    assert (got['status'], got['validated']) == ('ok', False)
    assert sorted(got['data']) == ['10 a.example.org.', '20 b.example.org.']
    assert ask(asked, 'example.org', 'TXT')['data'] == ['"v=STSv1; " "id=1"']
    assert sorted(ask(asked, 'A.Example.ORG')['data']) == ['192.0.2.1', '192.0.2.2']
    assert ask(asked, 'a.example.org', 'AAAA')['data'] == ['2001:db8::1']
    assert ask(asked, '_25._tcp.a.example.org', 'TLSA')['data'] == ['3 1 1 ' + 'ab' * 32]
    assert ask(asked, 'a.example.org', 'MX')['status'] == 'nodata'
    assert ask(asked, 'none.example.org', 'MX')['status'] == 'nxdomain'
    assert asked.metric('dns_questions_total') >= 7


def test_alias_and_ttl(dns, asked):
    dns.add('www.example.org', 'CNAME', 'a.example.org', ttl=2)
    dns.add('a.example.org', 'A', '192.0.2.1', ttl=300)
    got = ask(asked, 'www.example.org')
    assert (got['name'], got['data']) == ('a.example.org', ['192.0.2.1'])
    assert got['ttl'] <= 2, 'the alias lives shorter than what it leads to'


def test_nothing_outlives_its_ttl(dns, asked):
    dns.add('a.example.org', 'A', '192.0.2.1', ttl=1)
    assert ask(asked, 'a.example.org')['data'] == ['192.0.2.1']
    assert ask(asked, 'new.example.org')['status'] == 'nxdomain'
    dns.clear('a.example.org', 'A')
    dns.add('a.example.org', 'A', '192.0.2.9', ttl=1)
    dns.add('new.example.org', 'A', '192.0.2.8')
    wait_for('the new address', lambda: ask(asked, 'a.example.org')['data'] == ['192.0.2.9'], 5, 0.2)
    wait_for('the new name', lambda: ask(asked, 'new.example.org')['data'] == ['192.0.2.8'], 6, 0.2)


def test_the_cache_is_used(dns, asked):
    dns.add('a.example.org', 'A', '192.0.2.1', ttl=60)
    for _ in range(5):
        assert ask(asked, 'a.example.org')['data'] == ['192.0.2.1']
    assert dns.count('a.example.org', 'A') == 1


@pytest.mark.parametrize('how', ['hang', 'refuse', 'servfail', 'garbage', 'other-id', 'other-name',
                                 'truncate', 'cut'])
def test_bad_servers(dns, asked, how):
    dns.add('bad.example.org', 'A', '192.0.2.66')
    dns.add('good.example.org', 'A', '192.0.2.1')
    dns.misbehave('bad.example.org', how)
    began = time.monotonic()
    got = ask(asked, 'bad.example.org')
    assert (got['status'], got['data']) == ('failed', []), 'such an answer is no answer'
    assert time.monotonic() - began < 8
    assert got['why']


def test_large_answers_come_by_tcp(dns, asked):
    many = ['10.1.%d.%d' % (i // 200, i % 200) for i in range(200)]
    dns.add('big.example.org', 'A', *many)
    assert sorted(ask(asked, 'big.example.org')['data']) == sorted(many)
    assert ('big.example.org', 1, 'tcp') in dns.asked
    huge = ['10.%d.%d.%d' % (i // 40000, i // 200 % 200, i % 200) for i in range(2000)]
    dns.add('huge.example.org', 'A', *huge)
    got = ask(asked, 'huge.example.org')
    assert got['status'] == 'ok' and len(got['data']) == 256 and set(got['data']) <= set(huge)


def test_a_server_comes_back(dns, asked):
    dns.add('a.example.org', 'A', '192.0.2.1')
    dns.misbehave('a.example.org', 'servfail')
    assert ask(asked, 'a.example.org')['status'] == 'failed'
    dns.behave('a.example.org')
    wait_for('an answer', lambda: ask(asked, 'a.example.org')['status'] == 'ok', 15, 0.5)


def test_own_records(dns, make_house):
    house = make_house(start=False, dns=dns)
    house.add('dns { record "mx.partner.test 300 IN A 192.0.2.5" record "partner.test IN MX 10 mx.partner.test." '
              'zone partner.test server %s validate off }' % dns.address)
    house.config(house.config().replace('dns { server "%s" validate off }\n' % dns.address, ''))
    house.start()
    dns.add('mx.partner.test', 'AAAA', '2001:db8::66')
    dns.add('other.test', 'A', '192.0.2.1')
    got = ask(house, 'mx.partner.test')
    assert (got['data'], got['validated'], got['ttl']) == (['192.0.2.5'], True, 300)
    assert ask(house, 'partner.test', 'MX')['data'] == ['10 mx.partner.test.']
    assert ask(house, 'mx.partner.test', 'AAAA')['status'] == 'nodata'
    assert ask(house, 'x.partner.test')['status'] == 'nxdomain'
    got = ask(house, 'other.test')
    assert (got['data'], got['validated']) == (['192.0.2.1'], False)


def test_reload_with_another_server(dns, asked):
    dns.add('a.example.org', 'A', '192.0.2.1')
    assert ask(asked, 'a.example.org')['data'] == ['192.0.2.1']
    with DnsServer() as other:
        other.add('a.example.org', 'A', '192.0.2.2')
        asked.set('dns', 'server', '"%s"' % other.address)
        asked.reload()
        assert ask(asked, 'a.example.org')['data'] == ['192.0.2.2']


def test_names_that_are_none(asked):
    assert ask(asked, 'a..b')['status'] == 'failed'
    assert ask(asked, 'x' * 64 + '.test')['status'] == 'failed'


def test_a_killed_dnsd(dns, asked):
    dns.add('a.example.org', 'A', '192.0.2.1')
    assert ask(asked, 'a.example.org')['status'] == 'ok'
    asked.kill('dnsd')
    asked.wait_ready()
    assert ask(asked, 'a.example.org')['status'] == 'ok'


def test_check_tells_of_servers(dns, make_house):
    house = make_house(start=False, dns=dns)
    dns.add('', 'NS', 'ns.example.test')
    assert 'name servers answer' in house.run('check', check=False).stdout
    dns.misbehave('', 'servfail')
    assert 'no name server answers' in house.run('check', check=False).stdout
    house.set('dns', 'record', '"rubbish"')
    assert 'cannot be used' in house.run('check', check=False).stdout
