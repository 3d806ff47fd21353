#!/usr/bin/env python3
"""Crash tests of queued: a recorded run is cut at many points, recovered, judged.

The judge: a message whose 250 was heard is delivered before the crash or after
recovery, whole; what the store had taken before the crash comes again, if at all,
marked 'maybe done', and nothing comes twice after recovery.
"""
import os
import random
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from house import Queued, u64  # noqa: E402
import replay  # noqa: E402

PROGRAM = os.environ.get('QUEUED', 'mta/queued')
SHIM = os.environ.get('RECORD', 'tests/crash/record.so')
SETTINGS = ('spool {\n segment-size 1M\n min-free 0\n checkpoint-interval 1s\n'
            ' retry-min 1s\n retry-max 2s\n}\n')
RETRY = 4   # of lib/client/queue_admin.h
POINTS = int(os.environ.get('CRASH_POINTS', '60'))
SEED = int(os.environ.get('CRASH_SEED', '1'))


def content(n):
    return (b'message %d\r\n' % n) * (1 + n % 700)


class Run:
    """A recorded life of queued under load."""

    def __init__(self, folder, seed, fault=None):
        self.root = os.path.join(folder, 'spool')
        self.log = os.path.join(folder, 'recording')
        self.env = dict(os.environ, LD_PRELOAD=os.path.abspath(SHIM), CRASH_ROOT=self.root,
                        CRASH_LOG=self.log, CRASH_SLOW='4')
        if fault:
            self.env['CRASH_FAULT'] = fault
        self.rng = random.Random(seed)
        self.sent, self.acked, self.taken = {}, {}, []
        open(self.log, 'wb').close()

    def load(self, messages):
        q = Queued(PROGRAM, self.root, 1, SETTINGS, env=self.env)
        q.ready()
        q.outcome = lambda ident, account: self.outcome(q, ident, account)
        waiting = {}
        for n in range(messages):
            waiting[self.send(q, n)] = n
            while len(waiting) > self.rng.randint(0, 12):
                self.collect(q, waiting)
            if q.proc.poll() is not None:
                break
        while waiting and q.turn(0.2):
            self.collect(q, waiting)
        q.until(lambda: len(self.taken) >= messages // 2, 2)
        if q.proc.poll() is None:
            q.kill()

    def send(self, q, n):
        data = content(n) if n % 40 else content(n) * 60
        rcpts = [('u%d@example.test' % k, 100 * n + k) for k in range(1 + n % 3)]
        ident = q.accept('a@example.test', rcpts, data[:600000])
        self.sent[ident] = (n, data[:600000], len(rcpts))
        return ident

    def collect(self, q, waiting):
        q.turn(0.002)
        for ident in [i for i in waiting if i in q.inbox]:
            n = waiting.pop(ident)
            got = q.answer(ident)
            if got and got[1] == 250:
                self.acked[got[0]] = self.sent[ident]
                replay.mark(self.log, 'A %d %d' % (got[0], n))

    def outcome(self, q, ident, account):
        if self.rng.random() < 0.1:
            return 2, 451
        self.taken.append((ident, account))
        replay.mark(self.log, 'D %d %d' % (ident, account))
        return 1, 250


class Judge:
    def __init__(self, run, folder):
        self.run, self.folder = run, folder
        self.by_n = {v[0]: v for v in run.sent.values()}

    def recover(self, spool, acked, taken):
        """Starts queued on the tree, drains it. A list of complaints."""
        q = Queued(PROGRAM, spool, 1, SETTINGS)
        try:
            q.ready()
        except (RuntimeError, BrokenPipeError) as e:
            return ['does not start: %s' % e]
        q.admin(u64(1, RETRY) + u64(9, 1))   # all that is deferred
        want = {(i, 100 * n + k) for i, n in acked.items() for k in range(self.by_n[n][2])}
        q.until(lambda: want <= taken | {d[:2] for d in q.delivered}, 5)
        q.until(lambda: False, 0.02)
        stopped = q.stop()
        return self.complaints(q, acked, taken, want) + ([] if stopped == 0 else ['stop: %s' % stopped])

    def complaints(self, q, acked, taken, want):
        out, seen = [], set()
        for ident, account, maybe, data in q.delivered:
            n = account // 100
            if (ident, account) in seen:
                out.append('twice: %x %d' % (ident, account))
            seen.add((ident, account))
            if (ident, account) in taken and not maybe:
                out.append('again and not marked: %x %d' % (ident, account))
            if n not in self.by_n or data != self.by_n[n][1]:
                out.append('other content: %x %d' % (ident, account))
        for ident, account in want - taken - seen:
            out.append('lost: %x %d' % (ident, account))
        return out

    def at(self, disk, mode, rng, acked, taken):
        target = tempfile.mkdtemp(prefix='point.', dir=self.folder)
        spool = os.path.join(target, 'spool')
        replay.write_tree(disk.crash(mode, rng), spool)
        bad = self.recover(spool, acked, taken)
        if bad and os.environ.get('CRASH_KEEP'):
            print('kept', target)
        else:
            shutil.rmtree(target)
        return bad


def campaign(folder, count, seed):
    run = Run(folder, seed)
    run.load(240)
    log = replay.read_log(run.log)
    judge = Judge(run, folder)
    disk, done, acked, taken, failed = replay.Disk(run.root), 0, {}, set(), 0
    for at, mode, rng in replay.points(log, count, seed):
        for rec in log[done:at]:
            if rec[0] != 'J':
                disk.step(rec)
                continue
            what, ident, n = rec[1].split()
            if what == 'A':
                acked[int(ident)] = int(n)
            else:
                taken.add((int(ident), int(n)))
        done = at
        bad = judge.at(disk, mode, rng, acked, taken)
        if bad:
            failed += 1
            print('point %d of %d, %s: %s' % (at, len(log), mode, '; '.join(bad[:5])))
    print('crash_queue: %d points of a recording of %d calls, %d acknowledged, %d failed'
          % (count, len(log), len(run.acked), failed))
    return failed


FAULTS = [c + ':%d' + k + ':' + e for c in ('pwrite', 'fdatasync', 'fsync', 'open')
          for k in ('', '+') for e in ('EIO', 'ENOSPC')] + ['pwrite:%d:SHORT']


def faults(folder, count, seed):
    rng, failed = random.Random(seed), 0
    for i in range(count):
        fault = FAULTS[i % len(FAULTS)] % rng.randint(20, 120)
        sub = os.path.join(folder, 'fault%d' % i)
        os.mkdir(sub)
        run = Run(sub, seed + i, fault)
        run.load(60)
        bad = Judge(run, sub).recover(run.root, {i: v[0] for i, v in run.acked.items()}, set(run.taken))
        if bad:
            failed += 1
            print('fault %s: %s' % (fault, '; '.join(bad[:5])))
        shutil.rmtree(sub)
    print('crash_queue: %d injected faults, %d failed' % (count, failed))
    return failed


def main():
    with open(PROGRAM, 'rb') as f:
        binary = f.read()
    if b'__asan_init' in binary or b'__tsan_init' in binary:
        print('crash_queue: skipped, the recorder does not go with a sanitizer')
        return 77
    folder = tempfile.mkdtemp(prefix='crash_queue.', dir=replay.scratch())
    try:
        per = 250
        bad = sum(campaign(tempfile.mkdtemp(dir=folder), min(per, POINTS - i), SEED + i)
                  for i in range(0, POINTS, per))
        bad += faults(folder, max(len(FAULTS), POINTS // 20), SEED)
    finally:
        if not os.environ.get('CRASH_KEEP'):
            shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
