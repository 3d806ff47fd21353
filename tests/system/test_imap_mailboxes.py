"""Mailboxes over IMAP: LIST and LSUB, CREATE, DELETE, RENAME, subscriptions, STATUS, APPEND."""
import re

import pytest

from imapscript import Imap, mail


@pytest.fixture
def user(house):
    return house.user('user1')


@pytest.fixture
def c(house, user):
    with Imap(house, user) as client:
        yield client


def names(answer, word='LIST'):
    return [n.strip('"') for n in answer.all(word + r' \(.*?\) "/" (\S+)')]


def attrs(answer, name):
    found = [a for a, n in answer.all(r'LIST \((.*?)\) "/" (\S+)') if n.strip('"') == name]
    assert len(found) == 1, (name, answer)
    return set(found[0].split())


STANDARD = ['INBOX', 'Archive', 'Drafts', 'Junk', 'Sent', 'Trash']


def test_special_use(c):
    r = c.ok('LIST "" "*"')
    assert names(r) == STANDARD
    for n in STANDARD[1:]:
        assert '\\' + n in attrs(r, n)
    r = c.ok('LIST (SPECIAL-USE) "" "*"')
    assert names(r) == STANDARD[1:]
    assert '\\Sent' in attrs(c.ok('LIST "" "Sent" RETURN (SPECIAL-USE)'), 'Sent')
    c.ok('CREATE Sent/2026')
    assert names(c.ok('LIST (SPECIAL-USE) "" "S%"')) == ['Sent']
    assert c.no('CREATE Sent').code() == 'ALREADYEXISTS'


def test_patterns(c):
    assert c.ok('LIST "" ""').untagged == ['* LIST (\\Noselect) "/" ""']
    for n in ['a/b/c', 'a/x', 'ab', 'Inboxes']:
        c.ok('CREATE ' + n)
    table = {
        '"" "%"': STANDARD[:1] + ['Archive', 'Drafts', 'Inboxes', 'Junk', 'Sent', 'Trash', 'a', 'ab'],
        '"" "a*"': ['a', 'a/b', 'a/b/c', 'a/x', 'ab'],
        '"" "a/%"': ['a/b', 'a/x'], '"a/" "%"': ['a/b', 'a/x'], '"" a/%/%': ['a/b/c'],
        '"" "*c"': ['a/b/c'], '"" "%c"': [], '"" "%/%"': ['a/b', 'a/x'], '"" "a/*/c"': ['a/b/c'],
        '"" inbox': ['INBOX'], '"" "iNb%"': ['INBOX'], '"inb" "OX"': ['INBOX'], '"" "I*"': ['INBOX', 'Inboxes'],
        '"a" "b"': ['ab'], '"a/" b': ['a/b'], '"" "nothing*"': [], '"" {3+}\r\na/b': ['a/b'],
        '"" "%%*%a%*"': ['a', 'a/b', 'a/b/c', 'a/x', 'ab'] and None,
    }
    for args, want in table.items():
        r = c.ok('LIST ' + args)
        if want is not None:
            assert names(r) == want, args
    r = c.ok('LIST "" "a*"')
    assert attrs(r, 'a') == {'\\Noselect', '\\HasChildren'} == attrs(r, 'a/b')
    assert attrs(r, 'a/x') == {'\\HasNoChildren'}
    assert c.no('SELECT a').code() == 'NONEXISTENT'
    c.bad('LIST ""')
    c.bad('LIST "" "a" "b"')
    c.ok('LIST "" "%s"' % ('*%' * 2000))   # costs no more than one star


