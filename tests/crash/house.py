"""A daemon alone, with this program in the places of the master and of its peers.

Frames and fields as in lib/io/wire.h, set-up as in lib/proc/setup.h.
"""
import contextlib
import os
import select
import socket
import struct
import subprocess
import time

MASTER, SMTPD, QUEUED, AUTHD, MAILD, MIMED, IMAPD, CLI = 0, 1, 3, 4, 5, 6, 7, 18
RELAYD, BOUNCED = 11, 12
KEY = b'k' * 32   # of tickets
ANSWER, ERROR, FD = 2, 4, 1
ACCEPT, CHUNK, ABORT, ADMIN = 0x301, 0x302, 0x303, 0x310
DELIVER, LOW_WATER = 0x501, 0x503
RELAY, NOTIFY = 0xb01, 0xc01
SELF, CONFIG, CONTROL, CALLEE, CALLER, GO, READY, STOP = 128, 129, 133, 134, 135, 136, 137, 141


def u64(tag, v):
    return struct.pack('<HIQ', tag, 8, v)


def text(tag, v):
    v = v.encode() if isinstance(v, str) else v
    return struct.pack('<HI', tag, len(v)) + v


def fields(body):
    """[(tag, value)] of a body."""
    at, out = 0, []
    while at < len(body):
        tag, n = struct.unpack_from('<HI', body, at)
        out.append((tag, body[at + 6:at + 6 + n]))
        at += 6 + n
    return out


def num(v):
    return int.from_bytes(v, 'little')


class Wire:
    """One end of a channel."""

    def __init__(self, sock):
        self.sock, self.data, self.fds, self.next_id = sock, b'', [], 1

    def send(self, kind, body=b'', ident=0, flags=0, fd=None):
        head = struct.pack('<IHBBQ', 12 + len(body), kind, 1, flags | (FD if fd is not None else 0), ident)
        if fd is None:
            self.sock.sendall(head + body)
        else:
            sent = socket.send_fds(self.sock, [head + body], [fd])
            self.sock.sendall((head + body)[sent:])

    def call(self, kind, body):
        ident, self.next_id = self.next_id, self.next_id + 1
        self.send(kind, body, ident)
        return ident

    def frames(self, wait=0.0):
        """What has come: [(type, flags, id, body, fd)]; None when the peer has gone."""
        if select.select([self.sock], [], [], wait)[0]:
            try:
                got, fds, _, _ = socket.recv_fds(self.sock, 1 << 20, 64)
            except ConnectionResetError:
                return None
            if not got:
                return None
            self.data += got
            self.fds += fds
        out = []
        while len(self.data) >= 16:
            n, kind, _, flags, ident = struct.unpack_from('<IHBBQ', self.data)
            if len(self.data) < 4 + n:
                break
            fd = self.fds.pop(0) if flags & FD else None
            out.append((kind, flags, ident, self.data[16:4 + n], fd))
            self.data = self.data[4 + n:]
        return out


def envelope(sender, rcpts, lmtp=False, size=0):
    """rcpts: [(address, account)]; slot = account."""
    body = text(1, sender) + text(5, 'tenant') + text(15, 'T1') + u64(9, 4 if lmtp else 0)
    body += u64(13, int(time.time() * 1e6)) + u64(14, size)
    for address, account in rcpts:
        body += text(64, text(1, address) + u64(5, 1) + u64(6, account) + u64(7, 1) + u64(8, account % 4096))
    return body


