"""A reload drops nothing: no session, no message; a bad configuration leaves the old one running."""
import smtplib
import socket
import threading

import pytest

from conftest import Refused, wait_for


def test_reload_under_load(house):
    users = [house.user('user1'), house.user('user2')]
    sent, errors, ended = [], [], threading.Event()

    def flow(name):
        """Messages over one connection, and now and then a new one."""
        try:
            while not ended.is_set():
                with house.smtp() as s:
                    for _ in range(5):
                        subject = '%s-%d' % (name, len(sent))
                        house.send(*users, subject=subject, smtp=s)
                        sent.append(subject)
        except (OSError, smtplib.SMTPException) as e:
            errors.append(e)

    threads = [threading.Thread(target=flow, args=('flow%d' % i,)) for i in range(4)]
    for t in threads:
        t.start()
    for i in range(8):
        n = len(sent)
        house.set('smtp', 'recipient-limit', 500 + i)
        house.reload()
        wait_for('mail to flow', lambda: len(sent) > n + 8 or errors)
    ended.set()
    for t in threads:
        t.join(60)
    assert not errors
    house.wait_queue_empty()
    for u in users:
        assert house.subjects(u) == sorted(sent)
    assert len(house.events('master.reloaded')) == 8
    assert all(r['restarts'] == 0 for r in house.processes())


def test_a_session_lives_over_a_reload(house):
    """The settings of its start are its own; a session that comes later has the new ones."""
    user = house.user('user1')
    with house.raw() as old:
        old.reply()
        old.say('EHLO client.test')
        assert old.say('MAIL FROM:<a@elsewhere.test>')[0] == 250
        assert old.say('RCPT TO:<%s>' % user)[0] == 250
        assert old.say('DATA')[0] == 354
        old.send('Subject: over a reload\r\n\r\nFirst half,\r\n')
        house.set('smtp', 'message-size-limit', '1M')
        house.reload()
        assert old.say('second half.\r\n.')[0] == 250
        with house.raw() as new:
            new.reply()
            assert 'SIZE 1048576' in new.say('EHLO client.test')[1]
    [stored] = house.wait_stored(user, 1)
    with open(stored.path) as f:
        assert f.read().endswith('\nFirst half,\nsecond half.\n')


def test_a_bad_config_is_refused_whole(house):
    user = house.user('user1')
    good = house.config()
    house.add('smtp { recipient-limt 20 }')
    house.set('imap', 'sessions', 'many')
    done = house.reload(check=False)
    assert done.returncode != 0
    assert 'recipient-limit' in done.stdout + done.stderr, 'did you mean'
    assert 'posthorn.conf:' in done.stdout + done.stderr
    house.send(user, subject='by the old one')
    house.wait_stored(user, 1)
    house.config(good)
    house.reload()
    house.send(user, subject='by the good one')
    house.wait_stored(user, 2)
    assert len(house.events('master.reloaded')) == 1


@pytest.mark.parametrize('name', ['spool-dir', 'store-dir'])
def test_what_cannot_change_while_running(house, name):
    house.set(None, name, house.root + '/elsewhere')
    with pytest.raises(Refused, match='stop and start'):
        house.reload()


def test_listeners_come_and_go(house):
    """Only the listener that left the configuration closes, and only for new connections."""
    user = house.user('user1')
    with house.raw('lmtp') as old:
        assert old.reply()[0] == 220
        text = house.config()
        house.config('\n'.join(r for r in text.splitlines() if not r.startswith('listen lmtp')) + '\n')
        house.reload()
        with pytest.raises(ConnectionRefusedError):
            house.raw('lmtp')
        assert old.say('LHLO client.test')[0] == 250
    house.send(user, subject='smtp is there')
    house.config(text)
    house.reload()
    with house.raw('lmtp') as new:
        assert new.reply()[0] == 220
    house.wait_stored(user, 1)


def test_one_address_of_a_listener_goes(house):
    """A listen block of two addresses is two sockets of one name: the right one closes."""
    text = house.config()
    port = house.port('lmtp')
    line = [r for r in text.splitlines() if r.startswith('listen lmtp')][0]
    house.config(text.replace(line, 'listen lmtp { address 127.0.0.1, 127.0.0.2 port %d }' % port))
    house.reload()
    for address in ('127.0.0.1', '127.0.0.2'):
        with house.raw('lmtp', address) as c:
            assert c.reply()[0] == 220
    house.config(text.replace(line, 'listen lmtp { address 127.0.0.2 port %d }' % port))
    house.reload()
    with house.raw('lmtp', '127.0.0.2') as c:
        assert c.reply()[0] == 220
    with pytest.raises(ConnectionRefusedError):
        house.raw('lmtp', '127.0.0.1')


def test_options_of_a_listener_change(house):
    """The socket stays open, whoever connects later is served by the new options."""
    user = house.user('user1')
    text = house.config()
    house.config(text.replace('port %d }' % house.port('smtp'), 'port %d tls off }' % house.port('smtp')))
    with house.raw() as old:
        old.reply()
        assert 'STARTTLS' in old.say('EHLO client.test')[1]
        house.reload()
        with house.raw() as new:
            new.reply()
            assert 'STARTTLS' not in new.say('EHLO client.test')[1]
        assert old.say('MAIL FROM:<a@elsewhere.test>')[0] == 250
        assert old.say('RCPT TO:<%s>' % user)[0] == 250


def test_a_port_that_is_taken(house):
    """The reload says which; what it opened before it failed is closed again."""
    user = house.user('user1')
    text = house.config()
    with socket.socket() as other:
        other.bind(('127.0.0.3', 0))
        other.listen(1)
        house.add('listen smtp extra { address 127.0.0.2 port %d }' % house.port('smtp'))
        house.add('listen smtp taken { address 127.0.0.3 port %d }' % other.getsockname()[1])
        with pytest.raises(Refused, match='port %d of 127.0.0.3' % other.getsockname()[1]):
            house.reload()
        with pytest.raises(ConnectionRefusedError):
            house.raw('smtp', '127.0.0.2')
        house.send(user, subject='on the old one')
    house.config(text)
    house.reload()
    house.send(user, subject='after all')
    house.wait_stored(user, 2)