def test_extended_list(c):
    """RFC 5258 section 5, examples 2, 8, 9 and 10."""
    for n in ['foo2/bar1', 'foo2/bar2', 'baz2/bar2', 'baz2/bar22', 'eps2/mamba', 'qux2/bar2', 'plain', 'moo']:
        c.ok('CREATE ' + n)
    for n in ['baz2', 'eps2', 'foo2']:
        c.ok('CREATE ' + n)
    for n in STANDARD + ['baz2', 'eps2', 'foo2', 'foo2/bar1', 'moo', 'plain', 'qux2/bar2']:
        c.ok('UNSUBSCRIBE ' + n)
    subscribed = ['baz2/bar2', 'baz2/bar22', 'eps2', 'eps2/mamba', 'foo2/bar1', 'foo2/bar2', 'gone/peach',
                  'qux2/bar2']
    for n in subscribed:
        c.ok('SUBSCRIBE ' + n)
    r = c.ok('LIST (SUBSCRIBED) "" "*"')
    assert names(r) == subscribed
    assert '\\Subscribed' in attrs(r, 'eps2')
    assert {'\\NonExistent', '\\Subscribed'} <= attrs(r, 'gone/peach')
    r = c.ok('LIST (RECURSIVEMATCH SUBSCRIBED) "" "*2"')
    rows = dict(re.match(r'\* LIST \(.*?\) "/" (\S+)(.*)', u).groups() for u in r.untagged)
    info = ' ("CHILDINFO" ("SUBSCRIBED"))'
    assert rows == {'baz2/bar2': '', 'baz2/bar22': '', 'eps2': info, 'foo2': info, 'foo2/bar2': '',
                    'qux2/bar2': ''}
    r = c.ok('LIST (SUBSCRIBED RECURSIVEMATCH) "" "%"')
    assert names(r) == ['baz2', 'eps2', 'foo2', 'gone', 'qux2']
    assert '\\NonExistent' in attrs(r, 'gone') and '\\HasNoChildren' in attrs(r, 'gone')
    r = c.ok('LIST "" ("moo" "foo2/%" "INBOX") RETURN (SUBSCRIBED CHILDREN)')
    assert names(r) == ['INBOX', 'foo2/bar1', 'foo2/bar2', 'moo']
    assert '\\Subscribed' in attrs(r, 'foo2/bar1') and '\\Subscribed' not in attrs(r, 'moo')
    assert 'gone/peach' not in names(c.ok('LIST "" "*" RETURN (SUBSCRIBED)'))
    c.bad('LIST (RECURSIVEMATCH) "" "*"')
    c.bad('LIST (RECURSIVEMATCH REMOTE) "" "*"')
    c.bad('LIST (FOO) "" "*"')
    c.bad('LIST () "" "*" RETURN (BAR)')
    c.bad('LIST () "" "*" RETURN')
    c.ok('LIST () "" "*" RETURN ()')


def test_lsub(c):
    for n in STANDARD:
        c.ok('UNSUBSCRIBE ' + n)
    c.ok('CREATE foo/bar')
    c.ok('UNSUBSCRIBE foo')
    c.ok('SUBSCRIBE foo/bar')
    assert c.ok('LSUB "" "*"').untagged == ['* LSUB () "/" foo/bar']
    assert c.ok('LSUB "" "%"').untagged == ['* LSUB (\\Noselect) "/" foo']
    assert c.ok('LSUB "" "foo"').untagged == []
    c.ok('SUBSCRIBE never/was')
    assert names(c.ok('LSUB "" "*"'), 'LSUB') == ['foo/bar', 'never/was']
    c.ok('DELETE foo/bar')   # a subscription outlives its mailbox
    assert names(c.ok('LSUB "" "*"'), 'LSUB') == ['foo/bar', 'never/was']
    c.ok('CREATE foo/bar')   # and shows again with a new one of the name
    assert names(c.ok('LSUB "" "*"'), 'LSUB') == ['foo/bar', 'never/was']
    c.ok('UNSUBSCRIBE never/was')
    c.ok('UNSUBSCRIBE foo/bar')
    assert c.ok('LSUB "" "*"').untagged == []


