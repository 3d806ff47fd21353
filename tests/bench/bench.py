"""What the benchmarks share: an instance of Posthorn, of Postfix and of Dovecot, each
in a folder of its own with ports of its own; their CPU time; rounds and the table.

Each system is started and stopped by its own process id. CPU time is user + system
of every process below the system's first one, ended ones included. Rounds of two
systems alternate, so that both see the same neighbours; figures are medians.
"""
import collections
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get('BUILD', os.getcwd())
POSTHORN = os.environ.get('POSTHORN', os.path.join(BUILD, 'mta', 'posthorn'))
SMTPLOAD = os.path.join(BUILD, 'tests', 'bench', 'smtpload')
TICK = os.sysconf('SC_CLK_TCK')
QUICK = '--quick' in sys.argv
USERS = 100
PASSWORD = 'bench-secret'
READY = 10      # segments of 64 MB, more than a round fills
SETTLE = 10     # seconds until so many are ready, at most


def scratch():
    """A folder on the file system of $BENCH_DIR (default: /var/tmp), which must be a
    real one: figures of a tmpfs say nothing about fsync. Other users must be able to
    enter it, since the peers run as users of their own."""
    top = os.environ.get('BENCH_DIR', '/var/tmp')
    kind = subprocess.run(['stat', '-f', '-c', '%T', top], capture_output=True, text=True).stdout.strip()
    if kind in ('tmpfs', 'ramfs'):
        sys.exit('%s is a %s: set BENCH_DIR to a folder on a disk' % (top, kind))
    path = tempfile.mkdtemp(prefix='bench.', dir=top)
    os.chmod(path, 0o755)
    return path


def free_ports(offsets):
    """A base port from which every offset can be bound on loopback."""
    for base in range(20000 + os.getpid() % 200 * 50, 60000, 1300):
        try:
            for o in offsets:
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(('127.0.0.1', base + o))
            return base
        except OSError:
            continue
    sys.exit('no free ports')


def wait_port(port, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit('nothing listens on port %d' % port)


def until(condition, seconds, what, pause=0.01):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit('%s took more than %d s' % (what, seconds))
        time.sleep(pause)


# ---- processes ----

Proc = collections.namedtuple('Proc', 'pid parent own ended')


def processes():
    """All processes: own CPU seconds, and those of their ended children."""
    found = {}
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        try:
            with open('/proc/%s/stat' % name) as f:
                v = f.read().rsplit(')', 1)[1].split()
        except OSError:
            continue
        t = [int(x) / TICK for x in v[11:15]]
        found[int(name)] = Proc(int(name), int(v[1]), t[0] + t[1], t[2] + t[3])
    return found


def family(root):
    all_of_them = processes()
    if root not in all_of_them:
        sys.exit('process %d has ended' % root)
    members = {root}
    grown = True
    while grown:
        more = {p.pid for p in all_of_them.values() if p.parent in members} - members
        grown = bool(more)
        members |= more
    return [all_of_them[p] for p in members]


def cpu(root):
    return sum(p.own + p.ended for p in family(root))


def pss(root):
    """Proportional memory of a process and all below it, in KiB."""
    total = 0
    for p in family(root):
        try:
            with open('/proc/%d/smaps_rollup' % p.pid) as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith('Pss:'))
        except OSError:
            pass
    return total


def end(pid, seconds=30):
    """Ends a process that is not our child and waits for it."""
    try:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not os.path.exists('/proc/%d' % pid), seconds, 'the end of process %d' % pid)
    except ProcessLookupError:
        pass


# ---- Posthorn ----

