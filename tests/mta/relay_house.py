"""relayd alone: this program plays the master, queued, dnsd and the servers that mail goes to."""
import os
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'crash'))
from house import ANSWER, ERROR, Daemon, QUEUED, fields, num, text, u64  # noqa: E402

RELAYD, DNSD = 11, 15
DELIVER, ASK = RELAYD << 8 | 1, DNSD << 8 | 1
A, MX, AAAA, TLSA = 1, 15, 28, 52
OK, NODATA, NXDOMAIN, FAILED, BOGUS = 1, 2, 3, 4, 5
DONE, TEMPFAIL, REJECT = 1, 2, 3
PROGRAM = os.environ.get('RELAYD', 'mta/relayd')


# the daemon gets its set-up on descriptor 3, which must be open here (and stay) to be handed on
KEEP = [open(os.devnull) for _ in range(2)]


def wire_name(name):
    return b''.join(bytes([len(x)]) + x.encode() for x in name.split('.') if x) + b'\0'


def mx(pref, host):
    return pref.to_bytes(2, 'big') + wire_name(host)


class Zone:
    """What dnsd says: {(name, type): [rdata]}; a status in place of the list; secure names."""

    def __init__(self):
        self.data, self.secure, self.canonical = {}, set(), {}
        self.asked = []

    def add(self, name, kind, *rdata, secure=False):
        self.data[name, kind] = list(rdata)
        if secure:
            self.secure.add((name, kind))

    def host(self, name, *addresses, secure=False):
        v4 = [socket.inet_aton(a) for a in addresses if ':' not in a]
        v6 = [socket.inet_pton(socket.AF_INET6, a) for a in addresses if ':' in a]
        for kind, v in ((A, v4), (AAAA, v6)):
            if v:
                self.add(name, kind, *v)
            if secure:
                self.secure.add((name, kind))

    def answer(self, name, kind):
        self.asked.append((name, kind))
        got = self.data.get((name, kind), [])
        known = any(n == name for n, _ in self.data)
        status = got if isinstance(got, int) else OK if got else NODATA if known else NXDOMAIN
        rdata = [] if isinstance(got, int) else got
        body = u64(1, status) + u64(2, (name, kind) in self.secure) + u64(3, 300)
        body += text(4, self.canonical.get(name, name)) + b''.join(text(5, r) for r in rdata)
        return text(2, body)


class Relayd(Daemon):
    def __init__(self, dir_, settings='', log=None):
        self.zone, self.inbox = Zone(), {}
        self.trace = []
        config = 'config 1\nhostname relay.example.test\nbase-dir "%s"\nuser-prefix ""\n%s\n' % (dir_, settings)
        super().__init__(PROGRAM, RELAYD, config, [(QUEUED, 2)], [(DNSD, 0)],
                         ((QUEUED, 1), (RELAYD, 1), (DNSD, 1)), None, log)
        self.queued, self.dnsd = self.caller[QUEUED, 2], self.callee[DNSD, 0]

    def turn(self, wait=0.01):
        import select
        select.select([self.queued.sock, self.dnsd.sock], [], [], wait)
        for _, _, ident, body, _ in self.dnsd.frames() or []:
            out = b''
            for tag, v in fields(body):
                if tag == 1:
                    q = dict(fields(v))
                    out += self.zone.answer(q[1].decode(), num(q[2]))
            self.dnsd.send(ASK, out, ident, ANSWER)
        frames = self.queued.frames()
        if frames is None:
            return False
        for _, flags, ident, body, _ in frames:
            self.inbox[ident] = (flags, body)
        return True

    def ask(self, content=b'Subject: x\r\n\r\nhello\r\n', sender='a@example.test', rcpts=('u@dest.test',),
            next_hop='', domain='dest.test', spool_id=0x51, cred=None, fd=None, **more):
        """Sends a delivery; its id. rcpts: addresses, or (address, orcpt, notify)."""
        tags = {'by': (10, u64), 'envid': (5, text), 'ret': (6, u64), 'body': (7, u64), 'flags': (8, u64), 'priority': (9, lambda tag, v: u64(tag, v + 16))}
        body = u64(1, spool_id) + u64(2, 1) + text(3, sender) + text(4, 'T1') + text(11, next_hop) + text(12, domain)
        for k, v in more.items():
            tag, put = tags[k]
            body += put(tag, v)
        if cred:
            body += text(13, cred[0]) + text(14, cred[1]) + text(15, cred[2])
        body += u64(16, len(content))
        for r in rcpts:
            r = (r, '', 0) if isinstance(r, str) else r
            body += text(17, text(1, r[0]) + (text(2, r[1]) if r[1] else b'') + (u64(3, r[2]) if r[2] else b''))
        ident, self.queued.next_id = self.queued.next_id, self.queued.next_id + 1
        if len(content) > 65536:
            fd = os.memfd_create('message')
            os.write(fd, content)
        else:
            body += text(100, content) if content else b''
        self.queued.send(DELIVER, body, ident, 0, fd)
        if fd is not None:
            os.close(fd)
        return ident

    def wait(self, ident, limit=60):
        if not self.until(lambda: ident in self.inbox, limit):
            raise RuntimeError('no answer')
        flags, body = self.inbox.pop(ident)
        if flags & ERROR:
            raise RuntimeError('an error: %r' % body)
        return Answer(body)

    def send(self, **args):
        return self.wait(self.ask(**args))


