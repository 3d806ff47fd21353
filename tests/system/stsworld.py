"""A domain elsewhere, dest.test, for tests of MTA-STS and TLSRPT: its records (of the house's block
dns), its mail servers, its policy's web server, all on loopback addresses and with a CA of their own."""
import os
import socket
import ssl
import sys
import threading
import time

from conftest import TOP, wait_for

sys.path.insert(0, os.path.join(TOP, 'tests', 'mta'))
from relay_house import HELLO, Server, certificate, server_tls  # noqa: E402


class Web:
    """An HTTPS server. `page`: bytes of a body; or a function of (the TLS connection, the request)
    that says all itself. What was asked is in .requests: (head, body)."""

    def __init__(self, tls, address='127.0.0.9', page=b''):
        self.tls, self.page, self.requests, self.handshakes = tls, page, [], 0
        self.sock = socket.create_server((address, 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        c.settimeout(30)
        self.handshakes += 1
        try:
            with self.tls.wrap_socket(c, server_side=True) as s, s.makefile('rb') as f:
                head = b''.join(iter(lambda: f.readline(10000).rstrip(b'\r\n') + b'\n', b'\n'))
                if not head.strip():
                    return   # the client did not like the certificate
                n = [int(r.split(b':')[1]) for r in head.splitlines() if r.lower().startswith(b'content-length:')]
                self.requests.append((head, f.read(n[0]) if n else b''))
                if callable(self.page):
                    self.page(s, head)
                else:
                    s.sendall(answer(self.page))
        except (OSError, ValueError):
            pass

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


def answer(body, status='200 OK', kind='text/plain', more=''):
    return ('HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n'
            % (status, kind, len(body), more)).encode() + body


def policy(mode='enforce', mx=('mx.dest.test',), max_age=86400, eol='\r\n'):
    rows = ['version: STSv1', 'mode: ' + mode] + ['mx: ' + m for m in mx] + ['max_age: %d' % max_age]
    return eol.join(rows + ['']).encode()


class World:
    """See above. records: {(name, type): [data]}, written down and taken by tell()."""
    MX = '127.0.0.2'

    def __init__(self, make_house, tmp_path, settings='', names=('mx.dest.test', 'other.dest.test')):
        self.dir = str(tmp_path)
        certificate(self.dir, 'ca', 'Test CA')
        certificate(self.dir, 'web', 'mta-sts.dest.test', 'ca')
        certificate(self.dir, 'stranger', 'stranger.test', 'ca')
        for name in names:
            certificate(self.dir, name, name, 'ca')
        certificate(self.dir, 'own', 'mx.dest.test')
        self.web = Web(self.tls('web'))
        self.mx = Server(self.MX, tls=self.tls('mx.dest.test'))
        self.house = make_house(start=False)
        self.base = self.house.config() + (
            'relay { port %d ca-file "%s/ca.pem" }\nspool { retry-min 1s retry-max 1s }\n'
            'fetch { ca-file "%s/ca.pem" https-port %d private-networks 127.0.0.0/8 policy-timeout 2s '
            'policy-retry 1s }\n%s\n' % (self.mx.port, self.dir, self.dir, self.web.port, settings))
        self.records = {
            ('dest.test', 'MX'): ['10 mx.dest.test.'], ('mx.dest.test', 'A'): [self.MX],
            ('mta-sts.dest.test', 'A'): ['127.0.0.9'],
            ('_mta-sts.dest.test', 'TXT'): ['"v=STSv1; id=1;"']}
        self.servers = [self.mx]

    def tls(self, name):
        return server_tls('%s/%s.pem' % (self.dir, name), '%s/%s.key' % (self.dir, name))

    def path(self, name):
        return '%s/%s.pem' % (self.dir, name)

    def server(self, address, cert):
        self.servers.append(Server(address, self.mx.port, tls=cert and self.tls(cert)))
        return self.servers[-1]

    def tell(self, **records):
        """Writes the configuration with the records of now, and has it taken."""
        rows = ['record "%s 1 IN %s %s"' % (n, k, d.replace('"', '\\"')) for (n, k), v in self.records.items() for d in v]
        self.house.config(self.base + 'dns {\n zone dest.test\n %s\n}\n' % '\n '.join(rows))
        if self.house.running:
            self.house.reload()

    def start(self):
        self.tell()
        self.house.start()
        self.user = self.house.user('user1')

    def id(self, n):
        self.records['_mta-sts.dest.test', 'TXT'] = ['"v=STSv1; id=%s;"' % n]

    def send(self, to='a@dest.test'):
        with self.house.smtp('submission', self.user) as c:
            c.sendmail(str(self.user), [to], b'Subject: out\r\n\r\nHello.\r\n')

    def arrives(self, server=None, n=1):
        server = server or self.mx
        wait_for('%d messages at dest.test' % n, lambda: len(server.mail) >= n)
        self.house.wait_queue_empty()
        return server.mail

    def kept(self, why):
        """Until a try failed with these words, which must keep the message."""
        got = self.house.wait_event('relay.host_failed', lambda f: why in f['text'])
        assert got[-1]['smtp'] == '451'
        assert self.house.queue()['messages'] >= 1
        assert not any(s.mail for s in self.servers), 'it was sent'

    def close(self):
        for s in self.servers:
            s.close()
        self.web.close()


def hang(conn, head):
    time.sleep(30)


__all__ = ['HELLO', 'Server', 'Web', 'World', 'answer', 'certificate', 'hang', 'policy', 'ssl']
