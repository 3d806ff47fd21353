"""A full disk: new mail gets 452, nothing acknowledged is lost, and work goes on by itself when
there is room again.
"""
import smtplib
import subprocess

import pytest

from conftest import need_root, wait_for

BODY = ('x' * 98 + '\r\n') * 2000  # 200 KB


@pytest.fixture
def small(make_house):
    """A function: an instance, not started, whose folder `name` is a tmpfs of that many MB."""
    need_root()
    mounts = []

    def make(name, size, **kw):
        house = make_house(start=False, **kw)
        path = '%s/%s' % (house.dir, name)
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'mode=700,size=%dm' % size, 'tmpfs', path],
                              stderr=subprocess.PIPE, text=True)
        if done.returncode:
            pytest.skip('no mount here: ' + done.stderr.strip())
        mounts.append((house, path))
        return house

    yield make
    for house, path in mounts:
        if house.running:
            house.stop()
        subprocess.run(['umount', path], check=True)


def send_until_refused(house, user, most):
    """The subjects that got a 250 until one got 452."""
    sent = []
    for i in range(most):
        try:
            house.send(user, subject='number %03d' % i, body=BODY)
        except smtplib.SMTPRecipientsRefused as e:
            [(code, text)] = e.recipients.values()
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as e:
            code, text = e.smtp_code, e.smtp_error
        else:
            sent.append('number %03d' % i)
            continue
        assert code == 452 and text.startswith(b'4.3.1'), (code, text)
        return sent
    pytest.fail('the disk took all %d messages' % most)


def test_a_full_spool(small):
    house = small('spool', 24, spool__checkpoint_interval='1s')
    house.start()
    user = house.user('user1')
    house.run('queue', 'hold', '--new', 'on')
    sent = send_until_refused(house, user, 150)
    assert len(sent) >= 20
    assert house.queue()['held'] == len(sent)
    house.run('queue', 'hold', '--new', 'off')
    house.run('queue', 'release', '--all')
    house.wait_stored(user, len(sent))
    house.wait_queue_empty()
    assert house.subjects(user) == sent

    def sends():
        try:
            house.send(user, subject='room again')
            return True
        except smtplib.SMTPException:
            return False
    wait_for('room in the spool', sends, every=0.5)
    house.wait_stored(user, len(sent) + 1)


def test_a_full_spool_outlives_a_restart(small):
    house = small('spool', 24, spool__checkpoint_interval='1s')
    house.start()
    user = house.user('user1')
    house.run('queue', 'hold', '--new', 'on')
    sent = send_until_refused(house, user, 150)
    house.kill_all()
    house.start()
    assert house.queue()['held'] == len(sent)
    house.run('queue', 'release', '--all')
    house.wait_stored(user, len(sent))
    assert house.subjects(user) == sent


def test_a_full_store(small):
    """Deliveries wait in the queue; with room they go on."""
    house = small('store', 30, spool__retry_min='1h', spool__segment_size='16M')
    house.start()
    user = house.user('user1')
    house.run('queue', 'hold', '--new', 'on')
    sent = ['number %03d' % i for i in range(100)]
    for subject in sent:
        house.send(user, subject=subject, body=BODY)
    house.run('queue', 'hold', '--new', 'off')
    house.run('queue', 'release', '--all')
    wait_for('the rest to be deferred', lambda: 0 < house.queue()['deferred'] == house.queue()['messages'])
    stored = house.subjects(user)
    assert 0 < len(stored) == len(sent) - house.queue()['messages']
    [row] = house.json('queue', 'list', '--state', 'deferred', '--limit', 1)
    assert '4.3.1' in house.run('queue', 'show', row['id']).stdout
    wait_for('new mail to be refused', lambda: rcpt_code(house, user) == 452, every=0.2)
    subprocess.run(['mount', '-o', 'remount,size=200m', house.dir + '/store'], check=True)
    wait_for('room', lambda: rcpt_code(house, user) == 250, every=0.2)
    house.run('queue', 'retry', '--all')
    house.wait_stored(user, len(sent))
    house.wait_queue_empty()
    assert house.subjects(user) == sent


def rcpt_code(house, user):
    with house.smtp() as s:
        s.ehlo('client.test')
        s.mail('a@elsewhere.test', ['SIZE=%d' % (2 * len(BODY))])
        return s.rcpt(user.address)[0]
