"""Rules for the lines of messages: what each action does, where lines are looked at, and what a bad pattern costs."""
import time

import pytest

from conftest import wait_for

from test_rewrite import started, text_of

RULES = r'''
checks {
	header "/^Subject:.*buy/ REJECT 5.7.7 no \"offers\" here"
	header "/^Subject: throw/ DISCARD"
	header "/^Subject: hold/ HOLD"
	header "/^Subject: elsewhere/ REDIRECT user2@example.test"
	header "/^Subject: copy/ BCC user2@example.test"
	header "/^X-Old: (.*)$/ REPLACE X-New: $1!"
	header "/^X-Gone:/ IGNORE"
	header "/^X-Strip:/ STRIP seen"
	header "/^X-Tag: (\\w+)/ PREPEND X-Before: ${1}"
	header "/^X-Warn:/ WARN look"
	header "if /^X-If:/", "/one/ REJECT first", "endif"
	mime-header "/name=.*\\.exe/ REJECT no programs"
	nested-header "/^Subject: inner/ REJECT nested"
	body "/virus number (\\d+)/ REJECT virus $1"
	body "/^secret/ REPLACE (removed)"
	body "/^drop this/ IGNORE"
	body "/^late hold/ HOLD"
}
'''
PARTS = ('MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary="b 1"\r\n\r\npreamble\r\n--b 1\r\n%s\r\n'
         '%s\r\n--b 1--\r\nepilogue\r\n')


def send(house, text, listener='smtp'):
    """(code, text) of the answer to the message for user1."""
    with house.smtp(listener) as c:
        c.ehlo()
        c.mail('someone@elsewhere.test')
        assert c.rcpt('user1@example.test')[0] == 250
        return c.data(text.encode())


@pytest.fixture
def house(make_house):
    house = started(make_house, RULES)
    house.one, house.two = house.user('user1'), house.user('user2')
    return house


def test_verdicts(house):
    code, text = send(house, 'Subject: please\r\n BUY it\r\n\r\nx\r\n')
    assert code == 550 and text == b'5.7.7 no "offers" here'
    assert send(house, 'X-If: one\r\n\r\nx\r\n') == (550, b'5.7.1 first')
    assert send(house, 'X-If: two\r\n\r\nx\r\n')[0] == 250
    assert send(house, 'Subject: throw it\r\n\r\nx\r\n')[0] == 250
    assert send(house, 'Subject: hold it\r\n\r\nx\r\n')[0] == 250
    assert send(house, 'Subject: x\r\n\r\nlate hold\r\n')[0] == 250
    assert send(house, 'Subject: elsewhere\r\n\r\nx\r\n')[0] == 250
    assert send(house, 'Subject: copy\r\n\r\nx\r\n')[0] == 250
    wait_for('two held', lambda: [r['state'] for r in house.json('queue', 'list')] == ['held', 'held'])
    house.wait_stored(house.one, 2)
    assert sorted(house.subjects(house.two)) == ['copy', 'elsewhere']
    for row in house.json('queue', 'list'):
        house.run('queue', 'release', row['id'])
    house.wait_queue_empty()
    assert 'throw it' not in house.subjects(house.one) and 'hold it' in house.subjects(house.one)
    assert sum(v for k, v in house.metrics().items() if 'accept_checks_total' in k and 'reject' in k) == 2


def test_lines(house):
    """Lines change; all others stay byte for byte."""
    assert send(house, 'X-Old: a\r\n b\r\nX-Gone: 1\r\n 2\r\nX-Strip: 3\r\nX-Tag: blue sky\r\nX-Warn: w\r\nSubject:  s \r\n\r\n'
                'secret word\r\nkeep\r\ndrop this\r\n\r\n.dot\r\nlast secret\r\n')[0] == 250
    text = text_of(house.wait_stored(house.one, 1)[0])
    assert text.endswith('X-New: a\r\n b!\r\nX-Before: blue\r\nX-Tag: blue sky\r\nX-Warn: w\r\nSubject:  s \r\n\r\n'
                         '(removed)\r\nkeep\r\n\r\n.dot\r\nlast secret\r\n')
    [warned] = [e for e in house.events('accept.check') if e['action'] == 'WARN']
    assert warned['text'] == 'look' and warned['line'] == 'X-Warn: w'
    assert any(e['action'] == 'STRIP' for e in house.events('accept.check'))


