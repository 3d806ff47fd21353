#!/usr/bin/env python3
"""Crash tests of queued: a recorded run is cut at many points, recovered, judged.

The judge: a message whose 250 was heard is delivered before the crash or after
recovery, whole; what the store had taken before the crash comes again, if at all,
marked 'maybe done', and nothing comes twice after recovery. For recipients at other
servers (remote_load.py): each of a message that was acknowledged gets its end, and a
notice where one is owed; what was in the log before the crash is neither sent nor told
again; no recipient is told of in two notices, and none is final before bounced has
answered.
"""
import os
import random
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from house import Queued, u64  # noqa: E402
import remote_load  # noqa: E402
import replay  # noqa: E402

PROGRAM = os.environ.get('QUEUED', 'mta/queued')
SHIM = os.environ.get('RECORD', 'tests/crash/record.so')
SETTINGS = ('spool {\n segment-size 1M\n min-free 0\n checkpoint-interval 1s\n'
            ' retry-min 1s\n retry-max 2s\n delay-notice-after 2s\n}\n')
RETRY = 4   # of lib/client/queue_admin.h
POINTS = int(os.environ.get('CRASH_POINTS', '24'))
SEED = int(os.environ.get('CRASH_SEED', '1'))


LIVES = 3           # of one queued in a recording
HELD = 25           # one message in so many is never taken before the judge comes


def content(n):
    return ((b'message %d\r\n' % n) * (4 + n % 700 * 4) * (1 if n % 40 else 20))[:600000]