class Daemon:
    """A daemon of the house with this program in the master's place. callers and callees:
    [(role, number of the channel or instance)]; the ends are in .caller and .callee."""

    def __init__(self, program, role, config, callers, callees, counts, env=None, log=None):
        ours, theirs = socket.socketpair()
        self.program, self.master = os.path.basename(program), Wire(ours)
        fd = theirs.fileno()
        os.set_inheritable(fd, True)
        self.proc = subprocess.Popen(
            [program], pass_fds=[3], env=env, stderr=log or subprocess.DEVNULL,
            preexec_fn=lambda: os.dup2(fd, 3, inheritable=True))
        theirs.close()
        roles = b''.join(text(4, u64(1, r) + u64(3, n)) for r, n in counts)
        self.master.send(SELF, u64(2, 0) + u64(5, 1) + text(6, KEY) + roles)
        self.master.send(CONFIG, text(8, config))
        self.caller = {c: self.channel(CALLER, *c) for c in callers}
        self.callee = {c: self.channel(CALLEE, *c) for c in callees}
        self.master.send(GO)

    def channel(self, kind, role, number):
        """Gives the daemon one end of a new channel; the other one."""
        ours, theirs = socket.socketpair()
        body = u64(1, role) + (u64(2, number) if kind == CALLEE else u64(2, 0) + u64(5, number))
        self.master.send(kind, body, fd=theirs.fileno())
        theirs.close()
        return Wire(ours)

    def ready(self, limit=60):
        end = time.time() + limit
        while time.time() < end:
            frames = self.master.frames(0.05)
            if frames is None:
                raise RuntimeError('%s has ended: %s' % (self.program, self.proc.wait()))
            if any(f[0] == READY for f in frames):
                return
        raise RuntimeError('%s is not ready' % self.program)

    def until(self, condition, limit=20):
        end = time.time() + limit
        while time.time() < end:
            if condition():
                return True
            self.turn()
        return bool(condition())

    def stop(self, limit=20):
        """A clean stop; the exit status, None when it does not come."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.master.send(STOP)
        end = time.time() + limit
        while self.proc.poll() is None and time.time() < end:
            self.turn()
        return self.proc.poll()

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def close(self):
        for w in (self.master, *self.caller.values(), *self.callee.values()):
            w.sock.close()


def remote(sender, rcpts, size=0, tenant='tenant', more=b''):
    """An envelope for other servers. rcpts: [address or (address, next hop, notify)]; more: fields."""
    body = text(1, sender) + text(5, tenant) + text(15, 'T1') + u64(13, int(time.time() * 1e6)) + u64(14, size) + more
    for r in rcpts:
        address, hop, notify = r if isinstance(r, tuple) else (r, '', 0)
        rcpt = text(1, address) + u64(5, 2) + text(9, hop)
        body += text(64, rcpt + (u64(4, notify) if notify else b''))
    return body


class Queued(Daemon):
    def __init__(self, program, spool, mailds=1, settings='', env=None, log=None):
        config = 'config 1\nbase-dir "%s"\nspool-dir "%s"\n%s\n' % (os.path.dirname(spool), spool, settings)
        self.config = config
        super().__init__(program, QUEUED, config, [(SMTPD, 2), (CLI, 3)],
                         [(MAILD, i) for i in range(mailds)] + [(RELAYD, 0), (BOUNCED, 0)],
                         ((SMTPD, 1), (QUEUED, 1), (AUTHD, 1), (MAILD, mailds), (RELAYD, 1), (BOUNCED, 1)),
                         env, log)
        self.smtpd, self.cli = self.caller[SMTPD, 2], self.caller[CLI, 3]
        self.mailds = [self.callee[MAILD, i] for i in range(mailds)]
        self.relayd, self.bounced = self.callee[RELAYD, 0], self.callee[BOUNCED, 0]
        self.relayed = []     # (spool id, domain, next hop, [addresses], content)
        self.notified = []    # (spool id, event, kind, [(address, action, enhanced)])
        self.waiting = []     # requests of relayd that `slow` keeps: (ident, domain, addresses)
        # what the servers of a domain say: (outcome, reply code) for a recipient
        self.remote = lambda ident, address: (1, 250)
        # of a domain: fields of the answer beside the results
        self.site = lambda domain: text(1, 'mx.' + domain) + u64(2, 3600000)
        self.slow = lambda domain, rcpts: False
        # what bounced answers (None: nothing), and what is done before it does
        self.notice = lambda ident, event: 1
        self.noticed = lambda outcome, ident, event, kind, rows: None
        self.inbox = {}
        self.delivered = []   # (spool id, account, maybe, content)
        self.outcome = lambda ident, account: (1, 250)
        self.hold = False

    def reload(self, more):
        """The settings again, with more behind them."""
        self.master.send(CONFIG, text(8, self.config + more))

    def accept(self, sender, rcpts, content, lmtp=False):
        """Sends a message; its request id."""
        return self.send(envelope(sender, rcpts, lmtp, len(content)), content)

    def accept_remote(self, sender, rcpts, content=b'hello', **kw):
        return self.send(remote(sender, rcpts, len(content), **kw), content)

    def send(self, env, content):
        env = text(1, env)
        if len(content) <= 256 << 10:
            return self.smtpd.call(ACCEPT, env + text(2, content))
        stream = self.smtpd.next_id
        for at in range(0, len(content), 256 << 10):
            ident = self.smtpd.call(CHUNK, u64(3, stream) + u64(4, at) + text(2, content[at:at + (256 << 10)]))
            self.wait(ident)
        return self.smtpd.call(ACCEPT, env + u64(3, stream))

    def turn(self, wait=0.01):
        """Takes what came: answers into inbox, deliveries answered. False: queued has gone."""
        socks = [w.sock for w in (self.smtpd, self.relayd, self.bounced, *self.mailds)]
        select.select(socks, [], [], wait)
        frames = self.smtpd.frames()
        if frames is None:
            return False
        for _, flags, ident, body, _ in frames:
            self.inbox[ident] = (flags, body)
        for w in self.mailds:
            for f in w.frames() or []:
                self.maild(w, *f)
        for f in self.relayd.frames() or []:
            self.take_relay(*f)
        for f in self.bounced.frames() or []:
            self.take_notice(*f)
        return True

    def take_relay(self, kind, flags, ident, body, fd):
        f = fields(body)
        top = dict((t, v) for t, v in f if t != 17)
        rcpts = [dict(fields(v))[1].decode() for t, v in f if t == 17]
        domain, content = top.get(12, b'').decode(), top.get(100, b'')
        if fd is not None:
            content = os.pread(fd, 1 << 28, 0)
            os.close(fd)
        spool_id = num(top[1])
        self.relayed.append((spool_id, domain, top.get(11, b'').decode(), rcpts, content))
        if self.slow(domain, rcpts):
            self.waiting.append((ident, spool_id, domain, rcpts))
        else:
            self.answer_relay(ident, spool_id, domain, rcpts)

    def answer_relay(self, ident, spool_id, domain, rcpts):
        out = self.site(domain)
        for r in rcpts:
            o, smtp = self.remote(spool_id, r)
            out += text(7, u64(1, o) + u64(2, smtp) + text(3, '%d.1.1' % (smtp // 100)) + text(4, 'said by the server')
                        + text(5, 'mx.' + domain))
        self.relayd.send(RELAY, out, ident, ANSWER)

    def take_notice(self, kind, flags, ident, body, fd):
        if fd is not None:
            os.close(fd)
        f = fields(body)
        top = dict((t, v) for t, v in f if t != 13)
        rcpts = [dict(fields(v)) for t, v in f if t == 13]
        spool_id, event = num(top[2]), num(top[3])
        o = self.notice(spool_id, event)
        if o is None:
            return
        row = spool_id, event, num(top[1]), [(r[1].decode(), num(r[4]), r.get(6, b'').decode()) for r in rcpts]
        self.notified.append(row)
        self.noticed(o, *row)
        self.bounced.send(NOTIFY, u64(1, o) + u64(2, 77), ident, ANSWER)

    def maild(self, w, kind, flags, ident, body, fd):
        if kind != DELIVER:
            w.send(kind, b'', ident, ANSWER)
            return
        out, spool_id, content, accounts = b'', 0, b'', []
        for tag, v in fields(body):
            if tag == 1:
                spool_id = num(v)
            elif tag == 100:
                content = v
            elif tag == 7:
                r = dict(fields(v))
                accounts.append((num(r[1]), 5 in r))
        if fd is not None:
            content = os.pread(fd, 1 << 28, 0)
            os.close(fd)
        for account, self.maybe in accounts:
            o, smtp = self.outcome(spool_id, account)
            if o == 1:
                self.delivered.append((spool_id, account, self.maybe, content))
            out += text(1, u64(1, o) + u64(2, smtp) + text(4, 'said by the store'))
        if not self.hold:
            w.send(DELIVER, out, ident, ANSWER)

    def wait(self, ident, limit=30):
        end = time.time() + limit
        while ident not in self.inbox and time.time() < end:
            if not self.turn():
                return None
        return self.inbox.pop(ident, None)

    def answer(self, ident):
        """(spool id, reply code, [per-recipient codes]) of an accept, or None."""
        got = self.wait(ident)
        if not got or got[0] & ERROR:
            return None
        f = fields(got[1])
        top = dict((t, v) for t, v in f if t != 6)
        return num(top[1]), num(top[3]), [num(dict(fields(v))[3]) for t, v in f if t == 6]

    def admin(self, body):
        ident = self.cli.call(ADMIN, body)
        end = time.time() + 20
        while time.time() < end:
            self.turn(0)
            for _, flags, got, data, _ in self.cli.frames(0.01) or []:
                if got == ident:
                    return flags, data
        return None
