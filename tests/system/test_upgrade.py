"""`posthorn upgrade`: the master becomes the new program while mail flows; no connection is refused."""
import smtplib
import threading

from conftest import PATIENCE, wait_for


class Load:
    """Sends one message after the other, each on a connection of its own, until told to end."""

    def __init__(self, house, user):
        self.house, self.user, self.end = house, user, threading.Event()
        self.sent, self.refused, self.cut = [], [], 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        n = 0
        while not self.end.is_set():
            subject = '%04d' % n
            n += 1
            try:
                self.house.send(self.user, subject=subject)
                self.sent.append(subject)
            except ConnectionRefusedError as e:
                self.refused.append(e)
            except (smtplib.SMTPException, OSError):
                self.cut += 1  # 421 in the middle of a session

    def stop(self):
        self.end.set()
        self.thread.join(PATIENCE * 2)


def test_under_load(house):
    user = house.user('user1')
    pid = house.master_pid()
    loads = [Load(house, user) for _ in range(3)]
    try:
        wait_for('some mail', lambda: all(len(x.sent) > 3 for x in loads))
        for _ in range(3):
            before = set(house.pids('smtpd'))
            assert 'upgraded' in house.run('upgrade', timeout=PATIENCE * 5).stdout
            assert house.master_pid() == pid and not before & set(house.pids('smtpd'))
            count = [len(x.sent) for x in loads]
            wait_for('mail behind it', lambda: all(len(x.sent) > n + 2 for x, n in zip(loads, count)))
    finally:
        for x in loads:
            x.stop()
    assert not [r for x in loads for r in x.refused]
    house.wait_queue_empty()
    got, sent = house.subjects(user), sorted(s for x in loads for s in x.sent)
    # what was cut off before its 250 may have come in all the same; nothing that got one is missing
    for subject in set(sent):
        assert got.count(subject) >= sent.count(subject)
    assert len(got) <= len(sent) + sum(x.cut for x in loads)
    assert len(set(house.spool_ids(user))) == len(got)
    assert len(house.events('master.upgrading')) == 3


def test_open_session(house):
    """A session that is idle is asked to end; one connects while nobody listens, and is served."""
    user = house.user('user1')
    with house.raw() as session:
        assert session.reply()[0] == 220
        house.run('upgrade', timeout=PATIENCE * 5)
        assert session.line().startswith('421')
    house.send(user)
    house.wait_stored(user, 1)


def test_new_config(house):
    """Listeners of the configuration as it stands then: old ones are closed, new ones open."""
    user = house.user('user1')
    house.config(house.config().replace('listen lmtp', '# listen lmtp'))
    house.run('upgrade', timeout=PATIENCE * 5)
    names = {x['name'] for x in house.json('status')['listeners']}
    assert 'smtp' in names and 'lmtp' not in names
    house.send(user)
    house.wait_stored(user, 1)


def test_refused(house):
    """A new program that does not take the configuration leaves the old one running."""
    pids = [p['pid'] for p in house.processes()]
    house.config(house.config() + 'nonsense on\n')
    house.allow(r'ev=master\.upgrade_refused')
    done = house.run('upgrade', check=False)
    house.config(house.config().replace('nonsense on\n', ''))
    assert done.returncode == 2 or 'does not run' in done.stderr, done
    assert [p['pid'] for p in house.processes()] == pids
