"""maild alone, with this program in the places of the master, queued, smtpd, imapd, authd
and, unless the real one is asked for, mimed."""
import hashlib
import hmac
import mmap
import os
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'crash'))
from house import (ANSWER, CALLEE, CALLER, CONFIG, DELIVER, ERROR, GO, READY, SELF, STOP,  # noqa: E402
                   Wire, fields, num, text, u64)

MASTER, SMTPD, QUEUED, AUTHD, MAILD, MIMED, IMAPD, CLI = 0, 1, 3, 4, 5, 6, 7, 18
CONTROL, METRICS = 133, 139
ROOM, LOW_WATER, ADMIN = 0x502, 0x503, 0x580
(ATTACH, DETACH, LIST, CREATE, DELETE, RENAME, SUBSCRIBE, SELECT, SYNC, FACTS, CONTENT, FLAGS, COPY,
 EXPUNGE, APPEND, STATUS, QUOTA, RENEW) = range(0x510, 0x522)
EV_CHANGED = 0x5c0
AUTH_ACCOUNT, AUTH_CHANGED = 0x404, 0x420
MIME_TAKE_IN = 0x601
(Q_HANDLE, Q_MAILBOX, Q_DEST, Q_UID, Q_OP, Q_SYSFLAGS, Q_WANT, Q_ON, Q_ALL, Q_SINCE, Q_NAME, Q_ROLE,
 Q_TICKET, Q_FACTS, Q_KEYWORD, Q_SET, Q_SET_FD, Q_DATE, Q_ZONE, Q_SIZE) = range(1, 21)
SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = 1, 2, 4, 8, 16
SET, ADD, REMOVE = 0, 1, 2
KEY = b'k' * 32
DONE, TEMPFAIL, REJECT, NOT_HERE = 1, 2, 3, 4
ESTALE, EDQUOT, ENOENT, EACCES, EXDEV, EIO = 116, 122, 2, 13, 18, 5


def ranges(*pairs):
    return b''.join(struct.pack('<II', lo, hi) for lo, hi in pairs)


def ticket(account, channel, generation=1, life=900, volume=0, slot=0, rights=1, key=KEY):
    user = b'user@example.test'
    body = struct.pack('<BQQQQIIIH', 1, account, generation, channel,
                       int((time.time() + life) * 1000), volume, slot, rights, len(user)) + user
    return body + hmac.new(key, body, hashlib.sha256).digest()


class Refused(Exception):
    """An error answer: code (positive errno), reply, text."""

    def __init__(self, body):
        f = dict(fields(body))
        self.code = num(f.get(1, b''))
        self.smtp = num(f.get(2, b''))
        self.text = f.get(4, f.get(3, b''))
        super().__init__('%d %d %s' % (self.code, self.smtp, self.text))


class Child:
    """A program of the house; this program is its master."""

    def __init__(self, program, role, counts, config, callees=(), callers=(), env=None, log=None,
                 instance=0):
        ours, theirs = socket.socketpair()
        self.master = Wire(ours)
        fd = theirs.fileno()
        self.proc = subprocess.Popen([program], pass_fds=[3], env=env, stderr=log or subprocess.DEVNULL,
                                     preexec_fn=lambda: os.dup2(fd, 3, inheritable=True))
        theirs.close()
        body = b''.join(text(4, u64(1, r) + u64(3, n)) for r, n in counts)
        self.master.send(SELF, u64(2, instance) + u64(5, 1) + text(6, KEY) + body)
        self.master.send(CONFIG, text(8, config))
        for r, n, sock in callees:
            self.callee(r, n, sock)
        for r, n, number, sock in callers:
            self.caller(r, n, number, sock)
        self.master.send(GO)
        self.ready()

    def callee(self, role, n, sock):
        self.master.send(CALLEE, u64(1, role) + u64(2, n), fd=sock.fileno())
        sock.close()

    def caller(self, role, n, number, sock):
        self.master.send(CALLER, u64(1, role) + u64(2, n) + u64(5, number), fd=sock.fileno())
        sock.close()

    def ready(self, limit=60):
        end = time.time() + limit
        while time.time() < end:
            frames = self.master.frames(0.05)
            if frames is None:
                raise RuntimeError('the program has ended: %s' % self.proc.wait())
            if any(f[0] == READY for f in frames):
                return
        raise RuntimeError('the program is not ready')

    def kill(self):
        self.proc.kill()
        self.proc.wait()


class Account:
    """What authd knows of one."""

    def __init__(self, quota=0, generation=1, enabled=True, volume=0):
        self.quota, self.generation, self.enabled, self.volume = quota, generation, enabled, volume