class Run:
    """A recorded life of queued under load, or several: it is killed or stopped and started
    again, segments fill, die, are used again; what stays behind in one is moved."""

    def __init__(self, folder, seed, fault=None):
        self.root = os.path.join(folder, 'spool')
        self.log = os.path.join(folder, 'recording')
        self.env = dict(os.environ, LD_PRELOAD=os.path.abspath(SHIM), CRASH_ROOT=self.root,
                        CRASH_LOG=self.log, CRASH_SLOW='4')
        if fault:
            self.env['CRASH_FAULT'] = fault
        self.rng = random.Random(seed)
        self.sent, self.acked, self.taken, self.complaints = {}, {}, set(), []
        self.fates = remote_load.Fates(self.complaints.append, fault is None)
        open(self.log, 'wb').close()

    def load(self, messages, seconds=0.0):
        """One life. False: queued did not start or has ended by itself."""
        self.fates.life(self.log)
        try:
            q = Queued(PROGRAM, self.root, 1, SETTINGS, env=self.env)
            q.ready()
        except (RuntimeError, OSError):
            return False
        q.outcome = lambda ident, account: self.outcome(q, ident, account)
        self.player = remote_load.Player(q, self.fates, self.rng, self.log)
        waiting, begun, first = {}, time.time(), len(self.sent)
        for n in range(first, first + messages):
            waiting[self.send(q, n)] = n
            while len(waiting) > self.rng.randint(0, 12):
                self.collect(q, waiting)
            q.until(lambda: False, max(0.0, begun + seconds * (n - first) / messages - time.time()))
            if q.proc.poll() is not None:
                break
        while waiting and q.turn(0.2):
            self.collect(q, waiting)
        q.until(lambda: len(self.taken) >= len(self.sent) // 2, 2)
        if q.proc.poll() is not None:
            q.close()
            return False
        if self.rng.random() < 0.3:
            self.player.answer_all()
            q.stop()
        if q.proc.poll() is None:
            with replay.between_calls(self.log):
                q.kill()
        q.close()
        return True

    def send(self, q, n):
        if remote_load.is_remote(n):
            self.sent[n] = 0   # recipients in the store
            more, self.player.not_before[n] = remote_load.extra(n)
            return q.accept_remote('a@example.test', remote_load.recipients(n), content(n), more=more)
        rcpts = [('u%d@example.test' % k, 100 * n + k) for k in range(1 + n % 3)]
        self.sent[n] = len(rcpts)
        return q.accept('a@example.test', rcpts, content(n))

    def collect(self, q, waiting):
        q.turn(0.002)
        for ident in [i for i in waiting if i in q.inbox]:
            n = waiting.pop(ident)
            got = q.answer(ident)
            if got and got[1] == 250:
                self.acked[got[0]] = n
                replay.mark(self.log, 'A %d %d' % (got[0], n))

    def outcome(self, q, ident, account):
        if self.rng.random() < 0.1 or account // 100 % HELD == 0:
            return 2, 451
        if (ident, account) in self.taken and not q.maybe:
            self.complaints.append('again and not marked: %x %d' % (ident, account))
        self.taken.add((ident, account))
        replay.mark(self.log, 'D %d %d' % (ident, account))
        return 1, 250


class Judge:
    def __init__(self, run, folder):
        self.run, self.folder = run, folder

    def recover(self, spool, acked, taken, fates):
        """Starts queued on the tree, drains it. A list of complaints."""
        q, out = Queued(PROGRAM, spool, 1, SETTINGS), []
        fates = fates.copy(out.append)
        fates.life()
        remote_load.Player(q, fates)
        try:
            q.ready()
        except (RuntimeError, BrokenPipeError) as e:
            return ['does not start: %s' % e]
        q.until(lambda: False, 0.03)
        out += ['sent before its time: %s' % r for row in q.relayed for r in row[3] if r.startswith('wait.')]
        q.admin(u64(1, RETRY) + u64(9, 1))   # all that is deferred
        want = {(i, 100 * n + k) for i, n in acked.items() if n in self.run.sent for k in range(self.run.sent[n])}
        remote = [n for n in acked.values() if remote_load.is_remote(n)]
        q.until(lambda: want <= taken | {d[:2] for d in q.delivered} and
                not any(fates.missing(n) for n in remote), 20)
        q.until(lambda: False, 0.02)
        stopped = q.stop()
        q.close()
        out += [m for n in remote for m in fates.missing(n)] + self.complaints(q, taken, want)
        return out + ([] if stopped == 0 else ['stop: %s' % stopped])

    def complaints(self, q, taken, want):
        out, seen = [], set()
        for ident, account, maybe, data in q.delivered:
            n = account // 100
            if (ident, account) in seen:
                out.append('twice: %x %d' % (ident, account))
            seen.add((ident, account))
            if (ident, account) in taken and not maybe:
                out.append('again and not marked: %x %d' % (ident, account))
            if n not in self.run.sent or data != content(n):
                out.append('other content: %x %d' % (ident, account))
        for _, _, _, rcpts, data in q.relayed:
            if data != content(remote_load.parse(rcpts[0])[1][0]):
                out.append('other content: %s' % rcpts)
        for ident, account in want - taken - seen:
            out.append('lost: %x %d' % (ident, account))
        return out

    def at(self, disk, mode, rng, acked, taken, fates):
        target = tempfile.mkdtemp(prefix='point.', dir=self.folder)
        spool = os.path.join(target, 'spool')
        replay.write_tree(disk.crash(mode, rng), spool)
        bad = self.recover(spool, acked, taken, fates)
        if bad and os.environ.get('CRASH_KEEP'):
            print('kept', target)
        else:
            shutil.rmtree(target)
        return bad


def campaign(folder, count, seed):
    run = Run(folder, seed)
    for _ in range(LIVES):
        run.load(130, 4.0)
    log = replay.read_log(run.log)
    judge = Judge(run, folder)
    disk, done, acked, taken = replay.Disk(run.root), 0, {}, set()
    fates, whole = (remote_load.Fates(c.append) for c in ([], run.complaints))
    for rec in log:
        whole.take(rec)
    failed = len(run.complaints)
    if run.complaints:
        print('recording: %s' % '; '.join(run.complaints[:5]))
    for at, mode, rng in replay.points(log, count, seed):
        for rec in log[done:at]:
            fates.take(rec)
            if rec[0] != 'J':
                disk.step(rec)
                continue
            what, *rest = rec[1].split()
            if what == 'A':
                acked[int(rest[0])] = int(rest[1])
            elif what == 'D':
                taken.add((int(rest[0]), int(rest[1])))
        done = at
        bad = judge.at(disk, mode, rng, acked, taken, fates)
        if bad:
            failed += 1
            print('point %d of %d, %s: %s' % (at, len(log), mode, '; '.join(bad[:5])))
    print('crash_queue: %d cuts of a recording of %d calls (%d lives, %d acknowledged, %d segments used '
          'again, %d messages moved, %d remote ends, %d notices), %d failed'
          % (count, len(log), LIVES, len(run.acked), *again(log), len(whole.ended), len(whole.told), failed), flush=True)
    return failed


def again(log):
    """How often a segment got a header anew, and how many messages stand in two batches."""
    heads, batches = {}, {}
    for i, (op, path, _, off, _, data) in enumerate(log):
        if op != 'W' or not path.endswith('.seg'):
            continue
        if off == 0:
            heads[path] = heads.get(path, 0) + 1
        for n in set(re.findall(rb'message (\d+)\r\n', data)):
            batches.setdefault(int(n), set()).add(i)
    return sum(n - 1 for n in heads.values()), sum(len(b) > 1 for b in batches.values())


FAULTS = [c + ':%d' + k + ':' + e for c in ('pwrite', 'fdatasync', 'fsync', 'open')
          for k in ('', '+') for e in ('EIO', 'ENOSPC')] + ['pwrite:%d:SHORT']


def faults(folder, count, seed):
    rng, failed = random.Random(seed), 0
    for i in range(count):
        fault = FAULTS[(seed + i) % len(FAULTS)] % rng.randint(20, 120)
        sub = os.path.join(folder, 'fault%d' % i)
        os.mkdir(sub)
        run = Run(sub, seed + i, fault)
        run.load(60)
        bad = run.complaints + Judge(run, sub).recover(run.root, run.acked, run.taken, run.fates)
        if bad:
            failed += 1
            print('fault %s: %s' % (fault, '; '.join(bad[:5])))
            if os.environ.get('CRASH_KEEP'):
                print('kept', shutil.copytree(sub, sub + '.kept', ignore=shutil.ignore_patterns('*.sock')))
        shutil.rmtree(sub)
    print('crash_queue: %d injected faults, %d failed' % (count, failed))
    return failed


if __name__ == '__main__':
    sys.exit(replay.run('crash_queue', PROGRAM, campaign, faults, POINTS, 100, SEED, 8))
