#!/usr/bin/env python3
"""Memory of idle IMAP connections: logged in over TLS, INBOX selected, in IDLE. PSS of
all processes of a system, per connection beyond the first ones. Dovecot is the peer."""
import os
import time

import bench
from imapconn import ImapConn

FIRST = bench.USERS  # until each account is open and buffers have their size
OURS = 500 if bench.QUICK else 1000
PEERS = 100 if bench.QUICK else 300
SETTLE = 2       # seconds until a connection is parked


def connect(system, n):
    made = []
    for i in range(n):
        c = ImapConn(system.imaps, tls=True).login('user%d@example.test' % (i % bench.USERS + 1), bench.PASSWORD)
        c.command('SELECT INBOX')
        c.idle()
        made.append(c)
    time.sleep(SETTLE)
    return made


def measure(system, n):
    open_ones = connect(system, FIRST)
    before = bench.pss(system.pid)
    open_ones += connect(system, n)
    each = (bench.pss(system.pid) - before) / n
    for c in open_ones:
        c.close()
    return each


def work(top, systems):
    systems.append(bench.Posthorn(top))
    ours = measure(systems[0], OURS)
    peer = None
    if bench.Dovecot.missing():
        print(bench.Dovecot.missing() + ': our figures alone')
    else:
        systems.append(bench.Dovecot(top, *(os.path.join(systems[0].dir, f) for f in ('cert.pem', 'key.pem'))))
        peer = measure(systems[1], PEERS)
    bench.row('KiB of an idle TLS connection (at most 20)', ours, peer, 10, less=True)


if __name__ == '__main__':
    bench.session('memory of idle IMAP connections', work)
