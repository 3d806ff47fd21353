"""FETCH: every item of RFC 3501 section 6.4.5, with Python's email package as the oracle."""
import email
import email.policy
import imaplib
import re

import pytest

from corpus import BIG, CORPUS, NESTED, PLAIN, QUOTES


@pytest.fixture
def mailbox(house):
    """The corpus in one mailbox: (connection, names by message number from 1)."""
    user = house.user('user1')
    m = house.imap(user)
    for name, value in CORPUS.items():
        assert m.append('INBOX', None, '" 7-Feb-1994 21:52:25 -0800"', value)[0] == 'OK', name
    assert m.select('INBOX')[1] == [b'%d' % len(CORPUS)]
    yield m, list(CORPUS)
    m.logout()


def fetch(m, n, items):
    """All of one message's answer as one piece of bytes; literals in place."""
    typ, data = m.fetch(str(n), items)
    assert typ == 'OK', data
    return b''.join(b'\r\n'.join(x) if isinstance(x, tuple) else x for x in data)


def section(m, n, spec, partial=''):
    """The value of BODY.PEEK[spec]: bytes, or None for NIL."""
    typ, data = m.fetch(str(n), '(BODY.PEEK[%s]%s)' % (spec, partial))
    assert typ == 'OK', data
    if isinstance(data[0], tuple):
        return data[0][1]
    assert data[0].endswith(b' NIL)') or data[0].endswith(b' "")'), data
    return None if data[0].endswith(b' NIL)') else b''


def parse(data):
    """An S-expression of IMAP as lists, bytes and None."""
    pos = 0

    def value():
        nonlocal pos
        c = data[pos:pos + 1]
        if c == b'(':
            pos += 1
            out = []
            while data[pos:pos + 1] != b')':
                if data[pos:pos + 1] == b' ':
                    pos += 1
                out.append(value())
            pos += 1
            return out
        if c == b'"':
            m = re.compile(rb'"((?:[^"\\\r\n]|\\["\\])*)"').match(data, pos)
            pos = m.end()
            return re.sub(rb'\\(.)', rb'\1', m.group(1))
        if c == b'{':
            m = re.compile(rb'\{(\d+)\}\r\n').match(data, pos)
            pos = m.end() + int(m.group(1))
            return data[m.end():pos]
        m = re.compile(rb'[^ ()"{]+').match(data, pos)
        pos = m.end()
        return None if m.group() == b'NIL' else m.group()
    return value()


def item(m, n, name):
    whole = fetch(m, n, '(%s)' % name)
    return parse(re.match(rb'\d+ \(%s ' % name.encode(), whole) and whole[whole.index(b' (') + 2 + len(name) + 1:])


def parts(message, path=()):
    """Every numbered part of a message as Python sees it: (number, part)."""
    if message.is_multipart() and message.get_content_maintype() == 'multipart':
        for i, sub in enumerate(message.get_payload(), 1):
            yield path + (i,), sub
            if sub.get_content_type() == 'message/rfc822':
                yield from parts(sub.get_payload()[0], path + (i,))
            elif sub.get_content_maintype() == 'multipart':
                yield from parts(sub, path + (i,))
    else:
        yield path + (1,), message


def shape(body):
    """Types of a BODYSTRUCTURE as nested tuples."""
    if isinstance(body[0], list):
        subs = [x for x in body if isinstance(x, list)]
        n = next(i for i, x in enumerate(body) if not isinstance(x, list))
        return ('multipart/' + body[n].decode().lower(),) + tuple(shape(x) for x in subs[:n])
    t = '%s/%s' % (body[0].decode().lower(), body[1].decode().lower())
    return (t, shape(body[8])) if t == 'message/rfc822' else (t,)


def python_shape(message):
    t = message.get_content_type()
    if message.is_multipart():
        return (t,) + tuple(python_shape(x) for x in message.get_payload())
    return (t,)


