"""Whole instances for system tests.

    POSTHORN_BUILD=BUILDFOLDER /usr/bin/python3 -m pytest tests/system

Each test gets a sandbox instance of its own under a temporary folder, on ports that no
other test uses, started by `posthorn start` and stopped by `posthorn stop`:

    def test_something(house):
        user = house.user('user1')            # user1@example.test, password 'secret-user1'
        house.send(user, subject='hello')     # by SMTP, one message; raises unless it got 250
        house.wait_stored(user, 1)            # bounded; looks at the Maildir++ tree
        with house.imap(user) as m: ...       # imaplib, logged in

`house` is a started instance. `make_house(start=False, ...)` makes further ones, or one whose
configuration is changed before it starts (`set`, `add`). A process that a test kills on purpose is
killed by `house.kill(role)`, which tells the judge that its death was expected; a test that provokes
a log line the judge would refuse says so by `house.allow(regex)`.

The judge: when the test is over, the instance must stop with every process ending by status 0,
and its log must hold no report of a sanitizer, no panic, no unexpected death of a process and
no system call that the sandbox refused. Otherwise the test fails, whatever it did itself.

Environment:
    POSTHORN_BUILD        the build folder (default: this one if it is one, else ./build-check/plain)
    POSTHORN_SECCOMP=log  for a sanitizer build: the programs run unlisted calls and log them
    POSTHORN_PART=I/N     only this part of the tests
    POSTHORN_RESULTS      a file for a line PASS: or FAIL: or SKIP: NAME for each test
    POSTHORN_TEST_USERS   as root only: a prefix; system users PREFIX-smtpd, PREFIX-queued, ...
                          exist, and every process runs under its own (./check makes them)
"""
import collections
import contextlib
import glob
import hashlib
import imaplib
import json
import os
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
OFFSETS = {'smtp': 25, 'lmtp': 24, 'submission': 587, 'submissions': 465, 'imap': 143, 'imaps': 993}
USERS = os.environ.get('POSTHORN_TEST_USERS', '') if os.getuid() == 0 else ''
REPORTS = [
    r'ERROR: AddressSanitizer', r'ERROR: LeakSanitizer', r'WARNING: ThreadSanitizer',
    r'runtime error:', r'\bev=panic\b', r'\bev=master\.killed\b', r'\bev=confine\.(denied|failed)\b',
    r'Assertion .* failed',
]

Stored = collections.namedtuple('Stored', 'folder path size')


def build_folder():
    for d in (os.environ.get('POSTHORN_BUILD'), os.getcwd(), os.path.join(TOP, 'build-check/plain')):
        if d and os.access(os.path.join(d, 'mta', 'posthorn'), os.X_OK):
            return os.path.abspath(d)
    raise RuntimeError('no build: set POSTHORN_BUILD to a folder in which make has run')


def built_with(what):
    """Whether the build has a sanitizer: 'address', 'thread', or '' for any."""
    with open(os.path.join(build_folder(), 'config.log'), errors='replace') as f:
        m = re.search(r'--enable-sanitize=(\S+)', f.read())
    return bool(m) and what in m.group(1)


#: Waits are bounded by this many seconds, times what a sanitizer costs.
PATIENCE = 20.0 * (4 if built_with('') else 1)


