"""Where mail goes: aliases, lists, forwards, relayed domains, tables that change and tables that are down."""
import os
import sqlite3
import time

from conftest import wait_for

ROUTE = '''
route { aliases system  virtual-aliases virtual  relay-domains backup.test  relay-recipients backup  transports hops  %s }
table system { type aliases path "%s/aliases" }
table virtual { type sqlite path "%s/virtual.db" query "SELECT goto FROM alias WHERE address = '%%s'" }
table backup { entry "user1@backup.test yes" }
table hops { entry "backup.test [127.0.0.1]:9"  entry "moved@example.test error:5.1.6 has moved" }
'''


def routed(make_house, more='', aliases='team: user1, user2\nroot: user1\n', blocks=''):
    house = make_house(start=False)
    tables = house.root + '/tables'
    os.mkdir(tables)
    os.chmod(tables, 0o755)
    with open(tables + '/aliases', 'w') as f:
        f.write(aliases.replace('FOLDER', house.root + '/deliveries'))
    with sqlite3.connect(tables + '/virtual.db') as db:
        db.execute('CREATE TABLE alias (address, goto)')
        db.execute("INSERT INTO alias VALUES ('info@example.test', 'user2@example.test')")
    house.add(ROUTE % (more, tables, tables) + blocks)
    house.start()
    return house, tables


def rcpt(house, address, sender='someone@elsewhere.test'):
    with house.smtp() as s:
        s.ehlo()
        s.mail(sender)
        return s.rcpt(address)


def send(house, to, sender='someone@elsewhere.test'):
    with house.smtp() as s:
        s.sendmail(sender, [to], 'Subject: %s\r\n\r\ntext\r\n' % to)


def queued(house):
    house.run('queue', 'hold', '--new', 'on')


def test_aliases_and_lists(make_house):
    """A list reaches each account once, whether by file, SQLite or the directory; refusals say why."""
    house, _ = routed(make_house)
    one, two = house.user('user1'), house.user('user2')
    send(house, 'team@example.test')
    house.wait_stored(one, 1)
    house.wait_stored(two, 1)
    send(house, 'info@example.test')
    house.wait_stored(two, 2)
    house.run('alias', 'add', 'both@example.test', 'user1@example.test', 'team@example.test')
    send(house, 'both@example.test')
    house.wait_stored(one, 2)
    house.wait_stored(two, 3)
    code, text = rcpt(house, 'moved@example.test')
    assert code == 550 and text.startswith(b'5.1.6') and b'has moved' in text
    assert rcpt(house, 'nobody@example.test')[0] == 550
    house.run('alias', 'add', '@example.test', 'user1@example.test')
    assert rcpt(house, 'nobody@example.test')[0] == 250
    house.run('alias', 'delete', '@example.test')
    assert rcpt(house, 'nobody@example.test')[0] == 550
    assert house.json('alias', 'list')[0]['alias'] == 'both@example.test'


def test_relayed_domain(make_house):
    """Mail for a relayed domain is taken from anyone, for those who are there; other domains stay closed."""
    house, _ = routed(make_house)
    queued(house)
    assert rcpt(house, 'user1@backup.test')[0] == 250
    assert rcpt(house, 'user2@backup.test')[0] == 550
    code, text = rcpt(house, 'user1@sub.backup.test')
    assert code == 550 and text.startswith(b'5.7.1')
    assert rcpt(house, 'someone@elsewhere.test')[1].startswith(b'5.7.1')


def test_forward(make_house):
    """A forward goes on with a return path of ours, which is taken back from anyone; a wrong one is not."""
    house, _ = routed(make_house)
    one = house.user('user1')
    house.run('user', 'forward', one, 'user1@backup.test', 'away@elsewhere.test', '--keep')
    assert 'away@elsewhere.test' in house.json('user', 'show', one)['forwarded_to']
    queued(house)
    send(house, one.address, 'user7@sender.test')
    row = wait_for('the queued message', lambda: house.json('queue', 'list'))[0]
    shown = house.run('queue', 'show', row['id']).stdout
    assert 'user1@backup.test' in shown and 'away@elsewhere.test' in shown and one.address in shown
    house.run('user', 'forward', one)
    assert house.json('user', 'show', one)['forwarded_to'] == ''
    assert rcpt(house, 'SRS0=aaaaaa=aa=sender.test=user7@example.test', '')[0] == 550


def test_table_changes(make_house):
    """A changed file counts within a moment; one with a mistake does not, and is named with its line."""
    house, tables = routed(make_house)
    house.user('user1')
    assert rcpt(house, 'later@example.test')[0] == 550
    with open(tables + '/new', 'w') as f:
        f.write('later: user1\n')
    os.rename(tables + '/new', tables + '/aliases')
    wait_for('the new alias', lambda: rcpt(house, 'later@example.test')[0] == 250)
    assert rcpt(house, 'team@example.test')[0] == 550
    time.sleep(0.05)
    with open(tables + '/aliases', 'w') as f:
        f.write('later: user1\nthis line has no meaning\n')
    house.wait_event('routing.table', lambda e: e['text'].startswith(tables + '/aliases:2: '))
    assert rcpt(house, 'later@example.test')[0] == 250
    assert house.run('table', 'lookup', 'system', 'x', check=False).returncode == 75
    assert house.run('table', 'lookup', 'backup', 'USER1@backup.test').stdout == 'yes\n'
    assert house.run('table', 'lookup', 'backup', 'x', check=False).returncode == 1


def test_table_down(make_house):
    """A database that does not answer puts mail off: 451, never 'no such user'."""
    house, tables = routed(make_house)
    house.user('user1')
    assert rcpt(house, 'user1@example.test')[0] == 250
    os.unlink(tables + '/virtual.db')
    with open(tables + '/virtual.db', 'w') as f:
        f.write('this is no database\n' * 100)
    house.kill('authd')
    house.wait_ready()
    code, text = wait_for('an answer', lambda: rcpt(house, 'user2@example.test'))
    assert code == 451, text
    assert house.metric('route_failures_total') > 0


def test_loop(make_house):
    """Aliases that lead in a circle are refused with 5.4.6 or end in the account, and never hang."""
    house, _ = routed(make_house, aliases='a: b\nb: c\nc: a\n' + ''.join(
        'deep%d: deep%d\n' % (i, i + 1) for i in range(60)))
    house.user('user1')
    assert rcpt(house, 'a@example.test')[0] == 550
    code, text = rcpt(house, 'deep0@example.test')
    assert code == 554 and text.startswith(b'5.4.6'), (code, text)
    house.wait_event('routing.loop')
