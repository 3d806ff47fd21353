"""SEARCH: every key of RFC 3501 section 6.4.4, charsets, RFC 4731's ESEARCH, RFC 7162's MODSEQ."""
import imaplib
import re

import pytest

from corpus import CORPUS

NAMES = list(CORPUS)


@pytest.fixture
def mailbox(house):
    """The corpus in one mailbox, message i received on day i of March 2026, near midnight."""
    user = house.user('user1')
    m = house.imap(user)
    for i, (name, value) in enumerate(CORPUS.items(), 1):
        zone = '+0900' if i % 2 else '-0700'
        assert m.append('INBOX', None, '"%2d-Mar-2026 23:59:59 %s"' % (i, zone), value)[0] == 'OK', name
    m.select('INBOX')
    yield m
    m.logout()


def n(*names):
    return sorted(NAMES.index(x) + 1 for x in names)


def search(m, *keys, charset=None):
    typ, data = m.search(charset, *keys)
    assert typ == 'OK', data
    return [int(x) for x in data[0].split()]


def literal(m, charset, key, value):
    m.literal = value
    return search(m, key, charset=charset)


EVERY = list(range(1, len(NAMES) + 1))


def but(*names):
    return [x for x in EVERY if x not in n(*names)]


def check_sets_and_logic(m):
    assert search(m, 'ALL') == EVERY
    assert search(m, '2:3') == [2, 3]
    assert search(m, '2:3,5', 'NOT 3') == [2, 5]
    assert search(m, '*') == [EVERY[-1]]
    assert search(m, 'UID 2:*', 'UID 1:3') == [2, 3]
    assert search(m, 'NOT 1:*') == []
    assert search(m, 'OR 1 (2 NOT 2)') == [1]
    assert search(m, 'OR (1) OR 2 3') == [1, 2, 3]
    assert search(m, '(ALL)', '(NOT (NOT (1:2)))') == [1, 2]
    assert m.uid('SEARCH', '1:2')[1] == [b'1 2']


def check_dates(m):
    assert search(m, 'ON 3-Mar-2026') == [3]
    assert search(m, 'BEFORE 3-Mar-2026') == [1, 2]
    assert search(m, 'SINCE "3-Mar-2026"') == EVERY[2:]
    assert search(m, 'SENTON 7-Feb-1994') == n('PLAIN')
    assert search(m, 'SENTSINCE 24-Nov-2026') == n('NESTED')
    assert search(m, 'SENTBEFORE 2-Jan-2026') == n('PLAIN', 'EIGHTBIT')
    assert search(m, 'SENTON 13-Mar-2026') == n('QUOTES')
    assert search(m, 'SENTON 1-Jan-2026') == n('EIGHTBIT')


def check_sizes(m):
    for name in 'PLAIN', 'BIG':
        size = len(CORPUS[name])
        assert n(name)[0] not in search(m, 'LARGER %d' % size)
        assert n(name)[0] in search(m, 'LARGER %d' % (size - 1))
        assert n(name)[0] not in search(m, 'SMALLER %d' % size)
        assert n(name)[0] in search(m, 'SMALLER %d' % (size + 1))


def check_headers(m):
    assert search(m, 'FROM fred') == n('PLAIN')
    assert search(m, 'FROM "FOOBAR@Blurdy"') == n('PLAIN')
    assert search(m, 'SUBJECT "a"', 'FROM foobar') == n('PLAIN')
    assert search(m, 'TO "doe, john"') == n('NESTED')
    assert search(m, 'TO b@example.test') == n('NESTED')
    assert search(m, 'TO "friends:"') == n('NESTED')
    assert search(m, 'CC c@example') == n('NESTED')
    assert search(m, 'BCC c@example') == []
    assert search(m, 'HEADER x-folded "one\ttwo"') == n('NESTED')
    assert search(m, 'HEADER x-folded two') == n('NESTED')
    assert search(m, 'HEADER X-FOLDED ""') == n('NESTED')
    assert search(m, 'HEADER X-Empty ""') == n('NO_BODY')
    assert search(m, 'HEADER Sender secretary') == n('NESTED')
    assert search(m, 'HEADER Sender foobar') == [], 'a default of the envelope is no field'
    assert search(m, 'HEADER Message-ID nested@example') == n('NESTED')
    assert search(m, 'HEADER In-Reply-To parent') == n('NESTED')
    assert search(m, 'HEADER Date "not a"') == n('BAD_FIELDS')
    assert search(m, 'NOT HEADER Subject ""') == n('NO_HEADER')
    assert search(m, 'SUBJECT "said \\"no\\" \\\\ YES"') == n('QUOTES')


