#!/usr/bin/env python3
"""Accept to another server: 10 KB messages of 20 sessions, until a sink has taken the
last one. Both systems send to the same sink, by SMTP with PIPELINING, and may keep
connections; each has had a round before those that count. Postfix goes by relayhost; for
us the domain is an address literal."""
import os
import struct
import subprocess
import time

import bench

SECONDS = 1 if bench.QUICK else 6
SMTPSINK = os.path.join(bench.BUILD, 'tests', 'bench', 'smtpsink')
ADDRESS = '127.0.0.2'


class Sink:
    name = 'sink'

    def __init__(self, top):
        self.port = bench.free_ports((0,))
        self.path = os.path.join(top, 'taken')
        self.child = subprocess.Popen([SMTPSINK, self.path, str(self.port), *self.addresses()])
        bench.until(lambda: os.path.exists(self.path) and os.path.getsize(self.path), 30, 'the sink')

    def addresses(self):
        return [ADDRESS]

    def taken(self):
        with open(self.path, 'rb') as f:
            return struct.unpack('=Q', f.read(8))[0]

    def stop(self):
        self.child.terminate()
        self.child.wait()


class Posthorn(bench.Posthorn):
    sink = None

    def settings(self):
        super().settings()
        path = os.path.join(self.dir, 'posthorn.conf')
        with open(path) as f:
            text = f.read().replace('relay-from none', 'relay-from 127.0.0.0/8')
        with open(path, 'w') as f:
            f.write(text + 'relay { port %d reuse-limit unlimited }\n' % self.sink.port)


class Postfix(bench.Postfix):
    sink = None

    def write(self, name, text):
        if name == 'main.cf':
            text += 'relayhost = [%s]:%d\n' % (ADDRESS, self.sink.port)
        super().write(name, text)


def load(system, sink):
    before = sink.taken()
    run = bench.Load(system, sessions=20, size=10240, seconds=SECONDS, to='user%%d@[%s]' % ADDRESS)
    want = before + run.accepted()['accepted']
    bench.until(lambda: sink.taken() >= want, 120, 'sending', 0.005)
    result = run.done()
    bench.until(lambda: not system.queued(), 60, 'emptying the queue', 0.1)
    if sink.taken() != want:
        raise SystemExit('%s: %d messages taken, not %d' % (system.name, sink.taken() - before, want - before))
    return result


def work(top, systems):
    sink = Sink(top)
    systems.append(sink)
    Posthorn.sink = Postfix.sink = sink
    mtas = [Posthorn(top, users=1)]
    systems.append(mtas[0])
    if bench.Postfix.missing():
        print(bench.Postfix.missing() + ': our figures alone')
    else:
        mtas.append(Postfix(top))
        systems.append(mtas[1])
    for m in mtas: # what starts its programs when they are needed has them then
        load(m, sink)
    got = bench.rounds(mtas, 3, lambda s: load(s, sink))
    ours, peer = got['posthorn'], got.get('postfix', {})
    bench.row('10 KB, 20 sessions: sent/s', ours['copies_per_second'], peer.get('copies_per_second'), 4)
    bench.row('  CPU us/message', ours['cpu_us'], peer.get('cpu_us'), 4, less=True)


if __name__ == '__main__':
    bench.session('accept to another server', work)
