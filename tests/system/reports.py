"""Delivery reports as tests read them: Python's email package, RFC 3464 and RFC 6533; a house with a scripted server
elsewhere, and short times."""
import email
import email.policy
import os
import sys
from email.utils import parsedate_to_datetime

from conftest import TOP, wait_for

sys.path.insert(0, os.path.join(TOP, 'tests', 'mta'))
from relay_house import HELLO, Server  # noqa: E402, F401

CONFIG = '''
relay { port %d }
spool { retry-min 1s  retry-max 2s  site-retry-max 2s  %s }
route { transports hops  aliases system  %s }
table hops { entry "elsewhere.test [127.0.0.2]:%d" }
table system { type aliases path "%s/aliases" }
'''


def away(make_house, spool='', route='', aliases='', more=''):
    """(a house, the server that mail for elsewhere.test goes to)"""
    server = Server('127.0.0.2')
    house = make_house(start=False)
    os.chmod(house.root, 0o755)
    with open(house.root + '/aliases', 'w') as f:
        f.write(aliases)
    house.add(CONFIG % (server.port, spool, route, server.port, house.root) + more)
    house.start()
    return house, server


def submit(house, user, *to, mail=(), content='Subject: out\r\n\r\nHello.\r\n', sender=None):
    """to: addresses, or (address, parameters). Through submission; sender '': from a relaying client."""
    with house.smtp('submission', user) as c:
        c.ehlo()
        code, text = c.mail(str(user) if sender is None else sender, list(mail))
        assert code == 250, text
        for r in to:
            address, parameters = (r, []) if isinstance(r, str) else r
            code, text = c.rcpt(address, parameters)
            assert code == 250, text
        code, text = c.data(content)
        assert code == 250, text


class Report:
    """A message that must be a report; .message and .rcpts are its fields, .returned the last part."""

    def __init__(self, raw):
        self.raw = raw
        m = self.mail = email.message_from_bytes(raw, policy=email.policy.default)
        assert m.get_content_type() == 'multipart/report', raw
        assert m.get_param('report-type') == 'delivery-status'
        assert not m.defects and not any(p.defects for p in m.walk() if p is not m.get_payload()[-1])
        assert m['Return-Path'] is None or m['Return-Path'] == '<>'
        assert m['Auto-Submitted'] in ('auto-replied', 'auto-generated')
        assert m['From'].addresses[0].username == 'MAILER-DAEMON'
        self.parts = m.get_payload()
        assert self.parts[0].get_content_type() == 'text/plain' and 2 <= len(self.parts) <= 3
        self.text = self.parts[0].get_content()
        self.type = self.parts[1].get_content_type()
        self.message, *self.rcpts = self.blocks(self.parts[1])
        self.returned = self.parts[2] if len(self.parts) > 2 else None
        assert self.message['Reporting-MTA'].startswith('dns; ')
        assert parsedate_to_datetime(self.message['Arrival-Date'])
        for r in self.rcpts:
            kind, _, address = r['Final-Recipient'].partition(';')
            assert kind in ('rfc822', 'utf-8') and address.strip()
            digit = r['Status'].split('.')[0]
            assert digit in {'failed': '54', 'delayed': '4'}.get(r['Action'], '2'), (r['Action'], r['Status'])
            assert all(len(r.get_all(k)) == 1 for k in r.keys()), r.as_string()

    @staticmethod
    def blocks(part):
        if part.get_content_type() == 'message/delivery-status':
            return part.get_payload()
        assert part.get_content_type() == 'message/global-delivery-status'
        inner = part.get_payload()
        text = inner[0].as_bytes() if isinstance(inner, list) else part.get_payload(decode=True)
        return [email.message_from_string(b + '\n', policy=email.policy.default)
                for b in text.decode().replace('\r\n', '\n').strip('\n').split('\n\n')]

    def action(self, address):
        for r in self.rcpts:
            if r['Final-Recipient'].partition(';')[2].strip() == address:
                return r['Action']
        return None

    @property
    def one(self):
        (r,) = self.rcpts
        return r


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def reports(house, user, n=1):
    """The n reports in the user's mailbox, in the order they came."""
    got = []
    for stored in sorted(house.wait_stored(user, n), key=lambda s: os.stat(s.path).st_mtime_ns):
        got.append(Report(read(stored.path)))
    assert len(got) == n
    return got


def refuse(word, reply):
    """A script for RCPT: addresses that begin with word get this reply."""
    return lambda session, line: reply if '<' + word in line else None


def told(house, user, n):
    """{address: its fields} once the reports of the user tell of n recipients; one report may tell of several."""
    def look():
        rows = [r for stored in house.stored(user) for r in Report(read(stored.path)).rcpts]
        return rows if len(rows) >= n else None
    rows = wait_for('reports of %d recipients' % n, look)
    assert len(rows) == n
    return {r['Final-Recipient'].partition(';')[2].strip(): r for r in rows}