def check_charsets(m):
    assert literal(m, 'UTF-8', 'SUBJECT', 'GRÜSSE'.encode()) == []
    assert literal(m, 'UTF-8', 'SUBJECT', 'GRÜßE AUS KÖLN'.encode()) == n('NESTED')
    assert literal(m, 'ISO-8859-1', 'SUBJECT', 'grüße'.encode('latin-1')) == n('NESTED')
    assert literal(m, 'UTF-8', 'FROM', 'JÜRGEN mül'.encode()) == n('NESTED')
    assert literal(m, 'UTF-8', 'SUBJECT', 'CAFÉ'.encode()) == n('EIGHTBIT')
    assert literal(m, 'UTF-8', 'SUBJECT', '日本'.encode()) == n('ISO2022')
    assert literal(m, 'ISO-2022-JP', 'SUBJECT', '日本'.encode('iso-2022-jp')) == n('ISO2022')
    assert literal(m, 'UTF-8', 'BODY', '日本語 TEST'.encode()) == n('ISO2022')
    assert literal(m, 'KOI8-R', 'BODY', 'привет, МИР'.encode('koi8-r')) == n('EIGHTBIT')
    assert literal(m, 'UTF-8', 'FROM', 'späm'.encode()) == n('EIGHTBIT')
    typ, data = m.search('X-NO-SUCH', 'SUBJECT', 'x')
    assert typ == 'NO' and b'BADCHARSET (' in data[-1] and b'UTF-8' in data[-1]


def check_bodies(m):
    assert search(m, 'BODY "3:30 TOMORROW"') == n('PLAIN')
    assert literal(m, 'UTF-8', 'BODY', 'straße in köln'.encode()) == n('NESTED')
    assert search(m, 'BODY "langer Satz."') == n('NESTED'), 'a soft line break'
    assert literal(m, 'UTF-8', 'BODY', 'straßenbahn'.encode()) == n('NESTED'), 'entities and tags'
    assert search(m, 'BODY "<b>"') == []
    assert search(m, 'BODY needle-in-the-deep') == n('NESTED')
    assert search(m, 'BODY "The message inside"') == n('NESTED'), 'the header of a message inside'
    assert search(m, 'BODY "afternoon meeting"') == []
    assert search(m, 'TEXT "afternoon meeting"') == n('PLAIN')
    assert search(m, 'TEXT "subject: afternoon"') == n('PLAIN')
    assert search(m, 'TEXT quoted-printable') == n('NESTED')
    assert search(m, 'BODY "needle at the END"') == n('BIG')
    assert literal(m, 'UTF-8', 'BODY', b'..\r\nline 0001311 of') == n('BIG')
    for i in range(0, 40000, 1237):
        assert search(m, 'BODY', '"line %07d of"' % i, '%d' % n('BIG')[0]) == n('BIG'), i
    assert search(m, 'OR BODY "3:30" BODY "needle at"') == n('PLAIN', 'BIG')
    assert search(m, 'NOT BODY line') == but('BIG')
    assert search(m, 'BODY "body two"') == n('UNCLOSED')
    assert search(m, 'BODY "no boundary at all"') == n('MISSING_BOUNDARY')
    assert search(m, 'BODY "no header at all"') == n('NO_HEADER')
    assert search(m, 'BODY "the body"', 'SUBJECT "bad header"') == n('BAD_FIELDS')


