#!/usr/bin/env python3
"""Time and memory of queued's start with many queued messages (1,000,000 unless
given): python3 queued_start.py [N] [BYTES]. Prints CPU per accepted message too."""
import os
import shutil
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'crash'))
from house import ACCEPT, Queued, envelope, text, u64  # noqa: E402

PROGRAM = os.environ.get('QUEUED', 'mta/queued')
SETTINGS = 'spool {\n min-free 0\n}\n'


def cpu(pid):
    with open('/proc/%d/stat' % pid) as f:
        v = f.read().rsplit(')', 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf('SC_CLK_TCK')


def memory(pid):
    with open('/proc/%d/status' % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith('VmRSS')) / 1024


def fill(q, n, size):
    body = text(1, envelope('sender@example.test', [('user1@example.test', 1)])) + text(2, b'x' * size)
    sent = got = 0
    while got < n:
        burst = min(100 if size < 20000 else 10, n - sent)
        if burst and sent - got < 200:
            q.smtpd.sock.sendall(b''.join(
                struct.pack('<IHBBQ', 12 + len(body), ACCEPT, 1, 0, sent + i + 1) + body for i in range(burst)))
            sent += burst
        got += len(q.smtpd.frames(5 if sent - got >= 200 or sent == n else 0) or [])


def _log():
    return open(os.environ["QUEUED_LOG"], "ab") if "QUEUED_LOG" in os.environ else None


def main():
    n, size = int((sys.argv + ['1000000'])[1]), int((sys.argv + ['', '200'])[2]) if len(sys.argv) > 2 else 200
    folder = tempfile.mkdtemp(prefix='queued_start.')
    spool = os.path.join(folder, 'spool')
    q = Queued(PROGRAM, spool, 1, SETTINGS, log=_log())
    q.ready()
    q.admin(u64(1, 9) + u64(11, 1))
    t, c = time.time(), cpu(q.proc.pid)
    fill(q, n, size)
    t = time.time() - t
    print('accept: %d messages in %.1f s, %.0f/s, queued CPU %.1f us a message'
          % (n, t, n / t, (cpu(q.proc.pid) - c) / n * 1e6))
    print('memory: %.0f MB, %.0f bytes a message' % (memory(q.proc.pid), memory(q.proc.pid) * 1048576 / n))
    for how in ('killed', 'clean', 'clean'):
        t = time.time()
        if how == 'clean':
            q.stop()
            print('stop: %.2f s' % (time.time() - t))
        else:
            q.kill()
        t = time.time()
        q = Queued(PROGRAM, spool, 1, SETTINGS, log=_log())
        q.ready()
        print('start (%s): %.2f s, %.0f MB' % (how, time.time() - t, memory(q.proc.pid)))
    q.kill()
    shutil.rmtree(folder)


if __name__ == '__main__':
    main()
