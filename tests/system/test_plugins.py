"""Plugins: asked about mail, editing it; their faults cost a temporary answer and no mail."""
import os
import re
import smtplib
import threading

import pytest

from conftest import Refused, listdir, message, wait_for, build_folder

BLOCK = '''
plugin %(name)s {
	file "%(file)s"
	grant headers, recipients, sender, body
	timeout 2s
	%(more)s
}
'''


def so(path):
    return os.path.join(os.path.abspath(build_folder()), path)


FAULTY = 'tests/plugins/faulty.so'
TAGGER = 'plugins/examples/tagger.so'


def add(h, name='faulty', file=FAULTY, more=''):
    h.add(BLOCK % {'name': name, 'file': so(file), 'more': more})


@pytest.fixture
def plugged(make_house):
    h = make_house(start=False)
    add(h)
    h.start()
    h.test_user = h.user('user1')
    return h


def do(h, *what, sender='sender@elsewhere.test', to=None, subject='test'):
    """One message that asks the plugin for this; the SMTP code, and the text."""
    fields = ''.join('X-Do: %s\r\n' % w for w in what)
    text = '%sSubject: %s\r\nFrom: a@elsewhere.test\r\n\r\nHello.\r\n' % (fields, subject)
    try:
        with h.smtp() as s:
            s.sendmail(sender, to or [str(h.test_user)], text)
    except smtplib.SMTPRecipientsRefused as e:
        return list(e.recipients.values())[0]
    except smtplib.SMTPResponseException as e:
        return e.smtp_code, e.smtp_error
    return 250, b''


def text_of(stored):
    with open(stored.path, encoding='utf-8', newline='') as f:
        return f.read()


def bodies(h):
    return [text_of(p) for p in h.stored(h.test_user)]


def test_every_hook_is_asked(plugged):
    h = plugged
    assert do(h)[0] == 250
    h.wait_stored(h.test_user, 1)
    text = bodies(h)[0].replace('\r\n', '\n')
    assert '\nX-Faulty: hello; client=127.0.0.1; data=kept; rcpts=1; helo=' in text
    assert text.endswith('\n\nHello.\n')
    h.wait_event('plugin.log', lambda f: f['text'] == 'end 250')
    rows = h.metrics()
    for hook in ('connect', 'mail', 'rcpt', 'data', 'message'):
        labels = ['plugin="faulty"', 'hook="%s"' % hook, 'result="continue"']
        assert sum(v for k, v in rows.items() if k.startswith('posthorn_plugin_calls_total') and
                   all(x in k for x in labels)) == 1, hook
    assert h.metric('plugin_events_total') == 1


def test_answers(plugged):
    h = plugged
    assert do(h, 'reject') == (552, b'5.2.2 no?way')
    assert do(h, 'tempfail')[0] == 451
    for hook in ('mail', 'rcpt', 'data'):
        assert do(h, sender=hook + '-reject@elsewhere.test')[0] == 552, hook
    assert do(h, 'discard')[0] == 250
    assert do(h, 'quarantine', subject='held')[0] == 250
    assert [r['state'] for r in h.json('queue', 'list')] == ['held']
    h.run('queue', 'release', '--all')
    h.wait_stored(h.test_user, 1)
    assert h.subjects(h.test_user) == ['held']
    with h.raw() as c:
        c.reply()
        assert c.say('EHLO bad.test')[0] == 550
        assert c.say('MAIL FROM:<>')[0] == 503
        assert c.say('EHLO good.test')[0] == 250


def test_edits(plugged):
    h = plugged
    other = h.user('user2')
    assert do(h, 'body', 'sender', 'drop-first', to=[str(h.test_user), str(other)])[0] == 250
    h.wait_stored(other, 1)
    text = text_of(h.stored(other)[0]).replace('\r\n', '\n')
    assert text.startswith('Return-Path: <other@elsewhere.test>\n')
    assert text.endswith('\n\nAnother body.\n')
    assert not h.stored(h.test_user)


def test_results_are_ours(plugged):
    """One field of what plugins noted; those in our name that came with the message go."""
    h = plugged
    assert do(h, 'results')[0] == 250
    h.wait_stored(h.test_user, 1)
    text = bodies(h)[0].replace('\r\n', '\n')
    field = re.search(r'^Authentication-Results: (\S+);\n\tspf=pass smtp.mailfrom=elsewhere.test;\n'
                      r'\tx-odd=none\n(?!\t)', text, re.M)
    assert field, text
    assert text.index('Authentication-Results:') < text.index('Received:')
    name = field.group(1)
    forged = ['authentication-results: %s; spf=pass smtp.mailfrom=forged.test' % name,
              'Authentication-Results : (x) %s 1; dkim=pass header.d=forged.test' % name.upper(),
              'Authentication-Results: "%s"\r\n\t(y);\r\n\tdmarc=pass header.from=forged.test' % name,
              'Authentication-Results: other.test; spf=pass smtp.mailfrom=kept.test']
    with h.smtp() as s:
        s.sendmail('sender@elsewhere.test', [str(h.test_user)],
                   '\r\n'.join(forged) + '\r\nSubject: forged\r\n\r\nHello.\r\n')
    h.wait_stored(h.test_user, 2)
    text = [t for t in bodies(h) if 'Subject: forged' in t][0]
    assert 'forged.test' not in text
    assert 'smtp.mailfrom=kept.test' in text
    assert text.lower().count('authentication-results') == 1


def test_bdat_is_asked_before_its_text(plugged):
    h = plugged
    with h.raw() as c:
        c.reply()
        c.say('EHLO good.test')
        c.say('MAIL FROM:<data-reject@elsewhere.test>')
        assert c.say('RCPT TO:<%s>' % h.test_user)[0] == 250
        c.send('BDAT 6 LAST\r\nHello.')
        assert c.reply()[0] == 552
        assert c.say('NOOP')[0] == 250


