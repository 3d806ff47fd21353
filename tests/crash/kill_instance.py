#!/usr/bin/env python3
"""Crash tests of whole instances.

    kills        an instance under load is killed whole, or a process of it, at random
                 moments, again and again; after each start again the load goes on
    power cuts   an instance whose programs all run under the recorder is killed; the one
                 recording of all of them is cut at many points: spool, store and directory
                 as one moment leaves them; each is started and judged

CRASH_KILLS      kills of a whole instance (default 3); half as many of single processes
CRASH_CUTS       power cuts (default 1)
CRASH_SEED, CRASH_KEEP, CRASH_BLIND (power cuts alone: no sync counts, the judge must find
losses or this test fails); the build folder is the current one.
"""
import os
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import replay  # noqa: E402
from instance import Instance, Journal, Load, judge  # noqa: E402

BUILD = os.environ.get('POSTHORN_BUILD', os.getcwd())
SHIM = os.environ.get('RECORD', 'tests/crash/record.so')
KILLS = int(os.environ.get('CRASH_KILLS', '3'))
CUTS = int(os.environ.get('CRASH_CUTS', '1'))
SEED = int(os.environ.get('CRASH_SEED', '1'))
PER_INSTANCE = 20   # kills of one instance
PER_RUN = 40        # cuts of one recording
JUDGE_EVERY = 5


def say(where, bad):
    if bad:
        print('%s: %s' % (where, '; '.join(bad[:6])), flush=True)
    return bool(bad)


def kills(folder, count, seed):
    """(failed, single kills, messages acknowledged)"""
    rng, journal, singles, failed = random.Random(seed), Journal(), 0, 0
    inst = Instance(BUILD, folder)
    inst.start()
    last = 0
    for i in range(count):
        load = Load(inst, journal, rng, first=last)
        if i % 2:
            time.sleep(rng.uniform(0.1, 0.6))
            inst.kill_one(rng)
            singles += 1
        time.sleep(rng.uniform(0.05, 0.9))
        inst.kill()
        load.end()
        last = load.last
        if say('kill %d' % i, journal.complaints):
            failed += 1
            break
        inst.start()
        if (i + 1) % JUDGE_EVERY == 0 or i == count - 1:
            failed += say('after kill %d' % i, judge(inst, journal))
    if not failed or not os.environ.get('CRASH_KEEP'):
        inst.kill()
    else:
        print('kept', inst.dir, 'running')
    return failed, singles, len(journal.acked)


def record(folder, seed):
    """A recorded life; (instance, recording)."""
    log = os.path.join(folder, 'recording')
    open(log, 'wb').close()
    inst = Instance(BUILD, folder)
    base = replay.Disk(inst.dir)
    base.load(inst.dir)
    env = dict(os.environ, LD_PRELOAD=os.path.abspath(SHIM), CRASH_ROOT=inst.dir, CRASH_LOG=log, CRASH_SLOW='6')
    rng, journal, last = random.Random(seed), Journal(log), 0
    for _ in range(3):
        inst.start(env)
        load = Load(inst, journal, rng, first=last)
        time.sleep(rng.uniform(1.0, 2.0))
        with replay.between_calls(log):
            inst.kill()
        load.end()
        last = load.last
    return inst, base, log, journal


def cuts(folder, count, seed):
    inst, disk, log, whole = record(folder, seed)
    failed = say('recording', whole.complaints)
    journal, done, calls = Journal(), 0, replay.read_log(log)
    for at, mode, rng in replay.points(calls, count, seed):
        for rec in calls[done:at]:
            if rec[0] == 'J':
                journal.take(rec[1])
            else:
                disk.step(rec)
        done = at
        tree = disk.crash(mode, rng)
        shutil.rmtree(inst.dir)
        replay.write_tree(tree, inst.dir)
        bad = started(inst, journal)
        if say('cut %d of %d, %s' % (at, len(calls), mode), bad) and os.environ.get('CRASH_KEEP'):
            shutil.copytree(inst.dir, inst.dir + '.%d.after' % at, symlinks=True, ignore=sockets)
            replay.write_tree(tree, inst.dir + '.%d' % at)
        failed += bool(bad)
    return failed, len(calls), len(whole.acked)


def sockets(folder, names):
    return [n for n in names if not (os.path.isfile(os.path.join(folder, n)) or os.path.isdir(os.path.join(folder, n)))]


def started(inst, journal):
    """Starts what a cut left, with a journal that later cuts do not see. Complaints."""
    own = Journal()
    own.sent, own.acked, own.taken = journal.sent, journal.acked, dict(journal.taken)
    inst.elsewhere.journal = own
    own.shown = {k: dict(v) for k, v in journal.shown.items()}
    try:
        inst.start()
        bad = judge(inst, own)
    except (OSError, RuntimeError, TimeoutError) as e:
        bad = ['%r' % e]
    except Exception as e:   # noqa: BLE001 imaplib's errors are of this kind
        bad = ['the judge: %r' % e]
    inst.kill()
    return bad


def all_kills(folder):
    failed = singles = acked = 0
    for i in range(0, KILLS, PER_INSTANCE):
        sub = tempfile.mkdtemp(prefix='kills.', dir=folder)
        f, s, a = kills(sub, min(PER_INSTANCE, KILLS - i), SEED * 1000 + i)
        failed, singles, acked = failed + f, singles + s, acked + a
        if not f:
            shutil.rmtree(sub)
        print('kill_instance: %d kills of a whole instance so far, %d of single processes, %d messages '
              'acknowledged, %d failed' % (min(KILLS, i + PER_INSTANCE), singles, acked, failed), flush=True)
    return failed


def all_cuts(folder):
    failed = calls = acked = 0
    for i in range(0, CUTS, PER_RUN):
        sub = tempfile.mkdtemp(prefix='cuts.', dir=folder)
        f, n, a = cuts(sub, min(PER_RUN, CUTS - i), SEED * 1000 + i)
        failed, calls, acked = failed + f, calls + n, acked + a
        if not f:
            shutil.rmtree(sub)
        print('kill_instance: %d power cuts so far (recordings of %d calls, %d messages acknowledged), '
              '%d failed' % (min(CUTS, i + PER_RUN), calls, acked, failed), flush=True)
    return failed


def main():
    with open(BUILD + '/mta/posthorn', 'rb') as f:
        sanitized = b'__asan_init' in f.read()
    folder = tempfile.mkdtemp(prefix='kill_instance.', dir=replay.scratch())
    os.chmod(folder, 0o711)
    try:
        if replay.BLIND:
            bad = all_cuts(folder)
            print('kill_instance: blind, the judge %s' % ('says no, as it must' if bad else 'SAYS NOTHING'))
            return 0 if bad else 1
        bad = all_kills(folder)
        if not sanitized:   # the recorder does not go with one
            bad += all_cuts(folder)
    finally:
        if not os.environ.get('CRASH_KEEP'):
            shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
