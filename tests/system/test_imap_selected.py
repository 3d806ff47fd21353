"""A selected mailbox: flags, COPY, MOVE, EXPUNGE, what sessions see of each other, CONDSTORE."""
import re

import pytest

from conftest import wait_for
from imapscript import Imap


@pytest.fixture
def user(house):
    return house.user('user1')


@pytest.fixture
def two(house, user):
    """Two sessions with INBOX selected, five messages in it."""
    with Imap(house, user) as a, Imap(house, user) as b:
        for i in range(5):
            a.append(subject='message %d' % i)
        a.ok('SELECT INBOX')
        b.ok('SELECT INBOX')
        yield a, b


def flags(answer):
    """{number: set of flags} of the FETCH responses."""
    return {int(n): set(f.split()) for n, f in answer.all(r'(\d+) FETCH \(.*?FLAGS \((.*?)\)')}


def modseqs(answer):
    return {int(n): int(m) for n, m in answer.all(r'(\d+) FETCH \(.*?MODSEQ \((\d+)\)')}


def test_select(house, user):
    with Imap(house, user) as c:
        c.append(flags='\\Seen $Mine')
        c.append()
        r = c.ok('SELECT INBOX')
        assert r.code() == 'READ-WRITE'
        assert r.find(r'(\d+) EXISTS') == ('2',) and r.find(r'(\d+) RECENT') == ('2',)
        assert '$Mine' in r.find(r'FLAGS \((.*)\)')[0].split()
        assert '\\*' in r.find(r'OK \[PERMANENTFLAGS \((.*)\)\]')[0].split()
        assert r.find(r'OK \[UNSEEN (\d+)\]') == ('2',)
        assert r.find(r'OK \[UIDNEXT (\d+)\]') == ('3',)
        assert int(r.find(r'OK \[UIDVALIDITY (\d+)\]')[0]) > 0
        r = c.ok('EXAMINE INBOX')   # \Recent was claimed by the SELECT
        assert r.code() == 'READ-ONLY' and r.find(r'(\d+) RECENT') == ('0',)
        assert r.has(r'OK \[PERMANENTFLAGS \(\)\]')
        for line in ['STORE 1 FLAGS ()', 'EXPUNGE', 'MOVE 1 Trash']:
            assert c.no(line).code() == 'READ-ONLY'
        c.no('SELECT nothing')   # and then nothing is selected
        c.bad('CHECK')
        c.ok('SELECT INBOX')
        c.ok('UNSELECT')
        c.bad('CLOSE')


def test_store(two):
    a, b = two
    r = a.ok('STORE 1:2 +FLAGS (\\Seen \\Flagged)')
    assert flags(r)[1] >= {'\\Seen', '\\Flagged'} and set(flags(r)) == {1, 2}
    assert flags(a.ok('STORE 2 -FLAGS \\Seen'))[2] == {'\\Flagged', '\\Recent'}
    assert flags(a.ok('STORE 2 FLAGS ($Word word)'))[2] == {'$Word', 'word', '\\Recent'}
    r = a.ok('STORE 3 +FLAGS.SILENT (\\Answered)')
    assert flags(r) == {}
    r = a.ok('UID STORE 4:* FLAGS (\\Draft)')
    assert r.all(r'\d+ FETCH \(UID (\d+) ') == ['4', '5']
    # the other session sees all of it, and the new keywords first
    r = b.ok('NOOP')
    got = flags(r)
    assert got[1] == {'\\Seen', '\\Flagged'} and got[2] == {'$Word', 'word'} and got[3] == {'\\Answered'}
    assert '$Word' in r.find(r'FLAGS \((.*)\)')[0].split()
    assert flags(b.ok('NOOP')) == {}
    # .SILENT tells of what another has changed meanwhile
    b.ok('STORE 5 +FLAGS.SILENT (\\Flagged)')
    got = flags(a.ok('STORE 5 +FLAGS.SILENT (\\Seen)'))
    assert got.get(5, {'\\Flagged'}) >= {'\\Flagged'} and 5 in got
    for line in ['STORE 9 FLAGS ()', 'STORE 1:9 +FLAGS (\\Seen)', 'STORE 1 FLAGS (\\Recent)']:
        a.bad(line)
    assert a.ok('UID STORE 99 FLAGS (\\Seen)').untagged == []


def test_many_keywords(two):
    a, b = two
    words = ['k%d' % i for i in range(60)]
    a.ok('STORE 1 FLAGS (%s)' % ' '.join(words))
    got = flags(b.ok('NOOP'))
    assert got[1] == set(words)
    b.ok('STORE 1 -FLAGS (%s)' % ' '.join(words[:59]))
    assert flags(a.ok('NOOP'))[1] == {'k59', '\\Recent'}


