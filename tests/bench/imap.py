#!/usr/bin/env python3
"""A mailbox of 50,000 messages of 2 KB over IMAP: FETCH of all flags and envelopes,
STORE on all, and SELECT. The same files stand in Dovecot's Maildir, the peer; both have
read everything once before the clock runs."""
import os
import shutil
import statistics
import time

import bench
import deliver
from imapconn import ImapConn

MESSAGES = 5000 if bench.QUICK else 50000
ROUNDS = 3
USER = 'user1@example.test'

# (what, command, least ratio or 0)
STEPS = [
    ('SELECT, new log-in', 'SELECT INBOX', 0),
    ('FETCH 1:* FLAGS', 'UID FETCH 1:* (FLAGS)', 2),
    ('FETCH 1:* ENVELOPE', 'FETCH 1:* (UID ENVELOPE)', 2),
    ('STORE 1:* +FLAGS', 'STORE 1:* +FLAGS.SILENT (\\Flagged)', 2),
    ('STORE 1:* -FLAGS', 'STORE 1:* -FLAGS.SILENT (\\Flagged)', 2),
    ('newest 50 for a list', 'FETCH %d:* (UID FLAGS ENVELOPE INTERNALDATE RFC822.SIZE BODYSTRUCTURE)' % (MESSAGES - 49), 0),
]


def fill(ours):
    """By SMTP, as mail comes."""
    run = bench.Load(ours, sessions=20, size=2048, messages=MESSAGES, users=1)
    run.accepted()
    deliver.wait_empty(ours)


def copy(ours, peer):
    files = [os.path.join(path, f) for path, _, files in os.walk(ours.mailboxes()) for f in files
             if os.path.basename(path) == 'cur']
    if len(files) != MESSAGES:
        raise SystemExit('%d messages were taken in, not %d' % (len(files), MESSAGES))
    box = os.path.join(peer.dir, 'mail', 'user1')
    for sub in ('cur', 'new', 'tmp'):
        os.makedirs(os.path.join(box, sub))
    for i, f in enumerate(files):
        shutil.copyfile(f, os.path.join(box, 'cur', '%d.M%dP1.peer:2,' % (1700000000 + i, i)))
    for path, _, names in os.walk(os.path.join(peer.dir, 'mail')):
        for p in [path] + [os.path.join(path, f) for f in names]:
            os.chown(p, peer.owner.pw_uid, peer.owner.pw_gid)


def one_round(system):
    c = ImapConn(system.imap).login(USER, bench.PASSWORD)
    times = []
    for _, command, _ in STEPS:
        t = time.perf_counter()
        c.command(command)
        times.append((time.perf_counter() - t) * 1e3)
    c.command('LOGOUT')
    c.close()
    return times


def warm(system):
    """The first reading of all, which builds indexes and caches."""
    start = time.monotonic()
    one_round(system)
    print('%-44s %12.1f s' % ('first round of ' + system.name, time.monotonic() - start), flush=True)


def work(top, systems):
    systems.append(bench.Posthorn(top, users=1))
    fill(systems[0])
    warm(systems[0])
    if bench.Dovecot.missing():
        print(bench.Dovecot.missing() + ': our figures alone')
    else:
        systems.append(bench.Dovecot(top, *(os.path.join(systems[0].dir, f) for f in ('cert.pem', 'key.pem'))))
        copy(*systems)
        warm(systems[1])
    got = {s.name: [] for s in systems}
    for _ in range(ROUNDS):
        for s in systems:
            got[s.name].append(one_round(s))
    for i, (what, _, bar) in enumerate(STEPS):
        mid = [statistics.median(r[i] for r in got[s.name]) for s in systems]
        bench.row(what + ', ms', mid[0], mid[1] if len(mid) > 1 else None, bar, less=True)


if __name__ == '__main__':
    bench.session('IMAP, a mailbox of %d messages' % MESSAGES, work)
