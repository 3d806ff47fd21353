#!/usr/bin/env python3
"""Many messages to 1,000 sites: accepted as fast as they come, and sent to a sink that
listens on 1,000 loopback addresses, each of them a site (ours alone). What is looked at is
how fast the last one is taken, and what queued and relayd hold meanwhile.
sites.py [MESSAGES]."""
import os
import subprocess
import sys
import time

import bench
import relay

NUMBERS = [int(a) for a in sys.argv[1:] if a.isdigit()]
MESSAGES = NUMBERS[0] if NUMBERS else 20000 if bench.QUICK else 1000000
NETS, HOSTS = 4, 250            # 127.1.NET.HOST
SIZE = 1024


class Sink(relay.Sink):
    def addresses(self):
        return ['127.1.%d.%d' % (n, h) for n in range(NETS) for h in range(1, HOSTS + 1)]


class Posthorn(relay.Posthorn):
    def programs(self, name):
        """Pids of the instance's processes that are called so."""
        out = []
        for p in bench.family(self.pid):
            with open('/proc/%d/comm' % p.pid) as f:
                if f.read().strip() == name:
                    out.append(p.pid)
        return out

    def memory(self, name):
        total = 0
        for pid in self.programs(name):
            with open('/proc/%d/status' % pid) as f:
                total += next(int(line.split()[1]) for line in f if line.startswith('VmRSS'))
        return total / 1024


def loads(system):
    """NETS load generators at a time, each for its network; what they sent."""
    each = MESSAGES // NETS
    children = [subprocess.Popen(
        [bench.SMTPLOAD, '-m', str(each), '-d', '3600', '-T', '3600', '-s', '10', '-l', str(SIZE), '-r', '1', '-u', str(HOSTS),
         '-t', 'user@[127.1.%d.%%d]' % n, '127.0.0.1', str(system.port)], stdout=subprocess.DEVNULL)
        for n in range(NETS)]
    most = dict.fromkeys(('queued', 'relayd'), 0.0)
    while any(c.poll() is None for c in children):
        watch(system, most)
    if any(c.returncode for c in children):
        raise SystemExit('not everything was accepted')
    return each * NETS, most


def watch(system, most):
    for name in most:
        most[name] = max(most[name], system.memory(name))
    time.sleep(0.2)


def work(top, systems):
    sink = Sink(top)
    systems.append(sink)
    relay.Posthorn.sink = sink
    system = Posthorn(top, users=1)
    systems.append(system)
    system.new_round()
    idle = {name: system.memory(name) for name in ('queued', 'relayd')}
    begun, cpu = time.monotonic(), system.cpu()
    sent, most = loads(system)
    accepted = time.monotonic()
    while sink.taken() < sent and time.monotonic() < accepted + 3600:
        watch(system, most)
    seconds = time.monotonic() - begun
    if sink.taken() != sent:
        raise SystemExit('%d of %d messages taken' % (sink.taken(), sent))
    bench.row('accepted/s', sent / (accepted - begun), None, 0)
    bench.row('sent/s', sent / seconds, None, 0)
    bench.row('  CPU us/message', (system.cpu() - cpu) / sent * 1e6, None, 0)
    bench.until(lambda: not system.queued(), 60, 'emptying the queue', 0.1)
    for name in most:
        bench.row('%s, MiB at most' % name, most[name], None, 0)
        bench.row('  more than idle, afterwards', system.memory(name) - idle[name], None, 0)


if __name__ == '__main__':
    bench.session('%d messages to %d sites' % (MESSAGES, NETS * HOSTS), work)
