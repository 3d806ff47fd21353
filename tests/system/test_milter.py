"""Milters as plugins: every callback and change over python3-milter, signatures of opendkim, and milters
that lie, hang and send garbage."""
import json
import os
import shutil
import smtplib
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from conftest import build_folder, message, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK = '''
plugin %(name)s {
	file "%(file)s"
	grant %(grants)s
	sandbox net
	timeout 10s
	socket "%(socket)s"
	%(more)s
}
'''
ALL = 'network, headers, recipients, sender, body'


def add(h, sock, name='milter', more='', grants=ALL):
    h.add(BLOCK % {'name': name, 'socket': sock, 'more': more, 'grants': grants,
                   'file': os.path.join(os.path.abspath(build_folder()), 'plugins/milter/milter.so')})


def house(make_house, sock, **more):
    h = make_house(start=False)
    add(h, sock, **more)
    h.start()
    h.test_user = h.user('user1')
    return h


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def open_socket(port):
    try:
        socket.create_connection(('127.0.0.1', port), 1).close()
        return True
    except OSError:
        return False


def do(h, *what, sender='sender@elsewhere.test', to=None, subject='test', fields='', body='Hello.\r\n'):
    """One message that asks the milter for this: the reply's code and text."""
    text = ''.join('X-Do: %s\r\n' % w for w in what) + fields + \
        'Subject: %s\r\nFrom: a@elsewhere.test\r\n\r\n%s' % (subject, body)
    try:
        with h.smtp() as s:
            s.sendmail(sender, to or [str(h.test_user)], text)
    except smtplib.SMTPRecipientsRefused as e:
        return list(e.recipients.values())[0]
    except smtplib.SMTPResponseException as e:
        return e.smtp_code, e.smtp_error
    return 250, b''


def stored_text(h, user, i=0):
    with open(h.stored(user)[i].path, encoding='utf-8', newline='') as f:
        return f.read().replace('\r\n', '\n')


# ---- python3-milter ----

