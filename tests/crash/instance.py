"""A whole sandbox instance under load, killed, started again, judged by a journal outside.

Clients send by SMTP, every message a token of its own to some accounts and to users
elsewhere, never a second time; readers see the accounts by IMAP, flag messages and move some
to Archive; a server elsewhere, to which all other mail goes, takes what comes or puts it off.
The journal holds what was acknowledged (token, accounts, spool id), every UID that was shown
and what the server elsewhere took.
"""
import contextlib
import glob
import imaplib
import json
import os
import random
import re
import signal
import smtplib
import socket
import socketserver
import subprocess
import threading
import time

import replay

OFFSETS = (24, 25, 143, 465, 587, 993)
BOXES = ('INBOX', 'Archive')
ANSWER = 60   # seconds that an answer may take on a loaded machine


def wait_for(what, condition, seconds, every=0.03):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(every)


def free_ports():
    for _ in range(500):
        base, taken = random.randrange(31100, 60000), []
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for o in OFFSETS:
                s = stack.enter_context(socket.socket())
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(('127.0.0.1', base + o))
                taken.append(s)
            return base
    raise RuntimeError('no free ports')


class Journal:
    """What the clients were told. With a recording, marks go there too."""

    def __init__(self, log=None):
        self.log, self.lock = log, threading.Lock()
        self.sent = {}      # token -> accounts
        self.acked = {}     # token -> spool id
        self.shown = {}     # (account, mailbox, uidvalidity) -> {uid: token}
        self.taken = {}     # (token, user elsewhere) -> how often
        self.complaints, self.refused = [], 0

    def take(self, mark):
        """The mark of a recording."""
        kind, *rest = json.loads(mark)
        getattr(self, kind)(*rest)

    def put(self, kind, *rest):
        with self.lock:
            getattr(self, kind)(*rest)
            if self.log:
                replay.mark(self.log, json.dumps((kind, *rest)))

    def sends(self, token, accounts):
        self.sent[token] = accounts

    def acks(self, token, spool):
        self.acked[token] = spool

    def takes(self, token, user):
        self.taken[token, user] = self.taken.get((token, user), 0) + 1

    def shows(self, account, box, uidvalidity, rows):
        """rows: [[uid, token]]"""
        known = self.shown.setdefault((account, box, uidvalidity), {})
        for uid, token in rows:
            if known.setdefault(uid, token) != token:
                self.complaints.append('UID %d of %s/%s was %d, is %d' % (uid, account, box, known[uid], token))


class Elsewhere(socketserver.ThreadingTCPServer):
    """The mail server elsewhere. Each command may be put off, and the connection may end, also
    behind a message that was taken but not yet answered."""
    daemon_threads = allow_reuse_address = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Incoming)
        self.port = self.server_address[1]
        self.journal, self.rng = None, random.Random(1)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def luck(self, chance):
        return self.rng.random() < chance

    def handle_error(self, request, address):
        """A client that was killed is none."""

    def close(self):
        self.shutdown()
        self.server_close()


class Incoming(socketserver.StreamRequestHandler):
    timeout = ANSWER

    def say(self, line):
        if line:
            self.wfile.write(line.encode() + b'\r\n')

    def handle(self):
        self.rcpts, self.lost = [], False
        self.say('220 elsewhere.test ESMTP')
        while not self.lost:
            line = self.rfile.readline().decode(errors='replace').strip()
            verb = line.upper().split(' ')[0].split(':')[0]
            if not line:
                return
            if verb == 'QUIT':
                return self.say('221 2.0.0 bye')
            self.say(getattr(self, 'on_' + verb.lower(), self.on_other)(line))

    def on_other(self, line):
        return '500 5.5.1 what?'

    def on_ehlo(self, line):
        return '250-elsewhere.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 50000000'

    def on_mail(self, line):
        self.rcpts = []
        return '250 2.1.0 ok'

    def on_rset(self, line):
        return self.on_mail(line)

    def on_rcpt(self, line):
        if self.server.luck(0.1):
            return '451 4.2.1 later'
        self.rcpts.append(re.search(r'<([^>@]*)@', line).group(1))
        return '250 2.1.5 ok'

    def on_data(self, line):
        if not self.rcpts:
            return '503 5.5.1 nobody'
        self.say('354 go on')
        text, line = [], self.rfile.readline()
        while line not in (b'.\r\n', b''):
            text.append(line)
            line = self.rfile.readline()
        if not line:
            self.lost = True
            return '421 4.3.0 where are you'
        return self.take(b''.join(text))

    def take(self, text):
        if self.server.luck(0.05):
            return '452 4.3.1 no room'
        found = re.search(rb'<(\d+)@crash\.test>', text)
        for rcpt in self.rcpts if found and self.server.journal else []:
            self.server.journal.put('takes', int(found.group(1)), rcpt)
        if self.server.luck(0.02):
            self.lost = True
            return ''
        return '250 2.0.0 taken'


