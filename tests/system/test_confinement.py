"""What every process gave up, as the kernel tells it; and that it does its work so."""
import os
import pwd

import pytest

from conftest import USERS, built_with, need_root

EMPTY_ROOT = {'smtpd', 'imapd', 'mimed', 'dnsd', 'submitd', 'bounced', 'piped', 'relayd', 'fetchd'}


def status(pid):
    with open('/proc/%d/status' % pid) as f:
        return dict(line.rstrip('\n').split(':', 1) for line in f)


def test_no_new_privileges_seccomp_no_capabilities(house):
    house.send(house.user('user1'), subject='by confined processes')
    for p in house.processes():
        st = status(p['pid'])
        assert st['NoNewPrivs'].strip() == '1', p
        assert st['Seccomp'].strip() == '2', p
        assert int(st['CapEff'], 16) == int(st['CapPrm'], 16) == 0, p
        assert 'SigBlk' in st


def test_empty_root(house):
    need_root()
    if built_with(''):
        pytest.skip('sanitizers open files')
    for p in house.processes():
        root = os.readlink('/proc/%d/root' % p['pid'])
        if p['role'] in EMPTY_ROOT:
            assert root.endswith('(deleted)'), p
        else:
            assert root == '/', p


def test_a_uid_for_each_role(house):
    if not USERS:
        pytest.skip('no system users (POSTHORN_TEST_USERS)')
    house.send(house.user('user1'))
    house.wait_queue_empty()
    uids = {}
    for p in house.processes():
        uid = set(status(p['pid'])['Uid'].split())
        assert uid == {str(pwd.getpwnam('%s-%s' % (USERS, p['role'])).pw_uid)}, p
        uids[p['role']] = uid.pop()
    assert len(set(uids.values())) == len(uids)
    for folder, role in (('spool', 'queued'), ('store', 'maild'), ('directory', 'authd')):
        st = os.stat(house.dir + '/' + folder)
        assert str(st.st_uid) == uids[role] and st.st_mode & 0o77 == 0, folder
        for at, dirs, files in os.walk(house.dir + '/' + folder):
            for name in dirs + files:
                path = at + '/' + name
                assert str(os.lstat(path).st_uid) == uids[role], path


def test_a_directory_filled_before_the_first_start(make_house):
    """`user add` of an instance that is down, by root, makes files that authd can use."""
    house = make_house(start=False)
    user = house.user('user1')
    house.start()
    house.send(user)
    house.wait_stored(user, 1)
    house.stop()
    late = house.user('user2')
    house.start()
    house.send(late)
    house.wait_stored(late, 1)
    with house.smtp('submissions', user):
        pass
