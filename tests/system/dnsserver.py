"""A scripted name server on 127.0.0.1, UDP and TCP, for tests.

    with DnsServer() as dns:
        dns.add('example.test', 'MX', (10, 'mx.example.test'), ttl=60)
        dns.add('mx.example.test', 'A', '127.0.0.1')
        house = make_house(dns=dns)         # or: posthorn sandbox DIR --dns dns.address

Names that were not added do not exist. `dns.misbehave(name, how)` makes the answers about a name
bad: 'hang' (none comes), 'refuse', 'servfail', 'garbage', 'other-id', 'other-name', 'truncate' (TC over UDP,
nothing over TCP), 'cut' (half of the answer). `dns.asked` is a list of (name, type, transport).
"""
import collections
import socket
import struct
import threading

TYPES = {'A': 1, 'NS': 2, 'CNAME': 5, 'SOA': 6, 'PTR': 12, 'MX': 15, 'TXT': 16, 'AAAA': 28, 'SRV': 33,
         'DS': 43, 'RRSIG': 46, 'NSEC': 47, 'DNSKEY': 48, 'TLSA': 52}
RCODES = {'servfail': 2, 'refuse': 5}


def wire_name(name):
    labels = [l.encode() for l in name.rstrip('.').split('.') if l]
    return b''.join(bytes([len(l)]) + l for l in labels) + b'\0'


def rdata(kind, value):
    """Wire form of a record's data; bytes pass as they are."""
    if isinstance(value, bytes):
        return value
    if kind in ('A', 'AAAA'):
        return socket.inet_pton(socket.AF_INET if kind == 'A' else socket.AF_INET6, value)
    if kind in ('NS', 'CNAME', 'PTR'):
        return wire_name(value)
    if kind == 'MX':
        return struct.pack('>H', value[0]) + wire_name(value[1])
    if kind == 'TXT':
        parts = [value] if isinstance(value, str) else value
        return b''.join(bytes([len(p)]) + p.encode() for p in parts)
    if kind == 'TLSA':
        return bytes(value[:3]) + value[3]
    raise ValueError(kind)


class DnsServer:
    def __init__(self):
        self.records, self.names = collections.defaultdict(list), set()
        self.bad, self.asked = {}, []
        self.udp, self.tcp = self.sockets()
        self.port = self.udp.getsockname()[1]
        self.address = '127.0.0.1:%d' % self.port
        self.running = True
        for run in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=run, daemon=True).start()

    @staticmethod
    def sockets():
        """A UDP and a listening TCP socket of one port."""
        for _ in range(100):
            udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
            try:
                udp.bind(('127.0.0.1', 0))
                tcp.bind(udp.getsockname())
                tcp.listen(32)
                return udp, tcp
            except OSError:  # somebody has that TCP port
                udp.close()
                tcp.close()
        raise RuntimeError('no port that is free for both UDP and TCP')

    def add(self, name, kind, *values, ttl=300):
        name = name.lower().rstrip('.')
        for v in values:
            self.records[name, TYPES[kind]].append((ttl, rdata(kind, v)))
        parts = name.split('.')
        self.names.update('.'.join(parts[i:]) for i in range(len(parts)))

    def clear(self, name, kind):
        self.records.pop((name, TYPES[kind]), None)

    def misbehave(self, name, how):
        self.bad[name] = how

    def behave(self, name):
        self.bad.pop(name, None)

    def count(self, name, kind):
        return sum(n == name and t == TYPES[kind] for n, t, _ in self.asked)

    # -- serving --

    def serve_udp(self):
        while self.running:
            try:
                query, peer = self.udp.recvfrom(4096)
                for answer in self.answer(query, 'udp'):
                    self.udp.sendto(answer, peer)
            except OSError:
                return

    def serve_tcp(self):
        while self.running:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_stream, args=(sock,), daemon=True).start()

    def serve_stream(self, sock):
        with sock, sock.makefile('rb') as f:
            sock.settimeout(30)
            try:
                while True:
                    head = f.read(2)
                    if len(head) < 2:
                        return
                    for answer in self.answer(f.read(struct.unpack('>H', head)[0]), 'tcp'):
                        sock.sendall(struct.pack('>H', len(answer)) + answer)
            except OSError:
                return

    def answer(self, query, transport):
        """The answers to one query: usually one, none for silence."""
        try:
            ident, _, _, _, _, extra = struct.unpack('>HHHHHH', query[:12])
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode('latin-1'))
                at += 1 + query[at]
            kind, = struct.unpack('>H', query[at + 1:at + 3])
            question = query[12:at + 5]
        except (struct.error, IndexError):
            return []
        name = '.'.join(labels).lower()
        self.asked.append((name, kind, transport))
        return self.misbehaved(ident, name, kind, question, transport, extra > 0)

    def misbehaved(self, ident, name, kind, question, transport, edns):
        how = self.bad.get(name)
        if how == 'hang' or (how == 'truncate' and transport == 'tcp'):
            return []
        if how in RCODES:
            return [self.packet(ident, question, RCODES[how], [], [])]
        if how == 'garbage':
            return [struct.pack('>H', ident) + b'\x81\x80\0\1\0\7' + b'\xc0\x0c' * 30]
        good = self.reply(ident, name, kind, question)
        if how == 'other-id':
            return [self.reply(ident ^ 1, name, kind, question)]
        if how == 'other-name':
            other = wire_name('other.test') + question[-4:]
            return [self.reply(ident, name, kind, other)]
        if how == 'cut':
            return [good[:len(good) // 2]]
        if how == 'truncate' or (transport == 'udp' and len(good) > (1232 if edns else 512)):
            return [self.packet(ident, question, 0, [], [], truncated=True)]
        return [good]

    def reply(self, ident, name, kind, question):
        found, seen = [], set()
        while (name, TYPES['CNAME']) in self.records and kind != TYPES['CNAME'] and name not in seen:
            seen.add(name)
            ttl, data = self.records[name, TYPES['CNAME']][0]
            found.append((name, TYPES['CNAME'], ttl, data))
            name = self.text(data)
        found += [(name, kind, ttl, data) for ttl, data in self.records.get((name, kind), [])]
        authority = [] if found and found[-1][1] == kind else [self.soa(name)]
        rcode = 0 if name in self.names or found else 3
        return self.packet(ident, question, rcode, found, authority)

    @staticmethod
    def text(data):
        labels, at = [], 0
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode('latin-1'))
            at += 1 + data[at]
        return '.'.join(labels)

    @staticmethod
    def soa(name):
        zone = '.'.join(name.split('.')[-2:])
        data = wire_name('ns.' + zone) + wire_name('admin.' + zone) + struct.pack('>5I', 1, 60, 60, 60, 2)
        return zone, TYPES['SOA'], 2, data

    @staticmethod
    def packet(ident, question, rcode, found, authority, truncated=False):
        flags = 0x8180 | rcode | (0x0200 if truncated else 0)
        out = struct.pack('>6H', ident, flags, 1, len(found), len(authority), 0) + question
        for name, kind, ttl, data in found + authority:
            out += wire_name(name) + struct.pack('>HHIH', kind, 1, ttl, len(data)) + data
        return out

    def close(self):
        self.running = False
        self.udp.close()
        self.tcp.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
