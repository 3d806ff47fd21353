"""One IMAP connection that costs the measuring side little: it looks only for the end
of an answer, so that the time of a large FETCH is the server's."""
import socket
import ssl

BUFFER = 1 << 20


class ImapConn:
    def __init__(self, port, tls=False):
        self.socket = socket.create_connection(('127.0.0.1', port), 300)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.tags = 0
        self.buffer = bytearray(BUFFER)
        self.read()

    def read(self):
        n = self.socket.recv_into(self.buffer)
        if not n:
            raise EOFError('the server closed the connection')
        return n

    def command(self, line):
        """Sends a command; returns how many bytes the answer had, once it is complete."""
        self.tags += 1
        self.socket.sendall(b't%d %s\r\n' % (self.tags, line.encode()))
        want = b'\r\nt%d ' % self.tags
        tail, total = b'\r\n', 0
        while True:
            n = self.read()
            total += n
            tail = (tail + bytes(self.buffer[max(0, n - 4096):n]))[-4096:]
            at = tail.rfind(want)
            if at >= 0 and tail.endswith(b'\r\n'):
                answer = tail[at + len(want):]
                if not answer.startswith(b'OK'):
                    raise RuntimeError('%s: %r' % (line, answer))
                return total

    def login(self, user, password):
        self.command('LOGIN %s %s' % (user, password))
        return self

    def idle(self):
        """Begins IDLE; there is no way back."""
        self.tags += 1
        self.socket.sendall(b't%d IDLE\r\n' % self.tags)
        self.read()

    def close(self):
        self.socket.close()
