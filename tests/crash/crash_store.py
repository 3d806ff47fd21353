#!/usr/bin/env python3
"""Crash tests of maild: a recorded run is cut at many points, recovered, judged.

A run holds several lives of one maild, ended by kills and stops: so a cut also falls into
the recovery of a crash before it. After each cut maild is started again; the judge
(store_world.py) compares what it shows with the journal, delivers again what was not
answered, marked 'maybe done', stops maild and lets check_index compare index and tree.

CRASH_POINTS   cuts (default 16), CRASH_SEED, CRASH_KEEP (keeps the tree of a failed point),
CRASH_BLIND    no sync counts: the judge must find losses, or this test fails
"""
import glob
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import replay  # noqa: E402
from store_load import ACCOUNTS, Front, Load  # noqa: E402
from maild_house import DONE, Maild, Refused  # noqa: E402
from store_world import World, content  # noqa: E402

PROGRAM = os.environ.get('MAILD', 'maildir/maild')
MIMED = os.environ.get('MIMED', 'mta/mimed')
SHIM = os.environ.get('RECORD', 'tests/crash/record.so')
CHECK = os.environ.get('CHECK_INDEX', 'tests/crash/check_index')
POINTS = int(os.environ.get('CRASH_POINTS', '16'))
SEED = int(os.environ.get('CRASH_SEED', '1'))
PER_RUN = 50   # points of one recording


def environment(folder, **more):
    return dict(os.environ, LD_PRELOAD=os.path.abspath(SHIM), CRASH_ROOT=os.path.join(folder, 'store'),
                CRASH_LOG=os.path.join(folder, 'recording'), CRASH_SLOW='6', **more)


def record(folder, seed, lives=3, seconds=6, messages=36, **fault):
    """A recorded run; the load."""
    log = os.path.join(folder, 'recording')
    open(log, 'wb').close()
    load = Load(PROGRAM, os.path.join(folder, 'store'), log, seed, environment(folder, **fault), MIMED)
    for i in range(lives):
        if not load.start():
            break
        load.life(seconds, 6, messages)
        load.end(load.rng.choice(('kill', 'kill', 'stop')))
    return load


def finish(generator, maild, limit=120):
    """Runs a front end's generator to its end."""
    import time
    end = time.time() + limit
    while True:
        try:
            next(generator)
        except StopIteration as e:
            return e.value
        if time.time() > end:
            raise TimeoutError('no answer')
        if not maild.turn():
            raise ConnectionError('maild has gone')


class After:
    """A maild started on a tree that a crash has left."""

    def __init__(self, store, log=None):
        self.store, self.fronts = store, {}
        self.maild = Maild(PROGRAM, store, log=log)

    def all(self, account):
        front = self.fronts.setdefault(account, Front(self, account))   # it has read some already
        finish(front.attach(), self.maild)
        return finish(front.all(), self.maild)

    def again(self, world, account, rng):
        """As queued would: once more what was not answered, and some of what was."""
        out = []
        for (spool, a), (token, _, answered) in sorted(world.deliveries.items()):
            if a == account and (not answered or rng.random() < 0.1):
                results = self.maild.deliver(spool, [(a, 0, True)], content(token), big=len(content(token)) > 60000)
                if [r[0] for r in results] != [DONE]:
                    out.append('delivery %d to %d again: %s' % (spool, a, results))
        return out


def tokens(seen):
    return sorted(t for _, _, rows in seen.values() for t, _ in rows.values())


def judge_account(after, world, account, rng):
    seen = after.all(account)
    bad = world.judge(account, seen)
    open_tokens = set(world.optional(account))
    bad += after.again(world, account, rng)
    later = after.all(account)
    bad += world.fresh(account, seen, later)
    want = sorted(set(tokens(seen)) & open_tokens | open_tokens)
    if sorted(t for t in tokens(later) if t in open_tokens) != want:
        bad.append('%d: delivered again, %s are there, not %s' % (account, tokens(later), want))
    if [t for t in tokens(later) if t not in open_tokens] != [t for t in tokens(seen) if t not in open_tokens]:
        bad.append('%d: doubled by a delivery again: %s, %s' % (account, tokens(seen), tokens(later)))
    return bad


