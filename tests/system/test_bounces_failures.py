"""Mail that cannot be delivered: expiry, delay notices, what is never told, double bounces, a bounced that is killed."""
import time

from conftest import wait_for
from reports import away, refuse, reports, submit

BAD, SLOW = 'bad@elsewhere.test', 'slow@elsewhere.test'


def test_expiry(make_house):
    """A message that is put off until its time is over: one failure notice with the last reply."""
    house, server = away(make_house, 'queue-lifetime 3s  delay-notice-after none')
    server.script['RCPT'] = refuse('slow', '451 4.2.1 Come back later')
    user = house.user('user1')
    submit(house, user, SLOW)
    (r,) = reports(house, user)
    assert r.one['Action'] == 'failed' and r.one['Status'] == '4.4.7'
    assert 'Come back later' in r.one['Diagnostic-Code'] and r.one['Remote-MTA'].startswith('dns; ')
    house.wait_queue_empty()
    assert house.events('queue.expired') and len(house.stored(user)) == 1


def test_delay_then_success(make_house):
    """One delay notice, though the message is tried again and again; then it is delivered."""
    house, server = away(make_house, 'delay-notice-after 1s')
    server.script['RCPT'] = refuse('slow', '451 4.2.1 Come back later')
    user = house.user('user1')
    submit(house, user, SLOW, ('slow2@elsewhere.test', ['NOTIFY=FAILURE']))
    (r,) = reports(house, user)
    assert r.one['Action'] == 'delayed' and r.one['Final-Recipient'] == 'rfc822; ' + SLOW
    assert r.one['Will-Retry-Until'] and r.returned.get_content_type() == 'text/rfc822-headers'
    tries = len(house.events('queue.not_delivered'))
    wait_for('more tries', lambda: len(house.events('queue.not_delivered')) >= tries + 4)
    del server.script['RCPT']
    house.wait_queue_empty()
    assert len(house.stored(user)) == 1 and sum(len(m[1]) for m in server.mail) == 2


def test_delay_then_failure(make_house):
    house, server = away(make_house, 'delay-notice-after 1s  queue-lifetime 5s')
    server.script['RCPT'] = refuse('slow', '451 4.2.1 Come back later')
    user = house.user('user1')
    submit(house, user, SLOW)
    assert [r.one['Action'] for r in reports(house, user, 2)] == ['delayed', 'failed']
    house.wait_queue_empty()


def test_null_sender(make_house):
    """A message from nobody that fails, a bounce above all, is told to the postmaster; that notice's own failure to nobody."""
    house, server = away(make_house, more='bounce { double-bounce-address "postmaster2@elsewhere.test" }\n')
    server.script['RCPT'] = refuse('bad', '550 5.1.1 Nobody here')
    user = house.user('user1')
    house.set(None, 'relay-from', '127.0.0.1')
    house.reload()

    def from_nobody():
        with house.smtp() as c:
            c.ehlo()
            c.mail('<>')
            assert c.rcpt(BAD)[0] == 250
            assert c.data('Subject: nobody\r\n\r\nx\r\n')[0] == 250
    from_nobody()
    wait_for('a notice to the postmaster', lambda: server.mail)
    mail, (rcpt,), content = server.mail[0]
    assert mail.startswith('MAIL FROM:<>') and '<postmaster2@elsewhere.test>' in rcpt and b'multipart/report' in content
    house.wait_queue_empty()
    server.script['RCPT'] = lambda session, line: '550 5.1.1 Nobody at all'
    from_nobody()
    house.wait_queue_empty()
    assert len(server.mail) == 1 and house.stored(user) == []
    dropped = house.wait_event('queue.dropped')
    assert dropped[-1]['to'] == 'postmaster2@elsewhere.test'


def test_refused_at_the_door(make_house):
    """What is not accepted makes no report, wherever it is refused: nobody is told who may not have sent it."""
    house, server = away(make_house)
    house.user('user1')
    with house.smtp() as c:
        c.ehlo()
        c.mail('victim@elsewhere.test')
        assert c.rcpt('nobody@example.test')[0] == 550
        assert c.rcpt('other@third.test')[0] == 550
        assert c.docmd('DATA')[0] in (503, 554)
        c.mail('victim@elsewhere.test') if c.rset()[0] == 250 else None
        assert c.rcpt('user1@example.test')[0] == 250
        loop = ''.join('Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n' for _ in range(200))
        assert c.data(loop + 'Subject: x\r\n\r\nx\r\n')[0] == 554
    time.sleep(1)
    house.wait_queue_empty()
    assert server.mail == [] and not house.events('bounce.sent')


def test_bounced_is_killed(make_house):
    """SIGKILL in the middle of many notices: each message is told of once, and only once."""
    house, server = away(make_house)
    server.script['RCPT'] = refuse('bad', '550 5.1.1 Nobody here')
    user = house.user('user1')
    n = 60
    for i in range(n):
        submit(house, user, 'bad%d@elsewhere.test' % i)
        if i in (20, 40, 59):
            house.kill('bounced')
    got = reports(house, user, n)
    house.wait_queue_empty()
    assert sorted(r.one['Final-Recipient'] for r in got) == sorted('rfc822; bad%d@elsewhere.test' % i for i in range(n))
    assert len(house.stored(user)) == n
