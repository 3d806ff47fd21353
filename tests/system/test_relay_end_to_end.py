"""Mail leaves the house: submission, the spool, relayd, another server; what it refuses comes back to the sender."""
import email
import os
import sys

import pytest

from conftest import TOP, wait_for

sys.path.insert(0, os.path.join(TOP, 'tests', 'mta'))
from relay_house import HELLO, Server, certificate, server_tls  # noqa: E402

AT = '[127.0.0.2]'   # an address literal as the domain: no DNS has a part in it


@pytest.fixture
def away(make_house):
    """(a house, a server elsewhere that its mail goes to)"""
    s = Server('127.0.0.2')
    house = make_house(start=False)
    house.add('relay { port %d }\nspool { retry-min 1s retry-max 2s }\n' % s.port)
    house.start()
    yield house, s
    s.close()


def submit(house, user, *to, subject='out', body='Hello.\r\n.\r\n..dots\r\n'):
    with house.smtp('submission', user) as c:
        text = 'From: %s\r\nTo: %s\r\nSubject: %s\r\n\r\n%s' % (user, ', '.join(to), subject, body)
        return c.sendmail(str(user), list(to), text.encode())


def taken(server, n=1):
    wait_for('%d messages elsewhere' % n, lambda: len(server.mail) >= n)
    return server.mail


def test_out(away):
    house, s = away
    user = house.user('user1')
    submit(house, user, 'a@' + AT, 'b@' + AT)
    mail, rcpts, content = taken(s)[0]
    assert mail.startswith('MAIL FROM:<user1@example.test> SIZE=')
    assert [r.split(' ')[1] for r in rcpts] == ['TO:<a@%s>' % AT, 'TO:<b@%s>' % AT]
    assert content.startswith(b'Received: ') and content.endswith(b'\r\n\r\nHello.\r\n.\r\n..dots\r\n')
    house.wait_queue_empty()
    line = house.wait_event('relay.tried')[0]
    assert line['sent'] == '2' and line['qid']


def test_both_ways(away):
    """One message for an account and for somebody elsewhere."""
    house, s = away
    user, other = house.user('user1'), house.user('user2')
    submit(house, user, str(other), 'a@' + AT)
    taken(s)
    house.wait_stored(other, 1)
    house.wait_queue_empty()


def test_refused(away):
    """A recipient that the other server refuses: the sender is told."""
    house, s = away
    s.script['RCPT'] = lambda x, l: '550 5.1.1 nobody here' if '<bad' in l else None
    user = house.user('user1')
    submit(house, user, 'bad@' + AT, 'good@' + AT)
    path = house.wait_stored(user, 1)[0].path
    with open(path, 'rb') as f:
        m = email.message_from_binary_file(f)
    assert m.get_content_type() == 'multipart/report'
    report = m.get_payload()[1].as_string()
    assert 'Status: 5.1.1' in report and 'nobody here' in report and 'good@' not in report
    assert 'Action: failed' in report and '127.0.0.2' in report
    house.wait_queue_empty()
    assert len(s.mail) == 1


def test_deferred(away):
    """4xx, then 2xx; nothing is sent twice to who had it."""
    house, s = away
    first = ['450 4.2.0 later', '450 4.2.0 later']
    s.script['RCPT'] = lambda x, l: first.pop() if '<slow' in l and first else None
    user = house.user('user1')
    submit(house, user, 'slow@' + AT, 'quick@' + AT)
    mail = taken(s, 2)
    house.wait_queue_empty()
    assert sorted(r.split('<')[1].split('@')[0] for m in mail for r in m[1]) == ['quick', 'slow']
    assert house.stored(user) == []


def test_down_then_up(away):
    """Nobody listens, then somebody does."""
    house, s = away
    s.close()
    user = house.user('user1')
    submit(house, user, 'a@' + AT)
    house.wait_event('relay.host_failed')
    again = Server('127.0.0.2', s.port)
    try:
        taken(again)
        house.wait_queue_empty()
    finally:
        again.close()


def test_large(away):
    """Beyond what goes inline between the processes."""
    house, s = away
    user = house.user('user1')
    body = '.dot\r\n' + 'x' * 70 + '\r\n' + ('.' + 'y' * 900 + '\r\n') * 2000
    s.hello = HELLO + ['CHUNKING']
    s.hello[s.hello.index('SIZE 10000000')] = 'SIZE 50000000'
    submit(house, user, 'a@' + AT, body=body)
    assert taken(s)[0][2].endswith(body.encode())


def test_killed(away):
    """relayd dies while a server keeps it waiting: the message is sent by the next one."""
    house, s = away
    s.script['MAIL'] = [Server.HANG]
    user = house.user('user1')
    submit(house, user, 'a@' + AT)
    wait_for('MAIL', lambda: any(x.startswith('MAIL') for x in s.lines))
    for i in range(len(house.pids('relayd'))):
        house.kill('relayd', i)
    taken(s)
    house.wait_queue_empty()


def test_tls(make_house, tmp_path):
    certificate(str(tmp_path), 'cert', 'elsewhere.test')
    s = Server('127.0.0.2', tls=server_tls(str(tmp_path / 'cert.pem'), str(tmp_path / 'cert.key')))
    house = make_house(start=False)
    house.add('relay { port %d }\n' % s.port)
    house.start()
    try:
        submit(house, house.user('user1'), 'a@' + AT)
        taken(s)
        assert 'STARTTLS' in s.lines
        assert house.wait_event('relay.tried')[0]['tls'].startswith('TLSv1')
    finally:
        s.close()