def test_parts(house):
    house.add('checks { body-limit 1K }\n')
    house.reload()
    exe = 'Content-Type: application/x;\r\n name="a.exe"\r\n'
    assert send(house, PARTS % (exe, 'x')) == (550, b'5.7.1 no programs')
    inner = 'Content-Type: message/rfc822\r\n\r\nTo: x\r\nSubject: inner\r\n\r\n'
    assert send(house, PARTS % (inner, 'x')) == (550, b'5.7.1 nested')
    assert send(house, PARTS % ('\r\nSubject: inner', 'x'))[0] == 250
    assert send(house, PARTS % ('Content-Type: text/plain\r\n', 'virus number 7')) == (550, b'5.7.1 virus 7')
    assert send(house, 'Subject: x\r\n\r\n' + 'long\r\n' * 300 + 'virus number 7\r\n')[0] == 250
    whole = PARTS % ('Content-Type: text/plain\r\n', 'text\r\n' * 400)
    assert send(house, whole)[0] == 250
    house.wait_stored(house.one, 3)
    assert any(text_of(s).endswith(whole) for s in house.stored(house.one))


def test_large(house):
    """A message that goes ahead in pieces: its end is looked at as its beginning is."""
    house.add('checks { body-limit unlimited }\n')
    house.reload()
    text = 'Subject: x\r\n\r\n' + ''.join('line %d of a large message\r\n' % i for i in range(40000))
    assert send(house, text + 'virus number 8\r\n') == (550, b'5.7.1 virus 8')
    assert send(house, text + 'secret\r\nend\r\n')[0] == 250
    assert text_of(house.wait_stored(house.one, 1)[0]).endswith(text + '(removed)\r\nend\r\n')
    done = house.run('send', '--from', '<>', '--to', house.one, input=(text + 'virus number 9\r\n').replace('\r\n', '\n'),
                     check=False)
    assert done.returncode == 1 and 'virus 9' in done.stderr + done.stdout
    with house.raw() as r:
        r.reply()
        for line in ('EHLO x', 'MAIL FROM:<>', 'RCPT TO:<user1@example.test>'):
            assert r.say(line)[0] == 250
        for i, chunk in enumerate((b'Subject: throw\r\n\r\nvirus num', b'ber 10\r\n')):
            r.send(b'BDAT %d%s\r\n%s' % (len(chunk), b' LAST' if i else b'', chunk))
            assert r.reply()[0] == 250
    assert len(house.stored(house.one)) == 1


def test_costly_pattern(make_house):
    """A pattern that would take for ever costs a bounded time, and the mail is put off."""
    house = started(make_house, r'checks { body "/^(a|aa)+$/ REJECT x"  time-limit 200ms }' + '\n')
    house.user('user1')
    start = time.time()
    code, text = send(house, 'Subject: x\r\n\r\n' + ('a' * 60 + 'c\r\n') * 400)
    assert code == 451 and b'too long' in text and time.time() - start < 20
    house.wait_event('accept.check_costly')
    assert send(house, 'Subject: x\r\n\r\naaa\r\n')[0] == 550


def test_settings(make_house, tmp_path):
    """Mistakes are told by place, rules come from files, and a bad reload leaves the old ones."""
    house = started(make_house, '')
    rules = tmp_path / 'rules'
    rules.write_text('# mine\n/^Subject: one/\n  REJECT from a file\n')
    house.add('checks { header file "%s" }\n' % rules)
    house.user('user1')
    house.reload()
    assert send(house, 'Subject: one\r\n\r\nx\r\n') == (550, b'5.7.1 from a file')
    for wrong, why in (('/x/\n', 'the pattern has no action'), ('/x/ REJECT\n/(/ REJECT\n', 'line 2: pattern, at byte 1'),
                       ('\n/x/ FOO\n', "line 2: unknown action 'FOO'"), ('if /x/\n/y/ REJECT\n', 'an if has no endif')):
        rules.write_text(wrong)
        done = house.reload(check=False)
        assert done.returncode and why in done.stderr + done.stdout, (wrong, done)
        assert send(house, 'Subject: one\r\n\r\nx\r\n')[0] == 550
    rules.write_text('/^Subject: two/ REJECT\n')
    house.reload()
    assert send(house, 'Subject: one\r\n\r\nx\r\n')[0] == 250
    assert send(house, 'Subject: two\r\n\r\nx\r\n') == (550, b'5.7.1 Message content rejected')
