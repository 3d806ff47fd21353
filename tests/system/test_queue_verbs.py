"""The queue as the admin sees and moves it."""
import pytest

from conftest import wait_for


@pytest.fixture
def held(house):
    """An instance whose new mail is held, with three messages of two senders in it."""
    users = [house.user('user1'), house.user('user2')]
    house.run('queue', 'hold', '--new', 'on')
    house.send(users[0], subject='one', sender='a@elsewhere.test')
    house.send(*users, subject='both', sender='a@elsewhere.test')
    house.send(users[1], subject='two', sender='b@elsewhere.test', body='The content.\r\n')
    house.users = users
    return house


def test_held_mail_stays_until_released(held):
    summary = held.queue()
    assert (summary['messages'], summary['held'], summary['recipients']) == (3, 3, 4)
    assert summary['hold_new'] == 1
    assert [held.stored(u) for u in held.users] == [[], []]
    held.run('queue', 'release', '--all')
    held.wait_stored(held.users[0], 2)
    held.wait_stored(held.users[1], 2)
    held.wait_queue_empty()
    held.send(held.users[0], subject='still held')
    assert held.queue()['held'] == 1
    held.run('queue', 'hold', '--new', 'off')
    held.send(held.users[0], subject='flows')
    held.wait_stored(held.users[0], 3)
    assert held.queue()['held'] == 1


def test_holding_outlives_a_restart(held):
    held.stop()
    held.start()
    assert held.queue()['held'] == 3
    assert [held.stored(u) for u in held.users] == [[], []]
    held.run('queue', 'release', '--all')
    held.wait_stored(held.users[0], 2)
    held.wait_stored(held.users[1], 2)


def test_list_show_cat(held):
    rows = held.json('queue', 'list')
    assert len(rows) == 3
    assert {r['sender'] for r in rows} == {'a@elsewhere.test', 'b@elsewhere.test'}
    [row] = held.json('queue', 'list', '--sender', 'b@elsewhere.test')
    shown = held.run('queue', 'show', row['id']).stdout
    assert 'user2@example.test' in shown and 'user1@example.test' not in shown
    [why] = held.json('queue', 'why', row['id'])
    assert (why['recipient'], why['site'], why['waits']) == ('user2@example.test', 'the store', 'held')
    content = held.run('queue', 'cat', row['id']).stdout
    assert 'Subject: two\n' in content and content.endswith('\n\nThe content.\n')
    assert len(held.json('queue', 'list', '--recipient', 'user1@example.test')) == 2
    assert held.json('queue', 'list', '--state', 'deferred') == []


def test_delete_by_filter(held):
    rehearsed = held.json('queue', 'delete', '--sender', 'a@elsewhere.test', '--dry-run')
    listed = [r['id'] for r in held.json('queue', 'list', '--from', 'a@elsewhere.test')]
    assert rehearsed == {'messages': 2, 'ids': listed}
    said = held.run('queue', 'bounce', '--to', 'user1@example.test', '--dry-run').stdout
    assert '2 messages would be returned' in said and all(i in said for i in listed)
    assert held.run('queue', 'bounce', '--dry-run', check=False).returncode == 1
    assert held.queue()['messages'] == 3
    held.run('queue', 'delete', '--sender', 'a@elsewhere.test')
    assert held.queue()['messages'] == 1
    assert held.run('queue', 'show', '0000000000000001', check=False).returncode == 1
    held.run('queue', 'delete', '--all')
    assert held.queue()['messages'] == 0
    held.run('queue', 'release', '--all')
    assert [held.stored(u) for u in held.users] == [[], []]


def test_undeliverable_local_mail_is_deferred_and_shows(make_house):
    """Over its quota an account takes no more: the mail waits, says why, and goes on retry."""
    house = make_house(spool__retry_min='1h')
    user = house.user('user1', quota='4000')
    house.run('queue', 'hold', '--new', 'on')
    for subject in ('fits', 'waits'):
        house.send(user, subject=subject, body=('x' * 70 + '\r\n') * 30)
    house.run('queue', 'release', '--all')
    wait_for('the message to be deferred', lambda: house.queue()['deferred'] == 1)
    [row] = house.json('queue', 'list', '--state', 'deferred')
    assert '4.2.2' in house.run('queue', 'show', row['id']).stdout
    house.wait_stored(user, 1)
    house.run('user', 'quota', user, '--quota', '10M')
    house.run('queue', 'retry', row['id'])
    house.wait_stored(user, 2)
    house.wait_queue_empty()