def judge(store, world, rng):
    """Complaints about the store as maild recovers it."""
    try:
        after = After(store)
    except RuntimeError as e:
        return ['does not start: %s' % e]
    try:
        bad = [b for a in sorted(ACCOUNTS) for b in judge_account(after, world, a, rng)]
        status = after.maild.stop()
    except (Refused, TimeoutError, ConnectionError) as e:
        after.maild.kill()
        return ['no answer after recovery: %r' % e]
    if status != 0:
        bad.append('stopped with %s' % status)
    accounts = [os.path.dirname(p) for p in glob.glob(store + '/0/??/*/index.db')]
    checked = subprocess.run([CHECK, *accounts], stdout=subprocess.PIPE, text=True)
    return bad + checked.stdout.splitlines() + (['check_index: %d' % checked.returncode]
                                                if checked.returncode else [])


def judge_cut(folder, tree, world, rng):
    target = tempfile.mkdtemp(prefix='point.', dir=folder)
    store = os.path.join(target, 'store')
    replay.write_tree(tree, store)
    bad = judge(store, world, rng)
    if bad and os.environ.get('CRASH_KEEP'):
        replay.write_tree(tree, os.path.join(target, 'before'))
        print('kept', target)
    else:
        shutil.rmtree(target)
    return bad


def campaign(folder, count, seed):
    load = record(folder, seed)
    failed = say('recording', load.complaints)
    log = replay.read_log(os.path.join(folder, 'recording'))
    disk, world, done = replay.Disk(load.store), World(), 0
    for at, mode, rng in replay.points(log, count, seed):
        for rec in log[done:at]:
            if rec[0] == 'J':
                world.take(rec[1])
            else:
                disk.step(rec)
        done = at
        failed += say('point %d of %d, %s' % (at, len(log), mode),
                      judge_cut(folder, disk.crash(mode, rng), world, rng))
    print('crash_store: %d cuts of a recording of %d calls (%d messages), %d failed'
          % (count, len(log), load.tokens, failed))
    return failed


def say(where, bad):
    if bad:
        print('%s: %s' % (where, '; '.join(bad[:6])), flush=True)
    return bool(bad)


FAULTS = [kind + ':%d' + k + ':' + e for kind in ('data', 'sync', 'name')
          for k in ('', '+') for e in ('EIO', 'ENOSPC')] + ['data:%d:SHORT'] * 3


def faults(folder, count, seed):
    """Runs in which a call fails, from then on or once; then the tree as it is, and cut."""
    rng, failed = random.Random(seed), 0
    for i in range(count):
        fault = FAULTS[(seed + i) % len(FAULTS)] % rng.randint(60, 1500)
        sub = tempfile.mkdtemp(prefix='fault.', dir=folder)
        load = record(sub, seed + i, 1, 3, 60, CRASH_FAULT=fault)
        failed += say('fault %s, running' % fault, load.complaints)
        log = replay.read_log(os.path.join(sub, 'recording'))
        disk, world = replay.Disk(load.store), World()
        for rec in log:
            if rec[0] == 'J':
                world.take(rec[1])
            else:
                disk.step(rec)
        for mode in ('keep', 'random'):
            failed += say('fault %s, %s' % (fault, mode), judge_cut(sub, disk.crash(mode, rng), world, rng))
        if not os.environ.get('CRASH_KEEP'):
            shutil.rmtree(sub)
    print('crash_store: %d injected faults, %d failed' % (count, failed))
    return failed


if __name__ == '__main__':
    sys.exit(replay.run('crash_store', PROGRAM, campaign, faults, POINTS, PER_RUN, SEED, 4))
