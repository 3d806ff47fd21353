"""Several sessions do random things to one account at once, and each checks every answer
against what it has been told: numbers, UIDs, flags, contents."""
import os
import random
import re
import threading
import time

from imapscript import Imap, mail

SECONDS = float(os.environ.get('STRESS_SECONDS', '8'))
SEED = int(os.environ.get('STRESS_SEED', '0')) or random.randrange(1 << 30)
FLAGS = ['\\Seen', '\\Flagged', '\\Answered', '$A', '$B']
BOXES = ['INBOX', 'Archive']


class Shared:
    """What all sessions know: which message a UID is, for ever."""

    def __init__(self):
        self.lock, self.subject, self.next, self.made = threading.Lock(), {}, 0, set()
        self.stop, self.errors = False, []

    def new(self):
        with self.lock:
            self.next += 1
            self.made.add('m%d' % self.next)
            return 'm%d' % self.next

    def check(self, box, uid, subject):
        with self.lock:
            known = self.subject.setdefault((box, uid), subject)
        assert known == subject, 'UID %d of %s was %s and is %s' % (uid, box, known, subject)


class Session(threading.Thread):
    def __init__(self, house, user, shared, number):
        super().__init__(name='session %d' % number)
        self.shared, self.random = shared, random.Random(SEED * 1000 + number)
        self.c = Imap(house, user)
        self.trace = []

    # -- what has been told --

    def take(self, answer, expunges):
        for line in answer.untagged:
            m = re.match(r'\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: \((.*)\))?$', line, re.S)
            if not m:
                continue
            n, what = int(m.group(1)), m.group(2)
            if what == 'EXISTS':
                assert n >= len(self.uids), 'EXISTS goes down without EXPUNGE'
                self.uids += [None] * (n - len(self.uids))
            elif what == 'EXPUNGE':
                assert expunges, 'EXPUNGE where numbers must hold'
                assert n <= len(self.uids), 'EXPUNGE of a number that is not there'
                self.flags.pop(self.uids.pop(n - 1), None)
            else:
                self.take_row(n, m.group(3))

    def take_row(self, n, row):
        assert 1 <= n <= len(self.uids), 'FETCH of a number that is not there'
        uid = re.search(r'\bUID (\d+)', row)
        flags = re.search(r'\bFLAGS \((.*?)\)', row)
        subject = re.search(r'Subject: (\S+)', row)
        if uid:
            assert self.uids[n - 1] in (None, int(uid.group(1))), 'the number %d changed its UID' % n
            self.uids[n - 1] = int(uid.group(1))
        known = [u for u in self.uids if u]
        assert known == sorted(set(known)), 'UIDs do not ascend'
        uid = self.uids[n - 1]
        if flags and uid:
            self.flags[uid] = set(flags.group(1).split()) - {'\\Recent'}
        if subject and uid:
            self.shared.check(self.box, uid, subject.group(1))

    def say(self, line, *more, expunges=True, may=(), before=None):
        self.trace = self.trace[-30:] + [line]
        r = self.c.cmd(line, *more)
        self.trace += r.untagged[-40:] + ['%s %s' % (r.status, r.text)]
        assert r.status == 'OK' or (r.status == 'NO' and r.code().split()[0] in may), r
        if before and r.status == 'OK':
            before()
        self.take(r, expunges)
        return r

    # -- what is done --

    def select(self):
        self.box = self.random.choice(BOXES)
        self.uids, self.flags = [], {}
        self.say('SELECT ' + self.box)
        if self.uids:
            self.say('FETCH 1:* (UID FLAGS)', expunges=False, may=('EXPUNGEISSUED',))

    def some(self):
        """A few messages: (set, UIDs, whether by UID), or None."""
        known = [(i + 1, u) for i, u in enumerate(self.uids) if u]
        if not known:
            return None
        some = self.random.sample(known, min(len(known), self.random.randint(1, 4)))
        by_uid = self.random.random() < 0.5
        return ','.join(str(u if by_uid else n) for n, u in some), [u for _, u in some], by_uid

    def append(self):
        box, subject = self.random.choice(BOXES), self.shared.new()
        r = self.say('APPEND ' + box, mail(subject))
        self.shared.check(box, int(r.code().split()[2]), subject)

    def store(self):
        some = self.some()
        if not some:
            return
        what, uids, by_uid = some
        op, silent = self.random.choice(['+', '-', '']), self.random.random() < 0.5
        flags = set(self.random.sample(FLAGS, 2)) | ({'\\Deleted'} if self.random.random() < 0.3 else set())

        def expect():
            for u in uids:
                old = self.flags.get(u)
                if silent and old is not None:
                    self.flags[u] = old | flags if op == '+' else old - flags if op == '-' else set(flags)
        self.say('%sSTORE %s %sFLAGS%s (%s)' % ('UID ' * by_uid, what, op, '.SILENT' * silent, ' '.join(flags)),
                 expunges=by_uid, may=('EXPUNGEISSUED',), before=expect)

    def fetch(self):
        if not self.uids:
            return
        some = self.some()
        what, _, by_uid = some if some and self.random.random() < 0.7 else ('1:*', None, False)
        self.say('%sFETCH %s (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])' % ('UID ' * by_uid, what),
                 expunges=by_uid, may=('EXPUNGEISSUED',))

    def copy(self):
        some = self.some()
        if not some:
            return
        what, _, by_uid = some
        move = self.random.random() < 0.5
        to = self.random.choice(BOXES)
        r = self.say('%s%s %s %s' % ('UID ' * by_uid, 'MOVE' if move else 'COPY', what, to),
                     may=('EXPUNGEISSUED',))
        code = r.code() if not move else ''.join(r.all(r'OK \[(COPYUID .*?)\]'))
        if code.startswith('COPYUID'):
            for a, b in zip(*map(numbers, code.split()[2:])):
                with self.shared.lock:
                    subject = self.shared.subject.get((self.box, a))
                if subject:
                    self.shared.check(to, b, subject)

    def expunge(self):
        if self.random.random() < 0.5:
            self.say('EXPUNGE')
        else:
            some = self.some()
            if some:
                self.say('UID EXPUNGE ' + ','.join(map(str, some[1])))

    def idle(self):
        tag = self.c.begin('IDLE')
        first = []
        while True:
            line = self.c.response()
            if line.startswith('+'):
                break
            first.append(line)
        time.sleep(self.random.random() / 20)
        self.c.send('DONE\r\n')
        r = self.c.answer(tag)
        assert r.status == 'OK'
        r.untagged = first + r.untagged
        self.take(r, True)

    def run(self):
        deeds = [self.append] * 3 + [self.store] * 5 + [self.fetch] * 4 + [self.copy] * 2 + [
            self.expunge, self.idle, self.select, lambda: self.say('NOOP'), lambda: self.say('STATUS Archive (MESSAGES)')]
        try:
            self.select()
            while not self.shared.stop:
                self.random.choice(deeds)()
        except Exception as e:
            self.shared.stop = True
            self.shared.errors.append('%s, seed %d: %r\n%s' % (self.name, SEED, e, '\n'.join(self.trace)))

    def finish(self):
        """Everything told: what it believes of its mailbox, whole."""
        self.say('NOOP')
        if self.uids:
            told = dict(self.flags)
            self.say('FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])', expunges=False)
            for uid, flags in told.items():
                assert flags == self.flags[uid], 'seed %d: of UID %d was told %r, it has %r\n%s' % (
                    SEED, uid, flags, self.flags[uid], '\n'.join(self.trace[:60]))
        return self.box, [(u, sorted(self.flags[u])) for u in self.uids]


