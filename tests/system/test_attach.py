"""attach: attachments that are not wanted, as mail that comes in; archives made to hurt."""
import email.message
import email.policy
import io
import os
import smtplib
import struct
import time
import zipfile

from conftest import build_folder

BLOCK = '''
plugin attach {
	file "%s"
	grant headers
	%s
}
'''


def start(make_house, more=''):
    h = make_house(start=False)
    h.add(BLOCK % (os.path.join(build_folder(), 'plugins/attach/attach.so'), more))
    h.start()
    h.test_user = h.user('user1')
    return h


def archive(*names, data=b'hello'):
    b = io.BytesIO()
    with zipfile.ZipFile(b, 'w', zipfile.ZIP_DEFLATED) as f:
        for n in names:
            f.writestr(n, data)
    return b.getvalue()


def send(h, name, data, subject='files'):
    m = email.message.EmailMessage()
    m['From'], m['To'], m['Subject'] = 'a@elsewhere.test', str(h.test_user), subject
    m.set_content('Hello.\n')
    m.add_attachment(data, maintype='application', subtype='octet-stream', filename=name)
    return send_bytes(h, m.as_bytes(policy=email.policy.SMTP))


def send_bytes(h, data):
    try:
        with h.smtp() as s:
            s.sendmail('a@elsewhere.test', [str(h.test_user)], data)
    except smtplib.SMTPResponseException as e:
        return e.smtp_code, e.smtp_error
    return 250, b''


def test_names_and_archives(make_house):
    h = start(make_house, 'encrypted-archives block')
    assert send(h, 'a.pdf', b'%PDF')[0] == 250
    assert send(h, 'a.pdf.exe', b'x' * 100)[0] == 554
    assert send(h, 'r\N{RIGHT-TO-LEFT OVERRIDE}fdp.scr', b'x' * 100)[0] == 554
    code, text = send(h, 'photos.zip', archive('a.jpg', 'b/run.js'))
    assert code == 554 and b'photos.zip, in it b/run.js' in text
    locked = bytearray(archive('a.jpg'))
    locked[locked.rindex(b'PK\1\2') + 8] |= 1
    assert b'password' in send(h, 'photos.zip', bytes(locked))[1]
    inner = email.message.EmailMessage()
    inner.set_content('inner')
    inner.add_attachment(b'x' * 100, maintype='application', subtype='pdf', filename='inner.bat')
    outer = email.message.EmailMessage()
    outer['From'] = 'a@elsewhere.test'
    outer.set_content('outer')
    outer.add_attachment(inner)
    assert send_bytes(h, outer.as_bytes(policy=email.policy.SMTP))[0] == 554
    h.wait_stored(h.test_user, 1)


def test_mail_made_to_hurt(make_house):
    """Bombs, lies and 20 MB: a verdict in bounded time, and the plugin lives."""
    h = start(make_house, 'broken-archives block')
    pid = h.pids('filterd')
    began = time.monotonic()
    bomb = archive(*['a%d.txt' % i for i in range(200)], data=b'\0' * 500000)
    assert send(h, 'bomb.zip', bomb)[0] == 250  # nothing is unpacked
    many = b'PK\3\4' + bytes(30)
    entry = b'PK\1\2' + bytes(24) + struct.pack('<HHH', 1, 0, 0) + bytes(12) + b'x'
    many += entry * 40000
    assert send(h, 'many.zip', many + b'PK\5\6' + bytes(8) + struct.pack('<IIH', 47 * 40000, 34, 0))[0] == 554
    assert send(h, 'lie.zip', b'PK\3\4' + bytes(30) + b'PK\5\6' + bytes(8) +
                struct.pack('<IIH', 0xfffffff0, 0xfffffff0, 0))[0] == 554
    assert send(h, 'big.bin', os.urandom(100) + bytes(20 << 20))[0] == 250
    nested = b''.join(b'Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n' % (i, i) for i in range(10000))
    assert send_bytes(h, b'From: a@elsewhere.test\r\n' + nested)[0] == 250
    assert time.monotonic() - began < 60
    assert h.pids('filterd') == pid


def test_quarantine_and_mark(make_house):
    h = start(make_house, 'action quarantine')
    assert send(h, 'a.exe', b'x' * 100, subject='held')[0] == 250
    assert [r['state'] for r in h.json('queue', 'list')] == ['held']
    h.config(h.config().replace('action quarantine', 'mode mark'))
    h.reload()
    assert send(h, 'a.exe', b'x' * 100, subject='marked')[0] == 250
    h.wait_stored(h.test_user, 1)
    with open(h.stored(h.test_user)[0].path) as f:
        assert 'X-Attachment-Policy: an extension that is not wanted; part="a.exe"' in f.read()