def check_extended(m):
    def esearch(*args, uid=False):
        typ, data = m.uid('SEARCH', *args) if uid else m._simple_command('SEARCH', *args)
        assert typ == 'OK', data
        assert m.untagged_responses.pop('SEARCH', [None]) == [None]
        return m.untagged_responses.pop('ESEARCH')[-1]
    tag = rb'\(TAG "[A-Z]+\d+"\)'
    last = len(EVERY)
    for args, uid, want in (
            (('RETURN (MIN MAX COUNT)', 'ALL'), False, b' MIN 1 MAX %d COUNT %d' % (last, last)),
            (('RETURN ()', '2:4,6'), False, b' ALL 2:4,6'),
            (('RETURN (ALL)', 'UID 2:4,6'), True, b' UID ALL 2:4,6'),
            (('RETURN (MIN)', 'NOT ALL'), False, b''),
            (('RETURN (COUNT)', 'NOT ALL'), True, b' UID COUNT 0'),
            (('RETURN (ALL COUNT)', 'BODY', 'tomorrow'), False, b' COUNT 1 ALL 1')):
        got = esearch(*args, uid=uid)
        assert re.fullmatch(tag + want, got), (args, got)
    with pytest.raises(imaplib.IMAP4.error):
        m._simple_command('SEARCH', 'RETURN (NONSENSE)', 'ALL')


def check_bad(m):
    for bad in 'NONSENSE', '(ALL', 'NOT', 'OR ALL', 'ON 32-Mar-2026', 'LARGER x', 'HEADER x', '', 'BODY', \
            'KEYWORD \\Seen', 'UID 0':
        with pytest.raises(imaplib.IMAP4.error):
            m.search(None, bad)
    assert m.noop()[0] == 'OK'


def test_keys(mailbox):
    """What changes nothing shares an instance."""
    failed = []
    for name in sorted(k for k in globals() if k.startswith('check_')):
        try:
            globals()[name](mailbox)
        except AssertionError as e:
            failed.append('%s: %s' % (name, e))
    assert not failed, '\n\n'.join(failed)


def test_flags_keywords_recent_modseq(house, mailbox):
    m = mailbox
    flags = {'ANSWERED': 1, 'DELETED': 2, 'DRAFT': 3, 'FLAGGED': 4, 'SEEN': 5}
    for word, i in flags.items():
        m.store(str(i), '+FLAGS', '(\\%s)' % word.capitalize())
    m.store('6:7', '+FLAGS', '(Work $Label1)')
    for word, i in flags.items():
        assert search(m, word) == [i]
        assert search(m, 'UN' + word) == [x for x in EVERY if x != i]
    assert search(m, 'KEYWORD work') == [6, 7]
    assert search(m, 'UNKEYWORD $LABEL1', '5:8') == [5, 8]
    assert search(m, 'KEYWORD NoneSuch') == []
    assert search(m, 'RECENT') == EVERY and search(m, 'OLD') == []
    assert search(m, 'NEW') == [x for x in EVERY if x != 5]
    typ, data = m.search(None, 'MODSEQ 1', '4')
    modseq = int(re.fullmatch(rb'4 \(MODSEQ (\d+)\)', data[0]).group(1))
    assert search(m, 'MODSEQ %d' % (modseq + 1), '1:4') == []
    typ, data = m.search(None, 'MODSEQ "/flags/\\\\draft" all %d' % modseq, '4')
    assert data == [b'4 (MODSEQ %d)' % modseq]
    typ, data = m._simple_command('SEARCH', 'RETURN (MIN)', 'MODSEQ 1', '4:5')
    assert m.untagged_responses['ESEARCH'][-1].endswith(b' MIN 4 MODSEQ %d' % modseq)
    m.untagged_responses.clear()
    other = house.imap()
    other.login('user1@example.test', 'secret-user1')
    other.select('INBOX')
    assert search(other, 'RECENT') == [] and search(other, 'OLD') == EVERY
    other.expunge()
    other.logout()
    assert search(m, '1:3') == [1, 3], 'a message that is gone is not found, its number stays'
    m.noop()
    assert search(m, 'FLAGGED') == [3]