class Posthorn:
    name = 'posthorn'

    def __init__(self, top, users=USERS):
        self.dir = os.path.join(top, 'posthorn')
        base = free_ports((24, 25, 587, 465, 143, 993, 110, 995, 4190, 80, 443))
        subprocess.run([POSTHORN, '-q', 'sandbox', self.dir, '--base-port', str(base)], check=True)
        self.settings()
        self.port, self.imap, self.imaps = base + 25, base + 143, base + 993
        self.users = 0
        self.call('start')
        with open(os.path.join(self.dir, 'run', 'posthorn.pid')) as f:
            self.pid = int(f.read())
        self.add_users(users)

    def settings(self):
        """The defaults of an installed system where a sandbox is smaller."""
        path = os.path.join(self.dir, 'posthorn.conf')
        with open(path) as f:
            text = f.read().replace('segment-size 16M', 'segment-size 64M')
        with open(path, 'w') as f:
            f.write(text + 'auth { password-cost 1 }\n')

    def call(self, *verb, stdin=None):
        return subprocess.run([POSTHORN, '-C', self.dir, '-q', *verb], check=True, text=True, input=stdin,
                              capture_output=True).stdout

    def add_users(self, n):
        for i in range(self.users + 1, n + 1):
            self.call('user', 'add', 'user%d@example.test' % i, stdin=PASSWORD + '\n')
        self.users = n

    def summary(self):
        return json.loads(self.call('--json', 'queue', 'summary'))

    def queued(self):
        return self.summary()['messages']

    def hold(self):
        self.call('queue', 'hold', '--new', 'on')

    def new_round(self):
        """Forgets held mail and waits until its segments of the log are ready to be used
        again, as they are in a system that has been running."""
        if self.queued():
            self.call('queue', 'delete', '--all')
            until(lambda: not self.queued(), 60, 'deleting')
        end = time.monotonic() + SETTLE
        while time.monotonic() < end:
            s = self.summary()
            if s['segments_ready'] >= min(READY, s['segments'] - 1):
                break
            time.sleep(0.2)

    def mailboxes(self):
        return os.path.join(self.dir, 'store')

    def cpu(self):
        return cpu(self.pid)

    def stop(self):
        self.call('stop')


# ---- Postfix ----

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {d}/spool
data_directory = {d}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = peer.example.test
mydomain = example.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = example.test
virtual_mailbox_base = {d}/mail
virtual_mailbox_maps = hash:{d}/etc/boxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
mailbox_size_limit = 0
message_size_limit = 104857600
alias_maps =
alias_database =
local_recipient_maps =
maillog_file = {d}/log/maillog
maillog_file_prefixes = {d}
smtputf8_enable = no
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
in_flow_delay = 0
default_process_limit = 150
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_restrictions = {client}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_error_sleep_time = 0
initial_destination_concurrency = 20
default_destination_concurrency_limit = 50
smtpd_tls_security_level = none
smtp_tls_security_level = none
"""

MASTER_CF = """\
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """Postfix as Debian ships it, fsync as it ships it, without chroot, TLS, DNS or
    limits that would slow it down. Held mail goes to its hold queue by an access rule,
    which costs less than a transport that is deferred: no other process sees it."""
    name = 'postfix'

    def __init__(self, top, hold=False, users=USERS):
        import pwd
        self.dir = d = os.path.join(top, 'postfix')
        self.port = free_ports((0,))
        owner = pwd.getpwnam('postfix')
        for sub in ('etc', 'spool', 'data', 'mail', 'log'):
            os.makedirs(os.path.join(d, sub))
        os.chown(os.path.join(d, 'data'), owner.pw_uid, owner.pw_gid)
        nobody = pwd.getpwnam('nobody')
        os.chown(os.path.join(d, 'mail'), nobody.pw_uid, nobody.pw_gid)
        client = 'check_client_access static:HOLD' if hold else ''
        self.write('main.cf', MAIN_CF.format(d=d, uid=nobody.pw_uid, gid=nobody.pw_gid, client=client))
        self.write('master.cf', MASTER_CF.format(port='127.0.0.1:%d' % self.port))
        self.write('boxes', ''.join('user%d@example.test user%d/\n' % (i, i) for i in range(1, users + 1)))
        self.run('postmap', 'hash:%s/etc/boxes' % d)
        self.run('postfix', 'start')
        with open(os.path.join(d, 'spool/pid/master.pid')) as f:
            self.pid = int(f.read())
        wait_port(self.port)

    @staticmethod
    def missing():
        if not os.path.exists('/usr/sbin/postfix'):
            return 'Postfix is not installed'
        return '' if os.geteuid() == 0 else 'Postfix can be started by root only'

    def write(self, name, text):
        with open(os.path.join(self.dir, 'etc', name), 'w') as f:
            f.write(text)

    def run(self, program, *args):
        config = os.path.join(self.dir, 'etc')
        subprocess.run(['/usr/sbin/' + program, '-c', config, *args], check=True,
                       stdout=subprocess.DEVNULL)

    def queued(self):
        """Whether something is on its way (not how much). A message may be between two
        folders while they are looked at, so nothing must be there twice."""
        for _ in range(2):
            for queue in ('incoming', 'active', 'deferred'):
                for _, _, files in os.walk(os.path.join(self.dir, 'spool', queue)):
                    if files:
                        return True
        return False

    def new_round(self):
        """Held mail stays: deleting would slow down the creation of files afterwards."""

    def mailboxes(self):
        return os.path.join(self.dir, 'mail')

    def cpu(self):
        return cpu(self.pid)

    def stop(self):
        end(self.pid)


# ---- Dovecot ----

