"""Limits of SMTP sessions: each is a clear answer, and the next client is served."""
import contextlib
import time

from conftest import wait_for


def connect(stack, house, n):
    """The codes of the greetings of n connections that stay open."""
    codes = []
    for _ in range(n):
        c = stack.enter_context(house.raw())
        codes.append(c.reply()[0])
    return codes


def test_sessions_per_address(make_house):
    """The limit holds for the address, whatever process the connections reach."""
    house = make_house(smtp__sessions_per_address='3')
    with contextlib.ExitStack() as stack:
        assert connect(stack, house, 4) == [220, 220, 220, 421]
        with house.raw() as c:
            code, lines = c.reply()
            assert code == 421 and lines[0].startswith('4.7.0')
            assert c.reply()[0] == 0
    assert house.metric('sessions_refused_total') == 2
    wait_for('the sessions to end', lambda: house.metric('smtp_sessions') == 0)
    with contextlib.ExitStack() as stack:
        assert connect(stack, house, 3) == [220] * 3


def test_sessions_per_address_by_xclient(make_house):
    """Clients of one proxy are told apart."""
    house = make_house(smtp__sessions_per_address='2')
    with contextlib.ExitStack() as stack:
        for i in range(5):
            c = stack.enter_context(house.raw())
            assert c.reply()[0] == 220
            assert c.say('EHLO proxy.test')[0] == 250
            assert c.say('XCLIENT ADDR=192.0.2.%d' % i)[0] == 220
        for code in (220, 421):
            c = stack.enter_context(house.raw())
            assert c.reply()[0] == 220
            assert c.say('XCLIENT ADDR=192.0.2.4')[0] == code


def test_sessions(make_house):
    house = make_house(smtp__sessions='2')
    with contextlib.ExitStack() as stack:
        assert connect(stack, house, 2) == [220, 220]
        with house.raw() as c:
            code, lines = c.reply()
            assert code == 421 and lines[0].startswith('4.3.2')


def test_killed_process_gives_its_sessions_back(make_house):
    house = make_house(smtp__sessions='2')
    with contextlib.ExitStack() as stack:
        assert connect(stack, house, 2) == [220, 220]
        for instance in range(len(house.processes('smtpd'))):
            house.kill('smtpd', instance)
        house.wait_ready()
        assert connect(stack, house, 3) == [220, 220, 421]


def test_errors(make_house):
    house = make_house(smtp__error_limit='5')
    with house.raw() as c:
        c.reply()
        assert [c.say('BOGUS')[0] for _ in range(5)] == [500] * 5
        c.send('BOGUS\r\n')
        assert c.reply()[0] == 500
        code, lines = c.reply()
        assert code == 421 and lines[0].startswith('4.7.0')
        assert c.reply()[0] == 0


def test_commands(make_house):
    house = make_house(smtp__command_limit='100')
    with house.raw() as c:
        c.reply()
        c.say('EHLO client.test')
        c.send('NOOP\r\n' * 100)
        assert [c.reply()[0] for _ in range(101)] == [250] * 100 + [421]
    user = house.user('user1')
    with house.smtp() as s:  # mail does not count
        for i in range(120):
            assert s.sendmail('a@elsewhere.test', [user.address], 'Subject: %d\r\n\r\nx\r\n' % i) == {}


def test_recipients(make_house):
    house = make_house(smtp__recipient_limit='100')
    house.user('user1')
    with house.raw() as c:
        c.reply()
        c.say('EHLO client.test')
        c.say('MAIL FROM:<a@elsewhere.test>')
        for i in range(100):
            assert c.say('RCPT TO:<user1+%d@example.test>' % i)[0] == 250
        code, lines = c.say('RCPT TO:<user1@example.test>')
        assert code == 452 and lines[0].startswith('4.5.3')
        assert c.say('DATA')[0] == 354, 'the others are served'
        assert c.say('Subject: many\r\n\r\nx\r\n.')[0] == 250


def test_silence(make_house):
    """421 to a silent client: between commands, within a line, within a message."""
    house = make_house(smtp__timeout='1s', smtp__data_timeout='1s')
    house.user('user1')
    for lines in ([], ['NOO'], ['EHLO client.test\r\n', 'MAIL FROM:<>\r\n',
                                'RCPT TO:<user1@example.test>\r\n', 'DATA\r\n', 'Subject: x\r\n']):
        with house.raw() as c:
            assert c.reply()[0] == 220
            for line in lines:
                c.send(line)
                if line.endswith('\r\n') and line != 'Subject: x\r\n':
                    assert c.reply()[0] in (250, 354)
            start = time.monotonic()
            code, text = c.reply()
            assert code == 421 and text[0].startswith('4.4.2'), (code, text)
            assert c.reply()[0] == 0
            assert time.monotonic() - start > 0.5


def test_trickle(make_house):
    """A byte now and then is no progress."""
    house = make_house(smtp__data_timeout='1s')
    house.user('user1')
    with house.raw() as c:
        c.reply()
        for line in ('EHLO client.test', 'MAIL FROM:<>', 'RCPT TO:<user1@example.test>', 'DATA'):
            assert c.say(line)[0] in (250, 354)
        c.sock.settimeout(0.3)
        for _ in range(20):
            c.send('x')
            try:
                got = c.sock.recv(4096)
            except TimeoutError:
                continue
            assert got.startswith(b'421 4.4.2')
            break
        else:
            raise AssertionError('it may go on for ever')


def test_shutdown(house):
    with house.raw() as c:
        assert c.reply()[0] == 220
        house.stop()
        code, lines = c.reply()
        assert code == 421 and lines[0].startswith('4.3.2')


def test_changes_are_seen_at_once(house):
    """What smtpd remembers of an account ends with the account."""
    house.user('user1')
    with house.raw() as c:
        c.reply()
        c.say('EHLO client.test')

        def rcpt():
            c.say('RSET')
            c.say('MAIL FROM:<>')
            return c.say('RCPT TO:<user1@example.test>')[0]
        assert [rcpt() for _ in range(3)] == [250] * 3
        assert house.metric('smtp_recipient_cache_total') > 0
        house.run('user', 'delete', 'user1@example.test')
        wait_for('550 for the deleted account', lambda: rcpt() == 550, 2)
        house.user('user1')
        wait_for('250 for the new account', lambda: rcpt() == 250, 2)
