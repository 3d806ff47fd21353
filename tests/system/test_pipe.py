"""Aliases that lead to commands and files: results, limits, what commands are told, what files are refused."""
import mailbox
import os
import pwd
import signal

from conftest import wait_for
from test_routing import routed, send

SCRIPT = '#!/bin/sh\n{ env; echo; cat; } > "FOLDER/got"\n'
FAMILY = '#!/bin/sh\nsleep 60 & echo $! > "FOLDER/child"\ngrep -E "^(Uid|Cap|NoNew|Groups)" /proc/self/status > "FOLDER/status"\nwait\n'
FAILS = {'nouser': 'exit 67', 'noise': 'yes noise | head -c 3000000; exit 65',
         'own': 'echo 5.7.1 Not for you; exit 75'}
LATER = {'later': 'exit 75', 'killed': 'kill -9 $$', 'missing': '/no/such/command', 'hang': 'sleep 60'}


def piped(make_house, more=''):
    """(house, folder that deliveries may write in)"""
    aliases = ''.join('%s: "|sh -c \'%s\'"\n' % (k, v) for k, v in {**FAILS, **LATER}.items())
    aliases += 'got: "|FOLDER/script plain words"\nbox: FOLDER/box\nnull: /dev/null\n'
    aliases += 'link: FOLDER/link\nshared: FOLDER/shared\ndir: FOLDER/dir/\n'
    aliases += 'family: "|FOLDER/family"\n'
    if os.geteuid() == 0:
        more += ' user nobody'
    house, _ = routed(make_house, aliases=aliases, blocks='pipe { timeout 2s %s }\n' % more)
    folder = house.root + '/deliveries'
    os.mkdir(folder)
    os.chmod(house.root, 0o755)
    if os.geteuid() == 0:
        who = pwd.getpwnam('nobody')
        os.chown(folder, who.pw_uid, who.pw_gid)
    for name, text in (('script', SCRIPT), ('family', FAMILY)):
        with open(folder + '/' + name, 'w') as f:
            f.write(text.replace('FOLDER', folder))
        os.chmod(folder + '/' + name, 0o755)
    return house, folder


def event(house, name, to):
    return house.wait_event(name, lambda f: f['to'].startswith(to + '@'))[0]


def test_command(make_house):
    house, folder = piped(make_house)
    send(house, 'got@example.test')
    event(house, 'pipe.delivered', 'got')
    with open(folder + '/got') as f:
        env, text = f.read().split('\n\nFrom ', 1)
    assert 'SENDER=someone@elsewhere.test' in env and 'RECIPIENT=got@example.test' in env
    assert 'POSTHORN' not in env
    assert 'Return-Path: <someone@elsewhere.test>\n' in text and '\r' not in text
    assert text.endswith('Subject: got@example.test\n\ntext\n')
    if os.geteuid() == 0:
        assert os.stat(folder + '/got').st_uid == pwd.getpwnam('nobody').pw_uid
    house.wait_queue_empty()


def test_results(make_house):
    house, _ = piped(make_house)
    for name in list(FAILS) + list(LATER):
        send(house, name + '@example.test', sender='')
    assert event(house, 'pipe.rejected', 'nouser')['enhanced'] == '5.1.1'
    assert event(house, 'pipe.rejected', 'own')['enhanced'] == '5.7.1'
    noise = event(house, 'pipe.rejected', 'noise')
    assert noise['enhanced'] == '5.6.0' and 'noise noise' in noise['text']
    for name in LATER:
        assert event(house, 'pipe.deferred', name)['enhanced'].startswith('4.3.'), name
    assert 'time limit' in event(house, 'pipe.deferred', 'hang')['text']
    assert 'signal' in event(house, 'pipe.deferred', 'killed')['text']


def test_files(make_house):
    house, folder = piped(make_house)
    os.symlink(folder + '/elsewhere', folder + '/link')
    with open(folder + '/shared', 'w'):
        os.chmod(folder + '/shared', 0o666)
    for name in ('box', 'box', 'dir', 'null'):
        send(house, name + '@example.test')
    house.wait_queue_empty()
    box = mailbox.mbox(folder + '/box')
    assert [m['Subject'] for m in box] == ['box@example.test'] * 2
    assert [m['Subject'] for m in mailbox.Maildir(folder + '/dir')] == ['dir@example.test']
    for name in ('link', 'shared'):
        send(house, name + '@example.test')
        assert event(house, 'pipe.deferred', name)['enhanced'] == '4.3.5'
    assert not os.path.exists(folder + '/elsewhere') and os.path.getsize(folder + '/shared') == 0


def runner_of(house):
    (row,) = house.processes('piped')
    with open('/proc/%d/task/%d/children' % (row['pid'], row['pid'])) as f:
        (pid,) = f.read().split()
    return row['pid'], int(pid)


def fields(path):
    with open(path) as f:
        return dict(line.strip().split(':', 1) for line in f if ':' in line)


def test_nothing_of_root(make_house):
    """The runner and what it starts have one plain uid and no capability; nothing outlives the time limit."""
    house, folder = piped(make_house)
    send(house, 'family@example.test', sender='')
    wait_for('a status', lambda: os.path.exists(folder + '/status') and os.path.getsize(folder + '/status'))
    uid = pwd.getpwnam('nobody').pw_uid if os.geteuid() == 0 else os.geteuid()
    for path in ('/proc/%d/status' % runner_of(house)[1], folder + '/status'):
        st = fields(path)
        assert set(st['Uid'].split()) == {str(uid)}
        assert int(st['CapPrm'], 16) == int(st['CapEff'], 16) == 0
        assert os.geteuid() or int(st['CapBnd'], 16) == 0
        assert st['NoNewPrivs'].strip() == '1'
    with open(folder + '/child') as f:
        child = int(f.read())
    event(house, 'pipe.deferred', 'family')
    wait_for('the end of what the command had started', lambda: not os.path.exists('/proc/%d' % child))


def test_runner_dies(make_house):
    """A runner that a command ended is started again, with piped."""
    house, folder = piped(make_house)
    before = runner_of(house)
    house.killed.append(before[0])
    house.allow('pipe.runner_gone')
    os.kill(before[1], signal.SIGKILL)
    wait_for('piped again', lambda: house.processes('piped')[0]['pid'] not in (0, before[0]))
    send(house, 'box@example.test')
    house.wait_queue_empty()
    assert len(mailbox.mbox(folder + '/box')) == 1
