#!/usr/bin/env python3
"""relayd from outside: where it goes, what it says, and what it makes of servers that misbehave."""
import os
import shutil
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from relay_house import (AAAA, BOGUS, DONE, FAILED, HELLO, MX, REJECT, TEMPFAIL, Relayd, Server, mx)  # noqa: E402

TIMES = ('relay {\n connect-timeout 2s\n greeting-timeout %(t)s\n hello-timeout %(t)s\n mail-timeout %(t)s\n'
         ' recipient-timeout %(t)s\n data-timeout %(t)s\n block-timeout 3s\n dot-timeout %(t)s\n%(more)s\n}\n%(blocks)s\n')


class Case(unittest.TestCase):
    patience = '20s'

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='test_relayd.')
        self.servers, self.r = [], None

    def tearDown(self):
        self.end()
        for s in self.servers:
            s.close()
        log = self.log()
        for bad in ('confine.denied', 'panic', 'ERROR: ', 'runtime error'):
            self.assertNotIn(bad, log)
        shutil.rmtree(self.dir)

    def end(self):
        if self.r:
            status = self.r.stop()
            self.r.close()
            self.r = None
            self.assertEqual(status, 0, self.log())

    def log(self):
        with open(os.path.join(self.dir, 'log'), errors='replace') as f:
            return f.read()

    def server(self, *args, **kw):
        s = Server(*args, **kw)
        self.servers.append(s)
        return s

    def start(self, more='', blocks=''):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.r = Relayd(self.dir, TIMES % dict(t=self.patience, more=more, blocks=blocks), log)
        self.r.ready()
        return self.r

    def to(self, server):
        return dict(next_hop='[%s]:%d' % (server.address, server.port))