class Maild:
    def __init__(self, program, store, settings='', env=None, log=None, mimed=None, fronts=1,
                 instance=0, instances=1):
        """mimed: None: each look fails (opaque messages); 'gone': there is none; 'silent'; or the
        path of the program."""
        self.mime, self.looks = mimed, 0
        self.accounts = {}
        self.inbox, self.events = {}, []
        pair = socket.socketpair
        (a, b), (c, d), (e, f), (i, j) = pair(), pair(), pair(), pair()
        self.queued, self.smtpd, self.authd, self.cli = Wire(a), Wire(c), Wire(e), Wire(i)
        pairs = [pair() for _ in range(fronts)]
        self.fronts = [Wire(p[0]) for p in pairs]
        self.channels = [100 + i for i in range(fronts)]
        self.mimed, self.mimed_child = None, None
        callees = [(AUTHD, 0, f)]
        config = 'config 1\nbase-dir "%s"\nstore-dir "%s"\n%s\n' % (os.path.dirname(store), store, settings)
        if mimed != 'gone':
            g, h = pair()
            callees.append((MIMED, 0, h))
            if mimed in (None, 'silent'):
                self.mimed = Wire(g)
            else:
                self.mimed_child = Child(mimed, MIMED, [(MIMED, 1), (MAILD, 1)], config, env=env, log=log,
                                         callers=[(MAILD, 0, 1, g)])
        callers = [(QUEUED, 0, 2, b), (SMTPD, 0, 3, d), (CLI, 0, 4, j)]
        callers += [(IMAPD, n, self.channels[n], p[1]) for n, p in enumerate(pairs)]
        counts = [(SMTPD, 1), (QUEUED, 1), (AUTHD, 1), (MAILD, instances), (MIMED, 1), (IMAPD, fronts)]
        self.child = Child(program, MAILD, counts, config, callees, callers, env, log, instance)
        self.proc = self.child.proc
        self.next_handle = 0

    # ---- the other programs ----

    def turn(self, wait=0.01):
        """Takes what came. False: maild has gone."""
        import select
        wires = [w for w in (self.queued, self.smtpd, self.authd, self.cli, self.mimed, *self.fronts) if w]
        ready = select.select([w.sock for w in wires], [], [], wait)[0]
        for w in wires:
            if w.sock not in ready:
                continue
            frames = w.frames()
            if frames is None:
                if w is self.mimed:
                    self.mimed = None
                    continue
                return False
            for f in frames:
                self.frame(w, *f)
        return True

    def frame(self, w, kind, flags, ident, body, fd):
        if w is self.authd:
            account = self.accounts.get(num(dict(fields(body))[2]) if kind == AUTH_ACCOUNT else 0)
            self.answer_account(ident, body, account)
        elif w is self.mimed:
            self.looks += 1
            if fd is not None:
                os.close(fd)
            if self.mime is None:
                w.send(kind, u64(1, 71), ident, ANSWER | ERROR)
        elif kind == EV_CHANGED and not ident:
            f = dict(fields(body))
            self.events.append((num(f.get(1, b'')), num(f.get(2, b'')), num(f.get(3, b''))))
        else:
            self.inbox[w, ident] = (flags, body, fd)

    def answer_account(self, ident, body, account):
        if not account:
            self.authd.send(AUTH_ACCOUNT, u64(1, ENOENT), ident, ANSWER | ERROR)
            return
        self.authd.send(AUTH_ACCOUNT, u64(1, num(dict(fields(body))[2])) + u64(2, account.generation) +
                        u64(3, account.volume) + u64(5, account.quota) + u64(6, account.enabled) +
                        text(7, 'user@example.test'), ident, ANSWER)

    def changed(self, account, generation=1, enabled=1, deleted=0, purge=0, volume=0):
        self.authd.send(AUTH_CHANGED, u64(1, account) + u64(2, generation) + u64(3, volume) + u64(4, 0) +
                        u64(6, enabled) + u64(8, deleted) + u64(9, purge) + text(7, 'user@example.test'))

    # ---- calls ----

    def wait(self, w, ident, limit=30):
        end = time.time() + limit
        while (w, ident) not in self.inbox:
            if time.time() > end:
                raise TimeoutError('no answer')
            if not self.turn():
                raise ConnectionError('maild has gone')
        flags, body, fd = self.inbox.pop((w, ident))
        if flags & ERROR:
            raise Refused(body)
        return body, fd

    def call(self, kind, body, w=None, fd=None):
        w = w or self.fronts[0]
        ident, w.next_id = w.next_id, w.next_id + 1
        w.send(kind, body, ident, fd=fd)
        return self.wait(w, ident)

    def until(self, condition, limit=20):
        end = time.time() + limit
        while time.time() < end and not condition():
            self.turn()
        return bool(condition())

    # ---- queued and smtpd ----

    def deliver_start(self, spool_id, rcpts, content, sender='a@example.org', volume=0, big=False):
        """rcpts: [(account, quota, maybe_done)] or accounts. The request's id."""
        body = u64(1, spool_id) + u64(2, 1732440000000000 + spool_id) + text(3, sender) + text(4, 'T1')
        body += u64(5, volume) + u64(6, len(content))
        for r in rcpts:
            account, quota, maybe = r if isinstance(r, tuple) else (r, 0, False)
            body += text(7, u64(1, account) + u64(2, quota) + text(3, 'user@example.test') +
                         (u64(5, 1) if maybe else b''))
        w = self.queued
        ident, w.next_id = w.next_id, w.next_id + 1
        if big:
            fd = os.memfd_create('content')
            os.write(fd, content)
            w.send(DELIVER, body, ident, fd=fd)
            os.close(fd)
        else:
            w.send(DELIVER, body + text(100, content), ident)
        return ident

    def results(self, ident):
        """[(outcome, reply, email)]"""
        body, _ = self.wait(self.queued, ident)
        out = []
        for _, v in fields(body):
            f = dict(fields(v))
            out.append((num(f[1]), num(f.get(2, b'')), num(f.get(5, b''))))
        return out

    def deliver(self, spool_id, rcpts, content, **kw):
        return self.results(self.deliver_start(spool_id, rcpts, content, **kw))

    def low_water(self, mark, open_ids=()):
        self.call(LOW_WATER, u64(1, mark) + text(2, b''.join(struct.pack('<Q', i) for i in open_ids)),
                  self.queued)

    def room(self, account, quota, size, volume=0):
        """The reply code: 250, 452, 552, 451."""
        try:
            self.call(ROOM, u64(1, account) + u64(2, quota) + u64(3, size) + u64(4, volume), self.smtpd)
            return 250
        except Refused as e:
            return e.smtp

    # ---- the admin ----

    def admin(self, verb, account):
        """[what was found], {counts}"""
        body, _ = self.call(ADMIN, u64(1, verb) + u64(2, account) + u64(4, 1), self.cli)
        found, counts = [], {}
        for tag, v in fields(body):
            f = dict(fields(v)) if tag == 1 else {}
            if f and num(f[1]) == 1:
                found.append((f[2].decode(), f[3].decode(), num(f[4]), f[5].decode()))
            elif f and num(f[1]) == 2:
                counts[f[2].decode()] = num(f[7])
        return found, counts

    # ---- imapd ----

    def attach(self, account, front=0, **kw):
        self.accounts.setdefault(account, Account())
        self.next_handle += 1
        sealed = kw.pop('sealed', None) or ticket(account, self.channels[front], **kw)
        self.call(ATTACH, u64(Q_HANDLE, self.next_handle) + text(Q_TICKET, sealed), self.fronts[front])
        return Handle(self, self.next_handle, self.fronts[front])

    # ---- the end ----

    def stop(self, limit=30):
        self.child.master.send(STOP)
        end = time.time() + limit
        while self.proc.poll() is None and time.time() < end:
            if not self.turn():
                time.sleep(0.01)
        self.close()
        return self.proc.poll()

    def kill(self):
        self.child.kill()
        self.close()

    def close(self):
        for w in (self.queued, self.smtpd, self.authd, self.cli, *self.fronts, self.child.master):
            w.sock.close()
        if self.mimed_child:
            self.mimed_child.kill()
            self.mimed_child.master.sock.close()
        if self.mimed:
            self.mimed.sock.close()

    def metric(self, name):
        """The sum of a metric's samples."""
        self.child.master.send(METRICS, b'', 1)
        end = time.time() + 10
        while time.time() < end:
            for kind, _, _, body, _ in self.child.master.frames(0.05) or []:
                if kind == METRICS:
                    out = body.decode()
                    return sum(float(line.split()[-1]) for line in out.splitlines()
                               if line.split('{')[0].split(' ')[0].endswith(name))
        raise TimeoutError('no metrics')


