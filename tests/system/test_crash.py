"""Each process is killed while mail flows: nothing acknowledged is lost, nothing comes twice, and
clients see temporary errors at worst.
"""
import collections
import smtplib
import threading
import time

import pytest

from conftest import PATIENCE, wait_for

KILLS = 3


class Flow:
    """A client that sends numbered messages one by one, as servers do: what got no clear 250 is
    sent again later under the same subject. acked: subjects with a 250; maybe: those whose answer
    was lost at least once, which may therefore come twice."""

    def __init__(self, house, name, users):
        self.house, self.name, self.users = house, name, users
        self.acked, self.maybe, self.wrong = [], set(), []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        n = 0
        while not self.ended.is_set():
            subject = '%s-%d' % (self.name, n)
            if self.send(subject):
                self.acked.append(subject)
                n += 1
            else:
                time.sleep(0.05)

    def send(self, subject):
        try:
            self.house.send(*self.users, subject=subject)
            return True
        except smtplib.SMTPResponseException as e:
            self.reject(subject, e.smtp_code, e.smtp_error)
        except smtplib.SMTPRecipientsRefused as e:
            for code, text in e.recipients.values():
                self.reject(subject, code, text)
        except (smtplib.SMTPException, OSError):
            self.maybe.add(subject)  # the connection went: whether it was taken is not known
        return False

    def reject(self, subject, code, text):
        if not 400 <= code < 500:
            self.wrong.append((subject, code, text))
        self.maybe.add(subject)  # smtpd may have lost queued's answer; or some recipients have it

    def end(self):
        self.ended.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def judge(house, flows, user, kills):
    acked = [s for f in flows for s in f.acked]
    maybe = set().union(*(f.maybe for f in flows))
    assert not [f.wrong for f in flows if f.wrong]
    assert len(maybe) <= kills * len(flows), 'more than one message of a flow met one kill'
    assert len(acked) > 20
    house.wait_queue_empty(60)
    got, ids = collections.Counter(house.subjects(user)), house.spool_ids(user)
    assert not set(acked) - set(got), 'acknowledged, and lost'
    assert not [s for s, n in got.items() if n > 1 and s not in maybe], 'delivered twice'
    assert len(ids) == len(set(ids)) == got.total(), 'a spool id delivered twice'


@pytest.mark.parametrize('role', ['smtpd', 'queued', 'maild', 'mimed', 'authd'])
def test_killed_while_mail_flows(make_house, role):
    house = make_house(spool__retry_min='1s')
    users = [house.user('user1'), house.user('user2')]
    flows = [Flow(house, 'flow%d' % i, users) for i in range(4)]
    for _ in range(KILLS):
        reached = sum(len(f.acked) for f in flows) + 8
        wait_for('mail to flow', lambda: sum(len(f.acked) for f in flows) > reached, 60)
        house.kill(role)
        house.wait_ready()
    reached = sum(len(f.acked) for f in flows) + 8
    wait_for('mail to flow again', lambda: sum(len(f.acked) for f in flows) > reached, 60)
    for f in flows:
        f.end()
    for u in users:
        judge(house, flows, u, KILLS)
    assert {r['last_exit'] for r in house.processes(role)} >= {'signal 9'}


def test_everything_killed_at_once(make_house):
    house = make_house(spool__retry_min='1s')
    users = [house.user('user1'), house.user('user2')]
    flows = [Flow(house, 'flow%d' % i, users) for i in range(4)]
    for _ in range(2):
        reached = sum(len(f.acked) for f in flows) + 8
        wait_for('mail to flow', lambda: sum(len(f.acked) for f in flows) > reached, 60)
        house.kill_all()
        house.start()
    for f in flows:
        f.end()
    for u in users:
        judge(house, flows, u, 2)