def test_create_and_delete(c):
    c.ok('CREATE one/')   # a name that says what it will hold
    assert '\\HasNoChildren' in attrs(c.ok('LIST "" one'), 'one')
    c.ok('CREATE one/two/three')
    c.append('one', subject='kept')
    for bad in ['INBOX', 'inbox', 'one', '""', '"a//b"', '"/a"', 'x/' * 200 + 'y']:
        c.no('CREATE ' + bad)
    c.no('DELETE INBOX')
    c.no('DELETE nothing')
    c.ok('DELETE one')   # has children: the name stays
    assert attrs(c.ok('LIST "" one'), 'one') == {'\\Noselect', '\\HasChildren'}
    c.no('SELECT one')
    c.no('DELETE one')
    c.ok('CREATE one')   # and can be a mailbox again, an empty one
    assert c.ok('STATUS one (MESSAGES)').find(r'STATUS one \(MESSAGES (\d+)\)') == ('0',)
    for n in ['one', 'one/two/three']:
        c.ok('DELETE ' + n)
    assert names(c.ok('LIST "" "one*"')) == []
    c.ok('CREATE "with space"')
    c.ok('SELECT "with space"')
    c.ok('CREATE "&AOk-t&AOk-"')
    assert names(c.ok('LIST "" "&AOk*"')) == ['&AOk-t&AOk-']
    c.ok('CREATE', b'lit"eral')
    c.ok('SELECT', b'lit"eral')


def test_uidvalidity_of_a_new_mailbox(c):
    """A mailbox of the same name is another one (RFC 3501 section 6.3.4)."""
    c.ok('CREATE again')
    first = int(c.ok('STATUS again (UIDVALIDITY)').find(r'STATUS again \(UIDVALIDITY (\d+)\)')[0])
    c.append('again')
    c.ok('DELETE again')
    c.ok('CREATE again')
    second = int(c.ok('STATUS again (UIDVALIDITY)').find(r'STATUS again \(UIDVALIDITY (\d+)\)')[0])
    assert second > first


def test_rename(c):
    c.ok('CREATE a/b/c')
    c.append('a/b/c', subject='in c')
    c.ok('RENAME a/b x/y')
    assert names(c.ok('LIST "" "x*"')) == ['x', 'x/y', 'x/y/c']
    assert c.ok('STATUS x/y/c (MESSAGES)').has(r'STATUS x/y/c \(MESSAGES 1\)')
    assert names(c.ok('LIST "" "a*"')) == []
    c.no('RENAME nothing other')
    c.no('RENAME x/y/c Sent')
    c.no('RENAME x x/y/z')
    c.bad('RENAME x')
    uid = c.append('INBOX', subject='first')
    c.append('INBOX', subject='second')
    c.ok('CREATE INBOX/kept')
    validity = c.ok('STATUS INBOX (UIDVALIDITY)').find(r'STATUS INBOX \(UIDVALIDITY (\d+)')[0]
    c.ok('RENAME INBOX old')   # its messages move, it stays, its children stay
    assert c.ok('STATUS INBOX (MESSAGES UIDVALIDITY)').has(r'STATUS INBOX \(MESSAGES 0 UIDVALIDITY %s\)' % validity)
    assert c.ok('STATUS old (MESSAGES)').has(r'STATUS old \(MESSAGES 2\)')
    assert names(c.ok('LIST "" "INBOX*"')) == ['INBOX', 'INBOX/kept']
    assert c.append('INBOX') > uid


def test_status(c):
    c.append('Drafts', flags='\\Seen')
    c.append('Drafts')
    c.append('Drafts', flags='\\Deleted')
    r = c.ok('STATUS Drafts (UNSEEN MESSAGES RECENT UIDNEXT UIDVALIDITY HIGHESTMODSEQ)')
    row = dict(zip(*[iter(r.find(r'STATUS Drafts \((.*)\)')[0].split())] * 2))
    assert row['MESSAGES'] == '3' and row['UNSEEN'] == '2' and row['UIDNEXT'] == '4' and row['RECENT'] == '3'
    assert int(row['HIGHESTMODSEQ']) > 0 and int(row['UIDVALIDITY']) > 0
    assert c.ok('STATUS Drafts (RECENT)').has(r'STATUS Drafts \(RECENT 3\)')   # asking claims nothing
    c.no('STATUS nothing (MESSAGES)')
    c.ok('SELECT Drafts')
    assert c.ok('STATUS Drafts (MESSAGES)').has(r'STATUS Drafts \(MESSAGES 3\)')