class Instance:
    def __init__(self, build, folder, users=3, env=None):
        self.build, self.dir, self.env = build, os.path.join(folder, 'i'), env
        self.base = free_ports()
        self.users = ['u%d@example.test' % i for i in range(users)]
        self.others = ['r%d@elsewhere.test' % i for i in range(users)]
        self.elsewhere = Elsewhere()
        self.run('sandbox', self.dir, '--base-port', str(self.base), '--domain', 'example.test', instance=False)
        with open(self.dir + '/posthorn.conf') as f:
            conf = f.read()
        m = re.search(r'(?m)^spool \{(.*)\}$', conf)
        keys = 'segment-size 1M min-free 4M checkpoint-interval 1s retry-min 1s retry-max 2s site-retry-max 2s '
        conf = conf.replace(m.group(0), 'spool { %s%s}' % (keys, '')) if m else conf + 'spool { %s}\n' % keys
        conf = re.sub(r'(?m)^relay-from .*$', 'relay-from 127.0.0.0/8', conf)
        conf += 'route { relay-host "[127.0.0.1]:%d" }\n' % self.elsewhere.port
        with open(self.dir + '/posthorn.conf', 'w') as f:
            f.write(conf)
        for u in self.users:
            self.run('user', 'add', u, input='secret\n')

    def run(self, *args, input=None, instance=True, env=None):
        command = [self.build + '/mta/posthorn', *(('-C', self.dir) if instance else ()), *args]
        done = subprocess.run(command, input=input, text=True, errors='replace', timeout=120,
                              env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise RuntimeError('%s: %d %s %s' % (' '.join(args), done.returncode, done.stdout, self.log()[-2000:]))
        return done.stdout

    def start(self, env=None):
        self.run('start', env=env)

    def log(self):
        with contextlib.suppress(OSError), open(self.dir + '/log/posthorn.log', errors='replace') as f:
            return f.read()
        return ''

    # ---- processes ----

    def pids(self):
        """The master's and its children's."""
        try:
            with open(self.dir + '/run/posthorn.pid') as f:
                master = int(f.read())
        except (OSError, ValueError):
            return []
        out = []
        for path in glob.glob('/proc/[0-9]*/stat'):
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(path) as f:
                    head, _, rest = f.read().rpartition(')')
                pid, name = int(head.split()[0]), head.split('(', 1)[1]
                state, parent = rest.split()[:2]
                if state != 'Z' and (pid == master and name == 'posthorn' or int(parent) == master):
                    out.append((pid, name))
        return sorted(out, key=lambda p: p[0] != master)

    def kill(self):
        """All at once: stopped first, so that none sees another's end."""
        pids = [p for p, _ in self.pids()]
        for how in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
        wait_for('the end of the killed', lambda: not any(alive(p) for p in pids), ANSWER)

    def kill_one(self, rng):
        """One process but the master; its name."""
        pid, name = rng.choice(self.pids()[1:] or [(0, '')])
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return name

    # ---- clients ----

    def smtp(self):
        return smtplib.SMTP('127.0.0.1', self.base + 25, timeout=ANSWER)

    def imap(self, user):
        m = imaplib.IMAP4('127.0.0.1', self.base + 143, timeout=ANSWER)
        m.login(user, 'secret')
        return m

    def messages(self):
        return json.loads(self.run('--json', 'queue', 'summary'))['messages']


def alive(pid):
    with contextlib.suppress(OSError), open('/proc/%d/stat' % pid) as f:
        return f.read().rpartition(')')[2].split()[0] != 'Z'
    return False


def text(token):
    return ('From: a@elsewhere.test\r\nSubject: %d\r\nMessage-ID: <%d@crash.test>\r\n\r\n' % (token, token) +
            'a line of %d\r\n' % token * (token % 50 if token % 31 else 3000))


class Client(threading.Thread):
    """Does turns until it is told to end; an instance that is gone costs it a pause."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load, self.rng = load, random.Random(load.rng.random())
        self.start()

    def run(self):
        while not self.load.ended.is_set():
            try:
                self.turns()
            except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
                self.load.ended.wait(0.05)
            except Exception as e:   # noqa: BLE001 the campaign must know
                self.load.journal.complaints.append('client: %r' % e)
                return


class Sender(Client):
    def turns(self):
        with self.load.instance.smtp() as s:
            s.ehlo('client.test')
            while not self.load.ended.is_set():
                self.send(s)

    def send(self, s):
        j, token = self.load.journal, self.load.token()
        users = self.rng.sample(self.load.instance.users, self.rng.choice((1, 1, 2, 3)))
        if self.rng.random() < 0.3:
            users += self.rng.sample(self.load.instance.others, self.rng.choice((1, 2)))
        codes = [s.mail('a@elsewhere.test')[0], *(s.rcpt(u)[0] for u in users)]
        if any(c != 250 for c in codes):
            j.refused += 1
            s.rset()
            time.sleep(0.02)
            return
        j.put('sends', token, users)
        code, answer = s.data(text(token).encode())
        if code == 250:
            found = re.search(rb'\b([0-9a-f]{8,16})\b', answer)
            j.put('acks', token, found.group(1).decode() if found else '')


class Reader(Client):
    def turns(self):
        user = self.rng.choice(self.load.instance.users)
        m = self.load.instance.imap(user)
        try:
            for _ in range(self.rng.randint(1, 6)):
                rows = look(m, user, self.rng.choice(BOXES), self.load.journal)
                if rows and self.rng.random() < 0.5:
                    self.change(m, rows)
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                m.shutdown()

    def change(self, m, rows):
        uids = ','.join(str(u) for u, _ in self.rng.sample(rows, min(len(rows), 3)))
        if self.rng.random() < 0.5:
            m.uid('STORE', uids, '+FLAGS', r'(\Seen)')
        else:
            m.uid('MOVE', uids, self.rng.choice(BOXES))


def look(m, user, box, journal):
    """[(uid, token)] of a mailbox; what it shows goes to the journal."""
    status, data = m.select(box)
    if status != 'OK':
        raise imaplib.IMAP4.error('SELECT: %r' % data)
    validity = int(m.response('UIDVALIDITY')[1][0])
    status, data = m.uid('FETCH', '1:*', '(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])')
    if status != 'OK':
        raise imaplib.IMAP4.error('FETCH: %r' % data)
    rows = []
    for row in data:
        if isinstance(row, tuple):
            uid = int(re.search(rb'UID (\d+)', row[0]).group(1))
            found = re.search(rb'<(\d+)@crash\.test>', row[1])
            rows.append((uid, int(found.group(1)) if found else -1))
    journal.put('shows', user, box, validity, rows)
    return rows


class Load:
    """Senders and readers, until end()."""

    def __init__(self, instance, journal, rng, senders=4, readers=2, first=0):
        self.instance, self.journal, self.rng = instance, journal, rng
        self.ended, self.lock, self.last = threading.Event(), threading.Lock(), first
        instance.elsewhere.journal = journal
        self.clients = [Sender(self) for _ in range(senders)] + [Reader(self) for _ in range(readers)]

    def token(self):
        with self.lock:
            self.last += 1
            return self.last

    def end(self):
        self.ended.set()
        for c in self.clients:
            c.join(2 * ANSWER)
        if any(c.is_alive() for c in self.clients):
            self.journal.complaints.append('a client got no answer')


def judge(instance, journal):
    """Complaints about a running instance that nobody uses. Waits for its queue to drain."""
    try:
        wait_for('an empty queue', lambda: instance.messages() == 0, 3 * ANSWER, 0.1)
    except TimeoutError:
        return ['the queue does not drain: %s messages' % instance.messages()]
    bad, places = elsewhere_lacks(instance, journal), {}
    for user in instance.users:
        m = instance.imap(user)
        for box in BOXES:
            for uid, token in look(m, user, box, journal):
                places.setdefault((user, token), []).append('%s:%d' % (box, uid))
        m.logout()
    for token, users in journal.sent.items():
        for user in (u for u in users if u in instance.users):
            found = places.pop((user, token), [])
            if len(found) > 1:
                bad.append('%d is twice in %s: %s' % (token, user, found))
            elif not found and token in journal.acked:
                bad.append('%d lost for %s (spool id %s)' % (token, user, journal.acked[token]))
    bad += ['%s has %s, which nobody sent: %s' % (u, t, f) for (u, t), f in places.items()]
    bad += twice_by_id(instance)
    bad += [line for line in instance.log().splitlines() if ' ev=panic' in line or 'confine.denied' in line][:3]
    return bad + journal.complaints


def elsewhere_lacks(instance, journal):
    """Acknowledged messages that the server elsewhere never took. It may have some twice: whoever
    is killed before he hears the answer asks again (RFC 1047)."""
    return ['%d lost for %s (spool id %s)' % (token, user, journal.acked[token])
            for token, users in journal.sent.items() if token in journal.acked
            for user in users if user in instance.others and (token, user.split('@')[0]) not in journal.taken]


def twice_by_id(instance):
    """Spool ids that an account's tree holds twice (the names of files say them)."""
    seen, bad = {}, []
    for path in glob.glob(instance.dir + '/store/0/*/*/**/*', recursive=True):
        found = re.search(r'/store/0/[^/]+/([^/]+)/.*D([0-9a-f]{16})\.ph', path)
        if found and os.path.basename(os.path.dirname(path)) in ('new', 'cur'):
            seen.setdefault(found.groups(), []).append(path)
    for (account, spool), paths in seen.items():
        inodes = {os.stat(p).st_ino for p in paths if os.path.exists(p)}
        if len(paths) > 1 and len(inodes) > 1:
            bad.append('spool id %s twice in account %s: %s' % (spool, account, paths))
    return bad
