"""Database servers for tests, each of its own in a temporary folder on a port of 127.0.0.1, run by
its own system user (a root may not run them) or by who runs the tests. Missing programs skip."""
import glob
import os
import pwd
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time

import pytest

from conftest import wait_for


def find(*names):
    """The first of these programs that is there, also in folders that PATH does not name."""
    folders = sorted(glob.glob('/usr/lib/postgresql/*/bin'), reverse=True) + ['/usr/sbin', '/usr/lib/slapd']
    for name in names:
        got = shutil.which(name, path=os.pathsep.join([os.environ.get('PATH', '')] + folders))
        if got:
            return got
    return None


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Server:
    """start() and stop() may be called again and again; close() removes all of it."""

    user, programs, package = None, (), ''

    def __init__(self):
        self.paths = [find(*(p if isinstance(p, tuple) else (p,))) for p in self.programs]
        if not all(self.paths):
            pytest.skip('needs %s' % self.package)
        self.root = tempfile.mkdtemp(prefix='phdb')
        self.port, self.process = free_port(), None
        self.demote = {}
        if os.getuid() == 0:
            try:
                entry = pwd.getpwnam(self.user)
            except KeyError:
                pytest.skip('no system user ' + self.user)
            self.demote = {'user': entry.pw_uid, 'group': entry.pw_gid, 'extra_groups': []}
            os.chown(self.root, entry.pw_uid, entry.pw_gid)
        os.chmod(self.root, 0o755)
        try:
            self.make()
            self.start()
        except BaseException:
            self.close()
            raise

    def run(self, *args, input=None):
        done = subprocess.run(args, input=input, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              cwd=self.root, timeout=120, **self.demote)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def spawn(self, *args):
        with open(self.root + '/log', 'ab') as log:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.root, **self.demote)
        wait_for(self.package + ' to listen', self.listens, 60)

    def listens(self):
        assert self.process.poll() is None, open(self.root + '/log').read()[-2000:]
        with socket.socket() as s:
            return s.connect_ex(('127.0.0.1', self.port)) == 0

    def stop(self, sig=signal.SIGKILL):
        if self.process:
            self.process.send_signal(sig)
            self.process.wait(60)
            self.process = None

    def close(self):
        self.stop(getattr(self, 'clean', signal.SIGTERM))
        shutil.rmtree(self.root, ignore_errors=True)


class Postgres(Server):
    user, programs, package, clean = 'postgres', ('initdb', 'postgres', 'psql'), 'postgresql', signal.SIGQUIT

    def make(self):
        self.run(self.paths[0], '-D', self.root + '/data', '-A', 'trust', '-U', 'admin', '-E', 'UTF8',
                 '--locale', 'C', '--no-sync')
        with open(self.root + '/data/pg_hba.conf', 'w') as f:
            f.write('local all all trust\nhost all admin 127.0.0.1/32 trust\n'
                    'hostssl all tls 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n')

    def start(self, *options):
        self.spawn(self.paths[1], '-D', self.root + '/data', '-p', str(self.port), '-k', self.root,
                   '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off', '-c', 'shared_buffers=1MB',
                   '-c', 'max_connections=40', *options)
        wait_for('PostgreSQL to answer', lambda: subprocess.run(
            [self.paths[2], '-h', self.root, '-p', str(self.port), '-U', 'admin', '-c', 'SELECT 1', 'postgres'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0, 60)

    def sql(self, text):
        return self.run(self.paths[2], '-h', self.root, '-p', str(self.port), '-U', 'admin', '-q', '-At',
                        '-v', 'ON_ERROR_STOP=1', 'postgres', input=text)


class MariaDB(Server):
    user, programs, package = 'mysql', ('mariadb-install-db', 'mariadbd', 'mariadb'), 'mariadb-server'

    def make(self):
        self.run(self.paths[0], '--no-defaults', '--datadir=' + self.root + '/data', '--skip-test-db',
                 '--auth-root-authentication-method=normal', '--innodb-log-file-size=4M')

    def start(self):
        self.spawn(self.paths[1], '--no-defaults', '--datadir=' + self.root + '/data',
                   '--port=%d' % self.port, '--bind-address=127.0.0.1', '--socket=' + self.root + '/sock',
                   '--pid-file=' + self.root + '/pid', '--innodb-buffer-pool-size=8M', '--skip-name-resolve',
                   '--innodb-log-file-size=4M', '--innodb-flush-log-at-trx-commit=0')

    def sql(self, text):
        return self.run(self.paths[2], '--no-defaults', '--socket=' + self.root + '/sock', '-u', 'root', '-N',
                        '-B', input=text)


class Slapd(Server):
    user, programs, package = 'openldap', ('slapd', 'slapadd'), 'slapd'
    SUFFIX = 'dc=example,dc=test'

    def make(self):
        os.mkdir(self.root + '/db')
        if self.demote:
            os.chown(self.root + '/db', self.demote['user'], self.demote['group'])
        with open(self.root + '/slapd.conf', 'w') as f:
            f.write('''include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
maxsize 16777216
suffix "%s"
rootdn "cn=admin,%s"
rootpw admin-secret
directory %s/db
dbnosync
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=admin,%s" write by users read by anonymous auth
''' % (self.SUFFIX, self.SUFFIX, self.root, self.SUFFIX))
        entries = ['dn: %s\nobjectClass: domain\ndc: example\n' % self.SUFFIX]
        for uid, mails, alias in (('user1', ['user1@example.test'], 'info'),
                                  ('user2', ['user2@example.test', 'user3@example.test'], 'both'),
                                  ('user*', ['user2@example.test'], '(star*)')):
            entries.append('dn: uid=%s,%s\nobjectClass: inetOrgPerson\nuid: %s\ncn: x\nsn: x\n'
                           'title: %s@example.test\nuserPassword: ldap-%s\n%s' % (
                               uid, self.SUFFIX, uid, alias, uid, ''.join('mail: %s\n' % m for m in mails)))
        self.run(self.paths[1], '-f', self.root + '/slapd.conf', input='\n'.join(entries))

    def start(self):
        self.spawn(self.paths[0], '-f', self.root + '/slapd.conf', '-h', 'ldap://127.0.0.1:%d' % self.port,
                   '-d', '0')


class Silent:
    """A server that takes connections and says `answer` (nothing, by default) to the first
    words of the client, or before them (first), then waits."""

    def __init__(self, answer=b'', endless=False, first=False):
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                outer.connections += 1
                try:
                    if not first:
                        self.request.recv(65536)
                    if answer:
                        self.request.sendall(answer)
                    while endless:
                        self.request.sendall(answer)
                    while self.request.recv(65536):
                        pass
                except OSError:
                    pass

        class Many(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True

        self.connections = 0
        self.server = Many(('127.0.0.1', 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def elapsed(fn):
    start = time.monotonic()
    got = fn()
    return got, time.monotonic() - start
