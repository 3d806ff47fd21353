"""Messages for other servers in the crash tests of queued: what their recipients are for, what
relayd and bounced (played) said of them, and whether that may be so.

A recipient is KIND.N.K@sS.test, the Kth of message N:

    ok      is taken at once
    late    is deferred now and then, and taken in the end
    mute    relayd does not answer now and then; taken in the end
    no      is refused: its sender must be told, once
    never   is refused, and nobody is to be told (NOTIFY=NEVER)
    tell    is taken by a server that tells nobody: a success notice is owed (NOTIFY=SUCCESS)
    by      is always deferred and its time is soon over (RFC 2852): its sender must be told
    soon    is not to be sent for a second
    wait    is not to be sent for an hour

Fates is the journal of the final answers that relayd and bounced gave. What was said and is in
the log (LATER syncs of the same life have begun since) is final: it may neither be tried nor told again.
"""
import math
import time

import replay
from house import u64

MIXED = ('ok', 'late', 'no', 'never', 'tell', 'mute')
TAKEN = ('ok', 'late', 'mute', 'tell', 'soon', 'wait')   # are delivered in the end
REFUSED = ('no', 'never')
TOLD = ('no', 'tell', 'by')                              # somebody is told of the end
NO_DELAY = ('never', 'tell')                             # of whose delay nobody is told
NOTIFY = {'never': 1, 'tell': 2}
DONE, TEMP, REJECT = 1, 2, 3
SENT, AGAIN = 1, 2                                       # what bounced answers
DELAYED = 2
LATER = 20


def is_remote(n):
    return n % 5 in (1, 3)


