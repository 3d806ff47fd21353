#!/usr/bin/env python3
"""Durable accept: messages a second that get their 250 after a sync, while deliveries
are held; CPU a message; the reply to the final dot. Postfix is the peer."""
import bench

SECONDS = 1 if bench.QUICK else 4
BYTES = 600 << 20   # of a round at most: what the ready segments hold

# (what, sessions, size, least ratio of rates, least ratio of CPU)
CASES = [
    ('10 KB, 20 sessions', 20, 10240, 8, 10),
    ('10 KB, 100 sessions', 100, 10240, 8, 10),
    ('10 KB, 1 session', 1, 10240, 3, 3),
    ('100 KB, 20 sessions', 20, 102400, 4, 4),
]


def load(system, case):
    run = bench.Load(system, case[1], case[2], SECONDS, messages=BYTES // case[2])
    run.accepted()
    return run.done()


def warm(systems):
    """Processes started, the log grown to its size."""
    for s in systems:
        load(s, CASES[1])


def report(case, ours, peer):
    what, _, _, rate, cpu = case
    peer = peer or {}
    bench.row(what + ': messages/s', ours['per_second'], peer.get('per_second'), rate)
    bench.row('  CPU us/message', ours['cpu_us'], peer.get('cpu_us'), cpu, less=True)
    bench.row('  our p99 against its p50, final dot, ms', ours['dot_p99_ms'], peer.get('dot_p50_ms'), 1, less=True)


def work(top, systems):
    systems.append(bench.Posthorn(top))
    systems[0].hold()
    if bench.Postfix.missing():
        print(bench.Postfix.missing() + ': our figures alone')
    else:
        systems.append(bench.Postfix(top, hold=True))
    warm(systems)
    for case in CASES:
        got = bench.rounds(systems, 3, lambda s: load(s, case))
        report(case, got['posthorn'], got.get('postfix'))


if __name__ == '__main__':
    bench.session('durable accept, deliveries held', work)
