"""The configuration of a small ISP, run by a Debian Postfix and, imported, by this system: every
message of a test set is taken or refused alike, and routed alike.

Postfix really delivers, to sinks on loopback ports; its log tells where each copy went. Here
the same client asks over SMTP, and `explain` tells the ways."""
import json
import os
import pwd
import re
import smtplib
import socket
import socketserver
import subprocess
import threading

import pytest

from conftest import PATIENCE, wait_for

pytestmark = pytest.mark.skipif(os.getuid() != 0 or not os.path.exists('/usr/sbin/postfix'),
                                reason='needs root and Postfix')
NAMES = ('relay', 'special', 'sub', 'vip', 'regexp', 'sender', 'vsender')
OURS, STRANGER = '127.0.0.2', '127.0.0.3'

MAIN = '''
compatibility_level = 3.6
queue_directory = {d}/spool
data_directory = {d}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {d}/log/maillog
maillog_file_prefixes = {d}
myhostname = mx.isp.test
mydomain = isp.test
myorigin = $mydomain
mydestination = $mydomain, $myhostname, localhost
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.2/32
recipient_delimiter = +
relayhost = [127.0.0.1]:{relay}
relay_domains = backup.test, $my_relays
my_relays = inline:{{backup2.test=x}}
alias_maps = hash:{d}/etc/aliases
local_recipient_maps = $alias_maps, inline:{{user1=x, user2=x, user3=x}}
mailbox_transport = discard:
virtual_alias_domains = valias.test, catch.test
virtual_alias_maps = texthash:{d}/etc/virtual, inline:{{sales@isp.test=box1@vbox.test}}, regexp:{d}/etc/virtual.re
virtual_mailbox_domains = vbox.test
virtual_mailbox_maps = texthash:{d}/etc/vmailbox
virtual_mailbox_base = {d}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
transport_maps = texthash:{d}/etc/transport, regexp:{d}/etc/transport.re
sender_dependent_relayhost_maps = texthash:{d}/etc/sender_relay
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = none
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_client_connection_rate_limit = 0
'''
MASTER = '''
{smtp} inet n - n - - smtpd
{submission} inet n - n - - smtpd
  -o syslog_name=postfix/submission
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
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
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
'''
FILES = {
    'aliases': 'root: user1\nabuse: root\nteam: user1, user2, ext@outside.test\nprog: "|cat >/dev/null"\n'
               'incl: :include:{d}/etc/members\npostmaster: root\n',
    'members': '# who\nuser2\nuser3@isp.test, box2@vbox.test\n',
    'virtual': 'info@valias.test user1@isp.test, user2@isp.test\nchain@valias.test info@valias.test\n'
               'list@valias.test ext@outside.test,\n box1@vbox.test\n@catch.test user3@isp.test\n'
               'user9@isp.test user1\n',
    'virtual.re': '/^gen-(.*)@valias\\.test$/ $1@isp.test\n',
    'vmailbox': 'box1@vbox.test box1/\nbox2@vbox.test box2/\n',
    'transport': 'special.test smtp:[127.0.0.1]:{special}\n.special.test smtp:[127.0.0.1]:{sub}\n'
                 'vip@outside.test :[127.0.0.1]:{vip}\ngone.test error:5.1.2 this domain has gone\n',
    'transport.re': '/^re-.*@outside\\.test$/ smtp:[127.0.0.1]:{regexp}\n',
    'sender_relay': 'news@isp.test [127.0.0.1]:{sender}\n@vbox.test [127.0.0.1]:{vsender}\n',
}
RCPTS = ['user1@isp.test', 'user1@mx.isp.test', 'user2@localhost', 'USER1@ISP.TEST', 'user1+tag@isp.test',
         'nobody@isp.test', 'root@isp.test', 'abuse@isp.test', 'team@isp.test', 'prog@isp.test',
         'incl@isp.test', 'postmaster@isp.test', 'user9@isp.test', 'info@valias.test', 'chain@valias.test',
         'list@valias.test', 'nobody@valias.test', 'any@catch.test', 'sales@isp.test', 'gen-user2@valias.test',
         'box1@vbox.test', 'box2+x@vbox.test', 'nobody@vbox.test', 'x@backup.test',
         'x@sub.backup.test', 'x@backup2.test', 'ext@outside.test', 're-x@outside.test', 'vip@outside.test',
         'x@special.test', 'x@deep.special.test', 'x@gone.test']
