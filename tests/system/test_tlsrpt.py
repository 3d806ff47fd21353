"""Reports about TLS (RFC 8460): what went well and what did not is told to the domain that asks, by mail
and by HTTPS, and to nobody else."""
import email
import gzip
import json
import time

import pytest

from conftest import wait_for
from stsworld import World, answer, policy


@pytest.fixture
def world(make_house, tmp_path):
    w = World(make_house, tmp_path, settings='tls-report { send on organization "Example Mail" '
              'contact "tls@example.test" sender "tls@example.test" }')
    w.records['_smtp._tls.dest.test', 'TXT'] = ['"v=TLSRPTv1; rua=mailto:tls-reports@reports.test"']
    w.records['reports.test', 'MX'] = ['10 mx.reports.test.']
    w.records['mx.reports.test', 'A'] = ['127.0.0.6']
    w.reports = w.server('127.0.0.6', None)
    yield w
    w.close()


def report_of(text):
    """(the message, the report in it)"""
    m = email.message_from_bytes(text)
    assert m.get_content_type() == 'multipart/report' and m.get_param('report-type') == 'tlsrpt'
    part = m.get_payload()[1]
    assert part.get_content_type() == 'application/tlsrpt+gzip'
    return m, part, json.loads(gzip.decompress(part.get_payload(decode=True)))


def counted(world, n):
    wait_for('%d sessions' % n, lambda: world.house.metric('tls_sessions_total') >= n)
    time.sleep(1.2)   # kept within a second


def test_by_mail(world):
    """A session that went well, one with a wrong certificate, both under one policy."""
    world.web.page = policy('testing')
    world.start()
    world.send()
    world.arrives()
    counted(world, 1)
    world.mx.tls = world.tls('stranger')
    world.house.kill('relayd', 0)
    world.house.kill('relayd', 1)
    world.house.wait_ready()
    world.send('b@dest.test')
    world.arrives(n=2)
    counted(world, 1)
    world.house.kill('reportd')   # what was counted outlives it
    world.house.wait_ready()
    world.house.run('tls', 'report')
    (mail, rcpts, text), = world.arrives(world.reports)
    assert 'FROM:<tls@example.test>' in mail and '<tls-reports@reports.test>' in rcpts[0]
    m, part, r = report_of(text)
    assert m['TLS-Report-Domain'] == 'dest.test' and m['TLS-Report-Submitter'] == 'mail.example.test'
    assert m['TLS-Required'] == 'No' and 'Report-ID: <' in m['Subject']
    assert part.get_filename().startswith('mail.example.test!dest.test!')
    assert r['organization-name'] == 'Example Mail' and r['contact-info'] == 'tls@example.test'
    assert r['date-range']['start-datetime'].endswith('T00:00:00Z')
    one, = r['policies']
    assert one['policy'] == {'policy-type': 'sts', 'policy-domain': 'dest.test', 'mx-host': ['mx.dest.test'],
                             'policy-string': ['version: STSv1', 'mode: testing', 'mx: mx.dest.test', 'max_age: 86400']}
    assert one['summary'] == {'total-successful-session-count': 1, 'total-failure-session-count': 1}
    failure, = one['failure-details']
    assert failure['result-type'] == 'certificate-host-mismatch' and failure['failed-session-count'] == 1
    assert failure['receiving-mx-hostname'] == 'mx.dest.test' and failure['receiving-ip'] == world.MX
    assert failure['sending-mta-ip'].startswith('127.0.0.')


def test_by_post(world):
    """To a web server, that is down at first: the report stays. Other results: no STARTTLS, no policy to be had."""
    asked = []
    world.web.page = lambda conn, head: (asked.append(head), conn.sendall(
        answer(b'', '404 Not Found') if head.startswith(b'GET') else answer(b'', '500 Not Now' if len(asked) < 3 else '201 Created')))
    world.records['_smtp._tls.dest.test', 'TXT'] = ['"v=TLSRPTv1;rua=https://mta-sts.dest.test/report"']
    world.mx.tls = None
    world.start()
    world.send()
    world.arrives()
    counted(world, 1)
    world.house.run('tls', 'report')
    world.house.wait_event('tlsrpt.report', lambda f: f['code'] == '500')
    wait_for('the report to be put off', lambda: world.house.metrics().get(
        'posthorn_tls_reports_total{proc="reportd.0",result="deferred"}'))
    wait_for('a report that arrived', lambda: world.house.run('tls', 'report') and [
        f for f in world.house.events('tlsrpt.report') if f['code'] == '201'], every=0.5)
    head, body = [x for x in world.web.requests if x[0].startswith(b'POST')][-1]
    assert b'POST /report HTTP/1.1' in head and b'Content-Type: application/tlsrpt+gzip' in head
    one, = json.loads(gzip.decompress(body))['policies']
    assert one['policy']['policy-type'] == 'sts'
    assert one['summary'] == {'total-successful-session-count': 0, 'total-failure-session-count': 1}
    assert one['failure-details'][0]['result-type'] == 'sts-policy-fetch-error'
    assert 'answers 404' in one['failure-details'][0]['failure-reason-code']


def test_nobody_asks(world):
    """No record: nothing is sent, and nothing stays behind. Reports are off: nothing is counted."""
    del world.records['_smtp._tls.dest.test', 'TXT']
    del world.records['_mta-sts.dest.test', 'TXT']
    world.start()
    world.send()
    world.arrives()
    counted(world, 1)
    world.house.run('tls', 'report')
    wait_for('the report to be dropped', lambda: world.house.metrics().get(
        'posthorn_tls_reports_total{proc="reportd.0",result="unwanted"}'))
    assert not world.reports.mail and not world.web.handshakes
    world.base = world.base.replace('send on', 'send off')
    world.tell()
    assert world.house.run('tls', 'report', check=False).returncode == 1
    world.send('b@dest.test')
    world.arrives(n=2)
    assert world.house.metric('tls_sessions_total') == 1
