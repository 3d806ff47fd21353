#!/usr/bin/env python3
"""The durability order as a small model, explored whole.

One message, and everything that may hold it:

    data            its bytes, in a file (a name over missing bytes is a torn file)
    new, cur, cur2  the file's names: new/, and cur/ of two mailboxes
    row, row2       its rows in the two mailboxes: the UID
    delivered       the row that says 'this spool id was taken in'
    unlink          the row that says 'cur is to be removed'
    seen            its flag, kept in the row
    record, result  the spool's records

A step is the list of what a program does, in order. What it did is in the kernel; a sync
makes it durable. A crash (a power cut) keeps of the rest any choice of bytes, but of names,
of rows and of spool records only a beginning, since journals keep their order. A kill keeps
everything, and nothing of it is durable. Then recovery runs, which is a step too and may
be cut again; then queued delivers again what it holds no result for.

    step           order                                               told
    accept         record, SYNC                                        250
    deliver, fast  data, new, SYNC, result, SYNC
    deliver, actor data, row+delivered, cur, SYNC, result, SYNC
    take-in        row+delivered, SYNC, (told), new -> cur             the UID
    append         data, cur, row, SYNC                                OK, the UID
    copy           cur2, row2, SYNC                                    OK, the UID
    move           cur2, row2 - row + unlink, SYNC, (told), - cur      OK, the UID
    expunge        - row + unlink, SYNC, (told), - cur, SYNC, - unlink OK
    flags          seen, (told), SYNC within a second                  OK; 'late'
    recovery       SYNC, rows against names (see recover), SYNC        UIDs
                   then unlink as after a move

What must hold after any crashes, when recovery has run and the queue is empty: what was told
is so; the message is there once (after a copy: twice), whole; a UID that was told shows it
or nothing; no name without row, no row without name, nothing left in new/.

Every SYNC above is needed: left out, something breaks (but for SPARE, and the one that recovery
begins with, which keeps what a killed program wrote in order). `model.py` checks that too; it
is how one knows that the model can say no. crash_queue.py and crash_store.py replay the same
steps on real programs; the rules of recover() are those of maildir/index_recover.c.
"""
import copy
import itertools
import sys

KINDS = {'data': 'data', 'new': 'name', 'cur': 'name', 'cur2': 'name', 'row': 'row', 'row2': 'row',
         'delivered': 'row', 'unlink': 'row', 'seen': 'row', 'record': 'spool', 'result': 'spool'}
NOTHING = dict.fromkeys(KINDS)
PLACES = (('row2', 'cur2'), ('row', 'cur'))


class World:
    def __init__(self, **there):
        self.now = dict(NOTHING, **there)
        self.disk = dict(self.now)
        self.pending = []     # changes that are not durable: {item: value}
        self.told = {}        # what the world was told: never taken back
        self.next_uid = 10
        self.left_out = None  # the number of the SYNC to leave out
        self.syncs = 0

    def do(self, **change):
        self.now.update(change)
        self.pending.append(change)

    def sync(self):
        self.syncs += 1
        if self.syncs == self.left_out:
            return
        for c in self.pending:
            self.disk.update(c)
        self.pending = []

    def uid(self):
        self.next_uid += 1
        return self.next_uid

    def crashes(self):
        """Every world that a power cut may leave."""
        by_kind = {k: [] for k in ('data', 'name', 'row', 'spool')}
        for c in self.pending:
            by_kind[KINDS[next(iter(c))]].append(c)
        choices = [[s for n in range(len(by_kind['data']) + 1)
                    for s in itertools.combinations(by_kind['data'], n)]]
        choices += [[by_kind[k][:n] for n in range(len(by_kind[k]) + 1)] for k in ('name', 'row', 'spool')]
        for kept in itertools.product(*choices):
            w = copy.deepcopy(self)
            for c in itertools.chain(*kept):
                w.disk.update(c)
            w.now, w.pending = dict(w.disk), []
            w.next_uid += 100   # UIDNEXT jumps
            yield w

    def killed(self):
        w = copy.deepcopy(self)
        w.next_uid += 100
        return w


# ---- steps: generators, a yield after each thing done ----