def test_next_transaction_does_not_wait_for_the_end_of_the_last(plugged):
    """The end hook is slow; the client goes on at once, and what hung on the one before is gone."""
    h = plugged
    with h.smtp() as s:
        for i in range(5):
            s.sendmail('sender@elsewhere.test', [str(h.test_user)], 'Subject: %d\r\n\r\nHello.\r\n' % i)
    h.wait_stored(h.test_user, 5)
    assert all('data=kept' in t for t in bodies(h))


def test_it_tidies_up_when_it_is_stopped(plugged):
    h = plugged
    assert do(h)[0] == 250
    h.stop()
    assert any(f.get('text') == 'fini' for f in h.events('plugin.log'))


def test_large_message_is_seen_whole(plugged):
    h = plugged
    h.send(h.test_user, subject='big', body='x' * 70 + '\r\n' + ('y' * 70 + '\r\n') * 40000)
    h.wait_stored(h.test_user, 1)
    text = bodies(h)[0]
    assert 'X-Faulty: hello' in text and text.count('y' * 70) == 40000


def test_two_in_order_and_a_listener_without(make_house):
    h = make_house(start=False)
    add(h, 'tagger', TAGGER, 'field X-Tag value "first one"')
    add(h)
    h.start()
    h.test_user = h.user('user1')
    assert do(h)[0] == 250
    h.wait_stored(h.test_user, 1)
    text = bodies(h)[0]
    assert 'X-Tag: first one' in text and 'X-Faulty: hello' in text
    h.set('listen smtp', 'plugins', 'tagger')
    h.reload()
    assert do(h, subject='one')[0] == 250
    h.wait_stored(h.test_user, 2)
    assert sum('X-Faulty' in b for b in bodies(h)) == 1 and sum('X-Tag' in b for b in bodies(h)) == 2
    h.set('listen smtp', 'plugins', 'none')
    h.reload()
    assert do(h, subject='two')[0] == 250
    h.wait_stored(h.test_user, 3)
    assert sum('X-Tag' in b for b in bodies(h)) == 2


@pytest.mark.parametrize('fault', ['crash', 'exit', 'corrupt', 'leak', 'hang'])
def test_a_fault_costs_a_temporary_answer(make_house, fault):
    h = make_house(start=False)
    add(h, more='memory-limit 256M')
    h.start()
    h.test_user = h.user('user1')
    h.allow(r'filterd')
    assert do(h, subject='before')[0] == 250
    code, text = do(h, fault)
    assert code == 451, text
    assert do(h, subject='after')[0] in (250, 451)
    wait_for('the plugin to be back', lambda: do(h, subject='back')[0] == 250)
    assert 'before' in h.subjects(h.test_user) or h.wait_queue_empty() is None
    h.wait_queue_empty()
    assert {'before', 'back'} <= set(h.subjects(h.test_user))


def test_on_error_accept(make_house):
    h = make_house(start=False)
    add(h, more='on-error accept')
    h.start()
    h.test_user = h.user('user1')
    h.allow(r'filterd')
    assert do(h, 'crash', subject='through')[0] == 250
    h.wait_stored(h.test_user, 1)


def test_reload_with_another_option(plugged):
    h = plugged
    pid = h.pids('filterd')
    text = h.config()
    h.config(text.replace('timeout 2s', 'timeout 2s greeting "good day"'))
    h.reload()
    assert do(h)[0] == 250
    h.wait_stored(h.test_user, 1)
    assert 'X-Faulty: good day' in bodies(h)[0]
    wait_for('the old one to end', lambda: h.pids('filterd') != pid and len(h.pids('filterd')) == 1)
    h.allow('plugin.refused|filterd')
    h.config(text.replace('timeout 2s', 'timeout 2s limit 13'))
    with pytest.raises(Refused):
        h.reload()
    line = h.wait_event('plugin.refused')
    assert do(h, subject='still')[0] == 250


def test_mail_flows_while_it_crashes(make_house):
    """Clients send again what was put off; nothing is lost, nothing doubled. PLUGIN_CRASHES: how
    often it crashes at least."""
    wanted = int(os.environ.get('PLUGIN_CRASHES', 10))
    each = max(20, wanted * 4 // 3)  # of a client's messages one in four has the plugin crash
    h = make_house(start=False)
    add(h)
    h.start()
    h.test_user = h.user('user1')
    h.allow(r'filterd')
    done, crashes = [], [0]

    def flow(k):
        for i in range(each):
            if crashes[0] >= wanted and i >= 20:
                break
            subject = 'm%d-%d' % (k, i)
            faults = ['crash'] if i % 4 == 0 else []
            for _ in range(2000):
                code = do(h, *faults, subject=subject)[0]
                if code == 250:
                    break
                assert code in (451, 421), code
                if faults:
                    crashes[0] += 1
                faults = []
            done.append(subject)

    threads = [threading.Thread(target=flow, args=(k,)) for k in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120 + 20 * wanted)
    h.wait_queue_empty()
    assert h.subjects(h.test_user) == sorted(done) and len(done) >= 60
    assert crashes[0] >= wanted


def test_one_that_is_not_there(make_house):
    """A plugin whose file is missing is found by `check`; all else starts, and `start` says so."""
    h = make_house(start=False)
    h.allow(r'master.died child=filterd|service.init_failed.*plugin gone')
    h.add('plugin gone {\n file "gone.so"\n on-error accept\n}\n')
    bad = h.run('check', check=False)
    assert bad.returncode != 0 and 'gone' in bad.stdout + bad.stderr
    said = h.run('start', check=False)
    assert said.returncode == 0 and 'a plugin cannot start' in said.stdout, said
    h.run('stop')
