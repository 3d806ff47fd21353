"""Sessions outlive the processes behind them: maild, authd; a dead imapd costs its own alone."""
import time

import pytest

from conftest import PATIENCE, wait_for
from imapscript import Imap


def again(c, line):
    """The command until it is OK; what it said first. Fails if the session ends."""
    first, end = None, time.monotonic() + PATIENCE
    while True:
        r = c.cmd(line)
        first = first or r
        if r.status == 'OK':
            return first
        assert r.status == 'NO' and r.code() == 'UNAVAILABLE', r
        assert time.monotonic() < end
        time.sleep(0.1)


def test_maild_dies(house):
    user = house.user('user1')
    with Imap(house, user) as a, Imap(house, user) as idle, Imap(house, user) as plain:
        for i in range(4):
            a.append(subject='message %d' % i)
        a.ok('SELECT INBOX')
        a.ok('STORE 2 +FLAGS (\\Flagged)')
        time.sleep(1.2)   # flags are durable within a second
        idle.ok('SELECT INBOX')
        tag = idle.begin('IDLE')
        idle.response()
        for _ in range(2):
            house.kill('maild')
            again(a, 'STORE 3 +FLAGS (\\Seen)')
            r = a.ok('STORE 2:3 +FLAGS (\\Answered)')   # the numbers are still the same
            assert r.all(r'(\d+) FETCH') == ['2', '3']
            again(plain, 'STATUS INBOX (MESSAGES)')
        assert a.ok('STATUS INBOX (MESSAGES)').has(r'STATUS INBOX \(MESSAGES 4\)')
        a.append(subject='after')
        assert a.ok('NOOP') and a.ok('STATUS INBOX (MESSAGES)').has(r'STATUS INBOX \(MESSAGES 5\)')
        # the idle session hears of what comes after, without having said a word
        while True:
            line = idle.response()
            assert line and not line.startswith('* BYE')
            if line == '* 5 EXISTS':
                break
        idle.send('DONE\r\n')
        assert idle.answer(tag).status == 'OK'


def test_expunged_while_maild_was_away(house):
    """What is gone when the session has the store again is announced, in order."""
    user = house.user('user1')
    with Imap(house, user) as a, Imap(house, user) as b:
        for i in range(6):
            a.append(subject='message %d' % i)
        a.ok('SELECT INBOX')
        b.ok('SELECT INBOX')
        house.kill('maild')
        again(b, 'NOOP')
        b.ok('STORE 2,5 +FLAGS.SILENT (\\Deleted)')
        b.ok('EXPUNGE')
        b.append(subject='new')
        again(a, 'NOOP')
        r = a.ok('STATUS INBOX (MESSAGES)')
        assert r.has(r'STATUS INBOX \(MESSAGES 5\)')
        r = a.ok('UID STORE 1:* +FLAGS (\\Seen)')
        uids = [int(u) for u in r.all(r'\d+ FETCH \(UID (\d+)')]
        assert uids[:4] == [1, 3, 4, 6] and uids[4] > 6   # a crash leaves a gap of UIDs
        assert r.all(r'(\d+) FETCH') == ['1', '2', '3', '4', '5']


def test_authd_dies(house):
    user = house.user('user1')
    with Imap(house, user) as c:
        c.ok('SELECT INBOX')
        house.kill('authd')
        c.ok('NOOP')
        c.append()
        house.wait_ready()

        def log_in():
            with Imap(house) as d:
                return d.cmd('LOGIN %s %s' % (user, user.password)).status == 'OK'
        wait_for('log-ins to work again', log_in)
        c.ok('NOOP')
        # an account that goes away after that is noticed all the same
        house.run('user', 'passwd', user.address, input='another\n')
        assert c.response().startswith('* BYE ')


def test_imapd_dies(make_house):
    house = make_house(start=False)
    house.set('processes', 'imapd', '1')
    house.start()
    user = house.user('user1')
    a = Imap(house, user)
    a.append(subject='kept')
    a.ok('SELECT INBOX')
    house.kill('imapd')
    with pytest.raises((ConnectionError, AssertionError)):
        assert a.ok('NOOP')
    a.close()
    house.wait_ready()
    with Imap(house, user) as b:
        assert b.ok('SELECT INBOX').find(r'(\d+) EXISTS') == ('1',)
