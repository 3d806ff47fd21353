"""BINARYMIME (RFC 3030): octets that are no lines, kept exactly; sent on only to servers that take them."""
import email
import os
import sys

import pytest

from conftest import TOP, wait_for

sys.path.insert(0, os.path.join(TOP, 'tests', 'mta'))
from relay_house import HELLO, Server  # noqa: E402

HEADER = (b'From: user1@example.test\r\nSubject: binary\r\nMIME-Version: 1.0\r\n'
          b'Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n')
BODY = bytes(range(256)) * 40 + b'\n\r\r\n.\r\n.no end'
AT = '[127.0.0.2]'


def begin(c, to='user1@example.test', body='BINARYMIME'):
    assert c.say('MAIL FROM:<user2@example.test> BODY=' + body)[0] == 250
    assert c.say('RCPT TO:<%s>' % to)[0] == 250


def chunk(c, data, last=True):
    c.send(b'BDAT %d%s\r\n' % (len(data), b' LAST' if last else b'') + data)
    return c.reply()


def greeted(house):
    c = house.raw()
    c.reply()
    assert 'BINARYMIME' in c.say('EHLO client.test')[1]
    return c


def test_kept_exactly(house):
    user = house.user('user1')
    with greeted(house) as c:
        for size in (1, 100):  # in one piece, and in parts that go ahead
            begin(c)
            text = HEADER + BODY * size
            cut = len(HEADER) + 7
            assert chunk(c, text[:cut], False)[0] == 250
            assert chunk(c, text[cut:])[0] == 250
            house.wait_stored(user, 1 if size == 1 else 2)
    got = []
    for s in house.stored(user):
        with open(s.path, 'rb') as f:
            got.append(f.read().partition(b'\r\nFrom: ')[2])
    assert sorted(got, key=len) == [(HEADER + BODY * size)[len(b'From: '):] for size in (1, 100)]
    with house.imap(user) as m:
        m.select()
        assert m.fetch('1:2', '(RFC822.SIZE BODYSTRUCTURE)')[0] == 'OK'


def test_by_data_is_refused(house):
    house.user('user1')
    with greeted(house) as c:
        begin(c)
        code, lines = c.say('DATA')
        assert code == 503 and lines[0].startswith('5.5.1')
        assert chunk(c, HEADER + BODY)[0] == 250, 'BDAT still may'


def test_header_is_lines(house):
    house.user('user1')
    with greeted(house) as c:
        for bad in (b'Subject: a\nBcc: b\r\n\r\n', b'Subject: a\rb\r\n\r\n', b'Subject: x\r\nX: y\r'):
            begin(c)
            assert chunk(c, bad + (BODY if bad.endswith(b'\r\n\r\n') else b''))[0] == 550


def test_lines_stay_lines_without_it(house):
    house.user('user1')
    with greeted(house) as c:
        begin(c, body='8BITMIME')
        assert chunk(c, HEADER + BODY)[0] == 550


def test_not_without_chunking(make_house):
    house = make_house(smtp__discard_extensions='CHUNKING')
    with house.raw() as c:
        c.reply()
        assert 'BINARYMIME' not in c.say('EHLO client.test')[1]
        assert c.say('MAIL FROM:<> BODY=BINARYMIME')[0] == 501


@pytest.fixture
def away(make_house):
    s = Server('127.0.0.2')
    house = make_house(start=False, relay_from='127.0.0.0/8')
    house.add('relay { port %d }\nspool { retry-min 1s retry-max 2s }\n' % s.port)
    house.start()
    yield house, s
    s.close()


def test_sent_on(away):
    house, s = away
    s.hello = HELLO + ['CHUNKING', 'BINARYMIME']
    with greeted(house) as c:
        begin(c, 'a@' + AT)
        assert chunk(c, HEADER + BODY)[0] == 250
    wait_for('the message elsewhere', lambda: s.mail)
    mail, _, content = s.mail[0]
    assert 'BODY=BINARYMIME' in mail and content.endswith(HEADER + BODY)
    house.wait_queue_empty()


def test_not_sent_on(away):
    """A next hop without BINARYMIME: the sender is told, and gets the header back, not the octets."""
    house, s = away
    s.hello = HELLO + ['CHUNKING']
    sender = house.user('user2')
    with greeted(house) as c:
        begin(c, 'a@' + AT)
        assert chunk(c, HEADER + BODY)[0] == 250
    with open(house.wait_stored(sender, 1)[0].path, 'rb') as f:
        raw = f.read()
    m = email.message_from_bytes(raw)
    assert 'Status: 5.6.3' in m.get_payload()[1].as_string()
    assert b'Subject: binary' in raw and b'\0' not in raw
    assert not s.mail