class Python:
    def __init__(self, folder, python='/usr/bin/python3'):
        self.port, self.log = free_port(), os.path.join(folder, 'heard')
        self.sock = 'inet:%d@127.0.0.1' % self.port
        self.process = subprocess.Popen([python, os.path.join(HERE, 'milter_all.py'), self.sock, self.log])
        wait_for('the milter to listen', lambda: open_socket(self.port))
        self.forget()

    def forget(self):
        open(self.log, 'w', encoding='utf-8').close()

    def heard(self):
        with open(self.log, encoding='utf-8') as f:
            return [json.loads(line) for line in f]

    def words(self):
        return [x[0] for x in self.heard()]

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def python(tmp_path):
    if subprocess.run(['/usr/bin/python3', '-c', 'import Milter'], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        pytest.skip('python3-milter is not installed')
    p = Python(str(tmp_path))
    yield p
    p.stop()


def test_every_callback(make_house, python):
    h = house(make_house, python.sock, more='macro "{site} here"')
    python.forget()
    body = ('x' * 70 + '\r\n') * 2000
    assert do(h, fields='X-Lead:  two blanks\r\nX-Fold: one\r\n two\r\n', body=body)[0] == 250
    wait_for('the milter to hear the end', lambda: 'close' in python.words())
    heard = python.heard()
    names = [x[0] for x in heard]
    short = [n for i, n in enumerate(names) if not i or names[i - 1] != n]
    assert short == ['connect', 'hello', 'mail', 'rcpt', 'data', 'header', 'eoh', 'body', 'eom', 'close']
    by = {x[0]: x for x in heard}
    assert by['connect'][1] == '[127.0.0.1]' and by['connect'][3][0] == '127.0.0.1'
    assert by['connect'][4]['{daemon_name}'] == 'smtp' and by['connect'][4]['j']
    assert by['mail'][1] == '<sender@elsewhere.test>'
    assert any(a.startswith('SIZE=') for a in by['mail'][2]), by['mail']
    assert by['mail'][3]['i'] and by['mail'][3]['{mail_addr}'] == 'sender@elsewhere.test'
    assert by['mail'][3]['{auth_authen}'] is None
    assert by['rcpt'][1] == '<user1@example.test>' and by['rcpt'][3]['{rcpt_addr}'] == 'user1@example.test'
    headers = [tuple(x[1:]) for x in heard if x[0] == 'header']
    assert ('X-Fold', 'one\n two') in headers and 'Received' not in [n for n, _ in headers]
    assert sum(x[1] for x in heard if x[0] == 'body') == len(body)
    assert by['eom'][1]['i'] == by['mail'][3]['i']


def test_changes(make_house, python):
    h = house(make_house, python.sock)
    fields = 'X-Twice: 1\r\nX-Twice: 2\r\n'
    assert do(h, 'headers', 'body', 'sender', 'progress', fields=fields)[0] == 250
    h.wait_stored(h.test_user, 1)
    text = stored_text(h, h.test_user)
    assert text.startswith('Return-Path: <other@elsewhere.test>\n')
    assert '\nSubject: changed\n' in text and 'Subject: test' not in text
    assert 'X-Twice: 1\n' in text and 'X-Twice: 2' not in text
    assert text.index('X-First: inserted') < text.index('Received:')
    assert text.split('\n\n')[0].endswith('X-Last: added\n\tfolded\nX-New: made')
    assert text.endswith('\n\nAnother body.\nTwo chunks.\n')


def test_recipients(make_house, python):
    h = house(make_house, python.sock)
    third, fourth = h.user('user3'), h.user('user4')
    assert do(h, 'rcpts')[0] == 250
    h.wait_stored(third, 1)
    h.wait_stored(fourth, 1)
    assert not h.stored(h.test_user)


def test_answers(make_house, python):
    h = house(make_house, python.sock)
    second = h.user('user2')
    assert do(h, sender='mail-no@elsewhere.test') == (552, b'5.2.3 no % thanks really')
    assert do(h, to=[str(second)]) == (450, b'4.2.1 busy')
    assert do(h, 'reject')[0] == 550
    assert do(h, sender='discard-it@elsewhere.test', subject='gone')[0] == 250
    python.forget()
    assert do(h, sender='accept-it@elsewhere.test', subject='passed')[0] == 250
    h.wait_stored(h.test_user, 1)
    assert 'header' not in python.words()
    assert do(h, 'skip', subject='skip', body=('y' * 70 + '\r\n') * 5000)[0] == 250
    assert python.words().count('body') == 1
    assert do(h, 'quarantine', subject='held')[0] == 250
    assert [r['state'] for r in h.json('queue', 'list')] == ['held']
    h.wait_stored(h.test_user, 2)
    assert sorted(h.subjects(h.test_user)) == ['passed', 'skip']
    with h.raw() as c:
        c.reply()
        assert c.say('EHLO reject.test')[0] == 550


def test_abort_and_a_second_message(make_house, python):
    h = house(make_house, python.sock)
    python.forget()
    with h.raw() as c:
        c.reply()
        c.say('EHLO client.test')
        assert c.say('MAIL FROM:<a@elsewhere.test>')[0] == 250
        assert c.say('RSET')[0] == 250
        assert c.say('MAIL FROM:<b@elsewhere.test>')[0] == 250
        assert c.say('RCPT TO:<user1@example.test>')[0] == 250
        assert c.say('DATA')[0] == 354
        assert c.say('Subject: one\r\n\r\nHello.\r\n.')[0] == 250
        assert c.say('MAIL FROM:<c@elsewhere.test>')[0] == 250
        c.say('QUIT')
    wait_for('the milter to hear the end', lambda: 'close' in python.words())
    words = [w for w in python.words() if w in ('connect', 'mail', 'abort', 'eom', 'close')]
    assert words == ['connect', 'mail', 'abort', 'mail', 'eom', 'mail', 'abort', 'close']


def test_a_milter_that_was_restarted(make_house, python, tmp_path):
    """What it had heard of the connection is told to its successor."""
    h = house(make_house, python.sock)
    with h.raw() as c:
        c.reply()
        c.say('EHLO client.test')
        assert c.say('MAIL FROM:<a@elsewhere.test>')[0] == 250
        python.stop()
        python.process = subprocess.Popen(['/usr/bin/python3', os.path.join(HERE, 'milter_all.py'),
                                           python.sock, python.log])
        wait_for('the milter to listen', lambda: open_socket(python.port))
        python.forget()
        assert c.say('RCPT TO:<user1@example.test>')[0] == 250
        assert c.say('DATA')[0] == 354
        assert c.say('Subject: one\r\n\r\nHello.\r\n.')[0] == 250
    assert [w for w in python.words() if w != 'header'][:4] == ['connect', 'hello', 'mail', 'rcpt']


# ---- opendkim ----

def test_opendkim_signs_and_two_in_order(make_house, python, tmp_path):
    """What one milter changes the next one signs."""
    if not shutil.which('opendkim') or not shutil.which('opendkim-genkey'):
        pytest.skip('opendkim is not installed')
    port = free_port()
    subprocess.run(['opendkim-genkey', '-b', '2048', '-d', 'elsewhere.test', '-s', 'sel', '-D', str(tmp_path)],
                   check=True)
    conf = tmp_path / 'opendkim.conf'
    conf.write_text('Mode sv\nDomain elsewhere.test\nSelector sel\nKeyFile %s/sel.private\n'
                    'InternalHosts 127.0.0.1\nRequireSafeKeys no\nCanonicalization simple/simple\n' % tmp_path)
    process = subprocess.Popen(['opendkim', '-f', '-x', str(conf), '-p', 'inet:%d@127.0.0.1' % port])
    try:
        wait_for('opendkim to listen', lambda: open_socket(port))
        h = make_house(start=False)
        add(h, python.sock, 'first')
        add(h, 'inet:127.0.0.1:%d' % port, 'opendkim', grants='network, headers')
        h.start()
        h.test_user = h.user('user1')
        assert do(h, 'headers', fields='X-Twice: 1\r\nX-Twice: 2\r\n')[0] == 250
        h.wait_stored(h.test_user, 1)
    finally:
        process.kill()
        process.wait()
    text = stored_text(h, h.test_user)
    assert 'DKIM-Signature: ' in text and 'Subject: changed' in text
    check_signature(tmp_path, text)


def check_signature(tmp_path, text):
    """By opendkim's own verifier, with the key from a file."""
    dkim = pytest.importorskip('dkim')
    record = (tmp_path / 'sel.txt').read_text()
    key = ''.join(record.split('"')[1::2])
    body = text[text.index('DKIM-Signature'):].replace('\n', '\r\n').encode()
    assert dkim.verify(body, dnsfunc=lambda name, timeout=5: key.encode())


# ---- milters that misbehave ----

OFFER = struct.pack('>III', 6, 0x1ff, 0)


def packet(command, data=b''):
    return struct.pack('>I', len(data) + 1) + command + data


class Scripted:
    """Answers each command as the script says: bytes, None (no answer), or 'close'."""

    def __init__(self, script, offer=OFFER):
        self.script, self.offer, self.commands = script, offer, []
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.sock = 'inet:%d@127.0.0.1' % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(c,), daemon=True).start()

    def talk(self, c):
        f = c.makefile('rb')
        try:
            while True:
                n = struct.unpack('>I', f.read(4))[0]
                command = f.read(n)[:1]
                self.commands.append(command)
                if command in (b'D', b'A', b'Q', b'K'):
                    continue
                answer = packet(b'O', self.offer) if command == b'O' else packet(b'c')
                answer = self.script.get(command, answer)
                if answer == 'close':
                    return
                if answer:
                    c.sendall(answer)
        except (OSError, struct.error):
            pass
        finally:
            f.close()
            c.close()

    def stop(self):
        self.listener.close()


