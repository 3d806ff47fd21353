#!/usr/bin/env python3
"""queued and other servers: sites, dead and slow ones, rates, expiry, notifications."""
import os
import shutil
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'crash'))
from house import ADMIN, ANSWER, Queued, fields, num, text, u64  # noqa: E402

PROGRAM = os.environ.get('QUEUED', 'mta/queued')
SETTINGS = 'spool {\n segment-size 2M\n min-free 0\n %s}\n'
RETRIES = ' retry-min 1s\n retry-max 2s\n'
DONE, TEMP, REJECT = 1, 2, 3
FAILED, DELAYED, DELIVERED, RELAYED = 1, 2, 3, 4
NEVER, SUCCESS, FAILURE, DELAY = 1, 2, 4, 8
RETRY, HOLD, SUMMARY, BOUNCE, WHY, SITES = 4, 5, 8, 10, 11, 12


class TestRemote(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='test_queued.')
        self.q = None

    def tearDown(self):
        if self.q and self.q.proc.poll() is None:
            self.q.kill()
        shutil.rmtree(self.dir)

    def start(self, more='', blocks=''):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            settings = SETTINGS % (more if 'retry-min' in more else RETRIES + more) + blocks
            self.q = Queued(PROGRAM, os.path.join(self.dir, 'spool'), 1, settings, log=log)
        self.q.ready()
        return self.q

    def log(self):
        with open(os.path.join(self.dir, 'log'), errors='replace') as f:
            return f.read()

    def queued(self):
        flags, body = self.q.admin(u64(1, SUMMARY))
        self.assertEqual(flags & ANSWER, ANSWER)
        return {t: num(v) for t, v in fields(body)}[2]

    def send(self, *rcpts, sender='a@example.test', **kw):
        got = self.q.answer(self.q.accept_remote(sender, rcpts, **kw))
        self.assertEqual(got[1], 250)
        return got[0]

    def empty(self, limit=20):
        """Until nothing is queued. An accept's answer may come a moment before the message shows in
        the summary: so it is asked twice."""
        def is_empty():
            if self.queued():
                return False
            self.q.until(lambda: False, 0.2)
            return self.queued() == 0
        self.assertTrue(self.q.until(lambda: self.q.relayed or self.queued()))
        self.assertTrue(self.q.until(is_empty, limit), self.log())

    def test_by_domain(self):
        """One request for each domain, with all its recipients; large messages too."""
        q = self.start()
        one = self.send('u1@one.test', 'u2@ONE.test', 'u@two.test')
        two = self.send('u@one.test', content=b'y' * 200000)
        self.empty()
        got = sorted((i, d, sorted(r), len(c)) for i, d, _, r, c in q.relayed)
        self.assertEqual(got, sorted([(one, 'one.test', ['u1@one.test', 'u2@ONE.test'], 5),
                                      (one, 'two.test', ['u@two.test'], 5), (two, 'one.test', ['u@one.test'], 200000)]))
        self.assertEqual(q.notified, [])

    def test_temporary_then_done(self):
        q = self.start()
        tries = []
        q.remote = lambda ident, r: tries.append(time.time()) or ((DONE, 250) if len(tries) == 3 else (TEMP, 451))
        self.send('u@one.test')
        self.empty()
        self.assertEqual(len(tries), 3)
        self.assertGreater(tries[1] - tries[0], 0.7)
        self.assertGreater(tries[2] - tries[1], 1.5)

    def test_back_off_survives_a_restart(self):
        q = self.start(' retry-min 30s\n retry-max 60s\n')
        q.remote = lambda ident, r: (TEMP, 451)
        self.send('u@one.test')
        self.assertTrue(q.until(lambda: 'queue.deferred' in self.log()))
        self.assertTrue(q.until(lambda: False, 0.3) is False)
        q.kill()
        q = self.start(' retry-min 30s\n retry-max 60s\n')
        q.until(lambda: False, 2)
        self.assertEqual(q.relayed, [])

    def test_lost_answer_is_tried_again(self):
        q = self.start()
        q.slow = lambda domain, rcpts: True
        ident = self.send('u@one.test')
        self.assertTrue(q.until(lambda: q.waiting))
        q.kill()
        q = self.start()
        self.empty()
        self.assertEqual([r[0] for r in q.relayed], [ident])

    def test_failures_are_told_together(self):
        q = self.start()
        q.remote = lambda ident, r: (REJECT, 550) if r.startswith('bad') else (DONE, 250)
        ident = self.send('bad1@one.test', 'good@one.test', 'bad2@one.test')
        self.empty()
        self.assertEqual(q.notified, [(ident, 1, 1, [('bad1@one.test', FAILED, '5.1.1'),
                                                     ('bad2@one.test', FAILED, '5.1.1')])])

    def test_notify(self):
        """RFC 3461: who is told of what."""
        q = self.start()
        q.remote = lambda ident, r: (REJECT, 550) if r.startswith('bad') else (DONE, 250)
        ident = self.send(('bad1@one.test', '', NEVER), ('bad2@one.test', '', SUCCESS), ('bad3@one.test', '', FAILURE),
                          ('good1@one.test', '', NEVER), ('good2@one.test', '', SUCCESS), ('good3@one.test', '', FAILURE))
        self.empty()
        self.assertEqual(q.notified, [(ident, 1, 1, [('bad3@one.test', FAILED, '5.1.1'),
                                                     ('good2@one.test', RELAYED, '2.1.1')])])

    def test_null_sender(self):
        """A bounce that fails goes to the postmaster; a notice to him is dropped."""
        q = self.start()
        q.remote = lambda ident, r: (REJECT, 550)
        ident = self.send('u@one.test', sender='')
        self.send('u@one.test', sender='', more=u64(9, 64))
        self.empty()
        self.assertEqual([(i, kind) for i, _, kind, _ in q.notified], [(ident, 2)])
        self.assertIn('queue.dropped', self.log())

    def test_sender_cannot_be_told(self):
        q = self.start()
        q.remote = lambda ident, r: (REJECT, 550)
        answers = [3, 1]   # refused, then sent
        q.notice = lambda ident, event: answers.pop(0)
        self.send('u@one.test')
        self.empty()
        self.assertEqual([kind for _, _, kind, _ in q.notified], [1, 2])

    def test_expiry(self):
        """A message whose lifetime (here: deliver-by) is over fails; the null sender's is dropped."""
        q = self.start()
        q.remote = lambda ident, r: (TEMP, 451)
        ident = self.send('u@one.test', more=u64(12, int((time.time() + 2) * 1000)))
        self.empty(30)
        self.assertEqual(q.notified, [(ident, 1, 1, [('u@one.test', FAILED, '5.4.7')])])

    def test_delay_notice(self):
        q = self.start(' delay-notice-after 2s\n')
        q.remote = lambda ident, r: (DONE, 250) if q.notified else (TEMP, 451)
        ident = self.send('u@one.test', ('quiet@one.test', '', FAILURE))
        self.empty(30)
        self.assertEqual([(i, kind, r) for i, _, kind, r in q.notified],
                         [(ident, 1, [('u@one.test', DELAYED, '4.1.1')])])

    def test_hold_until(self):
        q = self.start()
        at = time.time() + 3
        self.send('u@one.test', more=u64(11, int(at * 1000)))
        q.kill()
        q = self.start()
        self.empty()
        self.assertGreaterEqual(time.time(), at - 0.1)
        self.assertEqual(len(q.relayed), 1)

    def test_dead_site(self):
        """No server answers: one probe a pause, and the others wait unharmed."""
        q = self.start(' site-retry-max 2s\n')
        down = [True]
        q.remote = lambda ident, r: (TEMP, 451) if down[0] else (DONE, 250)
        q.site = lambda domain: text(1, 'mx.' + domain) + u64(2, 3600000) + (u64(3, 1) if down[0] else b'')
        self.send('u@dead.test')
        self.assertTrue(q.until(lambda: 'queue.site_dead' in self.log()))
        for _ in range(50):
            self.send('u@dead.test')
        q.until(lambda: False, 4)
        self.assertLess(len(q.relayed), 9, self.log())
        down[0] = False
        self.empty()
        self.assertIn('queue.site_alive', self.log())
        self.assertEqual(len({r[0] for r in q.relayed}), 51)

    def test_concurrency_grows(self):
        """A site begins with five deliveries at a time and is given more as it answers."""
        q = self.start()
        q.slow = lambda domain, rcpts: True
        for _ in range(200):
            q.accept_remote('a@example.test', ['u@one.test'])
        self.assertTrue(q.until(lambda: len(q.waiting) == 5))
        q.until(lambda: False, 0.3)
        self.assertEqual(len(q.waiting), 5)
        most = 0
        while len(q.relayed) < 200 or q.waiting:
            most = max(most, len(q.waiting))
            for w in [q.waiting.pop(0) for _ in range(len(q.waiting))]:
                q.answer_relay(*w)
            self.assertTrue(q.until(lambda: q.waiting or not self.queued()))
        self.assertGreater(most, 10)
        self.assertLessEqual(most, 20)

    def test_throttled(self):
        q = self.start()
        q.site = lambda domain: text(1, 'mx.' + domain) + u64(2, 3600000) + u64(4, 1)
        for _ in range(30):
            q.accept_remote('a@example.test', ['u@slow.test'])
        q.until(lambda: False, 3)
        self.assertIn('queue.site_throttled', self.log())
        self.assertLess(len(q.relayed), 12)

    def test_site_rate(self):
        q = self.start(' site-rate 300\n')
        begun = time.time()
        for _ in range(11):
            self.send('u@one.test')
        self.empty()
        self.assertGreater(time.time() - begun, 1.8)

    def test_site_of_its_own(self):
        """A site with a block of its own goes by that, also when the settings are read again."""
        q = self.start(blocks='site .one.test { concurrency 2 }\n')
        q.site = lambda domain: text(1, 'mx.' + domain) + u64(2, 3600000)
        self.send('u@one.test')
        self.send('u@two.test')
        self.empty()
        q.slow = lambda domain, rcpts: True
        for i in range(40):
            q.accept_remote('a@example.test', ['u@%s.test' % ('one', 'two')[i % 2]])
        q.until(lambda: False, 0.5)
        self.assertEqual(sum(w[2] == 'one.test' for w in q.waiting), 2)
        self.assertGreater(sum(w[2] == 'two.test' for w in q.waiting), 4)
        q.reload('site mx.one.test { concurrency 1 }\n')
        for w in [q.waiting.pop(0) for _ in range(len(q.waiting))]:
            q.answer_relay(*w)
        q.until(lambda: False, 0.5)
        self.assertEqual(sum(w[2] == 'one.test' for w in q.waiting), 1)

    def test_weights(self):
        """Two tenants with mail for one site have their turns by their weights."""
        q = self.start(blocks='site mx.one.test { concurrency 1 }\ntenant "@big.test" { weight 3 }\n')
        q.site = lambda domain: text(1, 'mx.' + domain) + u64(2, 3600000)
        self.send('u@one.test')
        self.empty()
        q.slow = lambda domain, rcpts: True
        for i in range(60):
            for tenant in 'big', 'small':
                q.accept_remote('a@example.test', ['%s@one.test' % tenant], tenant='user@%s.test' % tenant)
        self.assertTrue(q.until(lambda: self.queued() == 120))
        for _ in range(64):
            self.assertTrue(q.until(lambda: q.waiting))
            self.assertEqual(len(q.waiting), 1)
            q.answer_relay(*q.waiting.pop(0))
        rcpts = [r[3][0] for r in q.relayed[1:65]]
        self.assertIn(rcpts.count('big@one.test'), range(44, 53), rcpts)

    def test_tenant_rate(self):
        """The rate of one tenant does not hold back another."""
        q = self.start(blocks='tenant slow@example.test { rate 120 }\n')
        begun = time.time()
        for _ in range(5):
            for tenant in 'slow', 'fast':
                self.send(tenant + '@one.test', tenant=tenant + '@example.test')
        self.assertTrue(q.until(lambda: sum(r[3] == ['fast@one.test'] for r in q.relayed) == 5))
        self.assertLess(time.time() - begun, 1.5)
        self.empty()
        self.assertGreater(time.time() - begun, 1.8)

    def test_shared_site(self):
        """Domains with the same servers share a site, and so its limit."""
        q = self.start()
        q.site = lambda domain: text(1, 'mx.shared.test') + u64(2, 3600000)
        self.send('u@one.test')
        self.send('u@two.test')
        self.empty()
        q.slow = lambda domain, rcpts: True
        for i in range(40):
            q.accept_remote('a@example.test', ['u@%s.test' % ('one', 'two')[i % 2]])
        q.until(lambda: False, 0.5)
        self.assertLess(len(q.waiting), 8)
        self.assertGreater(len(q.waiting), 4)

    def test_site_known_while_a_message_is_read(self):
        """The site of a domain becomes known while messages for it are being read from disk."""
        q = self.start()
        later = u64(11, int((time.time() + 3600) * 1000))
        for i in range(40):
            self.send('u@d%d.test' % (i % 10), more=later, content=b'z' * 200000)
        self.assertEqual(q.stop(), 0)
        q = self.start()
        q.slow = lambda domain, rcpts: True
        for i in range(10):
            self.send('first@d%d.test' % i)
        self.assertTrue(q.until(lambda: len(q.waiting) == 10))
        q.slow = lambda domain, rcpts: False
        q.cli.call(ADMIN, u64(1, RETRY) + u64(9, 1))
        for w in q.waiting:
            time.sleep(0.001)
            q.answer_relay(*w)
        self.empty()
        self.assertEqual(len(q.relayed), 50)

    def test_delay_and_failure_at_once(self):
        """A delay notice that bounced has not answered yet is not asked for again."""
        q = self.start(' delay-notice-after 1s\n')
        q.remote = lambda ident, r: (REJECT, 550) if r.startswith('bad') and kept else (TEMP, 451)
        kept = []
        q.notice = lambda ident, event: kept.append(event) if event == 65535 else 1
        self.send('u@one.test', 'bad@two.test')
        self.assertTrue(q.until(lambda: q.notified, 30))
        q.until(lambda: False, 0.5)
        self.assertEqual(kept, [65535])

    def test_tenants_take_turns(self):
        """A tenant with many messages for a slow site does not keep another's waiting."""
        q = self.start()
        q.slow = lambda domain, rcpts: True
        for _ in range(500):
            q.accept_remote('a@example.test', ['u@slow.test'], tenant='many')
        self.assertTrue(q.until(lambda: len(q.waiting) == 5))
        ident = self.send('u@slow.test', tenant='one')
        seen = len(q.relayed)
        while ident not in [r[0] for r in q.relayed] and len(q.relayed) < 200:
            q.answer_relay(*q.waiting.pop(0))
            q.until(lambda: q.waiting, 1)
        self.assertLess(len(q.relayed) - seen, 30)

    def test_priority(self):
        q = self.start()
        q.slow = lambda domain, rcpts: True
        low = [self.send('u@one.test') for _ in range(20)]
        self.assertTrue(q.until(lambda: len(q.waiting) == 5))
        urgent = self.send('u@one.test', more=u64(10, 6))
        q.answer_relay(*q.waiting.pop(0))
        q.until(lambda: len(q.relayed) > 5)
        self.assertEqual(q.relayed[5][0], urgent, low)

    def test_why_and_bounce(self):
        """The admin sees what a message waits for, by site, and gives it up."""
        q = self.start()
        q.remote = lambda ident, r: (TEMP, 451) if 'dead' in r else (DONE, 250)
        q.site = lambda domain: text(1, 'mx1.dead.test,mx2.dead.test') + u64(2, 3600000) + u64(3, 1)
        ident = self.send('u@dead.test')
        self.assertTrue(q.until(lambda: 'queue.site_dead' in self.log()))
        q.admin(u64(1, HOLD) + u64(2, ident))
        row = dict(fields(fields(q.admin(u64(1, WHY) + u64(2, ident))[1])[0][1]))
        rcpt = dict(fields(row[12]))
        self.assertEqual((rcpt[7], rcpt[8]), (b'mx1.dead.test,mx2.dead.test', b'held'))
        site = dict(fields(fields(q.admin(u64(1, SITES))[1])[0][1]))
        self.assertEqual((site[1], num(site[2]), num(site[6])), (b'mx1.dead.test,mx2.dead.test', 1, 1))
        for name, n in (('mx2.dead.test', 1), ('dead.test', 1), ('other.test', 0)):
            body = u64(1, BOUNCE) + text(12, name) + u64(10, 1)
            self.assertEqual(num(dict(fields(q.admin(body)[1]))[1]), n, name)
        q.admin(u64(1, BOUNCE) + text(12, 'mx2.dead.test'))
        self.empty()
        self.assertEqual(q.notified, [(ident, 1, 1, [('u@dead.test', FAILED, '5.0.0')])])

    def test_many_sites(self):
        q = self.start()
        for i in range(2000):
            q.accept_remote('a@example.test', ['u@d%d.test' % (i % 400)])
        self.assertTrue(q.until(lambda: len(q.relayed) == 2000, 60), len(q.relayed))
        self.empty()
        self.assertEqual(q.stop(), 0)


if __name__ == '__main__':
    unittest.main()
