"""Load on a real maild: deliveries both ways and all that a front end does, journalled.

One front-end call at a time for each account, several accounts at once, deliveries at any
time. After a restart each account is listed anew, which decides what was left open.
"""
import json
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'maildir'))
from house import ERROR, fields, num, text, u64  # noqa: E402
import maild_house as wire  # noqa: E402
from maild_house import Account, Maild, Refused  # noqa: E402
import replay  # noqa: E402
from store_world import FLAGS, World, content, token_of  # noqa: E402

ACCOUNTS = (7, 8, 9)
BOXES = ('INBOX', 'Sent', 'Archive')
BAD = -1   # the token of a message that is not whole


class Gone(Exception):
    """maild has ended, or the account's handle is void."""


class Journal:
    """Marks go to the recording; a world of its own knows what has been shown so far."""

    def __init__(self, log):
        self.log, self.world = log, World()

    def mark(self, *m):
        m = json.dumps(m)
        self.world.take(m)
        replay.mark(self.log, m)


class Front:
    """An account as its one front end uses it: generators that yield while they wait."""

    def __init__(self, load, account):
        self.load, self.account = load, account
        self.handle, self.ids, self.tokens = None, {}, {}

    def call(self, kind, body=b'', fd=None):
        m, w = self.load.maild, self.load.maild.fronts[0]
        ident, w.next_id = w.next_id, w.next_id + 1
        try:
            w.send(kind, u64(wire.Q_HANDLE, self.handle) + body, ident, fd=fd)
        except OSError:
            raise Gone
        while (w, ident) not in m.inbox:
            yield
        flags, body, fd = m.inbox.pop((w, ident))
        if not flags & ERROR:
            return body, fd
        e = Refused(body)
        if e.code == wire.ESTALE:
            raise Gone
        raise e

    def attach(self):
        m = self.load.maild
        m.accounts[self.account] = Account()
        m.next_handle += 1
        self.handle = m.next_handle
        sealed = wire.ticket(self.account, m.channels[0])
        yield from self.call(wire.ATTACH, text(wire.Q_TICKET, sealed))

    def detach(self):
        yield from self.call(wire.DETACH)
        self.handle = None

    def list(self):
        body, _ = yield from self.call(wire.LIST)
        rows = [dict(fields(v)) for _, v in fields(body)]
        self.ids = {f[2].decode(): num(f[1]) for f in rows}
        return {f[2].decode(): num(f[6]) for f in rows}

    def view(self, box):
        """(modseq, {uid: (token, flags)}); reads messages that it does not know yet."""
        _, fd = yield from self.call(wire.SELECT, u64(wire.Q_MAILBOX, self.ids[box]))
        with os.fdopen(fd, 'rb') as f:
            raw = f.read()
        modseq, uids, flags = parse_view(raw)
        rows = {}
        for uid, flag in zip(uids, flags):
            if (box, uid) not in self.tokens:
                self.tokens[box, uid] = yield from self.read(box, uid)
            rows[uid] = self.tokens[box, uid], flag & FLAGS
        return modseq, rows

    def read(self, box, uid):
        try:
            _, fd = yield from self.call(wire.CONTENT, u64(wire.Q_MAILBOX, self.ids[box]) +
                                         u64(wire.Q_UID, uid))
        except Refused:
            if isinstance(self.load, Load):   # a fault; after recovery there is none
                raise Gone
            return BAD
        with os.fdopen(fd, 'rb') as f:
            token = token_of(f.read())
        return BAD if token is None else token

    def all(self):
        """{mailbox: (uidvalidity, modseq, {uid: (token, flags)})}"""
        out = {}
        validity = yield from self.list()
        for box in self.ids:
            out[box] = (validity[box], *(yield from self.view(box)))
        return out

    # ---- what a client does ----

    def change(self, op, kind, body, fd=None):
        """A call that changes something, with its marks. op: as the journal has it."""
        self.load.journal.mark('B', self.account, *op)
        try:
            answer, _ = yield from self.call(kind, body, fd)
        except Refused:
            self.load.journal.mark('F', self.account)
            return None
        return dict(fields(answer))

    def done(self, **result):
        self.load.journal.mark('E', self.account, result)

    def do_append(self, box, rows):
        token, flags = self.load.token(), self.load.rng.choice((0, 0, 1, 5))
        data = content(token)
        fd = os.memfd_create('append')
        os.write(fd, data)
        f = yield from self.change(
            ('append', box, token, flags), wire.APPEND, u64(wire.Q_MAILBOX, self.ids[box]) +
            u64(wire.Q_SYSFLAGS, flags) + u64(wire.Q_DATE, 1732440000) + u64(wire.Q_SIZE, len(data)), fd)
        os.close(fd)
        if f:
            self.tokens[box, num(f[3])] = token
            self.done(uid=num(f[3]), uidvalidity=num(f[2]))

    def some(self, rows):
        return sorted(self.load.rng.sample(sorted(rows), min(len(rows), self.load.rng.randint(1, 4))))

    def do_flags(self, box, rows):
        uids, flags = self.some(rows), self.load.rng.choice((0, 1, 2, 4, 5, 9))
        f = yield from self.change(('flags', box, uids, flags), wire.FLAGS, u64(
            wire.Q_MAILBOX, self.ids[box]) + u64(wire.Q_OP, wire.SET) + u64(wire.Q_SYSFLAGS, flags) + the_set(uids))
        if f is not None:
            self.done()

    def do_copy(self, box, rows):
        uids, move = self.some(rows), self.load.rng.random() < 0.6
        to = self.load.rng.choice([b for b in self.ids if b != box])
        tokens = {str(u): rows[u][0] for u in uids}
        f = yield from self.change(('copy', box, to, uids, move), wire.COPY, u64(
            wire.Q_MAILBOX, self.ids[box]) + u64(wire.Q_DEST, self.ids[to]) + u64(wire.Q_ON, int(move)) +
            the_set(uids))
        if f is not None:
            pairs = list(zip(u32s(f.get(10, b'')), u32s(f.get(11, b''))))
            for old, new in pairs:
                self.tokens[to, new] = rows[old][0]
            self.done(pairs=pairs, tokens=tokens, uidvalidity=num(f.get(2, b'')))

    def do_expunge(self, box, rows):
        uids = [u for u, (_, flags) in rows.items() if flags & wire.DELETED]
        f = yield from self.change(('expunge', box, uids), wire.EXPUNGE,
                                   u64(wire.Q_MAILBOX, self.ids[box]) + u64(wire.Q_ALL, 1))
        if f is not None:
            self.done()

    def do_folder(self, box, rows):
        mine = [b for b in self.ids if b.startswith('f')]
        what = self.load.rng.choice(('create', 'rename', 'delete') if mine else ('create',))
        name, new = self.load.rng.choice(mine or ['']), 'f%d' % self.load.token()
        if what == 'create':
            f = yield from self.change(('create', new), wire.CREATE, text(wire.Q_NAME, new))
        elif what == 'rename':
            f = yield from self.change(('rename', name, new), wire.RENAME,
                                       u64(wire.Q_MAILBOX, self.ids[name]) + text(wire.Q_NAME, new))
        else:
            f = yield from self.change(('delete', name), wire.DELETE, u64(wire.Q_MAILBOX, self.ids[name]))
        if f is None:
            return
        if what == 'rename':
            for (b, uid), token in list(self.tokens.items()):
                if b == name:
                    self.tokens[new, uid] = token
        self.done()
        yield from self.list()

    def turn(self):
        """Sees a mailbox and does one thing there; or leaves for a while."""
        rng = self.load.rng
        if not self.handle:
            yield from self.attach()
        box = rng.choice([b for b in self.ids if b in BOXES or b[0] == 'f'])
        validity = yield from self.list()
        modseq, rows = yield from self.view(box)
        self.load.journal.mark('S', self.account, box, validity[box], modseq, rows)
        if not rows:
            yield from rng.choice((self.do_append, self.do_folder))(box, rows)
            return
        yield from rng.choice((self.do_append, self.do_flags, self.do_flags, self.do_copy, self.do_copy,
                               self.do_expunge, self.do_folder))(box, rows)
        if rng.random() < 0.15:
            yield from self.detach()
            for _ in range(rng.randint(1, 200)):
                yield

    def life(self):
        """Begins with a look at all of it, as after every start; nothing is delivered meanwhile."""
        self.load.looking.add(self.account)
        while self.load.waiting:
            yield
        yield from self.attach()
        seen = yield from self.all()
        self.load.judge(self.account, seen)
        self.load.journal.mark('V', self.account, {b: (v, rows) for b, (v, _, rows) in seen.items()})
        self.load.looking.discard(self.account)
        while True:
            yield from self.turn()


