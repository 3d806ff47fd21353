#!/usr/bin/env python3
"""One 100 KB message to 50 local recipients, 30 messages in a row on one connection,
until the last copy stands in its mailbox. Postfix with virtual(8) is the peer."""
import bench
import deliver

MESSAGES = 30


def work(top, systems):
    systems.append(bench.Posthorn(top))
    if bench.Postfix.missing():
        print(bench.Postfix.missing() + ': our figures alone')
    else:
        systems.append(bench.Postfix(top))
    got = bench.rounds(systems, 3,
                       lambda s: deliver.load(s, sessions=1, size=102400, rcpts=50, messages=MESSAGES))
    ours, peer = got['posthorn'], got.get('postfix', {})
    bench.row('100 KB to 50 recipients: copies/s', ours['copies_per_second'], peer.get('copies_per_second'), 5)
    bench.row('  CPU us/message of 50 copies', ours['cpu_us'], peer.get('cpu_us'), 5, less=True)


if __name__ == '__main__':
    bench.session('one message to many mailboxes', work)