def kinds(n):
    """Of the recipients of message n."""
    if n % 12 in (1, 8):
        return (('by', 'wait', 'soon')[n // 12 % 3],) * (1 + n % 2)
    return tuple(MIXED[(n + k * (1 + n // 7)) % len(MIXED)] for k in range(1 + n % 4))


def recipients(n):
    return [('%s.%d.%d@s%d.test' % (kind, n, k, (n + k) % 4), '', NOTIFY.get(kind, 0))
            for k, kind in enumerate(kinds(n))]


def extra(n):
    """Fields of the envelope, and the time before which nothing may be sent."""
    now, kind = time.time(), kinds(n)[0]
    if kind == 'by':
        return u64(12, int((now + 1.5) * 1000)), 0
    if kind in ('wait', 'soon'):
        at = now + (3600 if kind == 'wait' else 1)
        return u64(11, int(at * 1000)), at
    return b'', 0


def parse(address):
    """(kind, (n, k))"""
    kind, n, k = address.split('@')[0].split('.')
    return kind, (int(n), int(k))


class Fates:
    """complain is called with what must not be. sure: what is old enough is durable (not so when
    faults are injected)."""

    def __init__(self, complain, sure=True):
        self.complain, self.sure, self.syncs = complain, sure, 0
        self.ended = {}     # (n, k) -> syncs when relayd gave a final answer in this life
        self.told = {}      # (spool id, event, kind of notice) -> [syncs, rows]
        self.settled = set()   # of both, what the log has
        self.of = {}        # (n, k) -> the notice that told of its end

    def copy(self, complain):
        f = Fates(complain, self.sure)
        f.syncs = self.syncs
        f.ended, f.told = dict(self.ended), {k: list(v) for k, v in self.told.items()}
        f.settled, f.of = set(self.settled), dict(self.of)
        return f

    # ---- what happened ----

    def life(self, log=None):
        """queued is about to start: what was said just before it ended may not be in its log."""
        if log:
            replay.mark(log, 'L')
        if self.sure:
            self.settled |= {k for k, at in self.ended.items() if self.syncs - at >= LATER}
            self.settled |= {k for k, (at, _) in self.told.items() if self.syncs - at >= LATER}
        # syncs of later lives say nothing of what this one may have taken along
        self.ended = dict.fromkeys(self.ended, math.inf)
        self.told = {k: [math.inf, rows] for k, (_, rows) in self.told.items()}
        self.running = set()

    running = frozenset()

    def end(self, address):
        kind, who = parse(address)
        if who in self.running:
            self.complain('sent twice in one life: %s' % address)
        if who in self.settled:
            self.complain('sent again although its end was in the log: %s' % address)
        self.running |= {who}
        self.ended[who] = self.syncs

    def tell(self, ident, event, how, rows):
        """rows: [(address, action)]"""
        key, rows = (ident, event, how), sorted(rows)
        if key in self.settled:
            self.complain('told again although that was in the log: %x %d' % key[:2])
        if key in self.running:
            self.complain('told twice in one life: %x %d' % key[:2])
        if key in self.told and self.told[key][1] != rows and rows[0][1] != DELAYED:
            self.complain('one notice, two stories: %x %d %s %s' % (*key[:2], self.told[key][1], rows))
        self.running |= {key}
        self.told[key] = [self.syncs, rows]
        for address, action in rows:
            if '.test' in address and address[0] != 'u':
                self.row(key, address, action)

    def row(self, key, address, action):
        kind, who = parse(address)
        if kind == 'never' or (action == DELAYED and kind in NO_DELAY):
            self.complain('told what nobody is to be told: %s' % address)
        if action == DELAYED:
            return
        if self.of.setdefault(who, key) != key:
            self.complain('told in two notices: %s' % address)
        if kind in ('no', 'tell') and who not in self.ended:
            self.complain('told before its end: %s' % address)

    def take(self, rec):
        """A record of the recording: a sync, or a mark of ours."""
        if rec[0] == 'S':
            self.syncs += 1
        if rec[0] != 'J':
            return
        what, *rest = rec[1].split()
        if what == 'L':
            self.life()
        elif what == 'E':
            self.end(rest[0])
        elif what == 'N':
            rows = [(a, int(action)) for a, action in (r.split('=') for r in rest[3:])]
            self.tell(int(rest[0]), int(rest[1]), int(rest[2]), rows)

    # ---- what must have happened ----

    def missing(self, n):
        """What message n, acknowledged and gone, still owes."""
        out = []
        for k, kind in enumerate(kinds(n)):
            if kind != 'by' and (n, k) not in self.ended:
                out.append('lost: %s.%d.%d' % (kind, n, k))
            if kind in TOLD and (n, k) not in self.of:
                out.append('nobody was told: %s.%d.%d' % (kind, n, k))
        return out


class Player:
    """Plays relayd and bounced for a Queued: with an rng as moody servers, else as good ones.
    fates: gets what is final; log: a recording that gets it too."""

    def __init__(self, q, fates, rng=None, log=None):
        self.q, self.fates, self.rng, self.log = q, fates, rng, log
        self.not_before = {}
        q.remote, q.slow, q.notice, q.noticed = self.remote, self.slow, self.notice, self.noticed

    def mark(self, what):
        if self.log:
            replay.mark(self.log, what)

    def chance(self, p):
        return self.rng is not None and self.rng.random() < p

    def remote(self, ident, address):
        kind, (n, _) = parse(address)
        if time.time() < self.not_before.get(n, 0) - 0.02:
            self.fates.complain('sent before its time: %s' % address)
        if kind == 'by' or (kind in ('late', 'no', 'tell') and self.chance(0.4)):
            return TEMP, 451
        self.fates.end(address)
        self.mark('E ' + address)
        return (REJECT, 550) if kind in REFUSED else (DONE, 250)

    def slow(self, domain, rcpts):
        """Whether relayd says nothing to this request."""
        return any(r.startswith('mute.') for r in rcpts) and self.chance(0.5)

    def notice(self, ident, event):
        """None: no answer."""
        return None if self.chance(0.15) else AGAIN if self.chance(0.2) else SENT

    def noticed(self, outcome, ident, event, how, rows):
        if outcome != SENT:
            return
        rows = [(address, action) for address, action, _ in rows]
        self.fates.tell(ident, event, how, rows)
        self.mark('N %d %d %d %s' % (ident, event, how, ' '.join('%s=%d' % r for r in rows)))

    def answer_all(self):
        """The requests that were kept, as before a quiet stop."""
        while self.q.waiting:
            self.q.answer_relay(*self.q.waiting.pop(0))