def the_set(uids):
    return text(wire.Q_SET, wire.ranges(*[(u, u) for u in uids]))


def u32s(raw):
    return [int.from_bytes(raw[i:i + 4], 'little') for i in range(0, len(raw), 4)]


def parse_view(raw):
    """(modseq, uids, flags) of lib/client/view.h."""
    n, at = int.from_bytes(raw[24:28], 'little'), 40
    return (int.from_bytes(raw[16:24], 'little'), u32s(raw[at + 8 * n:at + 12 * n]),
            u32s(raw[at + 12 * n:at + 16 * n]))


class Load:
    """Lives of a maild on one store, under one journal."""

    def __init__(self, program, store, log, seed, env=None, mimed=None):
        self.program, self.store, self.env, self.mimed = program, store, env, mimed
        self.rng, self.journal = random.Random(seed), Journal(log)
        self.tokens, self.spool, self.complaints = 0, 0, []
        self.waiting = {}   # request -> (spool id, accounts)
        self.again = []     # deliveries whose outcome is unknown
        self.looking = set()

    def token(self):
        self.tokens += 1
        return self.tokens

    def judge(self, account, seen):
        self.complaints += self.journal.world.judge(account, seen)

    def start(self):
        try:
            self.maild = Maild(self.program, self.store, env=self.env, mimed=self.mimed)
        except (RuntimeError, OSError):
            self.maild = None
            return False
        self.lives = {a: Front(self, a).life() for a in ACCOUNTS}
        self.waiting = {}
        return True

    def deliver(self, again=None):
        if again:
            (spool, accounts, token), maybe = again, True
        else:
            self.spool += 1
            spool, token, maybe = self.spool, self.token(), False
            accounts = sorted(self.rng.sample(ACCOUNTS, self.rng.choice((1, 1, 1, 2, 3))))
            self.journal.mark('D', spool, accounts, token)
        data = content(token)
        ident = self.maild.deliver_start(spool, [(a, 0, maybe) for a in accounts], data, big=len(data) > 60000)
        self.waiting[ident] = spool, accounts, token

    def collect(self):
        w = self.maild.queued
        for ident in [i for i in self.waiting if (w, i) in self.maild.inbox]:
            spool, accounts, token = self.waiting.pop(ident)
            try:
                results = self.maild.results(ident)
            except Refused:
                results = [(wire.TEMPFAIL, 451, 0)] * len(accounts)
            for a, (outcome, _, _) in zip(accounts, results):
                if outcome == wire.DONE:
                    self.journal.mark('d', spool, a)
            rest = [a for a, r in zip(accounts, results) if r[0] != wire.DONE]
            if rest:
                self.again.append((spool, rest, token))

    def step(self, account):
        """One step of an account's life; a void handle begins a new one."""
        try:
            next(self.lives[account])
        except (Gone, Refused):
            self.lives[account] = Front(self, account).life()

    def life(self, seconds, deliveries, messages):
        """Load for a while, or for so many messages. False: maild has ended by itself."""
        m, end, ticked, last = self.maild, time.time() + seconds, 0, self.tokens + messages
        try:
            while time.time() < end and self.tokens < last:
                if time.time() > ticked + 0.1:
                    ticked = time.time()
                    self.journal.mark('T', ticked)
                if not m.turn(0.002):
                    return False
                self.collect()
                for a in ACCOUNTS:
                    self.step(a)
                if not self.looking and len(self.waiting) < self.rng.randint(0, deliveries):
                    self.deliver(self.again.pop() if self.again and self.rng.random() < 0.3 else None)
        except OSError:
            return False
        return True

    def end(self, how):
        """'kill' or 'stop'; what was not answered stays open."""
        if how == 'stop':
            status = self.maild.stop()
            if status != 0:
                self.complaints.append('maild stopped with %s' % status)
        if self.maild.proc.poll() is None:
            with replay.between_calls(self.journal.log):
                self.maild.kill()
        else:
            self.maild.close()
        self.again += self.waiting.values()
        self.waiting = {}