HEADER = struct.pack('>I', 1)
LIES = {
    'hangs at connect': {b'C': None},
    'hangs at the end': {b'E': None},
    'closes at negotiation': {b'O': 'close'},
    'closes at the end': {b'E': 'close'},
    'garbage instead of an offer': {b'O': b'HTTP/1.1 400 Bad Request\r\n\r\n'},
    'a huge packet': {b'E': struct.pack('>I', 0xffffffff) + b'x' * 100},
    'an empty packet': {b'M': struct.pack('>I', 0)},
    'an unknown answer': {b'R': packet(b'?')},
    'a version of the future': {b'O': packet(b'O', struct.pack('>III', 99, 0, 0))},
    'more than was offered': {b'O': packet(b'O', struct.pack('>III', 6, 0xffff, 0))},
    'a short offer': {b'O': packet(b'O', b'\0\0')},
    'a header without an end': {b'E': packet(b'h', b'X-Name\0value') + packet(b'c')},
    'a change before the end': {b'M': packet(b'h', b'X-A\0b\0') + packet(b'c')},
    'a code that is none': {b'M': packet(b'y', b'250 2.0.0 fine\0')},
    'a name that is none': {b'E': packet(b'h', b'X Y:\0b\0') + packet(b'c')},
    'skip where it cannot be': {b'H': packet(b's')},
    'an address that is none': {b'E': packet(b'+', b'<not an address>\0') + packet(b'c')},
    'endless progress': {b'E': packet(b'p') * 2000},
}