class Straight(Case):
    def test_message(self):
        s, r = self.server(), self.start()
        a = r.send(**self.to(s))
        self.assertEqual(a.codes(), [(DONE, 250)])
        self.assertEqual(a.rcpts[0].text, 'queued as 1234')
        self.assertTrue(a.rcpts[0].remote and a.rcpts[0].dsn and not a.unreachable)
        mail, rcpts, content = s.mail[0]
        self.assertEqual(mail, 'MAIL FROM:<a@example.test> SIZE=21')
        self.assertEqual(rcpts, ['RCPT TO:<u@dest.test>'])
        self.assertEqual(content, b'Subject: x\r\n\r\nhello\r\n')
        self.assertEqual(s.lines[0], 'EHLO relay.example.test')
        self.assertEqual(a.site, '[127.0.0.1]:%d' % s.port)

    def test_dots_and_sizes(self):
        s, r = self.server(), self.start()
        for content in (b'.\r\n..\r\n.x\r\n', b'', b'a\r\n.\r\nb\r\n', b'x', b'.', b'y\r\n' * 30000,
                        b'.z\r\n' * 400000, bytes(range(32, 127)) * 1000 + b'\r\n'):
            a = r.send(content=content, **self.to(s))
            self.assertEqual(a.codes(), [(DONE, 250)])
            self.assertEqual(s.mail[-1][2], content + (b'' if content.endswith(b'\r\n') or not content else b'\r\n'))

    def test_chunking(self):
        s, r = self.server(hello=HELLO + ['CHUNKING']), self.start()
        for content in (b'', b'.\r\n', b'a' * 65536, b'b' * 65537, b'c\r\n' * 700000):
            self.assertEqual(r.send(content=content, **self.to(s)).codes(), [(DONE, 250)])
            self.assertEqual(s.mail[-1][2], content)
        self.assertNotIn('DATA', s.lines)
        self.assertEqual(s.connections, 1)

    def test_reuse(self):
        s, r = self.server(), self.start('reuse-limit 3')
        self.assertFalse(r.send(**self.to(s)).reused)
        self.assertTrue(r.send(**self.to(s)).reused)
        self.assertTrue(r.send(**self.to(s)).reused)
        self.assertFalse(r.send(**self.to(s)).reused)
        self.assertEqual(s.connections, 2)

    def test_reuse_by_site(self):
        """Two domains of the same servers share a connection; another policy has its own."""
        s = self.server('127.0.0.2')
        r = self.start('port %d' % s.port, 'tls-policy other.test { tls off }')
        r.zone.host('m1.test', '127.0.0.2')
        for d in ('one.test', 'two.test', 'other.test'):
            r.zone.add(d, MX, mx(10, 'm1.test'))
        self.assertFalse(r.send(domain='one.test').reused)
        a = r.send(domain='two.test')
        self.assertTrue(a.reused)
        self.assertEqual(a.site, 'm1.test')
        self.assertFalse(r.send(domain='other.test').reused)

    def test_stale(self):
        """A connection that the server has closed meanwhile costs nothing."""
        s, r = self.server(), self.start()
        r.send(**self.to(s))
        for c in s.open:
            c.shutdown(2)
        time.sleep(0.2)
        a = r.send(**self.to(s))
        self.assertEqual(a.codes(), [(DONE, 250)])
        self.assertEqual(s.connections, 2)

    def test_stale_at_mail(self):
        """421 in answer to MAIL on an open connection: another is made."""
        s = self.server(script={'MAIL': [None, '421 4.4.2 idle too long']})
        r = self.start()
        r.send(**self.to(s))
        self.assertEqual(r.send(**self.to(s)).codes(), [(DONE, 250)])
        self.assertEqual(s.connections, 2)

    def test_parameters(self):
        s, r = self.server(hello=HELLO + ['MT-PRIORITY', 'DELIVERBY']), self.start()
        r.send(rcpts=[('u@dest.test', 'rfc822;o+1@x.test', 2 | 4), ('v@dest.test', '', 1)], envid='a=b c', ret=2,
               body=1, priority=-3, flags=1, by=int(time.time() + 3600) * 1000, **self.to(s))
        mail, rcpts, _ = s.mail[0]
        for w in ('BODY=8BITMIME', 'RET=HDRS', 'ENVID=a+3Db+20c', 'MT-PRIORITY=-3', 'SMTPUTF8'):
            self.assertIn(' ' + w, mail)
        self.assertRegex(mail, r' BY=3(600|59\d);R')
        self.assertEqual(rcpts, ['RCPT TO:<u@dest.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o+2B1@x.test',
                                 'RCPT TO:<v@dest.test> NOTIFY=NEVER'])

    def test_old_server(self):
        """HELO, no extensions: no parameter is sent, one verb at a time."""
        s, r = self.server(script={'EHLO': '502 5.5.1 what'}), self.start()
        a = r.send(rcpts=[('u@dest.test', 'rfc822;o@x.test', 2)], envid='x', ret=1, **self.to(s))
        self.assertEqual(a.codes(), [(DONE, 250)])
        self.assertFalse(a.rcpts[0].dsn)
        self.assertEqual(s.mail[0][:2], ('MAIL FROM:<a@example.test>', ['RCPT TO:<u@dest.test>']))

    def test_many_recipients(self):
        s, r = self.server(), self.start()
        rcpts = ['u%d@dest.test' % i for i in range(1000)]
        a = r.send(rcpts=rcpts, **self.to(s))
        self.assertEqual(a.codes(), [(DONE, 250)] * 1000)
        self.assertEqual(len(s.mail[0][1]), 1000)

    def test_limits(self):
        s, r = self.server(hello=HELLO + ['LIMITS RCPTMAX=3 MAILMAX=2']), self.start()
        a = r.send(rcpts=['u%d@dest.test' % i for i in range(7)], **self.to(s))
        self.assertEqual(a.codes(), [(DONE, 250)] * 7)
        self.assertEqual([len(m[1]) for m in s.mail], [3, 3, 1])

    def test_too_many_recipients(self):
        def rcpt(session, line):
            return '452 4.5.3 too many' if len(session.accepted) >= 4 else None

        s, r = self.server(script={'RCPT': rcpt}), self.start()
        a = r.send(rcpts=['u%d@dest.test' % i for i in range(10)], **self.to(s))
        self.assertEqual(a.codes(), [(DONE, 250)] * 10)
        self.assertEqual([len(m[1]) for m in s.mail], [4, 4, 2])

    def test_lmtp(self):
        def end(session, line):
            return {'a': '250 2.0.0 ok', 'b': '452 4.2.2 full', 'c': '550 5.2.1 off'}[line.split('<')[1][0]]

        s, r = self.server(lmtp=True, script={'end': end, 'RCPT': lambda x, l: '550 5.1.1 no' if '<d' in l else None}), self.start()
        a = r.send(rcpts=['a@dest.test', 'b@dest.test', 'd@dest.test', 'c@dest.test'],
                   next_hop='lmtp:[127.0.0.1]:%d' % s.port)
        self.assertEqual(a.codes(), [(DONE, 250), (TEMPFAIL, 452), (REJECT, 550), (REJECT, 550)])
        self.assertEqual([x.enhanced for x in a.rcpts], ['2.0.0', '4.2.2', '5.1.1', '5.2.1'])
        self.assertEqual(s.lines[0], 'LHLO relay.example.test')