def test_expunge(two):
    a, b = two
    a.ok('STORE 2 +FLAGS.SILENT (\\Deleted)')
    a.ok('STORE 4:5 +FLAGS.SILENT (\\Deleted)')
    r = a.ok('UID EXPUNGE 1:4')
    assert r.all(r'(\d+) EXPUNGE') == ['2', '3']
    # numbers hold in the other session until it can be told
    r = b.ok('STORE 5 +FLAGS (\\Seen)')
    assert not r.has(r'\d+ EXPUNGE') and 5 in flags(r)
    b.ok('STORE 3 +FLAGS (\\Seen)')
    r = b.ok('NOOP')
    assert r.all(r'(\d+) EXPUNGE') == ['2', '3']
    r = a.ok('EXPUNGE')
    assert r.all(r'(\d+) EXPUNGE') == ['3']
    assert a.ok('EXPUNGE').untagged == []
    r = b.ok('CHECK')
    assert r.all(r'(\d+) EXPUNGE') == ['3']
    a.ok('STORE 1 +FLAGS.SILENT (\\Deleted)')
    assert not a.ok('CLOSE').has(r'\d+ EXPUNGE')
    assert a.ok('STATUS INBOX (MESSAGES)').has(r'STATUS INBOX \(MESSAGES 1\)')
    assert b.ok('NOOP').all(r'(\d+) EXPUNGE') == ['1']


def test_store_on_what_is_gone(two):
    a, b = two
    a.ok('STORE 3 +FLAGS.SILENT (\\Deleted)')
    a.ok('EXPUNGE')
    r = b.cmd('STORE 2:4 +FLAGS (\\Flagged)')
    assert r.status == 'NO' and r.code() == 'EXPUNGEISSUED'
    assert {2, 4} <= set(flags(r)) and not r.has(r'\d+ EXPUNGE')
    assert b.ok('UID STORE 3 FLAGS ()').all(r'(\d+) EXPUNGE') == ['3']


def test_copy_and_move(two):
    a, b = two
    a.ok('STORE 2 FLAGS.SILENT (\\Flagged $Kept)')
    validity = a.ok('STATUS Archive (UIDVALIDITY)').find(r'STATUS Archive \(UIDVALIDITY (\d+)\)')[0]
    assert a.ok('COPY 2:3 Archive').code() == 'COPYUID %s 2:3 1:2' % validity
    assert a.ok('UID COPY 5,1 Archive').code() == 'COPYUID %s 1,5 3:4' % validity
    assert a.no('COPY 1 nothing').code() == 'TRYCREATE'
    assert a.ok('UID COPY 99 Archive').code() == ''
    a.bad('COPY 6 Archive')
    r = a.ok('MOVE 1:2 Archive')
    assert r.find(r'OK \[COPYUID (.*?)\]') == ('%s 1:2 5:6' % validity,)
    assert r.all(r'(\d+) EXPUNGE') == ['1', '1']
    # the code comes before the expunges
    assert [('EXPUNGE' in u) for u in r.untagged] == [False, True, True]
    assert b.ok('NOOP').all(r'(\d+) EXPUNGE') == ['1', '1']
    r = b.ok('UID MOVE 4 INBOX')   # to itself: another UID
    assert r.has(r'OK \[COPYUID \d+ 4 6\]')
    assert a.ok('NOOP').has(r'3 EXISTS')
    r = a.ok('SELECT Archive')
    assert r.find(r'(\d+) EXISTS') == ('6',)
    r = a.ok('FETCH 1:* (FLAGS UID)')
    assert flags(r)[1] >= {'\\Flagged', '$Kept'} and flags(r)[6] >= {'\\Flagged', '$Kept'}
    assert a.no('MOVE 1 nothing').code() == 'TRYCREATE'


def test_exists_and_recent(two, house, user):
    a, b = two
    assert b.ok('NOOP').untagged == []
    a.append(subject='later')
    r = b.ok('NOOP')
    assert r.find(r'(\d+) EXISTS') == ('6',)
    house.send(user, subject='by SMTP')
    house.wait_stored(user, 7)
    for s in (a, b):
        wait_for('EXISTS of a delivery', lambda: s.ok('NOOP').has(r'7 EXISTS'))
    got = [s.ok('FETCH 6:7 FLAGS') for s in (a, b)]
    recent = [sum('\\Recent' in f for f in flags(r).values()) for r in got]
    assert sum(recent) == 2   # each message is recent in one session alone


