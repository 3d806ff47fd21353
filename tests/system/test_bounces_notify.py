"""Who is told what: NOTIFY, RET, ENVID, ORCPT (RFC 3461), lists and aliases, copies with a sender of their own."""
from conftest import wait_for
from reports import HELLO, away, refuse, reports, submit, told

BAD, GOOD = 'bad@elsewhere.test', 'good@elsewhere.test'
NO_DSN = [w for w in HELLO if w != 'DSN']


def test_notify(make_house):
    """NEVER, SUCCESS, FAILURE and DELAY of recipients that fail and that do not."""
    house, server = away(make_house)
    server.hello = NO_DSN
    server.script['RCPT'] = refuse('bad', '550 5.1.1 Nobody here')
    user = house.user('user1')
    for i, words in enumerate(('NEVER', 'SUCCESS', 'DELAY')):
        submit(house, user, ('bad%d@elsewhere.test' % i, ['NOTIFY=' + words]))
    submit(house, user, (GOOD, ['NOTIFY=FAILURE,DELAY']))
    submit(house, user, (GOOD, ['NOTIFY=NEVER']), GOOD)
    house.wait_queue_empty()
    assert house.stored(user) == []
    assert len(house.events('queue.dropped')) == 3
    submit(house, user, (BAD, ['NOTIFY=FAILURE']), (GOOD, ['NOTIFY=SUCCESS']))
    got = told(house, user, 2)
    assert (got[BAD]['Action'], got[BAD]['Status']) == ('failed', '5.1.1')
    assert got[GOOD]['Action'] == 'relayed'
    house.wait_queue_empty()


def test_success_here(make_house):
    house, _ = away(make_house)
    user, other = house.user('user1'), house.user('user2')
    submit(house, user, (str(other), ['NOTIFY=SUCCESS', 'ORCPT=rfc822;Two+2Bx@example.test']), mail=['ENVID=a+2Bb'])
    (r,) = reports(house, user)
    assert r.one['Action'] == 'delivered' and r.one['Status'].startswith('2.')
    assert r.one['Original-Recipient'] == 'rfc822; Two+x@example.test'
    assert r.message['Original-Envelope-Id'] == 'a+b'
    assert len(house.stored(other)) == 1


def test_next_hop_with_dsn(make_house):
    """What the sender asked for goes on to a server that offers DSN, and nothing is told here."""
    house, server = away(make_house)
    user = house.user('user1')
    submit(house, user, (GOOD, ['NOTIFY=SUCCESS,FAILURE', 'ORCPT=rfc822;First@example.org']),
           mail=['RET=HDRS', 'ENVID=q+2B1'])
    house.wait_queue_empty()
    mail, (rcpt,), _ = server.mail[0]
    assert ' RET=HDRS' in mail and ' ENVID=q+2B1' in mail
    assert ' NOTIFY=SUCCESS,FAILURE' in rcpt and ' ORCPT=rfc822;First@example.org' in rcpt
    assert house.stored(user) == []


def test_next_hop_without_dsn(make_house):
    house, server = away(make_house)
    server.hello = NO_DSN
    user = house.user('user1')
    submit(house, user, (GOOD, ['NOTIFY=SUCCESS']), mail=['RET=FULL', 'ENVID=q1'])
    (r,) = reports(house, user)
    assert r.one['Action'] == 'relayed' and r.message['Original-Envelope-Id'] == 'q1'
    assert r.one['Remote-MTA'].startswith('dns; ')
    mail, (rcpt,), _ = server.mail[0]
    assert not any(w in mail + rcpt for w in ('RET=', 'ENVID=', 'NOTIFY=', 'ORCPT='))


def test_ret(make_house):
    """RET says how much of a message comes back; what is longer than bounce.size-limit never does."""
    house, server = away(make_house, more='bounce { size-limit 20K }\n')
    server.script['RCPT'] = refuse('bad', '550 5.7.1 No')
    user = house.user('user1')
    content = 'Subject: out\r\nX-Mark: header\r\n\r\nHello.\r\n'
    large = content + ('x' * 70 + '\r\n') * 40000
    wanted = []
    for mail, text, kind in ((['RET=FULL'], content, 'message/rfc822'), (['RET=HDRS'], content, 'text/rfc822-headers'),
                             ([], content, 'message/rfc822'), (['RET=FULL'], large, 'text/rfc822-headers')):
        submit(house, user, BAD, mail=mail, content=text)
        wanted.append(kind)
        house.wait_stored(user, len(wanted))
    got = reports(house, user, len(wanted))
    assert [r.returned.get_content_type() for r in got] == wanted
    for r, kind in zip(got, wanted):
        text = r.returned.as_string()
        assert 'X-Mark: header' in text and ('Hello.' in text) == (kind == 'message/rfc822')
        assert len(r.raw) < 40000


