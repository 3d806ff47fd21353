#!/usr/bin/env python3
"""1,000,000 queued messages: how long a start of queued takes after a kill and after a
clean stop, and what a message costs in memory. The harness of the crash tests plays the
other programs. start.py [MESSAGES]."""
import os
import struct
import sys
import time

import bench

sys.path.insert(0, os.path.join(bench.HERE, '..', 'crash'))
from house import ACCEPT, Queued, envelope, text, u64  # noqa: E402

PROGRAM = os.environ.get('QUEUED', os.path.join(bench.BUILD, 'mta', 'queued'))
SETTINGS = 'spool {\n min-free 0\n}\n'
NUMBERS = [int(a) for a in sys.argv[1:] if a.isdigit()]
MESSAGES = NUMBERS[0] if NUMBERS else 50000 if bench.QUICK else 1000000
SIZE = 200
BURST, WINDOW = 100, 200
HOLD_NEW = u64(1, 9) + u64(11, 1)


def memory(pid):
    with open('/proc/%d/status' % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith('VmRSS')) * 1024


BODY = text(1, envelope('sender@example.test', [('user1@example.test', 1)])) + text(2, b'x' * SIZE)


def fill(q, n, body=BODY):
    """n messages, WINDOW of them on their way at a time."""
    first = q.smtpd.next_id
    q.smtpd.next_id += n
    sent = got = 0
    while got < n:
        burst = min(BURST, n - sent)
        if burst and sent - got < WINDOW:
            q.smtpd.sock.sendall(b''.join(
                struct.pack('<IHBBQ', 12 + len(body), ACCEPT, 1, 0, first + sent + i) + body for i in range(burst)))
            sent += burst
        frames = q.smtpd.frames(5 if sent - got >= WINDOW or sent == n else 0)
        if frames is None:
            raise SystemExit('queued has gone')
        got += len(frames)


def start(spool):
    begun = time.monotonic()
    q = Queued(PROGRAM, spool, 1, SETTINGS)
    q.ready()
    return q, time.monotonic() - begun


def work(top, systems):
    q, _ = start(os.path.join(top, 'spool'))
    q.admin(HOLD_NEW)
    fill(q, MESSAGES)
    bench.row('bytes of memory a message (under 400)', memory(q.proc.pid) / MESSAGES, None, 0)
    for how in ('a kill', 'a clean stop'):
        q.kill() if how == 'a kill' else q.stop()
        q, seconds = start(os.path.join(top, 'spool'))
        bench.row('start after %s, s (at most 10)' % how, seconds, None, 0)
    q.kill()


if __name__ == '__main__':
    bench.session('%d queued messages' % MESSAGES, work)
