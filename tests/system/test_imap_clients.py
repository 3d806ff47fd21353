"""IMAP with the clients that people use: mbsync, mutt, fetchmail, curl, openssl s_client."""
import mailbox
import os
import subprocess

import pytest

from conftest import need
from imapscript import Imap, mail

MESSAGES = 5000


@pytest.fixture
def user(house):
    return house.user('user1')


def run(*args, env=None, ok=(0,), **kw):
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors='replace', timeout=120, env=dict(os.environ, **(env or {})), **kw)
    assert done.returncode in ok, done.stdout
    return done.stdout


def fill(house, user, n, box='INBOX', sessions=8):
    """n messages, appended by sessions that pipeline, one in so many each."""
    clients = [Imap(house, user) for _ in range(sessions)]
    for start in range(0, n, 400):
        for k, c in enumerate(clients):
            c.send(b''.join(b'f%d APPEND %s (%s) {%d+}\r\n%s\r\n' % (
                i, box.encode(), [b'', b'\\Seen', b'\\Flagged'][i % 3], len(m), m)
                for i in range(start + k, min(start + 400, n), sessions) for m in [mail('message %d' % i)]))
        for k, c in enumerate(clients):
            for i in range(start + k, min(start + 400, n), sessions):
                assert c.answer('f%d' % i).status == 'OK'
    for c in clients:
        c.close()


# ---- mbsync ----

def mbsync_config(house, user, root):
    os.makedirs(root + '/local')
    with open(root + '/mbsyncrc', 'w') as f:
        f.write('''FSync no

IMAPAccount a
Host localhost
Port %d
User %s
Pass %s
SSLType IMAPS
CertificateFile %s/cert.pem

IMAPStore far
Account a

MaildirStore near
Path %s/local/
Inbox %s/local/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState %s/state/
''' % (house.port('imaps'), user, user.password, house.dir, root, root, root))
    os.makedirs(root + '/state')
    return lambda: run('mbsync', '-c', root + '/mbsyncrc', '-V', 'c')


def local(root, folder):
    return sorted(f for sub in ('new', 'cur') for f in os.listdir('%s/local/%s/%s' % (root, folder, sub)))


def state(house, user):
    """UIDs, flags and counters of every mailbox, as IMAP shows them."""
    with Imap(house, user) as c:
        out = {}
        for n in ['INBOX', 'Sent', 'Archive', 'Drafts', 'Trash', 'Junk']:
            r = c.ok('EXAMINE ' + n)
            rows = c.ok('FETCH 1:* (UID FLAGS)').all(r'\d+ FETCH \((.*)\)') if not r.has('0 EXISTS') else []
            out[n] = (r.find(r'OK \[HIGHESTMODSEQ (\d+)\]'), r.find(r'OK \[UIDNEXT (\d+)\]'), rows)
        return out


def test_mbsync(house, user):
    need('mbsync')
    root = house.root
    fill(house, user, MESSAGES)
    fill(house, user, 20, 'Archive')
    sync = mbsync_config(house, user, root)
    sync()
    assert len(local(root, 'INBOX')) == MESSAGES and len(local(root, 'Archive')) == 20
    assert all(os.path.isdir('%s/local/%s' % (root, n)) for n in ['Sent', 'Drafts', 'Trash', 'Junk'])

    # a second run changes nothing on either side
    before = state(house, user), {n: local(root, n) for n in ('INBOX', 'Archive')}
    sync()
    assert (state(house, user), {n: local(root, n) for n in ('INBOX', 'Archive')}) == before

    # there and back: new messages, flags, deletions and folders from both sides
    box = mailbox.Maildir(root + '/local/INBOX', factory=None)
    for i in range(10):
        box.add(mailbox.MaildirMessage(mail('local %d' % i).replace(b'\r\n', b'\n')))
    mine = [k for k in box.keys() if ',U=' in k and int(k.split(',U=')[1].split(':')[0]) < 4990]
    for key in mine[:7]:
        box.remove(key)
    seen = next(k for k in mine[7:] if box.get_message(k).get_flags() == '')
    m = box.get_message(seen)
    m.set_flags('FS')
    m.set_subdir('cur')
    box[seen] = m
    with Imap(house, user) as c:
        c.ok('SELECT INBOX')
        c.ok('UID STORE 4990:5000 +FLAGS.SILENT (\\Deleted)')
        c.ok('EXPUNGE')
        c.append(subject='far one')
        c.ok('CREATE Work/2026')
        c.append('Work/2026')
    sync()
    want = MESSAGES - 7 - 11 + 10 + 1
    assert len(local(root, 'INBOX')) == want
    assert os.path.isdir(root + '/local/Work/2026') and len(local(root, 'Work/2026')) == 1
    with Imap(house, user) as c:
        assert c.ok('SELECT INBOX').find(r'(\d+) EXISTS') == (str(want),)
    before = state(house, user)
    sync()
    assert state(house, user) == before


# ---- others ----

