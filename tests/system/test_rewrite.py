"""Addresses that become others: canonical and masquerading on the way in, generic on the way out, copies."""
import os
import sys

import pytest

from conftest import TOP, wait_for

sys.path.insert(0, os.path.join(TOP, 'tests', 'mta'))
from relay_house import Server  # noqa: E402

HEADER = ('From: "One, User"\r\n <user1@example.test> (the =?utf-8?q?first?=)\r\n'
          'Sender: user1@example.test\r\n'
          'To: Two <user2@example.test>,\r\n\tgroup: other@elsewhere.test, "a b"@host.mask.test;\r\n'
          'Subject: user1@example.test stays here\r\n'
          'X-From: <user1@example.test>\r\n')
TEXT = HEADER + '\r\nuser1@example.test in the text\r\n'


def text_of(stored):
    with open(stored.path, 'rb') as f:
        return f.read().decode()


def header_of(text, name):
    """The field as it stands, folded."""
    head = text.split('\r\n\r\n')[0] + '\r\n'
    at = head.index('\r\n' + name + ': ') + 2
    end = at
    while True:
        end = head.index('\r\n', end) + 2
        if head[end:end + 1] not in (' ', '\t'):
            return head[at:end]


def started(make_house, more):
    house = make_house(start=False)
    house.add(more)
    house.start()
    return house


CANONICAL = '''
rewrite {
	sender-canonical bysender
	canonical both
	masquerade-domains mask.test
}
table bysender { entry "user1@example.test First.User@example.test" }
table both { entry "@old.test @example.test" entry "ring1@example.test ring2@example.test" entry "ring2@example.test ring1@example.test" }
'''


def test_canonical(make_house):
    """Names, comments, folding and everything that no rule names stay byte for byte."""
    house = started(make_house, 'domain old.test\n' + CANONICAL)
    one, two = house.user('user1'), house.user('user2')
    with house.smtp('submission', one) as c:
        c.sendmail(str(one), ['user2@old.test'], TEXT.encode())
    text = text_of(house.wait_stored(two, 1)[0])
    assert text.startswith('Return-Path: <First.User@example.test>\r\n')
    assert header_of(text, 'From') == ('From: "One, User"\r\n <First.User@example.test> (the =?utf-8?q?first?=)\r\n')
    assert header_of(text, 'Sender') == 'Sender: First.User@example.test\r\n'
    assert header_of(text, 'To') == ('To: Two <user2@example.test>,\r\n\tgroup: other@elsewhere.test, '
                                     '"a b"@mask.test;\r\n')
    assert text.endswith(HEADER[HEADER.index('Subject'):] + '\r\nuser1@example.test in the text\r\n')
    assert house.metric('route_rewrites_total') >= 4


def test_strangers(make_house):
    """A stranger's header stays as it was signed; the envelope is looked up all the same."""
    house = started(make_house, 'domain old.test\n' + CANONICAL)
    two = house.user('user2')
    with house.smtp() as c:
        c.sendmail('user1@example.test', ['user2@old.test'], TEXT.encode())
        text = text_of(house.wait_stored(two, 1)[0])
        assert text.startswith('Return-Path: <First.User@example.test>\r\n') and text.endswith(TEXT)
        c.ehlo()
        c.mail('someone@elsewhere.test')
        assert c.rcpt('x@elsewhere.test')[0] == 550   # canonical opens no relay
        assert c.rcpt('ring1@example.test')[0] == 451
        c.rset()
        assert c.mail('ring1@example.test')[0] == 451
    house.set('rewrite', 'headers', 'all')
    house.reload()
    house.send(two, sender='someone@elsewhere.test', body=TEXT, subject='x')
    with house.smtp() as c:
        c.sendmail('someone@elsewhere.test', [str(two)], TEXT.encode())
    wait_for('both', lambda: len(house.stored(two)) == 3)
    assert any('<First.User@example.test> (the' in text_of(s) for s in house.stored(two))