def check_whole_messages(mailbox):
    m, names = mailbox
    for n, name in enumerate(names, 1):
        raw = CORPUS[name]
        head, sep, body = raw.partition(b'\r\n\r\n')
        header = head + sep
        if raw.startswith(b'\r\n'):
            header, body = b'\r\n', raw[2:]
        assert section(m, n, '') == raw, name
        assert section(m, n, 'HEADER') == header, name
        assert section(m, n, 'TEXT') == body, name
        assert b'RFC822.SIZE %d)' % len(raw) in fetch(m, n, '(RFC822.SIZE)'), name
        assert m.fetch(str(n), 'RFC822.HEADER')[1][0][1] == header, name


def check_partial(mailbox):
    m, names = mailbox
    for n, name in enumerate(names, 1):
        raw = CORPUS[name]
        for off, count in (0, 1), (0, 10), (5, 7), (len(raw) - 1, 100), (len(raw), 1), (0, 2 ** 32 - 1), \
                (2 ** 32 - 1, 5):
            assert section(m, n, '', '<%d.%d>' % (off, count)) == raw[off:off + count], (name, off, count)
    n = names.index('BIG') + 1
    assert section(m, n, '1', '<100000.200000>') == \
        BIG[BIG.index(b'line 0000000'):][100000:300000]
    answer = fetch(m, n, '(BODY.PEEK[HEADER.FIELDS (Subject)]<3.4>)')
    assert b'BODY[HEADER.FIELDS (Subject)]<3> {4}' in answer and answer.endswith(b'ject)')


def check_parts_of_wellformed_messages(mailbox):
    m, names = mailbox
    for name in 'PLAIN', 'NESTED', 'BIG', 'EIGHTBIT':
        n = names.index(name) + 1
        raw = CORPUS[name]
        message = email.message_from_bytes(raw)
        for number, part in parts(message):
            spec = '.'.join(map(str, number))
            got = section(m, n, spec)
            if part.is_multipart():
                assert got is not None
                continue
            want = part._payload
            want = want.encode('ascii', 'surrogateescape')
            assert got.replace(b'\r\n', b'\n') == want.replace(b'\r\n', b'\n'), (name, spec)
            assert got in raw
        assert section(m, n, '99') is None
        assert section(m, n, '1.99.1') is None


def check_mime_and_nested_headers(mailbox):
    m, names = mailbox
    n = names.index('NESTED') + 1
    assert section(m, n, '1.1.MIME') == (b'Content-Type: text/plain; charset=iso-8859-1\r\n'
        b'Content-Transfer-Encoding: quoted-printable\r\n\r\n')
    assert section(m, n, '2.MIME').startswith(b'Content-Type: message/rfc822\r\n')
    inner = section(m, n, '2')
    assert inner.startswith(b'From: inside@example.test\r\n') and inner.endswith(b'--deep--')
    assert section(m, n, '2.HEADER') == inner[:inner.index(b'\r\n\r\n') + 4]
    assert section(m, n, '2.TEXT') == inner[inner.index(b'\r\n\r\n') + 4:]
    assert section(m, n, '2.HEADER.FIELDS (subject FROM)') == \
        b'From: inside@example.test\r\nSubject: The message inside\r\n\r\n'
    assert section(m, n, '2.1') == b'A part without a header: needle-in-the-deep.'
    assert section(m, n, '2.2') == b'AAECAwQ='
    assert section(m, n, '1.HEADER') is None


def check_header_fields(mailbox):
    m, names = mailbox
    n = names.index('NESTED') + 1
    assert section(m, n, 'HEADER.FIELDS (x-folded)') == b'X-Folded: one\r\n\ttwo\r\n\r\n'
    assert section(m, n, 'HEADER.FIELDS (None-Such)') == b'\r\n'
    rest = section(m, n, 'HEADER.FIELDS.NOT (x-folded date FROM sender to cc subject)')
    assert rest.startswith(b'In-Reply-To: <parent@example.test>\r\nMessage-ID:')
    assert b'X-Folded' not in rest and rest.endswith(b'\r\n\r\n')