class Answer:
    def __init__(self, body):
        f = fields(body)
        top = dict(f)
        self.site = top.get(1, b'').decode()
        self.unreachable, self.throttled, self.reused = 3 in top, 4 in top, 6 in top
        self.rcpts = [Result(v) for t, v in f if t == 7]

    def codes(self):
        return [(r.outcome, r.smtp) for r in self.rcpts]


class Result:
    def __init__(self, body):
        f = dict(fields(body))
        self.outcome, self.smtp = num(f[1]), num(f.get(2, b''))
        self.enhanced, self.text = f.get(3, b'').decode(), f.get(4, b'').decode()
        self.mta, self.dsn, self.remote = f.get(5, b'').decode(), 6 in f, 7 in f

    def __repr__(self):
        return '%d %d %s %s' % (self.outcome, self.smtp, self.enhanced, self.text)


HELLO = ['PIPELINING', 'SIZE 10000000', '8BITMIME', 'ENHANCEDSTATUSCODES', 'DSN', 'SMTPUTF8']


class Server:
    """A scripted server on a loopback address. script: {verb: reply, function of (server, line), or
    HANG, CLOSE, GARBAGE, ENDLESS}. Every message that it took is in .mail: (mail, rcpts, content)."""
    HANG, CLOSE, GARBAGE, ENDLESS, BIG = 'hang', 'close', 'garbage', 'endless', 'big'

    def __init__(self, address='127.0.0.1', port=0, hello=None, script=None, tls=None, lmtp=False, implicit=False,
                 users=None):
        self.sock = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((address, port))
        self.sock.listen(64)
        self.address, self.port = address, self.sock.getsockname()[1]
        self.hello = HELLO if hello is None else hello
        self.script, self.tls, self.lmtp, self.implicit = dict(script or {}), tls, lmtp, implicit
        self.users = users or {}
        self.mail, self.lines, self.connections, self.resumed = [], [], 0, []
        self.open = []
        threading.Thread(target=self.run, daemon=True).start()

    def close(self):
        # closing alone would leave an accept that runs
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        for c in self.open:
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def run(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.open.append(c)
            threading.Thread(target=self.safely, args=(c,), daemon=True).start()

    def safely(self, c):
        try:
            Session(self, c).run()
        except (OSError, ValueError):
            pass
        finally:
            c.close()


class Session:
    def __init__(self, server, conn):
        self.s, self.conn, self.secure = server, conn, False
        self.mail, self.rcpts, self.accepted, self.chunks = None, [], [], b''
        self.f = conn.makefile('rb')

    def say(self, what):
        if isinstance(what, str):
            what = what.encode()
        self.conn.sendall(what + b'\r\n')

    def scripted(self, verb, line):
        """True when the script has dealt with it; None: the connection ends."""
        act = self.s.script.get(verb)
        if isinstance(act, list):
            act = act.pop(0) if act else None
        if callable(act):
            act = act(self, line)
        if act is None:
            return False
        if act == Server.HANG:
            time.sleep(60)
            raise OSError('hung')
        if act == Server.CLOSE:
            raise OSError('closed')
        if act == Server.GARBAGE:
            act = 'what is this'
        if act == Server.BIG:
            act = '\r\n'.join('250-' + 'x' * 500 for _ in range(50)) + '\r\n250 x'
        if act == Server.ENDLESS:
            for _ in range(5000):
                self.say('250-and so on')
            raise OSError('said it all')
        self.say(act)
        if act.startswith('421'):
            raise OSError('closed')
        return act

    def start_tls(self):
        self.conn = self.s.tls.wrap_socket(self.conn, server_side=True)
        self.s.open.append(self.conn)
        self.s.resumed.append(self.conn.session_reused)
        self.f = self.conn.makefile('rb')
        self.secure = True

    def run(self):
        if self.s.implicit:
            self.start_tls()
        if not self.scripted('greeting', ''):
            self.say('220 %s ESMTP' % self.s.address)
        while True:
            line = self.f.readline(100000)
            if not line:
                return
            line = line.rstrip(b'\r\n').decode('utf-8', 'surrogateescape')
            self.s.lines.append(line)
            verb = line.split(' ')[0].upper()
            done = self.scripted(verb, line)
            if verb == 'QUIT':
                if not done:
                    self.say('221 bye')
                return
            self.step(verb, line, done)

    def step(self, verb, line, done):
        name = 'verb_' + verb.lower()
        if hasattr(self, name):
            getattr(self, name)(line, done)
        elif not done:
            self.say('500 5.5.2 what?')

    def verb_ehlo(self, line, done):
        if done:
            return
        words = list(self.s.hello)
        if self.s.tls and not self.secure:
            words.append('STARTTLS')
        all_ = ['greetings'] + words
        self.say('\r\n'.join('250%s%s' % ('-' if i + 1 < len(all_) else ' ', w) for i, w in enumerate(all_)))

    verb_lhlo = verb_ehlo

    def verb_helo(self, line, done):
        if not done:
            self.say('250 hello')

    def verb_starttls(self, line, done):
        if not done:
            self.say('220 go')
            self.start_tls()

    def verb_mail(self, line, done):
        self.mail, self.rcpts, self.accepted = line, [], []
        if not done:
            self.say('250 2.1.0 ok')
        elif not done.startswith('2'):
            self.mail = None

    def verb_rset(self, line, done):
        self.mail = None
        if not done:
            self.say('250 ok')

    def verb_rcpt(self, line, done):
        if not done and not self.mail:
            self.say('503 5.5.1 MAIL first')
            return
        if not done:
            self.say('250 2.1.5 ok')
        if not done or done.startswith('2'):
            self.accepted.append(line)

    def verb_data(self, line, done):
        if not done:
            if not self.accepted:
                self.say('503 5.5.1 RCPT first')
                return
            self.say('354 go')
        elif not done.startswith('354'):
            return
        rows = []
        while True:
            row = self.f.readline()
            if not row:
                return
            if row == b'.\r\n':
                break
            rows.append(row[1:] if row.startswith(b'.') else row)
        self.end(b''.join(rows))

    def verb_bdat(self, line, done):
        n = int(line.split()[1])
        self.chunks += self.f.read(n)
        if done:
            return
        if not self.accepted:
            self.say('503 5.5.1 RCPT first')
        elif line.upper().endswith('LAST'):
            self.end(self.chunks)
            self.chunks = b''
        else:
            self.say('250 ok')

    def end(self, content):
        self.s.mail.append((self.mail, self.accepted, content))
        if self.s.lmtp:
            for r in self.accepted:
                if not self.scripted('end', r):
                    self.say('250 2.0.0 kept ' + r)
        elif not self.scripted('end', ''):
            self.say('250 2.0.0 queued as 1234')
        self.mail, self.accepted = None, []

    def verb_auth(self, line, done):
        if not done:
            import relay_auth
            relay_auth.serve(self, line)


def certificate(dir_, name, cn, ca=None, sans=None):
    """A key and a certificate, self-signed or by ca (a name made before); their paths."""
    key, cert = os.path.join(dir_, name + '.key'), os.path.join(dir_, name + '.pem')
    ext = 'subjectAltName=' + ','.join('DNS:' + s for s in (sans or [cn]))
    run = ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
           '-keyout', key, '-out', cert, '-subj', '/CN=' + cn]
    if ca is None:
        run += ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', ext]
    else:
        run += ['-CA', os.path.join(dir_, ca + '.pem'), '-CAkey', os.path.join(dir_, ca + '.key'), '-addext', ext,
                '-addext', 'basicConstraints=critical,CA:FALSE']
    subprocess.run(run, check=True, capture_output=True)
    return cert, key


def server_tls(cert, key):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(cert, key)
    return c


__all__ = [n for n in dir() if not n.startswith('_')] + ['queue']