def test_smtputf8(make_house):
    """A report about a message with SMTPUTF8 has the types of RFC 6533."""
    house, server = away(make_house)
    server.script['RCPT'] = refuse('bäd', '550 5.1.1 Niemand da: bäd')
    user = house.user('user1')
    address = 'bäd@elsewhere.test'
    with house.smtp('submission', user) as c:
        c.ehlo()
        for line in ('MAIL FROM:<%s> SMTPUTF8 BODY=8BITMIME' % user, 'RCPT TO:<%s>' % address):
            c.send((line + '\r\n').encode())
            code, text = c.getreply()
            assert code == 250, text
        code, text = c.data('Subject: Grüße\r\n\r\näöü\r\n'.encode())
        assert code == 250, text
    (r,) = reports(house, user)
    assert r.type == 'message/global-delivery-status'
    assert r.one['Final-Recipient'] == 'utf-8; ' + address
    assert r.returned.get_content_type() == 'message/global'
    assert 'Grüße'.encode() in r.raw and r.mail['Content-Transfer-Encoding'] == '8bit'


ALIASES = 'pair: user2, good@elsewhere.test\nsingle: good@elsewhere.test\nlist: bad@elsewhere.test, user2\n' \
          'owner-list: user3\n'


def test_alias(make_house):
    """An alias of several members tells 'expanded' who asked for SUCCESS; of one, all goes on (RFC 3461 section 5.2.7)."""
    house, server = away(make_house, aliases=ALIASES, route='srs off')
    user, other = house.user('user1'), house.user('user2')
    submit(house, user, ('pair@example.test', ['NOTIFY=SUCCESS,FAILURE', 'ORCPT=rfc822;pair@example.test']), mail=['ENVID=e1'])
    (r,) = reports(house, user)
    assert r.one['Action'] == 'expanded' and r.one['Final-Recipient'] == 'rfc822; pair@example.test'
    assert r.one['Original-Recipient'] == 'rfc822; pair@example.test' and r.message['Original-Envelope-Id'] == 'e1'
    house.wait_stored(other, 1)
    wait_for('the copy elsewhere', lambda: server.mail)
    mail, (rcpt,), _ = server.mail[0]
    assert ' NOTIFY=FAILURE' in rcpt and 'SUCCESS' not in rcpt and ' ENVID=e1' in mail
    submit(house, user, ('single@example.test', ['NOTIFY=SUCCESS']))
    wait_for('the second copy', lambda: len(server.mail) == 2)
    assert ' NOTIFY=SUCCESS' in server.mail[1][1][0]
    house.wait_queue_empty()
    assert len(house.stored(user)) == 1


def test_list(make_house):
    """A list that has an owner: its members' failures are the owner's, 'delivered' is the sender's."""
    house, server = away(make_house, aliases=ALIASES, route='srs off')
    server.script['RCPT'] = refuse('bad', '550 5.1.1 Nobody here')
    user, other, owner = house.user('user1'), house.user('user2'), house.user('user3')
    submit(house, user, ('list@example.test', ['NOTIFY=SUCCESS,FAILURE']), BAD, mail=['ENVID=e1', 'RET=HDRS'])
    got = told(house, user, 2)
    assert got['list@example.test']['Action'] == 'delivered' and got[BAD]['Action'] == 'failed'
    (r,) = reports(house, owner)
    assert r.one['Action'] == 'failed' and r.one['Final-Recipient'] == 'rfc822; ' + BAD
    assert r.message['Original-Envelope-Id'] is None and r.returned.get_content_type() == 'message/rfc822'
    assert r.mail['To'] == 'owner-list@example.test'
    house.wait_stored(other, 1)
    house.wait_queue_empty()
    mails = [line for line in server.lines if line.startswith('MAIL')]
    assert sorted('owner-list@' in m for m in mails) == [False, True]
    assert all(('ENVID' in m) != ('owner-list@' in m) for m in mails)