CASES = [(ip, 'someone@outside.test', r) for ip in (OURS, STRANGER) for r in RCPTS] + [
    (OURS, s, r) for s in ('news@isp.test', 'box1@vbox.test', '')
    for r in ('ext@outside.test', 'x@special.test', 'user1@isp.test', 'team@isp.test', 'x@backup.test')]


class Sink(socketserver.ThreadingTCPServer):
    """Takes all mail, or answers one command in its own way."""
    allow_reuse_address = daemon_threads = True

    class Talk(socketserver.StreamRequestHandler):
        def handle(self):
            self.request.settimeout(PATIENCE)
            self.say('220 sink')
            for line in self.rfile:
                word = line[:4].upper()
                if word == b'DATA':
                    self.say('354 go on')
                    for text in self.rfile:
                        if text == b'.\r\n':
                            break
                self.say('221 bye' if word == b'QUIT' else self.server.answer if word == self.server.word else
                         '250 sink')
                if word == b'QUIT':
                    return

        def say(self, line):
            self.wfile.write(line.encode() + b'\r\n')

    def __init__(self, word=b'', answer=''):
        super().__init__(('127.0.0.1', 0), self.Talk)
        self.word, self.answer = word, answer
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Postfix:
    def __init__(self, top, sinks):
        self.dir = d = top + '/postfix'
        owner, nobody = pwd.getpwnam('postfix'), pwd.getpwnam('nobody')
        for sub in ('etc', 'spool', 'data', 'mail', 'log'):
            os.makedirs(d + '/' + sub)
        os.chown(d + '/data', owner.pw_uid, owner.pw_gid)
        os.chown(d + '/mail', nobody.pw_uid, nobody.pw_gid)
        self.port = free_port()
        values = dict({n: s.port for n, s in sinks.items()}, d=d, uid=nobody.pw_uid, gid=nobody.pw_gid,
                      smtp='127.0.0.1:%d' % self.port, submission='127.0.0.1:%d' % free_port())
        for name, text in dict(FILES, **{'main.cf': MAIN, 'master.cf': MASTER}).items():
            with open(d + '/etc/' + name, 'w') as f:
                f.write(text.format(**values))
        subprocess.run(['/usr/sbin/postalias', '-c', d + '/etc', 'hash:%s/etc/aliases' % d], check=True)
        self.run('start')

    def run(self, verb):
        subprocess.run(['/usr/sbin/postfix', '-c', self.dir + '/etc', verb], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def log(self):
        try:
            with open(self.dir + '/log/maillog') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def idle(self):
        return not any(files for q in ('maildrop', 'incoming', 'active')
                       for _, _, files in os.walk(self.dir + '/spool/' + q))


def connect(port, ip):
    return smtplib.SMTP('127.0.0.1', port, timeout=PATIENCE, source_address=(ip, 0))


def ask(s, sender, rcpt):
    s.ehlo('client.test')
    assert s.mail(sender)[0] == 250
    return s.rcpt(rcpt)[0]


def canonical(address):
    """A mailbox: without the extension, in the site's main domain."""
    local, _, domain = address.lower().partition('@')
    return '%s@%s' % (local.split('+')[0], 'isp.test' if domain in ('mx.isp.test', 'localhost') else domain)


def by_postfix(postfix):
    """{case: (code, ways)}"""
    codes = {}
    for n, (ip, sender, rcpt) in enumerate(CASES):
        with connect(postfix.port, ip) as s:
            codes[n] = ask(s, sender, rcpt)
            if codes[n] == 250:
                assert s.data('Message-ID: <case-%d@side.test>\r\nSubject: x\r\n\r\nx\r\n' % n)[0] == 250
    wait_for('Postfix to deliver', lambda: postfix.idle() and postfix.log().count(': removed') >= sum(
        c == 250 for c in codes.values()), PATIENCE * 3)
    log, parent = postfix.log(), {}
    for qid, n in re.findall(r' ([0-9A-F]+): message-id=<case-(\d+)@side\.test>', log):
        parent[qid] = int(n)
    ways = {n: set() for n in codes}
    for agent, qid, to, relay, status, text in re.findall(
            r'postfix/(\w+)\[\d+\]: ([0-9A-F]+): to=<([^>]*)>.*?, relay=([^,]+),.*?status=(\w+) \((.*)\)', log):
        if qid not in parent or text.startswith('forwarded as'):
            continue
        if agent in ('discard', 'virtual') and status == 'sent':
            way = ('mailbox', canonical(to))
        elif agent in ('smtp', 'relay'):
            way = ('relay', to.lower(), int(relay.rsplit(':', 1)[1]))
        elif text.startswith('delivered to command'):
            way = ('program',)
        else:
            way = (agent, to, status, text)
        ways[parent[qid]].add(way)
    return {n: (codes[n], ways[n]) for n in codes}


def by_us(house):
    got = {}
    for n, (ip, sender, rcpt) in enumerate(CASES):
        with connect(house.port('smtp'), ip) as s:
            code = ask(s, sender, rcpt)
        done = house.run('--json', 'explain', '--ip', ip, '--from', sender or '<>', '--to', rcpt, check=False)
        assert '"error"' not in done.stdout, (CASES[n], done.stdout, house.log()[-3000:])
        ways = set()
        for row in json.loads(done.stdout):
            if row['step'] != 'way' or code != 250:
                continue
            m = re.match(r'relay <([^>]*)> to (?:smtp:)?\[127\.0\.0\.1\]:(\d+)$', row['why'])
            if row['verdict'] == 'local':
                ways.add(('mailbox', canonical(row['why'].split()[1])))
            elif m:
                ways.add(('relay', m.group(1).lower(), int(m.group(2))))
            elif row['verdict'] == 'pipe':
                ways.add(('program',))
            else:
                ways.add((row['verdict'], row['why']))
        got[n] = (code, ways)
    return got


@pytest.fixture
def postfix(house):
    sinks = {n: Sink() for n in NAMES}
    p = Postfix(house.root, sinks)
    yield p
    p.run('stop')
    for s in sinks.values():
        s.shutdown()
        s.server_close()


def adopt(house, postfix):
    """The imported configuration in this instance: its own ports and folders, the accounts made."""
    out = house.dir + '/imported'
    report = json.loads(house.run('--json', 'import', 'postfix', postfix.dir + '/etc', '--output', out,
                                  instance=False).stdout)
    conf = open(out + '/posthorn.conf').read()
    conf = re.sub(r'(?m)^(listen|origin|config|hostname) .*\n', '', conf)
    own = re.sub(r'(?m)^(domain|relay-from|hostname) .*\n', '', house.config())
    conf = conf.replace('"tables/', '"imported/tables/')
    os.chmod(house.root, 0o755)
    house.stop()
    house.config(own + 'hostname mx.isp.test\norigin isp.test\n' + conf)
    house.start()
    for address in re.findall(r"user add '([^']+)'", open(out + '/accounts').read()) + [
            'user%d@isp.test' % n for n in (1, 2, 3)]:
        house.run('user', 'add', address, input='secret\n')
    return report


def test_same_routes(house, postfix):
    report = adopt(house, postfix)
    assert any('mailbox_transport' in r for r in report['report'])
    theirs, ours = by_postfix(postfix), by_us(house)
    wrong = [(CASES[n], 'Postfix', theirs[n], 'here', ours[n]) for n in sorted(theirs)
             if theirs[n][0] // 100 != ours[n][0] // 100 or theirs[n][1] != ours[n][1]]
    assert not wrong, '%d of %d differ:\n%s' % (len(wrong), len(CASES), '\n'.join(map(str, wrong)))
    assert sum(c == 250 for c, _ in theirs.values()) > 30