MAILBOX = ('id', 'name', 'role', 'subscribed', 'noselect', 'uidvalidity', 'uidnext', 'first_recent',
           'modseq', 'total', 'unseen', 'deleted', 'bytes')


def fact(v):
    uid, _, size, email, thread, date, _, e, st, p = struct.unpack_from('<IiQQQqqIII', v)
    at = 60
    return uid, {'size': size, 'email': email, 'thread': thread, 'date': date,
                 'envelope': v[at:at + e], 'structure': v[at + e:at + e + st], 'preview': v[at + e + st:]}


class Handle:
    """An attached account."""

    def __init__(self, maild, number, wire):
        self.maild, self.number, self.wire = maild, number, wire

    def call(self, kind, body=b'', fd=None):
        return self.maild.call(kind, u64(Q_HANDLE, self.number) + body, self.wire, fd)

    def _mailboxes(self, body):
        out = []
        for _, v in fields(body):
            f = dict(fields(v))
            m = {n: num(f.get(i + 1, b'')) for i, n in enumerate(MAILBOX)}
            m['name'], m['role'] = f.get(2, b'').decode(), f.get(3, b'').decode()
            out.append(m)
        return out

    def list(self):
        return {m['name']: m for m in self._mailboxes(self.call(LIST)[0])}

    def box(self, name='INBOX'):
        return self.list()[name]

    def id(self, name='INBOX'):
        return self.box(name)['id']

    def create(self, name):
        return num(dict(fields(self.call(CREATE, text(Q_NAME, name))[0]))[1])

    def delete(self, name):
        self.call(DELETE, u64(Q_MAILBOX, self.id(name)))

    def rename(self, name, to):
        self.call(RENAME, u64(Q_MAILBOX, self.id(name)) + text(Q_NAME, to))

    def view(self, name='INBOX', claim=False):
        """{uid: (flags, modseq)} of a select, and the head."""
        _, fd = self.call(SELECT, u64(Q_MAILBOX, self.id(name)) + u64(Q_ON, int(claim)))
        m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
        os.close(fd)
        head = struct.unpack_from('=IIIIQIIII', m)
        n, at = head[5], 40
        mod = struct.unpack_from('=%dQ' % n, m, at)
        uid = struct.unpack_from('=%dI' % n, m, at + 8 * n)
        flags = struct.unpack_from('=%dI' % n, m, at + 12 * n)
        m.close()
        return {u: (f, s) for u, f, s in zip(uid, flags, mod)}, head

    def flags(self, uids, op, sysflags, name='INBOX', keywords=()):
        body = u64(Q_MAILBOX, self.id(name)) + u64(Q_OP, op) + u64(Q_SYSFLAGS, sysflags)
        body += b''.join(text(Q_KEYWORD, k) for k in keywords) + text(Q_SET, ranges(*uids))
        return self.call(FLAGS, body)

    def copy(self, uids, to, move=False, name='INBOX'):
        """[(from, to)]"""
        body, _ = self.call(COPY, u64(Q_MAILBOX, self.id(name)) + u64(Q_DEST, self.id(to)) +
                            u64(Q_ON, int(move)) + text(Q_SET, ranges(*uids)))
        f = dict(fields(body))
        old, new = f.get(10, b''), f.get(11, b'')
        return [struct.unpack_from('<I', old, i) + struct.unpack_from('<I', new, i)
                for i in range(0, len(old), 4)]

    def expunge(self, name='INBOX'):
        self.call(EXPUNGE, u64(Q_MAILBOX, self.id(name)) + u64(Q_ALL, 1))

    def append(self, content, name='INBOX', sysflags=0, keywords=(), facts=b''):
        """The UID."""
        fd = os.memfd_create('append')
        os.write(fd, content)
        try:
            body, _ = self.call(APPEND, u64(Q_MAILBOX, self.id(name)) + u64(Q_SYSFLAGS, sysflags) +
                                b''.join(text(Q_KEYWORD, k) for k in keywords) + u64(Q_DATE, 1732440000) +
                                (text(Q_FACTS, facts) if facts else b'') + u64(Q_SIZE, len(content)), fd)
        finally:
            os.close(fd)
        return num(dict(fields(body))[3])

    def content(self, uid, name='INBOX'):
        _, fd = self.call(CONTENT, u64(Q_MAILBOX, self.id(name)) + u64(Q_UID, uid))
        try:
            return os.pread(fd, 1 << 26, 0)
        finally:
            os.close(fd)

    def facts(self, name='INBOX', want=15):
        """{uid: {email, thread, size, envelope, structure}}"""
        out, at = {}, 1
        while at:
            body, fd = self.call(FACTS, u64(Q_MAILBOX, self.id(name)) + u64(Q_UID, at) + u64(Q_WANT, want) +
                                 text(Q_SET, ranges((1, 0xffffffff))))
            if fd is not None:
                body = os.pread(fd, 1 << 28, 0)
                os.close(fd)
            at = 0
            for tag, v in fields(body):
                if tag == 2:
                    at = num(v)
                else:
                    uid, row = fact(v)
                    out[uid] = row
        return out

    def quota(self):
        """(used, limit)"""
        f = dict(fields(self.call(QUOTA)[0]))
        return num(f.get(6, b'')), num(f.get(7, b''))

    def detach(self):
        self.call(DETACH)