COPIES = '''
route { always-bcc archive@example.test  sender-bcc bysender  recipient-bcc byrcpt }
table bysender { entry "user1@example.test sent@example.test" }
table byrcpt { entry "@example.test got@example.test" }
'''


def test_copies(make_house):
    """Each way in is copied once; what could not be delivered tells nobody, and reports are not copied."""
    house = started(make_house, COPIES)
    one, two = house.user('user1'), house.user('user2')
    archive, sent, got = house.user('archive'), house.user('sent'), house.user('got')
    house.send(two, subject='smtp')
    with house.smtp('submission', one) as c:
        c.sendmail(str(one), [str(two), 'user2+x@example.test'], 'Subject: submission\r\n\r\nx\r\n')
    house.run('send', '--from', one, '--to', two, input='Subject: by hand\n\nx\n')
    house.run('send', '--from', '<>', '--to', two, input='Subject: null\n\nx\n')
    house.wait_queue_empty()
    assert sorted(house.subjects(archive)) == ['by hand', 'null', 'smtp', 'submission']
    assert sorted(house.subjects(got)) == ['by hand', 'null', 'smtp', 'submission']
    assert sorted(house.subjects(sent)) == ['by hand', 'submission']
    for s in house.stored(archive):
        assert 'archive@' not in text_of(s).split('\r\n\r\n')[0].replace('Delivered-To: archive@example.test', '')
    house.run('user', 'delete', archive, '--yes', check=False)


def test_copy_to_nobody(make_house):
    """Mail goes on, and the log says it."""
    house = started(make_house, 'route { always-bcc nobody@example.test }\n')
    two = house.user('user2')
    house.send(two)
    house.wait_stored(two, 1)
    assert house.wait_event('accept.copy_unknown')[0]['to'] == 'nobody@example.test'
    assert house.metric('accept_copies_unknown_total') == 1


GENERIC = '''
route { relay-host "[127.0.0.2]:%d" }
spool { retry-min 1s retry-max 2s }
rewrite { generic out }
table out {
	entry "user1@example.test first@isp.test"
	entry "@example.test all@isp.test"
	entry "a@far.test renamed@other.test"
}
'''


@pytest.fixture
def away(make_house):
    s = Server('127.0.0.2')
    yield started(make_house, GENERIC % s.port), s
    s.close()


@pytest.mark.parametrize('size', [0, 400000])
def test_generic(away, size):
    """Other servers see other addresses; who is here sees them as they are, and a failure finds back."""
    house, s = away
    one, two = house.user('user1'), house.user('user2')
    s.script['RCPT'] = lambda x, l: '550 5.1.1 nobody here' if '<bad' in l else None
    text = TEXT + '.dot\r\n' + 'x' * 78 + '\r\n' + ('y' * 98 + '\r\n') * (size // 100)
    with house.smtp('submission', one) as c:
        c.sendmail(str(one), [str(two), 'a@far.test', 'bad@far.test'], text.encode())
    wait_for('the message elsewhere', lambda: len(s.mail) >= 1)
    mail, rcpts, content = s.mail[0]
    content = content.decode()
    assert mail.startswith('MAIL FROM:<first@isp.test>')
    assert [r.split(' ')[1] for r in rcpts if '<bad' not in r] == ['TO:<renamed@other.test>']
    assert header_of(content, 'From') == 'From: "One, User"\r\n <first@isp.test> (the =?utf-8?q?first?=)\r\n'
    assert header_of(content, 'To').startswith('To: Two <all@isp.test>,\r\n\tgroup: other@elsewhere.test,')
    assert content.endswith(text[text.index('Subject'):])
    stored = text_of(house.wait_stored(two, 1)[0])
    assert stored.startswith('Return-Path: <user1@example.test>') and stored.endswith(text)
    assert 'bad@' in text_of(house.wait_stored(one, 1)[0])   # the report came to the address of the house
    house.wait_queue_empty()
