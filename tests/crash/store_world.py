"""What accounts must hold, by a journal kept outside of them, and the judge of what they hold.

The journal is a list of marks (JSON), written in the order in which things were sent and
answered. World.take replays it up to the moment of a crash. What was answered is there;
what was sent and not answered may have happened whole or not at all. Of a change of flags
the old value may come back until a later change is answered or two seconds have passed.

    ["B", account, op, ...]     a front end's call is sent
    ["E", account, result]      ... and answered;  ["F", account]: refused, not done
    ["D", spool id, accounts, token]   a delivery is sent
    ["d", spool id, account]           ... and answered: done
    ["S", account, mailbox, uidvalidity, modseq, {uid: [token, flags]}]   a view was shown
    ["V", account, {mailbox: [uidvalidity, {uid: [token, flags]}]}]       all of an account
    ["T", seconds]              the time
"""
import copy
import json

FLAGS = 31
LATE = 2.0   # seconds after which flags are durable: one, and the sync


def content(token):
    """The message of a token; its size is the token's too."""
    head = b'Subject: %s%d\r\nMessage-ID: <%d@crash.test>\r\n' % (b'Re: ' if token % 3 else b'', token, token)
    head += b'References: <%d@crash.test>\r\n\r\n' % (token // 3 * 3)   # threads of three
    lines = (7919 * token) % 90 if token % 23 else 4000
    return head + (b'line of %d\r\n' % token) * lines


def token_of(data):
    """The token of a stored message, or None when it is not whole."""
    at = data.find(b'Message-ID: <')
    try:
        token = int(data[at + 13:data.index(b'@', at)])
    except ValueError:
        return None
    return token if data.endswith(content(token)) else None


class Place:
    """A message in a mailbox. uid 0: not known yet."""

    def __init__(self, token, uid, flags):
        self.token, self.uid, self.flags = token, uid, flags
        self.old, self.since, self.time = set(), 0, 0   # flags that may come back

    def __repr__(self):
        return '%d at %d' % (self.token, self.uid)


class World:
    def __init__(self):
        self.boxes = {}     # account -> {mailbox: [Place]}
        self.known = set()  # accounts whose mailboxes were listed
        self.pending = {}   # account -> (number of the mark, op, ...)
        self.deliveries = {}  # (spool id, account) -> [token, number, answered]
        self.shown = {}     # (account, mailbox, uidvalidity) -> {uid: token}
        self.seen = set()   # (account, token) of all that was shown
        self.modseq = {}    # account -> the highest shown
        self.number, self.time = 0, 0

    def account(self, a):
        return self.boxes.setdefault(a, {'INBOX': []})

    def take(self, mark):
        self.number += 1
        kind, *rest = json.loads(mark)
        getattr(self, 'take_' + {'d': 'delivered'}.get(kind, kind))(*rest)

    def take_T(self, now):
        self.time = now
        for p in self.places():
            if p.old and p.time + LATE < now:
                p.old = set()

    def places(self, a=None):
        for account, boxes in self.boxes.items():
            for places in boxes.values():
                if a in (None, account):
                    yield from places

    def take_B(self, a, *op):
        self.pending[a] = (self.number, *op)

    def take_F(self, a):
        self.pending.pop(a)

    def take_E(self, a, result):
        number, *op = self.pending.pop(a)
        self.apply(self.account(a), op, result)
        if op[0] == 'flags':
            return
        self.synced(number, a)
        for (account, box, _, uid, token) in self.new_uids(a, op, result):
            self.show(account, box, result['uidvalidity'], uid, token)

    def synced(self, number, a):
        """A change that was sent at mark `number` is durable, so is what went before; in
        account a (0: none) all, since its changes go one after the other."""
        for p in self.places():
            if p.since < number:
                p.old = set()
        for p in self.places(a) if a else ():
            p.old = set()

    def take_D(self, spool, accounts, token):
        for a in accounts:
            self.deliveries.setdefault((spool, a), [token, self.number, False])

    def take_delivered(self, spool, a):
        d = self.deliveries[spool, a]
        if not d[2] and not self.arrived(a, d[0]):
            self.account(a)['INBOX'].append(Place(d[0], 0, 0))
        d[2] = True
        self.synced(d[1], 0)

    def arrived(self, a, token):
        """A message may be shown, and expunged, before its delivery is answered."""
        return (a, token) in self.seen

    def take_S(self, a, box, uidvalidity, modseq, rows):
        self.modseq[a] = max(self.modseq.get(a, 0), modseq)
        for uid, (token, flags) in rows.items():
            self.show(a, box, uidvalidity, int(uid), token)
            self.learn(a, box, int(uid), token, flags)

    def show(self, a, box, uidvalidity, uid, token):
        self.seen.add((a, token))
        before = self.shown.setdefault((a, box, uidvalidity), {}).setdefault(uid, token)
        assert before == token, 'UID %d of %s/%s was %d, is %d' % (uid, a, box, before, token)

    def learn(self, a, box, uid, token, flags):
        places = self.account(a).setdefault(box, [])
        if any(p.uid == uid for p in places):
            return
        for p in places:
            if p.token == token and not p.uid:
                p.uid = uid
                return
        places.append(Place(token, uid, flags))

    def take_V(self, a, boxes):
        """The account as it is after a restart: what was unsure is decided."""
        self.pending.pop(a, None)
        self.known.add(a)
        self.boxes[a] = {}
        for box, (uidvalidity, rows) in boxes.items():
            self.boxes[a][box] = [Place(t, int(u), f) for u, (t, f) in rows.items()]
            for uid, (token, _) in rows.items():
                self.show(a, box, uidvalidity, int(uid), token)

    # ---- what a call does ----

    def apply(self, boxes, op, result):
        getattr(self, 'do_' + op[0])(boxes, result, *op[1:])

    @staticmethod
    def do_append(boxes, result, box, token, flags):
        boxes[box].append(Place(token, result['uid'] if result else 0, flags))
        if not result:   # a file whose row is gone comes back without flags
            boxes[box][-1].old = {0}

    @staticmethod
    def do_copy(boxes, result, box, to, uids, move):
        new = dict(result['pairs']) if result else {}
        for p in [p for p in boxes[box] if p.uid in uids]:
            q = Place(p.token, new.get(p.uid, 0), p.flags)
            if not result:
                q.old = set(p.old)
            boxes[to].append(q)
            if move:
                boxes[box].remove(p)

    @staticmethod
    def do_expunge(boxes, result, box, uids):
        boxes[box] = [p for p in boxes[box] if p.uid not in uids]

    def do_flags(self, boxes, result, box, uids, flags):
        for p in boxes[box]:
            if p.uid in uids and p.flags != flags:
                p.old.add(p.flags)
                p.flags, p.since, p.time = flags, self.number, self.time

    @staticmethod
    def do_create(boxes, result, name):
        boxes[name] = []

    @staticmethod
    def do_rename(boxes, result, name, to):
        boxes[to] = boxes.pop(name)

    @staticmethod
    def do_delete(boxes, result, name):
        boxes.pop(name)

    @staticmethod
    def new_uids(a, op, result):
        """UIDs that an answer told the client of."""
        if op[0] == 'append':
            yield a, op[1], 0, result['uid'], op[2]
        elif op[0] == 'copy':
            for old, new in result['pairs']:
                yield a, op[2], 0, new, result['tokens'][str(old)]

    # ---- judging ----

    def optional(self, a):
        """{token: spool id} of deliveries to a that were not answered."""
        return {d[0]: spool for (spool, account), d in self.deliveries.items()
                if account == a and not d[2] and not self.arrived(a, d[0])}

    def judge(self, a, seen):
        """seen: {mailbox: (uidvalidity, modseq, {uid: (token, flags)})}. Complaints."""
        out = self.shown_otherwise(a, seen)
        ways = [self.account(a)]
        if a in self.pending:
            ways.append(copy.deepcopy(ways[0]))
            self.apply(ways[1], self.pending[a][1:], None)
        bad = [self.differences(a, boxes, seen) for boxes in ways]
        return out + (min(bad, key=len) if all(bad) else [])

    def shown_otherwise(self, a, seen):
        out = []
        for box, (uidvalidity, _, rows) in seen.items():
            before = self.shown.get((a, box, uidvalidity), {})
            out += ['UID %d of %d/%s showed %d, now %s' % (u, a, box, before[u], t)
                    for u, (t, _) in rows.items() if u in before and before[u] != t]
        return out

    def differences(self, a, boxes, seen):
        out = []
        if a in self.known and set(boxes) != set(seen):
            out.append('mailboxes of %d: %s instead of %s' % (a, sorted(seen), sorted(boxes)))
        optional = self.optional(a)
        for box in sorted(set(boxes) | set(seen)):
            rest = dict(seen.get(box, (0, 0, {}))[2])
            out += self.missing(a, box, boxes.get(box, []), rest)
            for uid, (token, _) in rest.items():
                if box != 'INBOX' or optional.pop(token, None) is None:
                    out.append('%d/%s has %s at UID %d, which should not be there' % (a, box, token, uid))
        return out

    @staticmethod
    def missing(a, box, places, rest):
        """Takes what is found from rest."""
        out = []
        for p in sorted(places, key=lambda p: not p.uid):
            uid = p.uid or next((u for u, r in rest.items() if r[0] == p.token), None)
            row = rest.pop(uid, None)
            if not row or row[0] != p.token:
                out.append('%d/%s lost %r: %s' % (a, box, p, row))
            elif row[1] & FLAGS not in p.old | {p.flags}:
                out.append('%d/%s: flags of %r are %d, not %d' % (a, box, p, row[1], p.flags))
        return out

    def fresh(self, a, before, after):
        """Complaints about what came after recovery: UIDs and modseq must be new to everybody."""
        out = []
        for box, (uidvalidity, modseq, rows) in after.items():
            told = self.shown.get((a, box, uidvalidity), {})
            new = set(rows) - set(before.get(box, (0, 0, {}))[2])
            if new and modseq <= self.modseq.get(a, 0):
                out.append('%d/%s: modseq %d is given again' % (a, box, modseq))
            for uid in new:
                if uid in told or told and uid < max(told):
                    out.append('%d/%s gives UID %d again' % (a, box, uid))
        return out