class Answers(Case):
    """4xx and 5xx at each verb, with and without PIPELINING."""

    def test_refusals(self):
        r = self.start()
        for hello in (HELLO, [], HELLO + ['CHUNKING']):
            for verb, code, outcome in (('MAIL', 451, TEMPFAIL), ('MAIL', 550, REJECT), ('RCPT', 450, TEMPFAIL),
                                        ('RCPT', 550, REJECT), ('DATA', 451, TEMPFAIL), ('DATA', 554, REJECT),
                                        ('end', 451, TEMPFAIL), ('end', 554, REJECT)):
                if verb == 'DATA' and 'CHUNKING' in hello:
                    verb = 'BDAT'
                s = self.server(hello=hello, script={verb: '%d %d.7.77 said %s' % (code, code // 100, verb)})
                a = r.send(rcpts=['u@dest.test', 'v@dest.test'], **self.to(s))
                self.assertEqual(a.codes(), [(outcome, code)] * 2, (hello, verb))
                self.assertEqual(a.rcpts[0].enhanced, '%d.7.77' % (code // 100))
                self.assertEqual(a.rcpts[0].text, 'said ' + verb)
                self.assertEqual(a.rcpts[0].mta, '127.0.0.1')

    def test_after_refusal(self):
        """A connection goes on after a message that was refused, with RSET where one is due."""
        r = self.start()
        for hello in (HELLO, [], HELLO + ['CHUNKING']):
            s = self.server(hello=hello, script={'RCPT': lambda x, l: '550 5.1.1 no' if 'bad' in l else None})
            for who, want in (('bad', REJECT), ('good', DONE), ('bad', REJECT), ('bad', REJECT), ('good', DONE)):
                self.assertEqual(r.send(rcpts=[who + '@dest.test'], **self.to(s)).rcpts[0].outcome, want)
            self.assertEqual(s.connections, 1)
            self.assertEqual(len(s.mail), 2)

    def test_mixed(self):
        def rcpt(session, line):
            return {'a': None, 'b': '450 4.2.0 later', 'c': '550 5.1.1 unknown'}[line.split('<')[1][0]]

        s, r = self.server(script={'RCPT': rcpt}), self.start()
        a = r.send(rcpts=['a@dest.test', 'b@dest.test', 'c@dest.test', 'a2@dest.test'], **self.to(s))
        self.assertEqual(a.codes(), [(DONE, 250), (TEMPFAIL, 450), (REJECT, 550), (DONE, 250)])

    def test_354_for_nobody(self):
        s = self.server(script={'RCPT': '550 no', 'DATA': '354 go on'})
        r = self.start()
        self.assertEqual(r.send(**self.to(s)).codes(), [(REJECT, 550)])
        self.assertEqual(s.mail[0][2], b'')

    def test_552_recipient(self):
        s, r = self.server(script={'RCPT': '552 too many recipients'}), self.start()
        self.assertEqual(r.send(**self.to(s)).codes(), [(TEMPFAIL, 452)])

    def test_throttled(self):
        r = self.start()
        for text, want in (('421 4.7.0 rate limit', True), ('451 4.7.1 greylisted', False),
                           ('450 4.7.28 slow', True), ('450 4.2.1 too many messages', True), ('450 4.2.0 later', False)):
            s = self.server(script={'MAIL': text})
            self.assertEqual(r.send(**self.to(s)).throttled, want, text)

    def test_size(self):
        s, r = self.server(hello=['SIZE 1000']), self.start()
        a = r.send(content=b'x' * 2000, **self.to(s))
        self.assertEqual((a.codes(), a.rcpts[0].enhanced), ([(REJECT, 552)], '5.3.4'))
        self.assertFalse([x for x in s.lines if x.startswith('MAIL')])

    def test_no_smtputf8(self):
        s, r = self.server(hello=['8BITMIME']), self.start()
        a = r.send(rcpts=['\u00fc@dest.test'], flags=1, **self.to(s))
        self.assertEqual((a.codes(), a.rcpts[0].enhanced), ([(REJECT, 550)], '5.6.7'))
        a = r.send(content='Subject: \u00fc\r\n\r\n'.encode(), flags=1, **self.to(s))
        self.assertEqual(a.rcpts[0].enhanced, '5.6.7')
        # what needs it not goes without
        self.assertEqual(r.send(flags=1, **self.to(s)).codes(), [(DONE, 250)])

    def test_no_8bitmime(self):
        s, r = self.server(hello=['SIZE']), self.start()
        a = r.send(content='\r\nb\u00fc\r\n'.encode(), body=1, **self.to(s))
        self.assertEqual((a.codes(), a.rcpts[0].enhanced), ([(REJECT, 554)], '5.6.3'))
        self.assertEqual(r.send(content=b'\r\nbu\r\n', body=1, **self.to(s)).codes(), [(DONE, 250)])

    def test_requiretls_missing(self):
        s, r = self.server(), self.start()
        a = r.send(flags=2, **self.to(s))
        self.assertNotEqual(a.rcpts[0].outcome, DONE)
        self.assertEqual(s.mail, [])

    def test_big_and_bare(self):
        r = self.start()
        for act in ('250 ok\n250', Server.BIG, '250'):
            s = self.server(script={'MAIL': act} if act != '250 ok\n250' else {'MAIL': '250'}, hello=[])
            self.assertEqual(r.send(**self.to(s)).codes(), [(DONE, 250)], act)

    def test_control_bytes(self):
        s, r = self.server(script={'MAIL': '550 5.1.0 a\x1b[31m\x00b\tc'}), self.start()
        self.assertEqual(r.send(**self.to(s)).rcpts[0].text, 'a?[31m?b c')


class Misbehaviour(Case):
    patience = '2s'

    def test_hangs(self):
        """A server that says nothing at one verb: 4xx within the time, the other server used."""
        r = self.start()
        for verb in ('greeting', 'EHLO', 'MAIL', 'RCPT', 'DATA'):
            s = self.server(hello=[], script={verb: Server.HANG})
            began = time.time()
            a = r.send(**self.to(s))
            self.assertEqual(a.codes(), [(TEMPFAIL, 451)], verb)
            self.assertEqual(a.rcpts[0].enhanced, '4.4.1')
            self.assertLess(time.time() - began, 10)
            self.assertEqual(a.unreachable, verb == 'greeting', verb)

    def test_hang_at_end(self):
        s, r = self.server(script={'end': Server.HANG}), self.start()
        a = r.send(**self.to(s))
        self.assertEqual(a.codes(), [(TEMPFAIL, 451)])

    def test_closes(self):
        r = self.start()
        for verb in ('greeting', 'EHLO', 'MAIL', 'RCPT', 'DATA', 'end'):
            s = self.server(hello=[], script={verb: Server.CLOSE})
            a = r.send(**self.to(s))
            self.assertEqual((a.codes(), a.rcpts[0].enhanced), ([(TEMPFAIL, 451)], '4.4.2'), verb)

    def test_garbage(self):
        r = self.start()
        for act in (Server.GARBAGE, Server.ENDLESS, '250 ' + 'x' * 3000, '2x0 hm', '250_x', '999 x', '150 x'):
            for verb in ('greeting', 'EHLO', 'MAIL'):
                s = self.server(hello=[], script={verb: act})
                a = r.send(**self.to(s))
                self.assertEqual(a.codes(), [(TEMPFAIL, 451)], (act, verb))

    def test_drip(self):
        """A reply that comes a byte at a time and never ends is not waited for beyond its time."""
        def drip(session, line):
            for _ in range(100):
                session.conn.sendall(b'250-x\r\n')
                time.sleep(0.1)

        s, r = self.server(hello=[], script={'MAIL': drip}), self.start()
        began = time.time()
        self.assertEqual(r.send(**self.to(s)).codes(), [(TEMPFAIL, 451)])
        self.assertLess(time.time() - began, 5)

    def test_no_reader(self):
        """A server that takes no more of a large message."""
        s = self.server(hello=[], script={'DATA': lambda x, l: (x.say('354 go'), time.sleep(30))[1]})
        r = self.start()
        began = time.time()
        a = r.send(content=b'y' * 20000000, **self.to(s))
        self.assertEqual(a.codes()[0][0], TEMPFAIL)
        self.assertLess(time.time() - began, 20)

    def test_time_limit(self):
        s, r = self.server(script={'end': Server.HANG}), self.start('time-limit 1s')
        # the limit holds, whatever the timeouts of the verbs
        began = time.time()
        r.send(**self.to(s))
        self.assertLess(time.time() - began, 4)


class Routes(Case):
    """MX order, fallback and loops, by a zone."""

    def with_servers(self, *addresses, more=''):
        first = self.server(addresses[0])
        rest = [self.server(a, first.port) for a in addresses[1:]]
        self.port = first.port
        self.start('port %d\n%s' % (first.port, more))
        return [first] + rest

    def test_order(self):
        a, b = self.with_servers('127.0.0.2', '127.0.0.3')
        z = self.r.zone
        z.host('m1.test', '127.0.0.2')
        z.host('m2.test', '127.0.0.3')
        z.add('dest.test', MX, mx(20, 'm1.test'), mx(10, 'm2.test'))
        ans = self.r.send()
        self.assertEqual(ans.codes(), [(DONE, 250)])
        self.assertEqual(ans.rcpts[0].mta, 'm2.test')
        self.assertEqual(ans.site, 'm1.test,m2.test')
        self.assertEqual((len(a.mail), len(b.mail)), (0, 1))

    def test_next_mx(self):
        """Nothing listens, 4xx greeting, a close at MAIL: the next one, and only then."""
        for act in (None, '421 busy', '450 not now', '554 go away', Server.CLOSE):
            a, b = self.with_servers('127.0.0.2', '127.0.0.3')
            if act:
                a.script['greeting'] = act
            else:
                a.close()
            z = self.r.zone
            z.host('m1.test', '127.0.0.2')
            z.host('m2.test', '127.0.0.3')
            z.add('dest.test', MX, mx(10, 'm1.test'), mx(20, 'm2.test'))
            ans = self.r.send()
            self.assertEqual((ans.codes(), ans.rcpts[0].mta), ([(DONE, 250)], 'm2.test'), act)
            self.end()

    def test_answer_holds(self):
        """What a server says about a recipient is not asked of another."""
        a, b = self.with_servers('127.0.0.2', '127.0.0.3')
        a.script['RCPT'] = '450 4.2.0 later'
        z = self.r.zone
        z.host('m1.test', '127.0.0.2')
        z.host('m2.test', '127.0.0.3')
        z.add('dest.test', MX, mx(10, 'm1.test'), mx(20, 'm2.test'))
        self.assertEqual(self.r.send().codes(), [(TEMPFAIL, 450)])
        self.assertEqual(b.connections, 0)

    def test_addresses_of_a_host(self):
        a, = self.with_servers('127.0.0.3')
        self.r.zone.host('dest.test', '127.0.0.2', '127.0.0.3')
        for _ in range(4):
            self.assertEqual(self.r.send().codes(), [(DONE, 250)])

    def test_implicit_mx(self):
        a, = self.with_servers('127.0.0.2')
        self.r.zone.host('dest.test', '127.0.0.2')
        ans = self.r.send()
        self.assertEqual((ans.codes(), ans.site), ([(DONE, 250)], 'dest.test'))

    def test_ipv6_down(self):
        a, = self.with_servers('127.0.0.2', more='protocols prefer-ipv6')
        self.r.zone.host('dest.test', '127.0.0.2', '::1')
        self.assertEqual(self.r.send().codes(), [(DONE, 250)])
        self.assertIn('ip=::1', self.log())

    def test_ipv4_only(self):
        a, = self.with_servers('127.0.0.2', more='protocols ipv4')
        self.r.zone.host('dest.test', '127.0.0.2', '::1')
        self.assertEqual(self.r.send().codes(), [(DONE, 250)])
        self.assertNotIn(('dest.test', AAAA), self.r.zone.asked)

    def test_no_mail(self):
        self.with_servers('127.0.0.2')
        z = self.r.zone
        z.add('null.test', MX, mx(0, ''))
        z.add('nothing.test', 16, b'\x01x')
        z.add('later.test', MX, FAILED)
        z.data['later.test', MX] = FAILED
        z.data['bogus.test', MX] = BOGUS
        z.add('empty.test', MX, mx(10, 'nowhere.test'))
        for domain, want in (('null.test', (REJECT, '5.1.10')), ('unknown.test', (REJECT, '5.1.2')),
                             ('nothing.test', (REJECT, '5.4.4')), ('later.test', (TEMPFAIL, '4.4.3')),
                             ('bogus.test', (TEMPFAIL, '4.7.24')), ('empty.test', (TEMPFAIL, '4.4.4'))):
            r = self.r.send(domain=domain).rcpts[0]
            self.assertEqual((r.outcome, r.enhanced), want, domain)

    def test_loop_by_name(self):
        a, b = self.with_servers('127.0.0.2', '127.0.0.3')
        z = self.r.zone
        z.host('relay.example.test', '127.0.0.3')
        z.host('m1.test', '127.0.0.2')
        z.add('self.test', MX, mx(10, 'relay.example.test'))
        z.add('backup.test', MX, mx(10, 'm1.test'), mx(20, 'relay.example.test'), mx(30, 'm3.test'))
        z.add('equal.test', MX, mx(10, 'm1.test'), mx(10, 'relay.example.test'))
        for domain in ('self.test', 'equal.test'):
            r = self.r.send(domain=domain).rcpts[0]
            self.assertEqual((r.outcome, r.enhanced), (REJECT, '5.4.6'), domain)
        self.assertEqual(self.r.send(domain='backup.test').codes(), [(DONE, 250)])
        a.close()
        self.assertEqual(self.r.send(domain='backup.test').rcpts[0].outcome, TEMPFAIL)
        self.assertEqual(b.connections, 0)

    def test_loop_by_address(self):
        s = self.server('127.0.0.2')
        self.start('port %d' % s.port, 'listen smtp { address 127.0.0.2 port %d }' % s.port)
        self.r.zone.host('dest.test', '127.0.0.2')
        r = self.r.send().rcpts[0]
        self.assertEqual((r.outcome, r.enhanced), (REJECT, '5.4.6'))
        self.assertEqual(s.connections, 0)

    def test_next_hops(self):
        a, = self.with_servers('127.0.0.2')
        z = self.r.zone
        z.host('m1.test', '127.0.0.2')
        z.add('hub.test', MX, mx(10, 'm1.test'))
        z.host('lit.test', '127.0.0.9')
        for hop in ('hub.test', 'hub.test:%d' % self.port, '[m1.test]', '[m1.test]:%d' % self.port, '[127.0.0.2]'):
            self.assertEqual(self.r.send(next_hop=hop).codes(), [(DONE, 250)], hop)
        self.assertEqual(self.r.send(domain='[127.0.0.2]').codes(), [(DONE, 250)])
        for hop in ('[x', 'a:0', 'a:b', '[a]b', 'lmtp:x', '[]', 'a b'):
            r = self.r.send(next_hop=hop).rcpts[0]
            self.assertEqual((r.outcome, r.enhanced), (TEMPFAIL, '4.3.5'), hop)

    def test_host_limit(self):
        self.start('host-limit 3\nport 9')
        z = self.r.zone
        z.add('dest.test', MX, *[mx(i, 'm%d.test' % i) for i in range(9)])
        for i in range(9):
            z.host('m%d.test' % i, '127.0.0.%d' % (100 + i))
        a = self.r.send()
        self.assertEqual(a.codes(), [(TEMPFAIL, 451)])
        self.assertTrue(a.unreachable)
        self.assertTrue(self.r.until(lambda: self.log().count('relay.host_failed') == 3))


if __name__ == '__main__':
    unittest.main(verbosity=int(os.environ.get('VERBOSE', 1)), warnings='ignore')
