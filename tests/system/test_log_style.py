"""log.style: lines as Postfix writes them, read by what reads Postfix's."""
import re
import shutil
import smtplib
import subprocess

import pytest

from conftest import wait_for
from test_import_side_by_side import Sink

HEAD = r'(?m)^[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d mail\.example\.test postfix/%s\[\d+\]: '


def traffic(house):
    user = house.user('user1')
    house.send(user, subject='one')
    for to in ('nobody@example.test', 'someone@elsewhere.test'):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            house.send(to)
    with house.smtp('submissions') as s, pytest.raises(smtplib.SMTPAuthenticationError):
        s.login('user1@example.test', 'wrong')
    house.wait_stored(user, 1)
    house.wait_queue_empty()
    return house.spool_ids(user)[0].upper()


def test_both(house):
    house.set('log', 'style', 'both')
    house.reload()
    qid = traffic(house)
    log = house.log()
    for program, line in (
            ('smtpd', r'connect from unknown\[127\.0\.0\.1\]$'),
            ('smtpd', r'disconnect from unknown\[127\.0\.0\.1\]$'),
            ('smtpd', qid + r': client=unknown\[127\.0\.0\.1\]$'),
            ('qmgr', qid + r': from=<sender@elsewhere\.test>, size=\d+, nrcpt=1 \(queue active\)$'),
            ('local', qid + r': to=<user1@example\.test>, relay=local, delay=[\d.]+, delays=[\d./]+, '
             r'dsn=2\.0\.0, status=sent \(delivered to mailbox\)$'),
            ('smtpd', r'NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.1\]: 550 5\.1\.1 '
             r'<nobody@example\.test>: User unknown; from=<sender@elsewhere\.test> to=<nobody@example\.test> '
             r'proto=ESMTP helo=<[^>]+>$'),
            ('smtpd', r'NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.1\]: 550 5\.7\.1 '),
            ('smtpd', r'warning: unknown\[127\.0\.0\.1\]: SASL \w+ authentication failed: .*'
             r'sasl_username=user1@example\.test$')):
        wait_for(line, lambda: re.search(HEAD % program + line, house.log()), 5)
    # fail2ban's pattern for its postfix filter, as it stands there
    assert re.search(r'warning: [-._\w]+\[[\d.]+\]: SASL ((?i)LOGIN|PLAIN|(?:CRAM|DIGEST)-MD5) '
                     r'authentication failed:'.replace('(?i)', ''), log)
    assert house.events('smtp.rejected') and house.json('trace', qid)


def test_postfix_alone(house):
    house.set('log', 'style', 'postfix')
    house.reload()
    house.user('user1')
    house.send('user1@example.test')
    wait_for('a delivery', lambda: 'status=sent' in house.log())
    house.run('queue', 'hold', '--new', 'on')
    wait_for('an event without a counterpart', lambda: re.search(
        HEAD.replace('postfix/', 'posthorn/') % 'queued' + r'ts=\S+ lvl=info p=queued\.0 ev=queue\.hold_new', house.log()))


def test_hostile_text(house):
    """What a client says cannot make a line of its own."""
    house.set('log', 'style', 'both')
    house.reload()
    with house.raw() as s:
        s.reply()
        s.say('EHLO here')
        s.say('MAIL FROM:<a@b.test>')
        s.say('RCPT TO:<"a>b<c"@elsewhere.test>')
    wait_for('the refusal', lambda: house.events('smtp.rejected'))
    for line in re.findall(r'(?m)^.*NOQUEUE: .*$', house.log()):
        assert line.count('<') == line.count('>')


@pytest.mark.skipif(not shutil.which('pflogsumm'), reason='needs pflogsumm')
def test_pflogsumm(house):
    house.set('log', 'style', 'both')
    house.reload()
    traffic(house)
    with open(house.dir + '/log/posthorn.log') as f:
        done = subprocess.run(['pflogsumm'], stdin=f, stdout=subprocess.PIPE, text=True, check=True)
    out = done.stdout
    assert re.search(r'(?m)^ +1 +received$', out), out
    assert re.search(r'(?m)^ +1 +delivered$', out), out
    assert re.search(r'(?m)^ +2 +rejected', out), out
    assert 'user1@example.test' in out, out
    assert 'sender@elsewhere.test' in out, out


def test_local_mail(house):
    house.set('log', 'style', 'both')
    house.reload()
    user = house.user('user1')
    qid = house.run('send', '--from', user, '--to', user, '--subject', 'x', input='x\n').stdout.strip().upper()
    for program, line in (('pickup', qid + r': uid=0 from=<user1@example\.test>$'),
                          ('qmgr', qid + r': from=<user1@example\.test>, size=\d+, nrcpt=1 \(queue active\)$')):
        wait_for(line, lambda: re.search(HEAD % program + line, house.log()), 5)


def test_relayed(house):
    """What another server took, and what it refused for good."""
    sink, refusing = Sink(), Sink(b'RCPT', '550 5.7.1 not here')
    house.set('log', 'style', 'both')
    house.set('relay', 'tls', 'off')
    house.add('table ways { type inline entry "elsewhere.test smtp:[127.0.0.1]:%d" '
              'entry "refusing.test smtp:[127.0.0.1]:%d" }' % (sink.port, refusing.port))
    house.add('route { transports ways }')
    house.stop()
    house.start()
    user = house.user('user1')
    qid = house.run('send', '--from', user, '--to', 'a@elsewhere.test', '--to', 'b@refusing.test',
                    '--subject', 'x', input='x\n').stdout.strip().upper()
    for line in (qid + r': to=<a@elsewhere\.test>, relay=\S+, delay=[\d.]+, delays=[\d./]+, dsn=[\d.]+, status=sent \(',
                 qid + r': to=<b@refusing\.test>, relay=\S+, delay=[\d.]+, delays=[\d./]+, dsn=5\.7\.1, '
                 r'status=bounced \(550 '):
        wait_for(line, lambda: re.search(HEAD % 'smtp' + line, house.log()))
    house.wait_stored(user, 1)
    events = [r['event'] for r in house.json('trace', qid)]
    assert 'queue.sent' in events and 'queue.not_delivered' in events and 'queue.notified' in events
    for s in (sink, refusing):
        s.shutdown()
        s.server_close()