def test_mutt(house, user):
    need('mutt')
    try: # mutt wants a terminal of its own
        for fd in os.openpty():
            os.close(fd)
    except OSError as e:
        pytest.skip('no pseudo-terminal here: %s' % e)
    fill(house, user, 5)
    root = house.root
    with open(root + '/muttrc', 'w') as f:
        f.write('''set ssl_starttls=yes
set ssl_force_tls=yes
set certificate_file=%s/cert.pem
set imap_user="%s"
set imap_pass="%s"
set folder=imap://localhost:%d/
set spoolfile=+INBOX
set header_cache=%s/cache
set copy=no
set confirmappend=no confirmcreate=no delete=yes quit=yes wait_key=no sort=mailbox-order
set sleep_time=0 beep=no
''' % (house.dir, user, user.password, house.port('imap'), root))
    script = ('push "<first-entry><set-flag>!<next-entry><delete-message><next-entry><copy-message>=Archive<enter>'
              '<next-entry><save-message>=Trash<enter><sync-mailbox><quit>"')
    run('script', '-qec', "mutt -F %s/muttrc -e '%s'" % (root, script), '/dev/null', env={'TERM': 'vt100'},
        stdin=subprocess.DEVNULL)
    with Imap(house, user) as c:
        assert c.ok('STATUS Archive (MESSAGES)').has(r'STATUS Archive \(MESSAGES 1\)')
        assert c.ok('STATUS Trash (MESSAGES)').has(r'STATUS Trash \(MESSAGES 1\)')
        assert c.ok('SELECT INBOX').find(r'(\d+) EXISTS') == ('3',)
        assert '\\Flagged' in c.ok('FETCH 1 FLAGS').find(r'1 FETCH \(FLAGS \((.*)\)')[0]


def test_fetchmail(house, user):
    need('fetchmail')
    fill(house, user, 12)
    rc, got = house.root + '/fetchmailrc', house.root + '/got'
    with open(rc, 'w') as f:
        f.write('''poll localhost protocol imap port %d
user "%s" password "%s" ssl sslcertck sslcertfile %s/cert.pem no rewrite fetchall keep
mda "cat >> %s; echo >> %s"
''' % (house.port('imaps'), user, user.password, house.dir, got, got))
    os.chmod(rc, 0o600)
    fetch = ['fetchmail', '-f', rc, '--pidfile', house.root + '/pid', '--idfile', house.root + '/ids',
             '--nosyslog', '--nodetach']
    run(*fetch)
    with open(got) as f:
        text = f.read()
    assert all('Subject: message %d\n' % i in text for i in range(12))
    run(*(fetch + ['--fetchall', '--nokeep']))   # and again, deleting
    with Imap(house, user) as c:
        assert c.ok('STATUS INBOX (MESSAGES)').has(r'STATUS INBOX \(MESSAGES 0\)')
    run(*fetch, ok=(1,))   # nothing is left


def test_curl(house, user):
    need('curl')
    url = 'imaps://localhost:%d/' % house.port('imaps')

    def curl(path, *args):
        return run('curl', '-sS', '--cacert', house.dir + '/cert.pem', '-u', '%s:%s' % (user, user.password),
                   url + path, *args)
    assert '\\Sent' in curl('')
    with open(house.root + '/m', 'wb') as f:
        f.write(mail('by curl'))
    curl('INBOX', '-T', house.root + '/m')
    assert '* 1 FETCH (FLAGS (' in curl('INBOX', '-X', 'FETCH 1 FLAGS')
    assert curl('INBOX;UID=1') == mail('by curl').decode().replace('\r\n', '\n')
    assert 'STATUS INBOX (MESSAGES 1)' in curl('', '-X', 'STATUS INBOX (MESSAGES)')


def test_openssl(house, user):
    need('openssl')
    args = ['openssl', 's_client', '-quiet', '-crlf', '-CAfile', house.dir + '/cert.pem', '-verify_return_error',
            '-servername', 'localhost']
    script = 'a login %s %s\nb select INBOX\nc logout\n' % (user, user.password)
    for more in (['-connect', 'localhost:%d' % house.port('imaps')],
                 ['-connect', 'localhost:%d' % house.port('imap'), '-starttls', 'imap']):
        p = subprocess.Popen(args + more, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True)
        p.stdin.write(script)
        p.stdin.flush()
        out = p.stdout.read()
        p.stdin.close()
        p.wait(20)
        assert 'b OK [READ-WRITE]' in out and '* BYE' in out and 'c OK' in out, out


def test_imaplib(house, user):
    m = house.imap(user, tls=True)
    assert m.append('INBOX', '\\Seen', None, mail('one'))[0] == 'OK'
    assert m.select()[1] == [b'1']
    assert m.fetch('1', '(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])')[1][0][1] == b'Subject: one\r\n\r\n'
    assert m.store('1', '+FLAGS', '\\Deleted')[0] == 'OK'
    assert m.expunge()[1] == [b'1']
    assert m.create('"a folder"')[0] == 'OK' and m.select('"a folder"')[0] == 'OK'
    assert m.close()[0] == 'OK' and m.delete('"a folder"')[0] == 'OK'
    assert m.namespace()[1] == [b'(("" "/")) NIL NIL']
    assert m.enable('CONDSTORE')[0] == 'OK'
    assert m.logout()[0] == 'BYE'