def wait_for(what, condition, seconds=PATIENCE, every=0.02):
    """The first true value of condition(); fails the test after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            pytest.fail('waited %.0f s in vain for %s (last answer: %r)' % (seconds, what, got))
        time.sleep(every)


# ---- ports: held by abstract sockets, so that tests of several runs do not meet ----

class Ports:
    def __init__(self):
        for _ in range(400):
            self.base, self.locks = random.randrange(10200, 31000), []
            if all(self.take(self.base + o) for o in OFFSETS.values()):
                return
            self.release()
        raise RuntimeError('no free range of ports')

    def take(self, port):
        lock = socket.socket(socket.AF_UNIX)
        self.locks.append(lock)
        try:
            lock.bind('\0posthorn-test-port-%d' % port)
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(('127.0.0.1', port))
            return True
        except OSError:
            return False

    def release(self):
        for lock in self.locks:
            lock.close()


class Refused(AssertionError):
    """A verb that should have worked; .status and .text say how it failed."""

    def __init__(self, args, done):
        super().__init__('posthorn %s: status %d\n%s%s' % (' '.join(args), done.returncode,
                                                           done.stdout, done.stderr))
        self.status, self.text = done.returncode, done.stdout + done.stderr


class User:
    def __init__(self, address, password, account):
        self.address, self.password, self.account = address, password, account

    def __str__(self):
        return self.address


class House:
    """One instance; see the head of this file."""

    def __init__(self, build=None, domain='example.test', proxy=False, dns=None, **settings):
        self.build, self.domain = build or build_folder(), domain
        self.root = tempfile.mkdtemp(prefix='ph')
        self.dir = self.root + '/i'
        self.ports, self.allowed, self.killed = Ports(), [], []
        self.running = False
        self.env = dict(os.environ, ASAN_OPTIONS='abort_on_error=0:detect_stack_use_after_return=0',
                        UBSAN_OPTIONS='print_stacktrace=1', TSAN_OPTIONS='halt_on_error=0:'
                        'second_deadlock_stack=1')
        os.chmod(self.root, 0o711)
        args = ['sandbox', self.dir, '--base-port', str(self.ports.base), '--domain', domain]
        args += (['--proxy'] if proxy else []) + (['--dns', dns.address, '--no-plugins'] if dns else [])
        self.run(*args, instance=False)
        os.chmod(self.dir, 0o711)
        self.set('spool', 'segment-size', '1M')
        self.set('spool', 'min-free', '4M')
        if USERS:
            self.set(None, 'user-prefix', '"%s"' % USERS)
        for name, value in settings.items():
            block, _, key = name.rpartition('__')
            self.set(block.replace('_', '-'), key.replace('_', '-'), value)

    # -- the configuration --

    @property
    def conf(self):
        return self.dir + '/posthorn.conf'

    def config(self, text=None):
        """The text of posthorn.conf; replaces it when given one."""
        if text is not None:
            with open(self.conf, 'w') as f:
                f.write(text)
        with open(self.conf) as f:
            return f.read()

    def set(self, block, key, value):
        """Sets `key value` in the one-line block, or at the top level without one."""
        text, line = self.config(), '%s %s' % (key, value)
        if not block:
            new, n = re.subn(r'(?m)^%s .*$' % re.escape(key), lambda m: line, text)
            text = new if n else text + line + '\n'
        else:
            m = re.search(r'(?m)^%s \{(.*)\}$' % re.escape(block), text)
            if not m:
                text += '%s { %s }\n' % (block, line)
            else:
                body = re.sub(r'\b%s (?:"[^"]*"|\S+) ' % re.escape(key), '', m.group(1) + ' ')
                text = text[:m.start()] + '%s { %s %s }' % (block, line, body.strip()) + text[m.end():]
        self.config(text)

    def add(self, text):
        self.config(self.config() + text + '\n')

    # -- verbs --

    def run(self, *args, input=None, instance=True, check=True, timeout=60):
        """Runs `posthorn [-C DIR] ARGS`; the finished process. Raises Refused unless check is off."""
        args = [str(a) for a in args]
        command = [self.build + '/mta/posthorn'] + (['-C', self.dir] if instance else []) + args
        done = subprocess.run(command, input=input, text=True, errors='replace', env=self.env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
        if done.returncode < 0 or 'Sanitizer' in done.stderr:
            raise Refused(args, done)
        if check and done.returncode:
            raise Refused(args, done)
        return done

    def json(self, *args, **kw):
        return json.loads(self.run('--json', *args, **kw).stdout)

    def start(self):
        try:
            self.run('start', timeout=120)
        except Refused as e:
            raise AssertionError('%s\nlog:\n%s' % (e, self.log()))
        self.running = True

    def stop(self):
        self.run('stop', timeout=120)
        self.running = False

    def reload(self, check=True):
        return self.run('reload', check=check)

    def user(self, name, password=None, **options):
        """Adds an account: user('user1', quota='1M')."""
        address = name if '@' in name else '%s@%s' % (name, self.domain)
        password = password or 'secret-' + name
        args = [a for k, v in options.items() for a in ('--' + k, str(v))]
        self.run('user', 'add', address, *args, input=password + '\n')
        return User(address, password, self.json('user', 'show', address)['account'])

    # -- processes --

    def processes(self, role=None):
        done = self.run('--json', 'status', check=False)
        rows = json.loads(done.stdout)['processes'] if done.returncode == 0 else []
        return [r for r in rows if role in (None, r['role'])]

    def pids(self, role):
        return [r['pid'] for r in self.processes(role) if r['pid']]

    def master_pid(self):
        with open(self.dir + '/run/posthorn.pid') as f:
            return int(f.read())

    def kill(self, role, instance=0, sig=signal.SIGKILL):
        """Kills one process for good; the master starts it again. Its old pid."""
        pid = wait_for('a running ' + role, lambda: [
            r['pid'] for r in self.processes(role) if r['instance'] == instance and r['pid']])[0]
        self.killed.append(pid)
        os.kill(pid, sig)
        return pid

    def wait_ready(self):
        """Until every process runs, none of those that were killed."""
        def all_run():
            rows = self.processes()
            return rows and all(r['state'] == 'running' and r['pid'] not in self.killed for r in rows)
        wait_for('every process to run', all_run)

    def kill_all(self):
        """A power cut, as far as processes go: the master and all its children at once."""
        pids = [self.master_pid()] + [r['pid'] for r in self.processes() if r['pid']]
        self.killed += pids
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_for('the killed processes to end', lambda: not any(map(alive, pids)))
        self.running = False

    # -- the log, the metrics --

    def log(self):
        try:
            with open(self.dir + '/log/posthorn.log', errors='replace') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def events(self, name):
        """The fields of each event of that name, oldest first."""
        out = []
        for line in self.log().splitlines():
            if re.search(r'\bev=%s( |$)' % re.escape(name), line):
                out.append({k: a if a else b for k, a, b in re.findall(
                    r'([\w.]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', line)})
        return out

    def wait_event(self, name, condition=lambda f: True, seconds=PATIENCE):
        return wait_for('event ' + name, lambda: [f for f in self.events(name) if condition(f)], seconds)

    def allow(self, pattern):
        """Lines that match do not count against this instance."""
        self.allowed.append(re.compile(pattern))

    def metrics(self):
        """{'posthorn_smtp_messages_total{proc="smtpd.0"}': 3.0, ...}"""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(self.dir + '/run/metrics')
            s.sendall(b'GET /metrics HTTP/1.0\r\n\r\n')
            data = b''.join(iter(lambda: s.recv(65536), b'')).decode()
        rows = (r.rsplit(' ', 1) for r in data.splitlines() if r and r[0] != '#' and ' ' in r)
        return {k: float(v) for k, v in rows if k.startswith('posthorn_')}

    def metric(self, name):
        """The sum over processes and labels."""
        return sum(v for k, v in self.metrics().items() if k.split('{')[0] == 'posthorn_' + name)

    # -- mail in --

    def port(self, listener):
        return self.ports.base + OFFSETS[listener]

    def tls_context(self):
        return ssl.create_default_context(cafile=self.dir + '/cert.pem')

    def smtp(self, listener='smtp', user=None, **kw):
        """smtplib on that listener; logged in when a user is given (by TLS)."""
        kw.setdefault('timeout', PATIENCE)
        if listener == 'submissions':
            s = smtplib.SMTP_SSL('localhost', self.port(listener), context=self.tls_context(), **kw)
        else:
            s = (smtplib.LMTP if listener == 'lmtp' else smtplib.SMTP)('localhost', self.port(listener), **kw)
        if user:
            if listener == 'submission':
                s.starttls(context=self.tls_context())
            s.login(user.address, user.password)
        return s

    def send(self, *to, subject='test', body='Hello.\r\n', sender='sender@elsewhere.test', smtp=None):
        """One message for all of `to` by SMTP; what was sent. Raises unless all was accepted
        (SMTPRecipientsRefused also when some recipients got it)."""
        text = message(subject, body, sender, to)
        with contextlib.ExitStack() as stack:
            s = smtp or stack.enter_context(self.smtp())
            refused = s.sendmail(sender, [str(t) for t in to], text)
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)
        return text

    def raw(self, listener='smtp', address='127.0.0.1'):
        """A Line client on that port, greeting not yet read."""
        return Lines(self.port(listener), address)

    # -- mail out --

    def imap(self, user=None, tls=False):
        if tls:
            m = imaplib.IMAP4_SSL('localhost', self.port('imaps'), ssl_context=self.tls_context(),
                                  timeout=PATIENCE)
        else:
            m = imaplib.IMAP4('localhost', self.port('imap'), timeout=PATIENCE)
        if user:
            m.login(user.address, user.password)
        return m

    def maildir(self, user):
        found = glob.glob('%s/store/*/*/%s' % (self.dir, user.account))
        return found[0] if found else self.dir + '/none'

    def stored(self, user):
        """The message files of an account, in new/ or cur/ of any folder: [Stored]."""
        out, top = {}, self.maildir(user)
        folders = [('INBOX', top)] + [(n[1:], top + '/' + n) for n in listdir(top) if n[0] == '.']
        for name, path in folders:
            for sub in ('new', 'cur'):
                for f in listdir(path + '/' + sub):
                    full = '%s/%s/%s' % (path, sub, f)
                    with contextlib.suppress(FileNotFoundError):
                        # taken in between the two listings it has two names: the second counts
                        base = re.sub(r'(,U=.*|:.*)$', '', f)
                        key = (name, base if sub == 'new' else f)
                        out.pop((name, base), None)
                        out[key] = Stored(name, full, os.path.getsize(full))
        return list(out.values())

    def subjects(self, user):
        """The Subject of every stored message, sorted."""
        while True:
            with contextlib.suppress(FileNotFoundError):  # a take-in moved one: look again
                return sorted(self.subject(s.path) for s in self.stored(user))

    @staticmethod
    def subject(path):
        with open(path, 'rb') as f:
            m = re.search(rb'(?mi)^Subject: ([^\r\n]*)', f.read())
        return m.group(1).decode() if m else ''

    def spool_ids(self, user):
        """The spool id of every delivered file (its name tells), sorted."""
        names = (os.path.basename(s.path) for s in self.stored(user))
        return sorted(m.group(1) for m in (re.search(r'D([0-9a-f]{16})\.', n) for n in names) if m)

    def wait_stored(self, user, n, seconds=PATIENCE):
        """Until the account holds exactly n messages; they."""
        wait_for('%d messages of %s' % (n, user), lambda: len(self.stored(user)) >= n, seconds)
        got = self.stored(user)
        assert len(got) == n, 'more than sent: %r' % got
        return got

    def queue(self):
        return self.json('queue', 'summary')

    def wait_queue_empty_but(self, n, seconds=PATIENCE):
        """Until at most n messages are queued, which stay."""
        wait_for('a queue of at most %d' % n, lambda: self.queue()['messages'] <= n, seconds)

    def wait_queue_empty(self, seconds=PATIENCE):
        wait_for('an empty queue', lambda: self.queue()['messages'] == 0, seconds)

    # -- the end --

    def complaints(self):
        """Lines of the log that should not be there."""
        bad = []
        for line in self.log().splitlines():
            if any(a.search(line) for a in self.allowed):
                continue
            died = re.search(r'ev=master\.(?:died|ended) .*pid=(\d+) how="([^"]*)"', line)
            if died:
                if int(died.group(1)) not in self.killed and (
                        'master.died' in line or died.group(2) != 'status 0'):
                    bad.append(line)
            elif any(re.search(r, line) for r in REPORTS):
                bad.append(line)
        return bad

    def close(self):
        """Stops what runs, judges, removes. A list of complaints."""
        bad = []
        try:
            if self.running:
                self.stop()
        except (AssertionError, subprocess.TimeoutExpired) as e:
            bad.append('the instance did not stop: %s' % e)
            self.kill_all_by_force()
        bad += self.complaints()
        self.ports.release()
        return bad

    def kill_all_by_force(self):
        with contextlib.suppress(Exception):
            self.kill_all()

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)


class Lines:
    """A plain socket that speaks lines, for what smtplib and imaplib would not say."""

    def __init__(self, port, address='127.0.0.1'):
        self.sock = socket.create_connection((address, port), timeout=PATIENCE)
        self.file = self.sock.makefile('rb')

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        """The next line without CRLF; '' at the end of the connection."""
        return self.file.readline().decode(errors='replace').rstrip('\r\n')

    def reply(self):
        """A whole SMTP reply: (code, [texts]); (0, []) at the end of the connection."""
        texts = []
        while True:
            line = self.line()
            if not line:
                return 0, texts
            texts.append(line[4:])
            if line[3:4] != '-':
                return int(line[:3]), texts

    def say(self, line):
        self.send(line + '\r\n')
        return self.reply()

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def message(subject='test', body='Hello.\r\n', sender='sender@elsewhere.test', to=()):
    """A message as text with CRLF; its Message-ID is made of the subject."""
    ident = hashlib.sha256(subject.encode()).hexdigest()[:16]
    head = ['From: <%s>' % sender, 'To: %s' % ', '.join('<%s>' % t for t in to), 'Subject: ' + subject,
            'Date: Tue, 24 Nov 2026 12:00:00 +0000', 'Message-ID: <%s@elsewhere.test>' % ident]
    return '\r\n'.join(head) + '\r\n\r\n' + body


def listdir(path):
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


def alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, 'report_' + call.when, outcome.get_result())
    if call.when == 'teardown' and os.environ.get('POSTHORN_RESULTS'):
        with open(os.environ['POSTHORN_RESULTS'], 'a') as f:
            f.write('%s: %s\n' % (verdict(item), item.nodeid))


def verdict(item):
    """PASS, FAIL or SKIP, as `make check` has them."""
    reports = [getattr(item, 'report_' + w, None) for w in ('setup', 'call', 'teardown')]
    if any(r and r.failed for r in reports):
        return 'FAIL'
    return 'SKIP' if any(r and r.skipped for r in reports) else 'PASS'


def pytest_collection_modifyitems(config, items):
    """POSTHORN_PART=1/3: every third test, for parts that run side by side."""
    part = os.environ.get('POSTHORN_PART')
    if part:
        i, n = map(int, part.split('/'))
        items.sort(key=lambda t: hashlib.sha256(t.nodeid.encode()).digest())
        items[:] = items[i::n]


@pytest.fixture
def make_house(request):
    """A function that makes instances: make_house(start=True, proxy=False, smtp__recipient_limit=100)."""
    houses = []

    def make(start=True, **kw):
        houses.append(House(**kw))
        if start:
            houses[-1].start()
        return houses[-1]

    yield make
    bad = [line for h in houses for line in h.close()]
    failed = bad or getattr(getattr(request.node, 'report_call', None), 'failed', True)
    for h in houses:
        if failed:
            print('---- log of %s' % h.dir)
            print(h.log()[-20000:])
        if not (failed and os.environ.get('POSTHORN_KEEP')):
            h.remove()
    if bad:
        pytest.fail('the log tells of:\n' + '\n'.join(bad), pytrace=False)


@pytest.fixture
def house(make_house):
    """A started instance without accounts."""
    return make_house()


def need_root():
    if os.getuid():
        pytest.skip('only as root')


def need(program):
    """Skips a test whose client is not installed; ./check installs all of them."""
    path = shutil.which(program)
    if not path:
        pytest.skip('%s is not installed' % program)
    return path
