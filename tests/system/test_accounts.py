"""Accounts change while mail flows: passwords, suspension, deletion, quotas."""
import smtplib

import pytest

LINES = 'x' * 70 + '\r\n'


def refused(house, user, code=535):
    with house.smtp('submissions') as s, pytest.raises(smtplib.SMTPAuthenticationError) as e:
        s.login(user.address, user.password)
    assert e.value.smtp_code == code


def rcpt(house, user):
    with house.smtp() as s:
        s.ehlo('client.test')
        s.mail('a@elsewhere.test')
        return s.rcpt(user.address)


def test_a_new_password_counts_at_once(house):
    user = house.user('user1')
    with house.smtp('submissions', user):
        pass
    house.run('user', 'passwd', user, input='another one\n')
    refused(house, user)
    user.password = 'another one'
    with house.smtp('submissions', user):
        pass


@pytest.mark.parametrize('how', ['passwd', 'suspend', 'delete'])
def test_sessions_end_with_the_right_to_them(house, how):
    """A log-in that is revoked ends the IMAP sessions made by it, idle ones too, within a second or so."""
    user, other = house.user('user1'), house.user('user2')
    with house.raw('imap') as idle, house.raw('imap') as busy, house.raw('imap') as stays:
        for c, u in ((idle, user), (busy, user), (stays, other)):
            c.line()
            c.send('a LOGIN %s "%s"\r\nb SELECT INBOX\r\n' % (u, u.password))
            while not c.line().startswith('b OK'):
                pass
        idle.send('c IDLE\r\n')
        assert idle.line().startswith('+ ')
        house.run('user', how, user, input='another one\n')
        for c in (idle, busy):
            lines = list(iter(c.line, ''))
            assert lines and lines[-1].startswith('* BYE'), lines
        stays.send('c NOOP\r\n')
        assert stays.line().startswith('c OK')
    with house.raw('imap') as c:
        c.line()
        c.send('a LOGIN %s "%s"\r\n' % (user, user.password))
        assert c.line().startswith('a NO')


def test_a_full_mailbox_over_imap(house):
    user = house.user('user1', quota='20000')
    with house.imap(user) as m:
        assert m.append('INBOX', None, None, b'Subject: fits\r\n\r\n' + LINES.encode() * 200)[0] == 'OK'
        kind, data = m.append('INBOX', None, None, b'Subject: too much\r\n\r\n' + LINES.encode() * 100)
        assert kind == 'NO' and b'[OVERQUOTA]' in data[0]
        m.select('INBOX')
        kind, data = m.copy('1', 'Archive')
        assert kind == 'NO' and b'[OVERQUOTA]' in data[0]
        m.store('1', '+FLAGS', r'(\Deleted)')
        m.expunge()
        assert m.append('INBOX', None, None, b'Subject: fits\r\n\r\n' + LINES.encode() * 200)[0] == 'OK'


def test_a_suspended_account(house):
    user, other = house.user('user1'), house.user('user2')
    house.send(user, subject='before')
    house.wait_stored(user, 1)
    house.run('user', 'suspend', user)
    refused(house, user)
    code, text = rcpt(house, user)
    assert code == 550 and text.startswith(b'5.2.1')
    assert rcpt(house, other)[0] == 250
    house.run('user', 'resume', user)
    with house.smtp('submissions', user):
        pass
    house.send(user, subject='after')
    house.wait_stored(user, 2)


def test_a_deleted_account(house):
    user = house.user('user1')
    house.send(user)
    house.wait_stored(user, 1)
    house.run('user', 'delete', user)
    refused(house, user)
    assert rcpt(house, user)[0] == 550
    again = house.user('user1')
    assert again.account != user.account, 'account ids are never used again'
    house.send(again, subject='for the new one')
    house.wait_stored(again, 1)


def test_an_account_is_there_as_soon_as_it_is_added(house):
    for i in range(5):
        name = 'user%d@example.test' % i
        with house.smtp() as s:
            s.ehlo('client.test')
            s.mail('a@elsewhere.test')
            assert s.rcpt(name)[0] == 550
        user = house.user(name)
        assert rcpt(house, user)[0] == 250


def test_plus_addressing(house):
    user = house.user('user1')
    house.send('user1+lists@example.test', subject='plus')
    house.wait_stored(user, 1)


def test_a_full_mailbox_is_refused_at_rcpt(house):
    user, other = house.user('user1', quota='20000'), house.user('user2')
    house.send(user, subject='fits', body=LINES * 200)
    house.wait_queue_empty()
    with house.smtp() as s:
        s.ehlo('client.test')
        s.mail('a@elsewhere.test', ['SIZE=15000'])
        code, text = s.rcpt(user.address)
        assert code == 452 and text.startswith(b'4.2.2'), (code, text)
        assert s.rcpt(other.address)[0] == 250
        s.rset()
        s.mail('a@elsewhere.test', ['SIZE=30000'])
        code, text = s.rcpt(user.address)
        assert code == 552 and text.startswith(b'5.2.3'), 'larger than the whole mailbox'
        s.rset()
        s.mail('a@elsewhere.test', ['SIZE=2000'])
        assert s.rcpt(user.address)[0] == 250
    house.run('user', 'quota', user, '--quota', '100K')
    house.send(user, subject='room again', body=LINES * 200)
    house.wait_stored(user, 2)
