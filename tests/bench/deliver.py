#!/usr/bin/env python3
"""Accept to local mailbox: 10 KB messages of 20 sessions to 100 users, until the last
one stands in its mailbox and is off the queue. Postfix with virtual(8) is the peer."""
import os
import time

import bench

SECONDS = 1 if bench.QUICK else 4


def stored(system):
    """Messages in all mailboxes of a system."""
    return sum(len(files) for path, _, files in os.walk(system.mailboxes())
               if os.path.basename(path) in ('new', 'cur'))


def wait_empty(system):
    """Until the queue is empty, asking now and then: asking costs CPU too."""
    end = time.monotonic() + 120
    while system.queued():
        if time.monotonic() > end:
            raise SystemExit('%s: the queue does not empty' % system.name)
        time.sleep(0.02)


def load(system, **how):
    before = stored(system)
    run = bench.Load(system, **how)
    accepted = run.accepted()['accepted']
    wait_empty(system)
    result = run.done()
    want = accepted * how.get('rcpts', 1)
    if stored(system) - before != want:
        raise SystemExit('%s: %d messages stored, not %d' % (system.name, stored(system) - before, want))
    return result


def work(top, systems):
    systems.append(bench.Posthorn(top))
    if bench.Postfix.missing():
        print(bench.Postfix.missing() + ': our figures alone')
    else:
        systems.append(bench.Postfix(top))
    got = bench.rounds(systems, 3, lambda s: load(s, sessions=20, size=10240, seconds=SECONDS))
    ours, peer = got['posthorn'], got.get('postfix', {})
    bench.row('10 KB, 20 sessions: delivered/s', ours['copies_per_second'], peer.get('copies_per_second'), 4)
    bench.row('  CPU us/message', ours['cpu_us'], peer.get('cpu_us'), 4, less=True)


if __name__ == '__main__':
    bench.session('accept to local mailbox', work)
