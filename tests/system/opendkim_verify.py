"""opendkim-testmsg with a DNS of ours: run by `unshare -nm`, since it asks the system's resolver, which
asks port 53. Argument: a JSON file {name: [strings of a TXT record]}; the message is standard input."""
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from dnsserver import DnsServer  # noqa: E402


class Port53(DnsServer):
    @staticmethod
    def sockets():
        udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        udp.bind(('127.0.0.1', 53))
        tcp.bind(('127.0.0.1', 53))
        tcp.listen(8)
        return udp, tcp


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack('16sh14x', b'lo', 1))  # SIOCSIFFLAGS, IFF_UP


def main():
    loopback_up()
    with tempfile.NamedTemporaryFile('w') as f:
        f.write('nameserver 127.0.0.1\n')
        f.flush()
        subprocess.run(['mount', '--bind', f.name, '/etc/resolv.conf'], check=True)
        with Port53() as dns, open(sys.argv[1], encoding='utf-8') as records:
            for name, strings in json.load(records).items():
                dns.add(name, 'TXT', strings)
            return subprocess.run(['/usr/sbin/opendkim-testmsg'], stdin=sys.stdin).returncode


sys.exit(main())
