"""What the command says of a running instance and of its configuration."""
import json


def verb(house, *args):
    return json.loads(house.run(*args, '--json').stdout)


def test_diff(house):
    assert verb(house, 'config', 'diff') == []
    house.set('smtp', 'recipient-limit', '200')
    house.config(house.config().replace('listen lmtp', '# listen lmtp'))
    rows = {r['key']: r for r in verb(house, 'config', 'diff')}
    changed = rows.pop('smtp.recipient-limit')
    assert (changed['running'], changed['file'], changed['takes']) == ('1000', '200', 'reload')
    assert rows and all(k.startswith('listen[lmtp ') and r['file'] == '' for k, r in rows.items()), rows
    house.run('reload')
    assert verb(house, 'config', 'diff') == []


def test_diff_stopped(house):
    house.stop()
    done = house.run('config', 'diff', check=False)
    assert done.returncode == 3 and 'not running' in done.stderr


def test_status(house):
    s = verb(house, 'status')
    roles = {p['role'] for p in s['processes']}
    assert {'authd', 'maild', 'mimed', 'queued', 'smtpd', 'submitd', 'imapd'} <= roles
    assert all(p['state'] == 'running' and p['restarts'] == 0 for p in s['processes'])
    assert s['config'].endswith('/posthorn.conf')
    assert {l['port'] for l in s['listeners']} >= {house.port('smtp'), house.port('imap')}


def test_check(house):
    rows = verb(house, 'check')
    assert all(r['result'] != 'error' for r in rows), rows
    house.stop()
    house.config(house.config().replace('certificate cert.pem', 'certificate /nonexistent/cert.pem'))
    done = house.run('check', check=False)
    assert done.returncode == 1 and '/nonexistent/cert.pem' in done.stdout
    house.set(None, 'no-such-setting', '1')
    done = house.run('check', check=False)
    assert done.returncode == 2 and 'posthorn.conf:' in done.stderr
