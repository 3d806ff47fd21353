"""IMAP said word for word, for what imaplib would not say or would not show.

    c = Imap(house, user)                    # logged in; without a user: greeting read
    r = c.cmd('SELECT INBOX')                # r.status 'OK', r.text, r.untagged [str]
    c.ok('APPEND INBOX', b'From: ...')       # the bytes as a literal; fails unless OK
    r.find(r'(\\d+) EXISTS')                   # groups of the first untagged line that matches
"""
import re
import socket

from conftest import PATIENCE


class Answer:
    def __init__(self, untagged, status, text):
        self.untagged, self.status, self.text = untagged, status, text

    def __repr__(self):
        return '%s %s %r' % (self.status, self.text, self.untagged)

    def find(self, pattern):
        for line in self.untagged:
            m = re.match(r'\* ' + pattern, line)
            if m:
                return m.groups() or (m.group(),)
        raise AssertionError('no %r in %r' % (pattern, self))

    def has(self, pattern):
        return any(re.match(r'\* ' + pattern, line) for line in self.untagged)

    def all(self, pattern):
        """Of each untagged line that matches: its group, or groups."""
        found = [re.match(r'\* ' + pattern, line) for line in self.untagged]
        return [m.groups() if len(m.groups()) > 1 else m.group(1) for m in found if m]

    def code(self):
        """The response code of the tagged line, '' without one."""
        m = re.match(r'\[([^\]]*)\]', self.text)
        return m.group(1) if m else ''


class Imap:
    def __init__(self, house, user=None, tls=False, greeting=True):
        self.sock = socket.create_connection(('127.0.0.1', house.port('imaps' if tls else 'imap')),
                                             timeout=PATIENCE)
        if tls:
            self.sock = house.tls_context().wrap_socket(self.sock, server_hostname='localhost')
        self.file = self.sock.makefile('rb')
        self.number = 0
        self.greeting = self.response() if greeting else None
        if user:
            self.ok('LOGIN "%s" "%s"' % (user.address, user.password))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def starttls(self, house):
        self.sock = house.tls_context().wrap_socket(self.sock, server_hostname='localhost')
        self.file = self.sock.makefile('rb')

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def response(self):
        """One response, its literals in place; '' at the end of the connection."""
        data = b''
        while True:
            line = self.file.readline()
            data += line
            m = re.search(rb'\{(\d+)\}\r\n$', line)
            if not m:
                break
            data += self.file.read(int(m.group(1)))
        assert not data or data.endswith(b'\r\n'), data
        return data[:-2].decode(errors='replace')

    def answer(self, tag):
        """Everything up to the tagged line of tag. Status '' at the end of the connection."""
        untagged = []
        while True:
            line = self.response()
            if not line:
                return Answer(untagged, '', '')
            if line.startswith(tag + ' '):
                status, _, text = line[len(tag) + 1:].partition(' ')
                return Answer(untagged, status, text)
            untagged.append(line)

    def begin(self, *parts):
        """Sends a command: text, and bytes as synchronizing literals. Its tag."""
        self.number += 1
        tag = 'c%d' % self.number
        self.send(tag + ' ')
        for i, part in enumerate(parts):
            if isinstance(part, bytes):
                self.send(' {%d}\r\n' % len(part))
                line = self.response()
                if not line.startswith('+'):
                    self.early = line
                    return tag
                self.send(part)
            else:
                self.send(part)
        self.send('\r\n')
        return tag

    def cmd(self, *parts):
        self.early = None
        tag = self.begin(*parts)
        if not self.early:
            return self.answer(tag)
        untagged = []
        while not self.early.startswith(tag + ' '):
            untagged.append(self.early)
            self.early = self.response()
        status, _, text = self.early[len(tag) + 1:].partition(' ')
        return Answer(untagged, status, text)

    def ok(self, *parts):
        r = self.cmd(*parts)
        assert r.status == 'OK', (parts, r)
        return r

    def no(self, *parts):
        r = self.cmd(*parts)
        assert r.status == 'NO', (parts, r)
        return r

    def bad(self, *parts):
        r = self.cmd(*parts)
        assert r.status == 'BAD', (parts, r)
        return r

    def append(self, mailbox='INBOX', flags='', text=None, subject='test'):
        text = text or mail(subject)
        r = self.ok('APPEND %s%s' % (mailbox, ' (%s)' % flags if flags else ''), text)
        return int(r.code().split()[2])


def mail(subject='test', body='Hello.'):
    return ('From: a@example.test\r\nTo: b@example.test\r\nSubject: %s\r\n'
            'Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%s@example.test>\r\n\r\n%s\r\n'
            % (subject, re.sub(r'\W', '-', subject), body)).encode()