def check_envelope(mailbox):
    m, names = mailbox
    # the envelope that RFC 3501 section 8 shows
    env = item(m, names.index('PLAIN') + 1, 'ENVELOPE')
    fred = [[b'Fred Foobar', None, b'foobar', b'blurdybloop.example']]
    assert env == [b'Mon, 7 Feb 1994 21:52:25 -0800 (PST)', b'afternoon meeting', fred, fred, fred,
        [[None, None, b'mooch', b'owatagu.siam.example']], None, None, None,
        b'<B27397-0100000@blurdybloop.example>']
    env = item(m, names.index('NESTED') + 1, 'ENVELOPE')
    assert env[2] == [[b'=?utf-8?q?J=C3=BCrgen_M=C3=BCller?=', None, b'juergen', b'example.test']]
    assert env[3] == [[None, None, b'secretary', b'example.test']]
    assert env[4] == env[2]
    assert env[5] == [[b'Doe, John', None, b'john', b'example.test'], [None, None, b'friends', None],
        [None, None, b'a', b'example.test'], [None, None, b'b', b'example.test'],
        [None, None, None, None]]
    assert env[8:] == [b'<parent@example.test>', b'<nested@example.test>']
    env = item(m, names.index('QUOTES') + 1, 'ENVELOPE')
    assert env[1] == b'He said "no" \\ yes'
    assert env[2][0][0] == b'A "quoted" \\ name'
    assert item(m, names.index('NO_HEADER') + 1, 'ENVELOPE') == [None] * 10
    assert item(m, names.index('EIGHTBIT') + 1, 'ENVELOPE')[1] == 'café au lait'.encode()


def check_body_structure(mailbox):
    m, names = mailbox
    for name in 'PLAIN', 'NESTED', 'BIG', 'EIGHTBIT', 'UNCLOSED', 'NO_BODY', 'NO_HEADER', 'ISO2022':
        n = names.index(name) + 1
        want = python_shape(email.message_from_bytes(CORPUS[name]))
        assert shape(item(m, n, 'BODYSTRUCTURE')) == want, name
        assert shape(item(m, n, 'BODY')) == want, name
    body = item(m, names.index('NESTED') + 1, 'BODYSTRUCTURE')
    plain, html = body[0][0], body[0][1]
    assert plain[:6] == [b'text', b'plain', [b'charset', b'iso-8859-1'], None, None, b'quoted-printable']
    assert int(plain[6]) == len(section(m, names.index('NESTED') + 1, '1.1'))
    assert html[9:] == [None, [b'de', b'en'], None] or html[8:] == [None, None, [b'de', b'en'], None]
    rfc822 = body[1]
    assert rfc822[4] == b'the original'
    assert rfc822[7][1] == b'The message inside'
    assert rfc822[11] == [b'attachment', [b'filename', b'mail.eml', b'size', b'3']]
    binary = rfc822[8][1]
    assert binary[3] == b'<data@example.test>' and binary[7] == b'Q2hlY2sgSW50ZWdyaXR5IQ=='
    assert binary[-1] == b'http://example.test/data'
    assert dict(zip(body[2][2][::2], body[2][2][1::2])) == {b'name': b'a very long file name.pdf'}
    assert shape(item(m, names.index('MISSING_BOUNDARY') + 1, 'BODYSTRUCTURE'))


def check_dates_macros_and_uid(mailbox):
    m, names = mailbox
    assert b'INTERNALDATE "07-Feb-1994 21:52:25 -0800"' in fetch(m, 1, '(INTERNALDATE)').replace(b'" 7', b'"07')
    for macro, words in ('FAST', 'FLAGS INTERNALDATE RFC822.SIZE'), \
            ('ALL', 'FLAGS INTERNALDATE RFC822.SIZE ENVELOPE'), \
            ('FULL', 'FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY'):
        answer = fetch(m, 1, macro)
        for word in words.split():
            assert word.encode() + b' ' in answer
    typ, data = m.uid('FETCH', '1:*', '(FLAGS)')
    assert typ == 'OK' and len(data) == len(names)
    assert data[0].startswith(b'1 (') and b'UID 1' in data[0]
    assert m.uid('FETCH', '4000:4010', '(FLAGS)') == ('OK', [None])
    with pytest.raises(imaplib.IMAP4.error):
        m.fetch('4000', '(FLAGS)')