@pytest.mark.parametrize('lie', LIES)
def test_lies(make_house, lie):
    m = Scripted(LIES[lie])
    h = house(make_house, m.sock, more='connect-timeout 1s command-timeout 1s content-timeout 1s')
    try:
        with h.smtp() as s:
            codes = [s.ehlo('client.test')[0], s.mail('a@elsewhere.test')[0]]
            codes.append(s.rcpt('user1@example.test')[0])
            if codes[-1] == 250:
                codes.append(s.data(b'Subject: x\r\n\r\nHello.\r\n')[0])
    except smtplib.SMTPResponseException as e:
        codes = [e.smtp_code]
    except smtplib.SMTPServerDisconnected:
        codes = [0]
    m.stop()
    assert any(400 <= c < 500 for c in codes), codes
    h.wait_event('plugin.log', lambda f: f['plugin'] == 'milter')
    h.wait_queue_empty()
    assert not h.stored(h.test_user)


@pytest.mark.parametrize('action,code', [('tempfail', 451), ('reject', 550), ('accept', 250),
                                         ('quarantine', 250)])
def test_default_actions(make_house, action, code):
    m = Scripted({b'E': 'close'})
    h = house(make_house, m.sock, more='default-action ' + action)
    assert do(h, subject='x')[0] == code
    m.stop()
    if action == 'accept':
        h.wait_stored(h.test_user, 1)
    if action == 'quarantine':
        assert [r['state'] for r in h.json('queue', 'list')] == ['held']


def test_nobody_listens(make_house):
    h = house(make_house, 'inet:%d@127.0.0.1' % free_port(), more='default-action accept')
    assert do(h, subject='x')[0] == 250
    h.wait_stored(h.test_user, 1)


def test_what_it_does_not_want_it_does_not_hear(make_house):
    """All NO bits; then all NR bits: nothing waits for an answer that was not to come."""
    m = Scripted({b'E': packet(b'h', b'X-Quiet\0yes\0') + packet(b'a')},
                 offer=struct.pack('>III', 6, 1, 0x37f & ~0x80))
    h = house(make_house, m.sock)
    assert do(h)[0] == 250
    h.wait_stored(h.test_user, 1)
    assert 'X-Quiet: yes' in stored_text(h, h.test_user)
    assert set(m.commands) <= {b'O', b'D', b'E', b'Q', b'A'}, m.commands
    m.stop()


def test_no_replies(make_house):
    silent = {c: None for c in (b'C', b'H', b'M', b'R', b'T', b'L', b'N', b'B')}
    silent[b'E'] = packet(b'h', b'X-Quiet\0yes\0') + packet(b'a')
    m = Scripted(silent, offer=struct.pack('>III', 6, 1, 0xff080))
    h = house(make_house, m.sock)
    start = time.monotonic()
    assert do(h)[0] == 250
    h.wait_stored(h.test_user, 1)
    assert time.monotonic() - start < 5
    assert 'X-Quiet: yes' in stored_text(h, h.test_user)
    assert {b'C', b'H', b'M', b'R', b'T', b'L', b'N', b'B', b'E'} <= set(m.commands)
    m.stop()


def test_asked_for_macros(make_house):
    """A list of macros in the negotiation replaces the usual ones."""
    got = []

    class Listing(Scripted):
        def talk(self, c):
            f = c.makefile('rb')
            while True:
                head = f.read(4)
                if len(head) < 4:
                    return
                data = f.read(struct.unpack('>I', head)[0])
                if data[:1] == b'D':
                    got.append(data[1:])
                    continue
                if data[:1] == b'O':
                    c.sendall(packet(b'O', OFFER + struct.pack('>I', 2) + b'{mail_host} {site}\0'))
                elif data[:1] not in b'AQK':
                    c.sendall(packet(b'c'))

    m = Listing({})
    h = house(make_house, m.sock, more='macro "{site} here"')
    assert do(h)[0] == 250
    m.stop()
    assert b'M{mail_host}\0elsewhere.test\0{site}\0here\0' in got, got


def test_a_unix_socket_and_mail_of_the_house(make_house, tmp_path):
    path = '/tmp/posthorn-milter-%d.sock' % os.getpid()
    m = Scripted({b'E': packet(b'h', b'X-Seen\0yes\0') + packet(b'a')})
    m.listener.close()
    m.listener = socket.socket(socket.AF_UNIX)
    m.listener.bind(path)
    os.chmod(path, 0o666)
    m.listener.listen(5)
    threading.Thread(target=m.serve, daemon=True).start()
    try:
        h = house(make_house, 'unix:' + path, more='local on')
        assert do(h)[0] == 250
        h.wait_stored(h.test_user, 1)
        assert 'X-Seen: yes' in stored_text(h, h.test_user)
    finally:
        m.stop()
        os.unlink(path)
