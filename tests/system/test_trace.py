"""`posthorn trace` and `posthorn explain`: what became of a message, and what would."""
import pytest


def test_trace(house):
    one, two = house.user('user1'), house.user('user2')
    house.send(one, subject='first', sender='sender@elsewhere.test')
    house.send(two, subject='second', sender='other@elsewhere.test')
    house.wait_stored(one, 1)
    house.wait_stored(two, 1)
    house.wait_queue_empty()
    qid = house.spool_ids(one)[0]
    rows = house.json('trace', qid)
    events = [r['event'] for r in rows]
    for wanted in ('smtp.accepted', 'queue.accepted', 'queue.delivered'):
        assert wanted in events, events
    assert {r['process'].split('.')[0] for r in rows} >= {'smtpd', 'queued'}
    other = house.spool_ids(two)[0]
    assert all(other not in r['what'] for r in rows)
    # the transaction's id, capitals and an address lead to the same lines
    txn = house.events('smtp.accepted')[0]['txn']
    assert house.json('trace', txn) == rows
    assert house.json('trace', qid.upper()) == rows
    assert house.json('trace', 'SENDER@elsewhere.test') == rows
    assert house.run('trace', '0123456789abcdef', check=False).returncode == 1
    assert 'queue.delivered' in house.run('trace', qid, '--file', house.dir + '/log/posthorn.log').stdout
    assert house.run('trace', qid, '--since', '2999-01-01', check=False).returncode == 1


def explain(house, *args, check=False):
    done = house.run('--json', 'explain', *args, check=check)
    import json
    return done.returncode, [(r['step'], r['verdict']) for r in json.loads(done.stdout)]


def test_explain(house):
    user = house.user('user1')
    status, rows = explain(house, '--from', 'a@elsewhere.test', '--to', user)
    assert status == 0
    assert ('client', 'stranger') in rows and ('recipient', '250 2.1.5') in rows and ('way', 'local') in rows
    status, rows = explain(house, '--from', 'a@elsewhere.test', '--to', 'nobody@example.test')
    assert status == 1 and ('recipient', '550 5.1.1') in rows
    status, rows = explain(house, '--from', 'a@elsewhere.test', '--to', 'b@elsewhere.test')
    assert status == 1 and ('recipient', '550 5.7.1') in rows
    house.set(None, 'relay-from', '192.0.2.0/24')
    house.reload()
    status, rows = explain(house, '--from', 'a@elsewhere.test', '--to', 'b@elsewhere.test', '--ip', '192.0.2.9')
    assert status == 0 and ('way', 'remote') in rows and 'tls' in dict(rows)
    status, rows = explain(house, '--from', 'x@example.test', '--to', 'b@elsewhere.test', '--user', user)
    assert status == 1 and ('sender', '553 5.7.1') in rows
    status, rows = explain(house, '--from', '<>', '--to', user)
    assert status == 0 and ('sender', 'ok') in rows
    assert not house.events('queue.accepted')


@pytest.mark.parametrize('text, verdict', [
    ('Subject: x\n\nhello\n', '250 2.0.0'),
    ('Received: x\n' * 60 + 'Subject: x\n\nhello\n', '554 5.4.6'),
    ('x' * 70000, '552 5.3.4'),
])
def test_explain_file(house, text, verdict):
    house.set('smtp', 'message-size-limit', '64K')
    house.reload()
    user = house.user('user1')
    with open(house.root + '/message', 'w') as f:
        f.write(text)
    status, rows = explain(house, '--from', '<>', '--to', user, '--file', house.root + '/message')
    assert ('message', verdict) in rows, rows
    assert status == (0 if verdict[0] == '2' else 1)


def test_explain_wrong(house):
    for args in ([], ['--to', 'x', '--ip', 'nonsense'], ['--to', 'a@b', '--ip', '10.0.0.0/8']):
        assert house.run('explain', *args, check=False).returncode == 2
    assert explain(house, '--to', 'no address')[0] == 1