def accept(w):
    w.do(record=True)
    yield
    w.sync()
    yield
    w.told['250'] = True
    yield


def result(w):
    w.do(result=True)
    yield
    w.sync()
    yield


def deliver_fast(w):
    w.do(data=True)
    yield
    w.do(new=True)
    yield
    w.sync()
    yield
    yield from result(w)


def deliver_actor(w):
    w.do(data=True)
    yield
    w.do(cur=True)
    yield
    w.do(row=w.uid(), delivered=True)
    yield
    w.sync()
    yield
    w.told['uid'] = w.now['row']
    yield from result(w)


def take_in(w):
    """What stands in new/; a delivery that was taken in before is a double."""
    if not w.now['new']:
        return
    if w.now['delivered']:
        w.do(new=None, **({'cur': True} if w.now['row'] and not w.now['cur'] else {}))
        yield
        return
    w.do(row=w.uid(), delivered=True)
    yield
    w.sync()
    yield
    w.told['uid'] = w.now['row']
    yield
    w.do(new=None, cur=True)
    yield


def append(w):
    w.do(data=True)
    yield
    w.do(cur=True)
    yield
    w.do(row=w.uid())
    yield
    w.sync()
    yield
    w.told.update(ok=True, uid=w.now['row'])
    yield


def copy_(w):
    w.do(cur2=True)
    yield
    w.do(row2=w.uid())
    yield
    w.sync()
    yield
    w.told.update(copied=True, uid2=w.now['row2'])
    yield


def move(w):
    w.do(cur2=True)
    yield
    w.do(row2=w.uid(), row=None, unlink=True)
    yield
    w.sync()
    yield
    w.told.update(moved=True, uid2=w.now['row2'])
    yield
    w.do(cur=None)
    yield
    w.sync()
    yield
    w.do(unlink=None)
    yield


def expunge(w):
    w.do(row=None, unlink=True)
    yield
    w.sync()
    yield
    w.told['gone'] = True
    yield
    w.do(cur=None)
    yield
    w.sync()
    yield
    w.do(unlink=None)
    yield


def flags(w):
    w.do(seen=True)
    yield
    w.told['seen, perhaps'] = True
    yield
    w.sync()
    yield
    w.told['seen'] = True
    yield


def recover(w):
    w.sync()   # what a killed program wrote is not yet durable
    yield
    if w.now['new'] and not w.now['data']:
        w.do(new=None)
        yield
    for row, name in PLACES:
        yield from recover_place(w, row, name)
    w.sync()
    yield
    for item, told in (('row', 'uid'), ('row2', 'uid2')):
        if w.now[item]:
            w.told.setdefault(told, w.now[item])
    yield
    if w.now['unlink']:
        w.do(cur=None)
        yield
        w.sync()
        yield
        w.do(unlink=None)
        yield


def recover_place(w, row, name):
    """A mailbox: first its rows, then its names without row."""
    now = w.now
    if now[row] and not (now[name] and now['data']):
        if name == 'cur' and now['new'] and now['data']:
            w.do(new=None, cur=True)
        elif name == 'cur2' and now['unlink'] and now['cur'] and now['data']:
            w.do(cur2=True)    # the rest of a move
        else:
            stays = any(now[r] for r, _ in PLACES if r != row)
            w.do(**{row: None}, **({} if stays else {'delivered': None}))
        yield
    if now[name] and not now[row] and not (name == 'cur' and now['unlink']):
        if not now['data'] or any(now[r] and now[n] for r, n in PLACES):
            w.do(**{name: None})   # torn, or the link of an unfinished copy
        else:
            w.do(**{row: w.uid()})
        yield


def again(w):
    """queued: without a result it delivers once more; what is there by row or name is done."""
    if w.now['record'] and not w.now['result']:
        if not w.now['delivered'] and not w.now['new']:
            yield from deliver_actor(w)
        else:
            yield from result(w)


# ---- what must hold ----

