#!/usr/bin/env python3
"""maild from outside: both ways of delivering, tickets, quotas, recovery, volumes."""
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from maild_house import (ADD, CALLEE, DELETED, DONE, EACCES, EDQUOT, ENOENT, ESTALE, EXDEV, FLAGGED,  # noqa: E402
                         IMAPD, MIMED, NOT_HERE, REJECT, SEEN, SET, TEMPFAIL, Account, Child, Maild,
                         Refused, text, ticket, u64)

PROGRAM = os.environ.get('MAILD', 'maildir/maild')
MIMED_PROGRAM = os.environ.get('MIMED', 'mta/mimed')
MAIL = b'From: a@example.org\r\nSubject: one\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n'
REPLY = (b'From: b@example.org\r\nSubject: Re: one\r\nMessage-ID: <2@example.org>\r\n'
         b'In-Reply-To: <1@example.org>\r\n\r\nyes\r\n')
UID_GAP = 10000
STAT, CHECK, REBUILD = 1, 2, 3


class TestMaild(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='test_maild.')
        self.store = os.path.join(self.dir, 'store')
        self.m = None

    def tearDown(self):
        if self.m and self.m.proc.poll() is None:
            self.m.kill()
        shutil.rmtree(self.dir)

    def start(self, settings='', **kw):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.m = Maild(PROGRAM, self.store, settings, log=log, **kw)
        return self.m

    def log(self):
        with open(os.path.join(self.dir, 'log'), errors='replace') as f:
            return f.read()

    def files(self, account, sub, volume=0):
        return sorted(glob.glob('%s/%d/*/%016x/%s' % (self.store, volume, account, sub)))

    def refused(self, code, fn, *a, **kw):
        with self.assertRaises(Refused) as c:
            fn(*a, **kw)
        self.assertEqual(c.exception.code, code, c.exception)
        return c.exception

    # ---- delivering ----

    def test_both_ways(self):
        m = self.start()
        first = m.deliver(1, [7], MAIL)
        self.assertEqual([(o, c) for o, c, _ in first], [(DONE, 250)])
        self.assertNotEqual(first[0][2], 0)  # unknown: through the actor
        self.assertEqual(len(self.files(7, 'cur/*')), 1)
        self.assertEqual(m.deliver(2, [7], MAIL), [(DONE, 250, 0)])
        self.assertEqual(len(self.files(7, 'new/*')), 1)
        self.assertEqual(m.deliver(2, [7], MAIL), [(DONE, 250, 0)])  # the name says it is there
        h = m.attach(7)
        self.assertEqual(h.box()['total'], 2)
        self.assertEqual(self.files(7, 'new/*'), [])
        self.assertEqual(sorted(h.view()[0]), [1, 2])
        self.assertNotEqual(m.deliver(3, [7], MAIL)[0][2], 0)  # connected: through the actor
        inbox = h.id()
        self.assertTrue(m.until(lambda: any(e[:2] == (h.number, inbox) for e in m.events)))
        self.assertEqual(h.box()['total'], 3)
        self.assertEqual(m.metric('store_deliveries_total'), 4)
        self.assertEqual(m.stop(), 0)

    def test_content(self):
        m = self.start()
        big = b'Subject: big\r\n\r\n' + b'x' * 70 + b'\r\n' * 100000
        m.deliver(1, [7], MAIL)
        m.deliver(2, [7, 8, 9], MAIL, sender='b\r\nX: y@example.org')
        m.deliver(3, [7], big, big=True)
        h = m.attach(7)
        self.assertEqual(h.content(1), b'Return-Path: <a@example.org>\r\nDelivered-To: user@example.test\r\n' +
                         MAIL)
        self.assertEqual(h.content(2), b'Return-Path: <b??X: y@example.org>\r\n' + MAIL)
        self.assertEqual(h.content(3)[-len(big):], big)
        links = [os.stat(f) for a in (7, 8, 9) for f in self.files(a, 'cur/*') + self.files(a, 'new/*')]
        self.assertEqual(sorted(s.st_nlink for s in links), [1, 1, 3, 3, 3])
        self.refused(ENOENT, h.content, 4)

    def test_at_most_once(self):
        m = self.start()
        h = m.attach(7)
        again = [(7, 0, True)]
        email = m.deliver(1, [7], MAIL)[0][2]
        self.assertEqual(m.deliver(1, again, MAIL), [(DONE, 250, email)])
        h.create('Work')
        h.copy([(1, 1)], 'Work', move=True)
        m.deliver(1, again, MAIL)
        self.assertEqual((h.box()['total'], h.box('Work')['total']), (0, 1))
        h.flags([(1, 1)], ADD, DELETED, 'Work')
        h.expunge('Work')
        m.deliver(1, again, MAIL)
        m.deliver(2, [7], MAIL)
        self.assertEqual((h.box()['total'], h.box('Work')['total']), (1, 0))
        # a row below the mark lives while it is open; the upkeep of an idle account prunes
        m.low_water(100, [2])
        self.assertTrue(m.until(lambda: m.metric('store_upkeeps_total') > 0, 15))
        m.deliver(2, again, MAIL)
        self.assertEqual(h.box()['total'], 1)
        m.deliver(1, again, MAIL)  # its row is gone
        self.assertEqual(h.box()['total'], 2)

    def test_many_at_once(self):
        m = self.start()
        ids = [m.deliver_start(i, [7, 8], MAIL) for i in range(1, 101)]
        for ident in ids:
            self.assertEqual([r[:2] for r in m.results(ident)], [(DONE, 250)] * 2)
        for account in (7, 8):
            h = m.attach(account)
            self.assertEqual(sorted(h.view()[0]), list(range(1, 101)))

    # ---- facts ----

    def test_facts(self):
        m = self.start(mimed=MIMED_PROGRAM)
        m.deliver(1, [7], MAIL)
        m.deliver(2, [7], REPLY)
        m.deliver(3, [7], b'Subject: large\r\n\r\n' + b'line\r\n' * 20000, big=True)
        f = m.attach(7).facts()
        self.assertIn(b'"one"', f[1]['envelope'])
        self.assertEqual(f[1]['thread'], f[2]['thread'])
        self.assertNotEqual(f[1]['thread'], f[3]['thread'])
        self.assertIn(b'"large"', f[3]['envelope'])
        self.assertEqual(m.metric('store_opaque_total'), 0)

    def test_no_mimed(self):
        """Mail comes in without facts, and gets them when a mimed is there."""
        m = self.start(mimed='gone')
        m.deliver(1, [7], MAIL)
        m.deliver(2, [7], REPLY)
        h = m.attach(7)
        self.assertEqual([h.facts()[u]['envelope'] for u in (1, 2)], [b'', b''])
        import socket
        a, b = socket.socketpair()
        m.mimed_child = Child(MIMED_PROGRAM, MIMED, [(MIMED, 1), (5, 1)], 'config 1\n', callers=[(5, 0, 1, a)])
        m.child.callee(MIMED, 0, b)
        self.assertTrue(m.until(lambda: b'"one"' in h.facts()[1]['envelope']), self.log())
        f = h.facts()
        self.assertEqual(f[1]['thread'], f[2]['thread'])

    def test_mimed_fails(self):
        m = self.start()
        m.deliver(1, [7], MAIL)
        self.assertEqual(m.looks, 2)
        self.assertTrue(m.attach(7).facts()[1]['structure'])
        self.assertEqual(m.metric('store_opaque_total'), 1)

    # ---- quotas ----

    def test_quota(self):
        m = self.start()
        m.accounts[7] = Account(quota=1000)
        self.assertEqual(m.room(7, 1000, 900), 250)   # not known yet
        self.assertEqual(m.room(7, 1000, 1001), 552)
        self.assertEqual(m.deliver(1, [(7, 1000, False)], b'x' * 500)[0][:2], (DONE, 250))
        self.assertEqual(m.deliver(2, [(7, 1000, False)], b'x' * 500)[0][:2], (TEMPFAIL, 452))
        self.assertEqual(m.deliver(3, [(7, 1000, False)], b'x' * 1500)[0][:2], (REJECT, 552))
        self.assertEqual(m.room(7, 1000, 500), 452)
        self.assertEqual(m.room(7, 1000, 100), 250)
        h = m.attach(7)
        used, limit = h.quota()
        self.assertEqual(limit, 1000)
        self.assertEqual(used, h.box()['bytes'])
        self.refused(EDQUOT, h.append, b'x' * 500)
        h.create('Work')
        self.refused(EDQUOT, h.copy, [(1, 1)], 'Work')
        self.assertEqual(h.copy([(1, 1)], 'Work', move=True), [(1, 1)])
        self.assertEqual(h.quota()[0], used)
        h.flags([(1, 1)], ADD, DELETED, 'Work')
        h.expunge('Work')
        self.assertEqual(h.quota()[0], 0)
        self.assertEqual(h.append(b'x' * 500), 2)
        m.accounts[7].quota = 5000
        m.changed(7)
        self.assertTrue(m.until(lambda: h.quota()[1] == 5000))
        self.assertEqual(h.append(b'x' * 4000), 3)

    # ---- tickets ----

    def test_tickets(self):
        m = self.start(fronts=2, instances=2)
        m.accounts[7] = Account(generation=5)
        bad = ticket(7, m.channels[0], generation=5, key=b'j' * 32)
        for code, kw in ((74, {'sealed': bad}), (EACCES, {'sealed': ticket(7, m.channels[1], generation=5)}),
                         (62, {'generation': 5, 'life': -1}), (EACCES, {'generation': 4}),
                         (EACCES, {'generation': 5, 'rights': 2}), (EXDEV, {'generation': 5, 'slot': 1}),
                         (EXDEV, {'generation': 5, 'volume': 9})):
            self.refused(code, m.attach, 7, **kw)
        h = m.attach(7, generation=5)
        other = m.attach(7, front=1, generation=5)
        with self.assertRaises(Refused):  # a handle of another front end
            h.maild.call(0x512, u64(1, other.number), m.fronts[0])
        m.changed(7, generation=5)
        self.assertEqual(h.box()['total'], 0)
        m.changed(7, generation=6)
        self.assertTrue(m.until(lambda: (h.number, 0, 0) in m.events and (other.number, 0, 0) in m.events))
        self.refused(ESTALE, h.box)
        m.accounts[7].generation = 6
        self.refused(EACCES, m.attach, 7, generation=5)
        m.attach(7, generation=6)

    def test_renew(self):
        m = self.start()
        h = m.attach(7)
        self.refused(EACCES, h.call, 0x521, text(13, ticket(8, m.channels[0])))
        h.call(0x521, text(13, ticket(7, m.channels[0], generation=9)))
        m.changed(7, generation=9)
        self.assertEqual(h.box()['total'], 0)

    # ---- calls ----

    def test_events(self):
        m = self.start(fronts=2)
        a, b = m.attach(7), m.attach(7, front=1)
        uid = a.append(MAIL, sysflags=FLAGGED, keywords=['$Label1', 'Work'])
        inbox = a.id()
        self.assertTrue(m.until(lambda: any(e[:2] == (b.number, inbox) for e in m.events)))
        self.assertEqual(b.view()[0][uid][0], FLAGGED | 256 | 512)
        del m.events[:]
        b.flags([(1, 9)], SET, SEEN)
        modseq = b.box()['modseq']
        self.assertTrue(m.until(lambda: (a.number, inbox, modseq) in m.events), m.events)
        self.assertEqual(a.view()[0], {uid: (SEEN, modseq)})

    def test_mailboxes(self):
        m = self.start()
        h = m.attach(7)
        self.assertEqual({b['role'] for b in h.list().values()},
                         {'inbox', 'sent', 'drafts', 'trash', 'junk', 'archive'})
        h.create('A/B/c')
        uid = h.append(MAIL, 'A/B/c')
        h.rename('A', 'Z')
        self.assertEqual(h.content(uid, 'Z/B/c'), MAIL)
        self.refused(17, h.create, 'Z/B/c')
        h.delete('Z/B/c')
        self.assertNotIn('Z/B/c', h.list())
        self.refused(1, h.delete, 'INBOX')
        uid = h.append(MAIL)
        h.rename('INBOX', 'Old')
        self.assertEqual((h.box()['total'], h.box('Old')['total']), (0, 1))

    def test_flags_now(self):
        for setting, waits in (('off', False), ('on', True)):
            m = self.start('store { flag-durability-now %s }' % setting)
            h = m.attach(7 + waits)
            h.append(MAIL)
            inbox = h.id()
            time.sleep(1.2)
            syncs = m.metric('store_syncs_total')
            h.flags([(1, 1)], ADD, SEEN)
            self.assertEqual(m.metric('store_syncs_total') > syncs, waits)
            self.assertTrue(m.until(lambda: m.metric('store_syncs_total') > syncs, 3), inbox)
            self.assertEqual(m.stop(), 0)

    # ---- stops ----

    def test_restart_clean(self):
        m = self.start()
        for i in range(1, 6):
            m.deliver(i, [7], MAIL)
        h = m.attach(7)
        h.flags([(2, 3)], ADD, SEEN | FLAGGED)
        before, view = h.box(), h.view()[0]
        self.assertEqual(m.stop(), 0)
        m = self.start()
        self.assertEqual(m.deliver(6, [7], MAIL), [(DONE, 250, 0)])  # the ledger is believed
        h = m.attach(7)
        after = h.box()
        self.assertEqual(after['uidvalidity'], before['uidvalidity'])
        self.assertEqual({u: h.view()[0][u] for u in view}, view)
        self.assertEqual(after['uidnext'], before['uidnext'] + 1)
        self.assertEqual(m.metric('store_recovered_total'), 0)
        self.assertEqual(m.stop(), 0)

    def test_killed(self):
        m = self.start()
        for i in range(1, 4):
            m.deliver(i, [7], MAIL)
        h = m.attach(7)
        h.flags([(2, 2)], ADD, SEEN)
        before = h.box()
        h.detach()
        m.deliver(4, [7], MAIL)
        m.kill()
        m = self.start()
        self.assertNotEqual(m.deliver(4, [(7, 0, True)], MAIL)[0][2], 0)
        h = m.attach(7)
        after, view = h.box(), h.view()[0]
        self.assertEqual(len(view), 4)
        self.assertEqual(view[2][0], SEEN)
        self.assertEqual(after['uidvalidity'], before['uidvalidity'])
        self.assertGreaterEqual(max(view), before['uidnext'] + UID_GAP)
        self.assertGreater(after['modseq'], before['modseq'] + 100000)
        self.assertEqual(m.metric('store_recovered_total'), 1)
        self.assertEqual(m.stop(), 0)

    def test_reconcile(self):
        """What no crash of ours leaves, and what one leaves: reported, and put right."""
        m = self.start()
        for i in range(1, 5):
            m.deliver(i, [7], MAIL)
        m.attach(7).detach()
        m.deliver(5, [7], MAIL)
        m.kill()
        cur = self.files(7, 'cur/*')
        os.remove(cur[0])                                  # a row without its file
        os.truncate(cur[1], 10)                            # a short one
        new = self.files(7, 'new/*')[0]
        os.truncate(new, 20)                               # torn, never acknowledged
        extra = cur[3].replace('D%016x' % 4, 'D%016x' % 99).split(',U=')[0]
        shutil.copy(cur[3], extra)                         # a file without row
        m = self.start()
        h = m.attach(7)
        view = h.view()[0]
        self.assertEqual(len(view), 3)
        self.assertEqual(sorted(view)[:2], [3, 4])
        self.assertGreaterEqual(max(view), UID_GAP)
        self.assertEqual(m.deliver(5, [(7, 0, True)], MAIL)[0][:2], (DONE, 250))
        self.assertEqual(h.box()['total'], 4)
        self.assertGreaterEqual(self.log().count('ev=store.recovered'), 4)
        m.stop()

    def test_snapshot(self):
        m = self.start()
        for i in range(1, 121):
            m.deliver_start(i, [7], MAIL)
        m.until(lambda: len(m.inbox) == 120)
        m.attach(7).detach()
        self.assertTrue(m.until(lambda: self.files(7, 'index.snap'), 10))
        m.stop()

    # ---- the ends of accounts and disks ----

    def test_purge(self):
        m = self.start()
        h = m.attach(7)
        for i in range(1, 700):
            m.deliver_start(i, [7], MAIL)
        m.until(lambda: len(m.inbox) == 699)
        m.changed(7, enabled=0, deleted=1, purge=1)
        self.assertTrue(m.until(lambda: 'ev=store.purged' in self.log()))
        self.assertTrue(m.until(lambda: (h.number, 0, 0) in m.events))
        self.assertEqual(self.files(7, ''), [])
        self.assertEqual(os.listdir(self.store + '/0/purge'), [])
        self.assertEqual(m.deliver(800, [7, 8], MAIL)[0][:2], (REJECT, 550))
        self.assertEqual(self.files(7, ''), [])
        m.stop()

    def test_purge_goes_on(self):
        m = self.start()
        m.deliver(1, [7], MAIL)
        m.stop()
        os.makedirs(self.store + '/0/purge')
        os.rename(self.files(7, '')[0], self.store + '/0/purge/%016x' % 7)
        m = self.start()
        self.assertTrue(m.until(lambda: not os.listdir(self.store + '/0/purge')))
        m.stop()

    def test_volumes(self):
        os.makedirs(self.store + '/3')
        m = self.start()
        m.accounts[8] = Account(volume=3)
        self.assertEqual(m.deliver(1, [8], MAIL, volume=3)[0][:2], (DONE, 250))
        self.assertEqual(len(self.files(8, 'cur/*', 3)), 1)
        self.assertEqual(m.deliver(2, [9], MAIL, volume=4)[0][0], NOT_HERE)
        self.assertEqual(m.attach(8, volume=3).box()['total'], 1)
        m.stop()

    def test_disk_full(self):
        if subprocess.call(['mount', '-t', 'tmpfs', '-o', 'size=64m', 'none', self.dir],
                           stderr=subprocess.DEVNULL):
            self.skipTest('no mount')
        try:
            m = self.start()
            h = m.attach(7)
            uid = h.append(MAIL)
            big, i = b'x' * 4000000, 10
            while m.deliver(i, [8], big, big=True)[0][0] == DONE:
                i += 1
                self.assertLess(i, 40)
            self.assertEqual(m.deliver(i, [8], big, big=True)[0][:2], (TEMPFAIL, 452))
            self.assertEqual(m.room(8, 0, len(big)), 452)
            self.assertFalse(os.path.exists(self.store + '/0/ballast'))
            self.refused(28, h.append, big)
            h.flags([(uid, uid)], ADD, DELETED)
            h.expunge()
            h = m.attach(8)
            h.flags([(1, 0xffffffff)], ADD, DELETED)
            h.expunge()
            self.assertTrue(m.until(lambda: m.room(8, 0, len(big)) == 250, 5))
            self.assertEqual(m.deliver(i, [8], big, big=True)[0][:2], (DONE, 250))
            self.assertEqual(m.stop(), 0)
        finally:
            if self.m.proc.poll() is None:
                self.m.kill()
            subprocess.call(['umount', self.dir])

    # ---- the admin's verbs ----

    def test_check_and_rebuild(self):
        m = self.start()
        for i in range(1, 6):
            m.deliver(i, [7], MAIL)
        h = m.attach(7)
        h.create('Work')
        h.copy([(1, 2)], 'Work')
        h.flags([(2, 3)], ADD, SEEN, keywords=['Foo'])
        before, emails = h.view()[0], {u: f['email'] for u, f in h.facts().items()}
        uidvalidity = h.box()['uidvalidity']
        self.assertEqual(m.admin(CHECK, 7)[0], [])
        self.assertEqual(m.admin(STAT, 7)[1]['messages'], 7)
        cur = self.files(7, 'cur/*')
        os.rename(cur[0], cur[0] + 'x')
        os.truncate(cur[1], 5)
        os.mkdir(os.path.dirname(os.path.dirname(cur[0])) + '/.Stray')
        self.assertEqual(sorted(f[:3] for f in m.admin(CHECK, 7)[0]),
                         [('file-without-row', 'INBOX', 1), ('folder', '', 0),
                          ('row-without-file', 'INBOX', 1), ('wrong-length', 'INBOX', 2),
                          ('wrong-length', 'Work', 2)])  # a link of the same file
        os.rename(cur[0] + 'x', cur[0])
        with open(cur[1], 'wb') as f:
            f.write(b'x' * os.stat(cur[2]).st_size)
        os.rmdir(os.path.dirname(os.path.dirname(cur[0])) + '/.Stray')
        m.admin(REBUILD, 7)
        self.assertTrue(m.until(lambda: (h.number, 0, 0) in m.events))
        self.refused(ESTALE, h.box)
        self.assertEqual(m.admin(CHECK, 7)[0], [])
        h = m.attach(7)
        self.assertEqual({u: f for u, (f, _) in h.view()[0].items()}, {u: f for u, (f, _) in before.items()})
        h.flags([(3, 3)], ADD, DELETED)
        h.expunge()  # of a thread that the rebuild counted
        self.assertEqual(m.admin(CHECK, 7)[0], [])
        before.pop(3)
        emails.pop(3)
        self.assertEqual({u: f['email'] for u, f in h.facts().items()}, emails)
        self.assertEqual(h.box()['uidvalidity'], uidvalidity)
        self.assertGreater(h.box()['uidnext'], 6)
        self.assertEqual(h.box('Work')['total'], 2)
        self.refused(ENOENT, m.admin, CHECK, 1234)
        self.assertEqual(m.stop(), 0)

    def test_damaged(self):
        """A damaged index is said, its account refused, and nothing is lost by a rebuild."""
        m = self.start()
        for i in range(1, 6):
            m.deliver(i, [7], MAIL)
        h = m.attach(7)
        m.stop()
        with open(self.files(7, 'index.db')[0], 'r+b') as f:
            f.seek(4096)
            f.write(b'\xaa' * 8000)
        m = self.start()
        self.assertEqual(m.deliver(6, [(7, 0, True), 8], MAIL)[0][:2], (TEMPFAIL, 451))
        self.refused(117, m.attach, 7)
        self.assertIn('ev=store.damaged', self.log())
        self.assertEqual(m.admin(CHECK, 7)[0][0][0], 'damage')
        found = m.admin(REBUILD, 7)[0]
        self.assertEqual({f[0] for f in found}, {'flags-lost'})
        h = m.attach(7)
        self.assertEqual(sorted(h.view()[0]), [1, 2, 3, 4, 5])
        self.assertEqual(m.deliver(6, [(7, 0, True), (8, 0, True)], MAIL)[0][:2], (DONE, 250))
        self.assertEqual(h.box()['total'], 6)
        m.deliver(5, [(7, 0, True)], MAIL)  # the names tell what was delivered
        self.assertEqual(h.box()['total'], 6)
        self.assertEqual(m.stop(), 0)

    def test_bad_frames(self):
        m = self.start()
        h = m.attach(7)
        for kind in [0x501, 0x502, *range(0x510, 0x522)]:
            w = m.queued if kind == 0x501 else m.smtpd if kind == 0x502 else m.fronts[0]
            for body in (b'', b'\x01', b'\x07\0\xff\xff\xff\xff', u64(1, h.number) + text(16, b'12345'),
                         u64(1, h.number) + u64(2, 1 << 40) + text(16, b'\0' * 8), text(7, b'\x01\0\x08')):
                try:
                    m.call(kind, body, w)
                except Refused:
                    pass
        self.assertEqual(m.attach(7).box()['total'], 0)
        self.assertEqual(m.stop(), 0)


if __name__ == '__main__':
    unittest.main()