def test_idle(two, house, user):
    a, b = two
    tag = b.begin('IDLE')
    assert b.response().startswith('+ ')
    a.ok('STORE 1 +FLAGS.SILENT (\\Flagged)')
    assert re.match(r'\* 1 FETCH \(.*FLAGS \(\\Flagged\)', b.response())
    a.ok('STORE 2 +FLAGS.SILENT (\\Deleted)')
    assert re.match(r'\* 2 FETCH \(.*FLAGS \(\\Deleted\)', b.response())
    a.ok('EXPUNGE')
    assert b.response() == '* 2 EXPUNGE'
    house.send(user)
    assert b.response() == '* 5 EXISTS'
    assert b.response().endswith(' RECENT')
    b.send('done\r\n')
    assert b.answer(tag).status == 'OK'
    tag = b.begin('IDLE')
    assert b.response().startswith('+ ')
    b.send('NOOP\r\n')
    assert b.answer(tag).status == 'BAD'
    b.ok('UNSELECT')
    tag = b.begin('IDLE')   # without a mailbox there is nothing to tell
    b.response()
    b.send('DONE\r\nx NOOP\r\n')
    assert b.answer(tag).status == 'OK' and b.answer('x').status == 'OK'
    b.bad('IDLE now')


def test_deleted_under_the_session(house, user):
    with Imap(house, user) as a, Imap(house, user) as b, Imap(house, user) as idle:
        a.ok('CREATE box')
        b.ok('SELECT box')
        idle.ok('SELECT box')
        idle.begin('IDLE')
        idle.response()
        a.ok('DELETE box')
        assert idle.response().startswith('* BYE ')
        r = b.cmd('NOOP')
        assert r.status == '' and r.has('BYE ')
        a.ok('NOOP')
        a.ok('CREATE box')
        a.ok('SELECT box')
        a.ok('DELETE box')   # by the session itself: it goes on
        a.bad('CHECK')


def test_condstore(two):
    a, b = two
    before = int(a.ok('STATUS INBOX (HIGHESTMODSEQ)').find(r'STATUS INBOX \(HIGHESTMODSEQ (\d+)\)')[0])
    r = a.ok('SELECT INBOX (CONDSTORE)')
    assert int(r.find(r'OK \[HIGHESTMODSEQ (\d+)\]')[0]) == before
    old = modseqs(a.ok('FETCH 1:* (MODSEQ)'))
    assert set(old) == {1, 2, 3, 4, 5} and max(old.values()) <= before
    new = modseqs(a.ok('STORE 2 +FLAGS.SILENT (\\Seen)'))[2]
    assert new > before
    # the other one has not enabled it, so it sees no MODSEQ
    r = b.ok('NOOP')
    assert 2 in flags(r) and not modseqs(r)
    r = b.ok('ENABLE CONDSTORE')
    assert r.has('ENABLED CONDSTORE') and int(r.find(r'OK \[HIGHESTMODSEQ (\d+)\]')[0]) >= new
    # STORE on a condition
    r = b.ok('STORE 1:3 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\\Flagged)' % before)
    assert r.code() == 'MODIFIED 2' and set(modseqs(r)) == {1, 3}
    r = b.ok('UID STORE 2 (UNCHANGEDSINCE %d) +FLAGS (\\Flagged)' % before)
    assert r.code() == 'MODIFIED 2'
    r = b.ok('STORE 2 (UNCHANGEDSINCE %d) +FLAGS (\\Flagged)' % new)
    assert r.code() == '' and flags(r)[2] == {'\\Seen', '\\Flagged'}
    assert b.ok('STORE 1 (UNCHANGEDSINCE 0) FLAGS ()').code() == 'MODIFIED 1'
    assert b.ok('STORE 1,3:5 (UNCHANGEDSINCE 0) FLAGS ()').code() == 'MODIFIED 1,3:5'
    # what changed since
    got = modseqs(a.ok('NOOP'))
    assert set(got) == {1, 2, 3}
    since = max(got.values())
    b.ok('STORE 4 +FLAGS (\\Answered)')
    assert set(modseqs(a.ok('FETCH 1:* (FLAGS) (CHANGEDSINCE %d)' % since))) == {4}
    for line in ['STORE 1 (UNCHANGEDSINCE x) FLAGS ()', 'STORE 1 (SINCE 5) FLAGS ()',
                 'STORE 1 (UNCHANGEDSINCE 5 FLAGS ()']:
        a.bad(line)
    assert a.ok('ENABLE X-NOTHING').untagged == ['* ENABLED']
    a.bad('ENABLE')