def test_append(c):
    c.ok('SELECT INBOX')
    r = c.ok('APPEND INBOX (\\Seen $Label) "01-Feb-2020 01:02:03 +0200"', mail('one'))
    validity = c.ok('STATUS INBOX (UIDVALIDITY)').find(r'STATUS INBOX \(UIDVALIDITY (\d+)')[0]
    assert r.code() == 'APPENDUID %s 1' % validity
    assert r.has('1 EXISTS') and r.has('1 RECENT')
    c.send(b'x APPEND INBOX {4+}\r\nA: b\r\n')   # non-synchronizing
    assert c.answer('x').code() == 'APPENDUID %s 2' % validity
    c.send(b'x APPEND {5+}\r\nInbox () " 1-Feb-2020 01:02:03 +0200" {4+}\r\nA: b\r\n')
    assert c.answer('x').code() == 'APPENDUID %s 3' % validity
    assert c.no('APPEND nothing', mail()).code() == 'TRYCREATE'
    c.send(b'x APPEND nothing {12+}\r\nx LOGOUT\r\nx \r\n')   # what is refused is no command
    r = c.answer('x')
    assert (r.status, r.code(), r.untagged) == ('NO', 'TRYCREATE', [])
    c.no('APPEND INBOX', b'')
    c.no('APPEND INBOX', b'a: b\r\n\r\n\0\r\n')
    for line in ['APPEND INBOX', 'APPEND INBOX "text"', 'APPEND INBOX (\\Recent)', 'APPEND']:
        c.bad(line)
    c.bad('APPEND INBOX (\\Wrong)', mail())
    c.bad('APPEND INBOX "32-Feb-2020 01:02:03 +0200"', mail())
    c.send(b'x APPEND INBOX {1+}\r\na {1+}\r\nb\r\n')   # one message at a time
    assert c.answer('x').status == 'BAD'
    assert c.ok('STATUS INBOX (MESSAGES)').has(r'STATUS INBOX \(MESSAGES 3\)')
    c.ok('NOOP')


def test_append_sizes(make_house):
    house = make_house(start=False)
    house.set('imap', 'append-limit', '64K')
    house.start()
    user = house.user('user1', quota='100K')
    with Imap(house, user) as c:
        big = mail('big', 'x' * 60 * 1024)
        c.ok('APPEND INBOX', big)
        assert c.no('APPEND INBOX', big).code() == 'OVERQUOTA'
        over = b'a: b\r\n\r\n' + b'y' * 70000
        assert c.no('APPEND INBOX', over).code() == 'TOOBIG'
        c.send(b'x APPEND INBOX {%d+}\r\n%s\r\n' % (len(over), over))
        assert c.answer('x').code() == 'TOOBIG'
        c.ok('APPEND INBOX', mail('small'))
        # slowly, in pieces, with the session parked between them
        text = mail('slow', 'z' * 100)
        c.send(b'x APPEND INBOX {%d}\r\n' % len(text))
        assert c.response().startswith('+')
        for i in range(0, len(text), 7):
            c.send(text[i:i + 7])
        c.send('\r\n')
        assert c.answer('x').status == 'OK'
    files = [open(s.path, 'rb').read() for s in house.stored(user)]
    assert sorted(map(len, files)) == sorted(map(len, [big, mail('small'), text]))
    assert set(files) == {big, mail('small'), text}


def test_append_larger_than_a_command(house, user):
    text = mail('large', ('0123456789' * 7 + '\r\n') * 100000)   # 7 MB
    with Imap(house, user, tls=True) as c:
        c.ok('APPEND Archive', text)
    (stored,) = house.stored(user)
    assert stored.folder == 'Archive' and open(stored.path, 'rb').read() == text