def wrong(w):
    now, out = w.now, []
    places = [p for p in PLACES if now[p[0]] and now[p[1]] and now['data']]
    for row, name in PLACES:
        if bool(now[row]) != bool(now[name]):
            out.append('index and tree differ')
    if now['new'] or now['unlink']:
        out.append('something is left')
    if now['row'] and w.told.get('uid', now['row']) != now['row']:
        out.append('a UID shows something else')
    if now['row2'] and w.told.get('uid2', now['row2']) != now['row2']:
        out.append('a UID of the copy shows something else')
    want = wanted(w.told)
    if want and len(places) not in want:
        out.append('%d places' % len(places))
    if w.told.get('moved') and now['row'] or w.told.get('gone') and places:
        out.append('back again')
    if w.told.get('seen') and not now['seen']:
        out.append('flags lost')
    return out


def wanted(told):
    """How often the message may be there."""
    if told.get('gone'):
        return (0,)
    if told.get('copied'):
        return (2,)
    if told.get('stood'):
        return told['stood']
    return (1,) if told.get('250') or told.get('ok') else (0, 1)


def start(kind):
    there = {'data': True, 'cur': True, 'row': 1, 'delivered': True, 'record': True, 'result': True}
    if kind == 'accepted':
        w = World(record=True)
        w.told['250'] = True
    elif kind == 'in new':
        w = World(data=True, new=True, record=True, result=True)
        w.told['250'] = True
    elif kind == 'there':
        w = World(**there)
        w.told['uid'] = 1
    else:
        w = World()
    return w


STEPS = {'accept': (accept, 'nothing', ()), 'deliver, fast': (deliver_fast, 'accepted', ()),
         'deliver, actor': (deliver_actor, 'accepted', ()), 'take-in': (take_in, 'in new', ()),
         'append': (append, 'nothing', ()), 'copy': (copy_, 'there', (1, 2)), 'move': (move, 'there', (1,)),
         'expunge': (expunge, 'there', (0, 1)), 'flags': (flags, 'there', (1,))}


def after(generator, n):
    """Runs n things of a step; whether it has more."""
    for _ in range(n):
        try:
            next(generator)
        except StopIteration:
            return False
    return True


def prefixes(w, step):
    """The world after every beginning of a step."""
    for n in itertools.count():
        v = copy.deepcopy(w)
        more = after(step(v), n)
        yield v
        if not more:
            return


def settle(w):
    """Recovery, the queue and the take-in, undisturbed."""
    for step in (recover, take_in, again, take_in):
        after(step(w), 100)
    return w


def explore(name, left_out=None, in_recovery=None):
    """(worlds seen, a complaint or None). left_out: the SYNC of the step that is not made;
    in_recovery: that of the recovery."""
    step, kind, stood = STEPS[name]
    first = start(kind)
    first.left_out = left_out
    if stood:
        first.told['stood'] = stood
    seen = 0
    for v in prefixes(first, step):
        for w in itertools.chain([v.killed()], v.crashes()):
            w.syncs, w.left_out = 0, in_recovery
            for r in prefixes(w, recover):
                for end in itertools.chain(r.crashes(), [r.killed()]):
                    seen += 1
                    end.left_out = None
                    bad = wrong(settle(end))
                    if bad:
                        return seen, '%s: %s; told %s' % (name, bad, end.told)
    return seen, None


def syncs_of(name):
    w = start(STEPS[name][1])
    after(STEPS[name][0](w), 100)
    return w.syncs


def main():
    failed = worlds = needed = 0
    for name in STEPS:
        n, bad = explore(name)
        worlds += n
        if bad:
            failed += 1
            print(bad)
        for i in range(1, syncs_of(name) + 1):
            if explore(name, left_out=i)[1]:
                needed += 1
            elif (name, i) not in SPARE:
                failed += 1
                print('%s: nobody misses SYNC %d' % (name, i))
    if any(explore(name, in_recovery=2)[1] for name in STEPS):
        needed += 1
    else:
        failed += 1
        print('recovery: nobody misses its second SYNC')
    print('model: %d steps, %d crashes and what recovery makes of them, %d syncs left out and missed, %d failed'
          % (len(STEPS), worlds, needed, failed))
    return 1 if failed else 0


# Without its result in the spool a delivery comes once more, and the store knows it; the name
# of a moved message goes again as long as its row says so, and a journal keeps the order.
SPARE = {('deliver, fast', 2), ('deliver, actor', 2), ('move', 2)}

if __name__ == '__main__':
    sys.exit(main())
