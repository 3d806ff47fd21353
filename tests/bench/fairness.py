#!/usr/bin/env python3
"""One tenant with 100,000 messages for a slow site, and another: how long the other's mail
takes from the accept to the request to relayd, with the crowd and without. The harness of
the crash tests plays relayd, whose answers for the slow site take their time.
fairness.py [MESSAGES]."""
import heapq
import os
import sys
import time

import bench
from start import PROGRAM, fill, memory

sys.path.insert(0, os.path.join(bench.HERE, '..', 'crash'))
from house import Queued, remote, text  # noqa: E402

SETTINGS = 'spool {\n min-free 0\n}\n'
NUMBERS = [int(a) for a in sys.argv[1:] if a.isdigit()]
CROWD = NUMBERS[0] if NUMBERS else 10000 if bench.QUICK else 100000
SAMPLES = 300 if bench.QUICK else 2000
EVERY = 0.005       # seconds between the other tenant's messages
SLOW = 0.2          # seconds that an answer of the slow site takes
SIZE = 1000


class House(Queued):
    """Requests of relayd, with the time at which each came."""

    def __init__(self, spool):
        super().__init__(PROGRAM, spool, 1, SETTINGS)
        self.came, self.owed = {}, []
        self.slow = lambda domain, rcpts: True
        self.ready()

    def turn(self, wait=0.01):
        alive = super().turn(wait)
        now = time.monotonic()
        self.relayed.clear()
        while self.waiting:
            request = self.waiting.pop()
            self.came.setdefault(request[1], now)
            slow = request[2] == 'slow.test'
            heapq.heappush(self.owed, (now + SLOW * slow, request))
        while self.owed and self.owed[0][0] <= now:
            self.answer_relay(*heapq.heappop(self.owed)[1])
        return alive


def body(tenant, domain):
    content = b'x' * SIZE
    return text(1, remote('sender@example.test', ['user@' + domain], SIZE, tenant)) + text(2, content)


def p99(q, domain):
    """Of the other tenant's messages, in ms."""
    begun, due, sent = {}, time.monotonic(), []
    while len(sent) < SAMPLES:
        sent.append(q.accept_remote('sender@example.test', ['user@' + domain], b'x' * SIZE, tenant='other'))
        begun[sent[-1]] = time.monotonic()
        due += EVERY
        while time.monotonic() < due:
            q.turn(0.001)
    ids = {i: q.answer(i)[0] for i in sent}
    if not q.until(lambda: all(v in q.came for v in ids.values()), 120):
        raise SystemExit('%d messages were not sent' % sum(v not in q.came for v in ids.values()))
    took = sorted(q.came[ids[i]] - begun[i] for i in sent)
    return took[len(took) * 99 // 100] * 1000


def work(top, systems):
    got = {}
    for crowd in (0, CROWD):
        q = House(os.path.join(top, 'spool%d' % crowd))
        before = memory(q.proc.pid)
        fill(q, crowd, body('crowd', 'slow.test'))
        if crowd:
            bench.row('bytes of memory a message (under 400)', (memory(q.proc.pid) - before) / crowd, None, 0)
        got[crowd] = p99(q, 'fast.test')
        q.kill()
        q.close()
    bench.row('p99 alone (peer), among %d: ms' % CROWD, got[CROWD], got[0], 0.5, less=True)


if __name__ == '__main__':
    bench.session('a tenant beside one with %d messages for a slow site' % CROWD, work)