def numbers(text):
    out = []
    for part in text.split(','):
        lo, _, hi = part.partition(':')
        out += range(int(lo), int(hi or lo) + 1)
    return out


def test_random_sessions(house):
    user = house.user('user1')
    shared = Shared()
    sessions = [Session(house, user, shared, i) for i in range(6)]
    for s in sessions:
        s.start()
    time.sleep(SECONDS)
    shared.stop = True
    for s in sessions:
        s.join(60)
    assert not shared.errors, '\n\n'.join(shared.errors)
    assert len(shared.made) > 10
    truth = {}
    for s in sessions:
        box, rows = s.finish()
        assert truth.setdefault(box, rows) == rows, 'seed %d: two sessions differ about %s' % (SEED, box)
    fresh = Session(house, user, shared, 99)
    for box, rows in truth.items():
        fresh.box, fresh.uids, fresh.flags = box, [], {}
        fresh.say('EXAMINE ' + box)
        assert fresh.finish()[1] == rows
        counts = fresh.say('STATUS %s (MESSAGES UNSEEN)' % box)
        assert counts.find(r'STATUS \S+ \((.*)\)')[0] == 'MESSAGES %d UNSEEN %d' % (
            len(rows), sum('\\Seen' not in f for _, f in rows))
    # the store agrees with its files
    house.run('store', 'check', user.address)
    for s in sessions + [fresh]:
        s.c.close()
