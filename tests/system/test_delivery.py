"""A message comes in over SMTP and stands in the recipients' mailboxes, once."""


def test_one_recipient(house):
    user = house.user('user1')
    house.send(user, subject='first', body='One.\r\n..two\r\n')
    [stored] = house.wait_stored(user, 1)
    with open(stored.path, 'rb') as f:
        text = f.read()
    assert b'\r\nSubject: first\r\n' in text
    assert text.endswith(b'\r\n\r\nOne.\r\n..two\r\n')
    assert text.startswith(b'Return-Path: <sender@elsewhere.test>\r\n')
    house.wait_queue_empty()


def test_many_recipients(house):
    users = [house.user('user%d' % i) for i in range(12)]
    house.send(*users, subject='to all')
    for u in users:
        house.wait_stored(u, 1)
    house.wait_queue_empty()


def test_unknown_recipient(house):
    user = house.user('user1')
    with house.smtp() as s:
        s.helo('client.test')
        s.mail('sender@elsewhere.test')
        code, text = s.rcpt('nobody@example.test')
        assert code == 550 and text.startswith(b'5.1.1'), (code, text)
        code, text = s.rcpt('someone@elsewhere.test')
        assert code in (550, 554), (code, text)
        assert s.rcpt(user.address)[0] == 250
        assert s.data('Subject: known\r\n\r\nHello.\r\n')[0] == 250
    house.wait_stored(user, 1)
