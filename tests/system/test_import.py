"""`posthorn import postfix`: what comes out of main.cf, master.cf and tables."""
import os
import re
import stat

import pytest

MAIN = '''
# small ISP
myhostname = mx.isp.test
mydomain = isp.test
myorigin = $mydomain
mydestination = $myhostname, $mydomain,
# a comment within
    localhost
mynetworks = 127.0.0.0/8 [::1]/128 10.0.0.0/24
relay_domains = backup.test
relayhost = [smarthost.test]:submission
virtual_alias_domains = valias.test
virtual_alias_maps = texthash:DIR/virtual, inline:{sales@isp.test=user1@isp.test, boss@isp.test = user2@isp.test}
virtual_mailbox_domains = vbox.test
virtual_mailbox_maps = texthash:DIR/vmailbox
transport_maps = texthash:DIR/transport, regexp:DIR/transport.re
sender_dependent_relayhost_maps = texthash:DIR/sender_relay
alias_maps = texthash:DIR/aliases
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = texthash:DIR/sasl
smtp_tls_security_level = may
smtp_tls_policy_maps = inline:{example.org=encrypt}
message_size_limit = 20480000
maximal_queue_lifetime = 3d
smtpd_timeout = 200
recipient_delimiter = +
my_clients = 10.9.0.0/16
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination,
  reject_rbl_client zen.spamhaus.org, check_sender_access hash:/etc/postfix/sender_access
biff = no
unknown_thing = baz
'''
MASTER = '''
smtp      inet  n       -       y       -       -       smtpd
submission inet n       -       y       -       -       smtpd
  -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o { smtpd_client_restrictions = permit_sasl_authenticated, reject }
  -o content_filter=scan:[127.0.0.1]:10024
127.0.0.1:10025 inet n - n - - smtpd
pickup    unix  n       -       y       60      1       pickup
dovecot   unix  -       n       n       -       -       pipe
  flags=DRhu user=vmail argv=/usr/lib/dovecot/deliver -d ${recipient}
'''
FILES = {
    'virtual': '# names\ninfo@valias.test user1@isp.test,\n  user2@isp.test\n',
    'vmailbox': 'box1@vbox.test box1/\nbox2@vbox.test box2/\n',
    'transport': 'special.test smtp:[10.0.0.9]:2600\n',
    'transport.re': '/^re-.*@/ smtp:[10.0.0.7]:25\n',
    'sender_relay': 'news@isp.test [news.test]:587\n',
    'aliases': 'root: user1\nprog: "|/bin/cat"\nlist: ":include:DIR/members", :include:DIR/none\n',
    'members': 'user1\n',
    'sasl': '[smarthost.test]:submission me:se:cret\n',
}


@pytest.fixture
def postfix(house):
    d = house.root + '/postfix'
    os.mkdir(d)
    for name, text in dict(FILES, **{'main.cf': MAIN, 'master.cf': MASTER}).items():
        with open(d + '/' + name, 'w') as f:
            f.write(text.replace('DIR', d))
    return d


def run(house, d, **kw):
    out = house.root + '/out'
    done = house.run('--json', 'import', 'postfix', d, '--output', out, instance=False, **kw)
    return out, done


def test_what_comes_out(house, postfix):
    import json
    out, done = run(house, postfix)
    report = json.loads(done.stdout)
    conf = open(out + '/posthorn.conf').read()
    for line in ('hostname mx.isp.test', 'origin isp.test', 'domain mx.isp.test, isp.test, localhost, vbox.test, valias.test',
                 'relay-from 127.0.0.0/8, ::1/128, 10.0.0.0/24', 'smtp { message-size-limit 20480000 }',
                 'smtp { timeout 200s }', 'spool { queue-lifetime 3d }', 'relay { tls optional }',
                 'tls-policy "example.org" { tls required }', '\trelay-host "[smarthost.test]:587"',
                 '\trelay-domains backup.test, .backup.test', 'smtp { recipient-delimiter + }',
                 'next-hop "[smarthost.test]:587" { user "me" password file "secrets/1" }'):
        assert line + '\n' in conf, line
    assert re.search(r'listen smtp port-25 \{ address 0\.0\.0\.0, :: port 25', conf)
    assert re.search(r'listen submission port-587 \{ address .* port 587 tls required', conf)
    assert 'listen smtp port-10025 { address 127.0.0.1 port 10025 }' in conf
    for key, n in (('virtual-aliases', 3), ('transports', 2), ('aliases', 1), ('sender-relays', 1)):
        tables = re.search(r'(?m)^\t%s (.*)$' % key, conf).group(1).split(', ')
        assert len(tables) == n
        for t in tables:
            assert 'table %s { type ' % t in conf and os.path.exists(out + '/tables/' + t)
    assert open(out + '/secrets/1').read() == 'se:cret'
    assert stat.S_IMODE(os.stat(out + '/secrets/1').st_mode) == 0o600
    assert stat.S_IMODE(os.stat(out + '/secrets').st_mode) == 0o700
    aliases = open('%s/tables/%s' % (out, re.search(r'(?m)^\taliases (.*)$', conf).group(1))).read()
    copied, gone = re.findall(r':include:([^",\s]+)', aliases)
    assert copied.startswith(os.path.realpath(out) + '/tables/members-') and open(copied).read() == 'user1\n'
    assert gone == postfix + '/none' and any('/none' in r for r in report['report'])
    accounts = open(out + '/accounts').read()
    assert "user add 'box1@vbox.test'" in accounts and os.access(out + '/accounts', os.X_OK)
    lost = [r for r in report['report'] if r.startswith('NOT CARRIED')]
    assert report['lost'] == len(lost)
    for what in ('smtpd_recipient_restrictions: reject_rbl_client zen.spamhaus.org',
                 'smtpd_recipient_restrictions: check_sender_access hash:/etc/postfix/sender_access',
                 'master.cf submission -o content_filter: scan:[127.0.0.1]:10024', 'unknown_thing: baz',
                 'master.cf dovecot: '):
        assert any(what in r for r in lost), (what, lost)


def test_every_parameter_is_told(house, postfix):
    import json
    _, done = run(house, postfix)
    report = json.loads(done.stdout)['report']
    for name in re.findall(r'(?m)^(\w+) =', MAIN):
        assert any(re.search(r'\b%s: ' % name, r) for r in report), name


@pytest.mark.parametrize('text, status', [('no equals sign\n', 1), ('a = $a\nmydestination = $a\n', 0),
                                          ('a = ${b?{${c:{x}}}\nmydestination = ${a}}{\n', 0), ('', 0)])
def test_odd_input(house, postfix, text, status):
    with open(postfix + '/main.cf', 'w') as f:
        f.write(text)
    _, done = run(house, postfix, check=False)
    assert done.returncode == status, done


def test_nothing_there(house):
    assert house.run('import', 'postfix', house.root + '/none', check=False, instance=False).returncode == 1


def test_output_is_not_overwritten(house, postfix):
    run(house, postfix)
    _, done = run(house, postfix, check=False)
    assert done.returncode == 1