def test_seen_is_set_but_by_peek(mailbox):
    m, names = mailbox
    n = names.index('QUOTES') + 1
    for peek in 'BODY.PEEK[]', 'RFC822.HEADER', 'ENVELOPE', 'BODY':
        m.fetch(str(n), '(%s)' % peek)
        assert b'\\Seen' not in fetch(m, n, '(FLAGS)'), peek
    typ, data = m.fetch('%d' % n, '(BODY[TEXT])')
    assert len(data) == 2 and b'FLAGS (\\Seen' in data[0][0], data
    assert data[0][1] == QUOTES.partition(b'\r\n\r\n')[2]
    assert b'\\Seen' in fetch(m, n, '(FLAGS)')
    typ, data = m.fetch('%d' % n, '(BODY[TEXT])')
    assert b'FLAGS' not in data[0][0]
    for i, sees in enumerate(('RFC822', 'RFC822.TEXT'), 1):
        typ, data = m.fetch(str(i), sees)
        assert sees.encode() + b' {' in data[0][0]
        assert b'\\Seen' in fetch(m, i, '(FLAGS)')
    m.select('INBOX', readonly=True)
    n = names.index('BIG') + 1
    m.fetch(str(n), '(BODY[])')
    assert b'\\Seen' not in fetch(m, n, '(FLAGS)')


def test_modseq_and_changedsince(mailbox):
    m, names = mailbox
    before = [int(re.search(rb'MODSEQ \((\d+)\)', x).group(1)) for x in m.fetch('1:*', '(MODSEQ)')[1]]
    assert len(before) == len(names)
    m.store('2', '+FLAGS', '(\\Flagged)')
    typ, data = m.fetch('1:*', '(FLAGS) (CHANGEDSINCE %d)' % max(before))
    assert len(data) == 1 and data[0].startswith(b'2 (') and b'\\Flagged' in data[0] and b'MODSEQ' in data[0]
    assert m.fetch('1:*', '(FLAGS) (CHANGEDSINCE %d)' % (max(before) + 100)) == ('OK', [None])


def test_gone_while_selected(house, mailbox):
    m, names = mailbox
    other = house.imap()
    other.login('user1@example.test', 'secret-user1')
    other.select('INBOX')
    other.store('2', '+FLAGS', '(\\Deleted)')
    other.expunge()
    typ, data = m.fetch('1:3', '(UID FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])')
    assert typ == 'NO' and b'EXPUNGEISSUED' in data[-1], (typ, data)
    m.response('FETCH')  # what came with the NO
    typ, data = m.uid('FETCH', '1:3', '(FLAGS)')
    assert typ == 'OK' and len([x for x in data if x]) == 2
    m.noop()
    typ, data = m.fetch('2', '(UID)')
    assert data == [b'2 (UID 3)']
    other.logout()


def check_bad_requests(mailbox):
    m, names = mailbox
    for bad in '(BODY[1.)', '(BODY[0])', 'NONSENSE', '(BODY[MIME])', '(BODY[HEADER.FIELDS ()])', '()', \
            '(BODY[]<0.0>)':
        with pytest.raises(imaplib.IMAP4.error):
            m.fetch('1', bad)
    assert m.noop()[0] == 'OK'


def check_sections_of_plain_message(mailbox):
    m, names = mailbox
    n = names.index('PLAIN') + 1
    body = PLAIN.partition(b'\r\n\r\n')[2]
    assert section(m, n, '1') == body
    assert section(m, n, '1.MIME').endswith(b'\r\n\r\n')
    assert section(m, n, '1.1') is None
    assert NESTED  # the other tests take the parts of it


def test_items(mailbox):
    """What changes nothing shares an instance."""
    failed = []
    for name in sorted(k for k in globals() if k.startswith('check_')):
        try:
            globals()[name](mailbox)
        except AssertionError as e:
            failed.append('%s: %s' % (name, e))
    assert not failed, '\n\n'.join(failed)
