#!/usr/bin/env python3
"""queued from outside: accepts, delivers, defers, holds, restarts, is killed."""
import os
import shutil
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'crash'))
from house import ANSWER, Queued, envelope, fields, num, text, u64  # noqa: E402

PROGRAM = os.environ.get('QUEUED', 'mta/queued')
SETTINGS = 'spool {\n segment-size 2M\n min-free 0\n retry-min 1s\n retry-max 2s\n}\n'
LIST, SHOW, CAT, RETRY, HOLD, RELEASE, DELETE, SUMMARY, HOLD_NEW = range(1, 10)


class TestQueued(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='test_queued.')
        self.q = None

    def tearDown(self):
        if self.q and self.q.proc.poll() is None:
            self.q.kill()
        shutil.rmtree(self.dir)

    def start(self, mailds=1):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.q = Queued(PROGRAM, os.path.join(self.dir, 'spool'), mailds, SETTINGS, log=log)
        self.q.ready()
        return self.q

    def log(self):
        with open(os.path.join(self.dir, 'log'), errors='replace') as f:
            return f.read()

    def summary(self):
        flags, body = self.q.admin(u64(1, SUMMARY))
        self.assertEqual(flags & ANSWER, ANSWER)
        return {t: num(v) for t, v in fields(body)}

    def test_deliver_sizes(self):
        q = self.start(2)
        sent = {}
        for i, n in enumerate((1, 5000, 65536, 65537, 200000, 262144, 262145, 3000000)):
            content = bytes([65 + i]) * n
            spool_id, code, _ = q.answer(q.accept('a@example.test', [('u@example.test', i)], content))
            self.assertEqual(code, 250)
            sent[spool_id] = content
        self.assertTrue(q.until(lambda: len(q.delivered) == 8), self.log())
        for spool_id, _, maybe, content in q.delivered:
            self.assertFalse(maybe)
            self.assertEqual(content, sent[spool_id])
        self.assertTrue(q.until(lambda: self.summary()[2] == 0))
        self.assertEqual(os.listdir(os.path.join(self.dir, 'spool', 'large')), [])
        self.assertEqual(q.stop(), 0)

    def test_accounts_merge(self):
        q = self.start(2)
        rcpts = [('u%d@example.test' % i, i % 5) for i in range(20)]
        q.answer(q.accept('a@example.test', rcpts, b'hello'))
        # the answer may come a moment before the message shows in the summary
        self.assertTrue(q.until(lambda: len(q.delivered) == 5))
        self.assertTrue(q.until(lambda: self.summary()[2] == 0))
        self.assertEqual(sorted(a for _, a, _, _ in q.delivered), [0, 1, 2, 3, 4])

    def test_defer_and_retry(self):
        q = self.start()
        tries = []
        q.outcome = lambda ident, account: tries.append(account) or ((1, 250) if len(tries) > 2 else (2, 451))
        q.answer(q.accept('a@example.test', [('u@example.test', 1)], b'x'))
        self.assertTrue(q.until(lambda: len(tries) == 1), self.log())
        self.assertTrue(q.until(lambda: self.summary()[6] == 1))
        self.assertTrue(q.until(lambda: len(q.delivered) == 1))
        self.assertEqual(len(tries), 3)

    def test_undeliverable_stays(self):
        """What failed stays until bounced has answered, over a stop and a kill, under one number."""
        q = self.start()
        q.outcome = lambda ident, account: (3, 552)
        asked = []
        q.notice = lambda ident, event: asked.append((ident, event))
        ident = q.answer(q.accept('a@example.test', [('u@example.test', 1)], b'x'))[0]
        self.assertTrue(q.until(lambda: self.summary()[8] == 1))
        self.assertTrue(q.until(lambda: asked == [(ident, 1)]), asked)
        q.kill()
        q = self.start()
        self.assertEqual(self.summary()[8], 1)
        self.assertEqual(self.summary()[2], 1)
        self.assertTrue(q.until(lambda: self.summary()[2] == 0))
        self.assertEqual(q.notified, [(ident, 1, 1, [('u@example.test', 1, '')])])
        self.assertEqual(q.stop(), 0)
        q = self.start()
        self.assertEqual(self.summary()[2], 0)

    def test_restart_clean(self):
        q = self.start()
        flags, _ = q.admin(u64(1, HOLD_NEW) + u64(11, 1))
        ids = [q.answer(q.accept('a@example.test', [('u@example.test', i)], b'm%d' % i))[0] for i in range(50)]
        self.assertEqual(q.stop(), 0)
        q = self.start()
        self.assertEqual(self.summary()[7], 50)
        q.admin(u64(1, RELEASE) + u64(9, 1))
        self.assertTrue(q.until(lambda: len(q.delivered) == 50))
        self.assertEqual(sorted(d[0] for d in q.delivered), sorted(ids))
        self.assertFalse(any(d[2] for d in q.delivered))

    def test_killed(self):
        """A lost answer: the delivery comes again, marked."""
        q = self.start()
        q.hold = True
        ids = [q.answer(q.accept('a@example.test', [('u@example.test', i)], b'm%d' % i))[0] for i in range(20)]
        self.assertTrue(q.until(lambda: len(q.delivered) == 20))
        q.kill()
        q = self.start()
        self.assertTrue(q.until(lambda: len(q.delivered) == 20))
        self.assertEqual(sorted(d[0] for d in q.delivered), sorted(ids))
        self.assertTrue(all(d[2] for d in q.delivered))

    def test_lmtp(self):
        q = self.start()
        q.outcome = lambda ident, account: {1: (1, 250), 2: (2, 452), 3: (3, 552)}[account]
        rcpts = [('u%d@example.test' % i, i) for i in (1, 2, 3)]
        _, _, codes = q.answer(q.accept('a@example.test', rcpts, b'x', lmtp=True))
        self.assertEqual(codes, [250, 452, 552])
        self.assertTrue(q.until(lambda: self.summary()[2] == 0))

    def test_admin(self):
        q = self.start()
        q.admin(u64(1, HOLD_NEW) + u64(11, 1))
        one = q.answer(q.accept('a@example.test', [('u@example.test', 1)], b'content one'))[0]
        two = q.answer(q.accept('b@example.test', [('v@other.test', 1)], b'content two'))[0]
        self.assertTrue(q.until(lambda: self.summary()[2] == 2))
        rows = [dict(fields(v)) for _, v in fields(q.admin(u64(1, LIST))[1])]
        self.assertEqual([num(r[1]) for r in rows], [one, two])
        rows = fields(q.admin(u64(1, LIST) + text(5, 'other.test'))[1])
        self.assertEqual(len(rows), 1)
        self.assertEqual(dict(fields(q.admin(u64(1, CAT) + u64(2, one))[1]))[2], b'content one')
        self.assertEqual(q.admin(u64(1, DELETE))[0] & 4, 4)   # says nothing of which
        self.assertEqual(num(dict(fields(q.admin(u64(1, DELETE) + u64(9, 1) + u64(10, 1))[1]))[1]), 2)
        self.assertEqual(self.summary()[2], 2)
        self.assertEqual(num(dict(fields(q.admin(u64(1, DELETE) + u64(2, one))[1]))[1]), 1)
        self.assertEqual(self.summary()[2], 1)
        q.kill()
        self.start()
        self.assertEqual(self.summary()[2], 1)

    def keyed(self, key, content, at=None):
        """A message with a deduplication key: (spool id, code, duplicate)."""
        env = envelope('a@example.test', [('u@example.test', 1)], size=len(content)) + text(16, key)
        if at:
            env += u64(13, at)
        if len(content) <= 256 << 10:
            ident = self.q.smtpd.call(0x301, text(1, env) + text(2, content))
        else:
            stream = self.q.smtpd.next_id
            for i in range(0, len(content), 256 << 10):
                self.q.wait(self.q.smtpd.call(0x302, u64(3, stream) + u64(4, i) + text(2, content[i:i + (256 << 10)])))
            ident = self.q.smtpd.call(0x301, text(1, env) + u64(3, stream))
        f = dict(fields(self.q.wait(ident)[1]))
        return num(f[1]), num(f[3]), 7 in f

    def test_dedup(self):
        """The same key is the same message: at once, after its delivery, a kill and a clean restart."""
        q = self.start()
        first, code, dup = self.keyed(b'k' * 32, b'one')
        self.assertEqual((code, dup), (250, False))
        self.assertEqual(self.keyed(b'k' * 32, b'one'), (first, 250, True))
        other, _, dup = self.keyed(b'K' * 32, b'two')
        self.assertFalse(dup)
        self.assertNotEqual(other, first)
        large, _, _ = self.keyed(b'L', b'x' * 600000)
        self.assertEqual(self.keyed(b'L', b'x' * 600000), (large, 250, True))
        self.assertTrue(q.until(lambda: len(q.delivered) == 3))
        self.assertTrue(q.until(lambda: self.summary()[2] == 0))
        self.assertEqual(os.listdir(os.path.join(self.dir, 'spool', 'large')), [])
        q.kill()                      # from the log's records
        q = self.start()
        self.assertEqual(self.keyed(b'k' * 32, b'one'), (first, 250, True))
        self.assertEqual(q.stop(), 0) # from the checkpoint's entries
        q = self.start()
        self.assertEqual(self.keyed(b'k' * 32, b'one'), (first, 250, True))
        self.assertEqual(self.keyed(b'L', b'x'), (large, 250, True))
        self.assertEqual(q.stop(), 0) # and those of a checkpoint made of one
        q = self.start()
        self.assertEqual(self.keyed(b'K' * 32, b'one'), (other, 250, True))
        self.assertEqual(q.delivered, [])

    def test_dedup_in_flight(self):
        """Many at once with one key: one message."""
        q = self.start()
        env = text(1, envelope('a@example.test', [('u@example.test', 1)]) + text(16, b'same'))
        idents = [q.smtpd.call(0x301, env + text(2, b'x')) for _ in range(50)]
        got = [dict(fields(q.wait(i)[1])) for i in idents]
        self.assertEqual(len({num(f[1]) for f in got}), 1)
        self.assertEqual(sum(7 in f for f in got), 49)
        self.assertTrue(q.until(lambda: self.summary()[2] == 0))
        self.assertEqual(len(q.delivered), 1)

    def test_dedup_a_day(self):
        """A key is over after 24 hours; a too long one is refused."""
        q = self.start()
        old = int((time.time() - 86400 - 5) * 1e6)
        first, _, _ = self.keyed(b'day', b'x', old)
        self.assertTrue(q.until(lambda: self.summary()[2] == 0))
        self.assertTrue(q.until(lambda: not self.keyed(b'day', b'x', old)[2]))
        got = q.wait(q.smtpd.call(0x301, text(1, envelope('a@example.test', [('u@example.test', 1)]) +
                                              text(16, b'k' * 65)) + text(2, b'x')))
        self.assertEqual(got[0] & 4, 4)
        self.assertGreater(first, 0)

    def test_burst(self):
        """A burst of more than the segments that are ready waits for the next ones."""
        q = self.start()
        q.admin(u64(1, HOLD_NEW) + u64(11, 1))
        content = b'x' * 250000
        waiting = [q.accept('a@example.test', [('u@example.test', 1)], content) for _ in range(100)]
        self.assertEqual({q.answer(i)[1] for i in waiting}, {250}, self.log())
        # an answer may come a moment before its message shows in the summary
        self.assertTrue(q.until(lambda: self.summary()[2] == 100))
        self.assertEqual(q.stop(), 0)

    def test_crowded(self):
        """More messages of one tenant than may be active: the rest follows by itself."""
        q = self.start()
        for _ in range(5500):
            q.accept('a@example.test', [('u@example.test', 1)], b'x')
        self.assertTrue(q.until(lambda: len(q.delivered) == 5500, 60), len(q.delivered))
        self.assertTrue(q.until(lambda: self.summary()[2] == 0))
        self.assertEqual(q.stop(), 0)

    def test_bad_frames(self):
        q = self.start()
        for body in (b'', b'\1', text(1, b'\xff\xff'), text(1, b'') + text(2, b'x'), u64(3, 9), b'\0' * 40):
            got = q.wait(q.smtpd.call(0x301, body))
            self.assertTrue(got and got[0] & 4)
        self.assertEqual(q.answer(q.accept('a@example.test', [('u@example.test', 1)], b'x'))[1], 250)


if __name__ == '__main__':
    unittest.main()