DOVECOT_CONF = """\
protocols = imap
listen = 127.0.0.1
base_dir = {d}/run
state_dir = {d}/state
instance_name = bench
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain
auth_username_format = %Ln
log_path = {d}/log
mail_location = maildir:{d}/mail/%n
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
mail_max_userip_connections = 10000
default_client_limit = 10000
default_vsz_limit = 2G
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={d}/mail/%n allow_all_users=yes
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 10000
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service imap {{
  process_limit = 10000
}}
service auth {{
  client_limit = 20000
}}
service anvil {{
  client_limit = 20000
}}
namespace inbox {{
  inbox = yes
}}
"""


class Dovecot:
    """Dovecot as Debian ships it, Maildir, with a static password (no hashing)."""
    name = 'dovecot'

    def __init__(self, top, cert, key):
        import pwd
        self.dir = d = os.path.join(top, 'dovecot')
        base = free_ports((0, 1))
        self.imap, self.imaps = base, base + 1
        self.owner = pwd.getpwnam('nobody')
        os.makedirs(os.path.join(d, 'mail'))
        os.chown(os.path.join(d, 'mail'), self.owner.pw_uid, self.owner.pw_gid)
        conf = os.path.join(d, 'dovecot.conf')
        with open(conf, 'w') as f:
            f.write(DOVECOT_CONF.format(d=d, cert=cert, key=key, imap=self.imap, imaps=self.imaps,
                                        uid=self.owner.pw_uid, gid=self.owner.pw_gid, password=PASSWORD))
        self.child = subprocess.Popen(['/usr/sbin/dovecot', '-F', '-c', conf],
                                      stdout=subprocess.DEVNULL)
        self.pid = self.child.pid
        wait_port(self.imap)

    @staticmethod
    def missing():
        if not os.path.exists('/usr/sbin/dovecot'):
            return 'Dovecot is not installed'
        return '' if os.geteuid() == 0 else 'Dovecot needs root here'

    def cpu(self):
        return cpu(self.pid)

    def stop(self):
        self.child.terminate()
        self.child.wait(60)


# ---- rounds and results ----

class Load:
    """A run of smtpload, begun by the constructor."""

    def __init__(self, system, sessions, size, seconds=None, messages=200000, rcpts=1, users=USERS,
                 to='user%d@example.test'):
        self.system, self.rcpts = system, rcpts
        self.cpu = system.cpu()
        self.start = time.monotonic()
        self.child = subprocess.Popen(
            [SMTPLOAD, '-m', str(messages), '-d', str(seconds or 60), '-s', str(sessions), '-l', str(size),
             '-r', str(rcpts), '-u', str(users), '-t', to, '127.0.0.1', str(system.port)], stdout=subprocess.PIPE, text=True)

    def accepted(self):
        out = self.child.communicate()[0]
        self.result = json.loads(out)
        if self.child.returncode:
            sys.exit('%s: not everything was accepted: %s' % (self.system.name, out))
        return self.result

    def done(self):
        """Call when the last message is where it belongs."""
        seconds = time.monotonic() - self.start
        n = self.result['accepted']
        return dict(self.result, copies_per_second=n * self.rcpts / seconds,
                    cpu_us=(self.system.cpu() - self.cpu) / n * 1e6)


def medians(results):
    return {k: statistics.median(r[k] for r in results) for k in results[0]}


def rounds(systems, n, one):
    """one(system) on each system in turn, n times; {name: medians}."""
    results = collections.defaultdict(list)
    for i in range(n):
        for s in systems:
            s.new_round()
            results[s.name].append(one(s))
    return {name: medians(r) for name, r in results.items()}


HEAD = '%-44s %12s %12s %9s  bar' % ('', 'posthorn', 'peer', 'ratio')


def row(what, ours, peer, bar, less=False):
    """One line of the table. bar: the least ratio that will do, 0 for none; less: small is
    good, and the ratio is peer/ours then."""
    if peer is None or not ours:
        print('%-44s %12.4g %12s %9s  -' % (what, ours, '-', '-'), flush=True)
        return
    ratio = peer / ours if less else ours / peer
    verdict = '' if not bar else 'holds' if ratio >= bar else 'MISSED'
    print('%-44s %12.4g %12.4g %8.2fx  %-7s %s' % (what, ours, peer, ratio, '%gx' % bar if bar else '-', verdict),
          flush=True)


def session(title, work):
    """Runs work(folder, systems) and stops and removes whatever it appended to systems."""
    top = scratch()
    systems = []
    print('%s\n%s' % (title, HEAD), flush=True)
    try:
        work(top, systems)
    finally:
        for s in systems:
            s.stop()
        if 'BENCH_KEEP' not in os.environ:
            shutil.rmtree(top, ignore_errors=True)
