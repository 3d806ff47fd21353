#!/usr/bin/env python3
"""relayd: TLS as the settings, DANE and REQUIRETLS want it, resumption, log-ins."""
import hashlib
import os
import ssl
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from relay_house import BOGUS, DONE, FAILED, HELLO, MX, TEMPFAIL, TLSA, REJECT, certificate, mx, server_tls  # noqa: E402
from test_relayd import Case  # noqa: E402

NO_TLS = 128   # ENV_TLS_OPTIONAL
CERTS = tempfile.mkdtemp(prefix='test_relay_tls.')


def setUpModule():
    certificate(CERTS, 'ca', 'Test CA')
    certificate(CERTS, 'good', 'm1.test', 'ca')
    certificate(CERTS, 'other', 'other.test', 'ca')
    certificate(CERTS, 'own', 'm1.test')


def tearDownModule():
    for f in os.listdir(CERTS):
        os.unlink(os.path.join(CERTS, f))
    os.rmdir(CERTS)


def path(name, kind='pem'):
    return os.path.join(CERTS, '%s.%s' % (name, kind))


def context(name, chain=None):
    if chain:
        with open(path('chain'), 'w') as f:
            for n in (name, chain):
                f.write(open(path(n)).read())
        return server_tls(path('chain'), path(name, 'key'))
    return server_tls(path(name), path(name, 'key'))


def der(name):
    return ssl.PEM_cert_to_DER_cert(open(path(name)).read())


def spki(name):
    key = subprocess.run(['openssl', 'x509', '-in', path(name), '-noout', '-pubkey'], capture_output=True, check=True)
    return subprocess.run(['openssl', 'pkey', '-pubin', '-outform', 'DER'], input=key.stdout, capture_output=True,
                          check=True).stdout


def tlsa(usage, selector, matching, name):
    data = spki(name) if selector else der(name)
    data = {0: lambda d: d, 1: lambda d: hashlib.sha256(d).digest(), 2: lambda d: hashlib.sha512(d).digest()}[matching](data)
    return bytes([usage, selector, matching]) + data


class House(Case):
    def house(self, cert='good', more='', blocks='', **kw):
        """m1.test for dest.test, with TLS by this certificate."""
        self.s = self.server('127.0.0.2', tls=context(cert) if isinstance(cert, str) else cert, **kw)
        self.start('port %d\nca-file "%s"\n%s' % (self.s.port, path('ca'), more), blocks)
        self.zone()
        return self.s

    def zone(self, secure=False):
        z = self.r.zone
        z.host('m1.test', '127.0.0.2', secure=secure)
        z.add('dest.test', MX, mx(10, 'm1.test'), secure=secure)

    def tls_used(self):
        self.assertTrue(self.r.until(lambda: 'relay.tried' in self.log()))
        line = [x for x in self.log().splitlines() if 'relay.tried' in x][-1]
        return 'TLSv1' in line, 'verified=1' in line


class Tls(House):
    def test_opportunistic(self):
        s = self.house('own')
        self.assertEqual(self.r.send().codes(), [(DONE, 250)])
        self.assertEqual(self.tls_used(), (True, False))
        self.assertEqual([x.split()[0] for x in s.lines[:3]], ['EHLO', 'STARTTLS', 'EHLO'])

    def test_off(self):
        s = self.house('good', 'tls off')
        self.assertEqual(self.r.send().codes(), [(DONE, 250)])
        self.assertNotIn('STARTTLS', s.lines)

    def test_broken_handshake(self):
        """What is not required falls back to plaintext, what is waits."""
        for level, want in (('optional', DONE), ('dane', DONE), ('required', TEMPFAIL), ('verify', TEMPFAIL)):
            s = self.house('good', 'tls ' + level, script={'STARTTLS': lambda x, l: x.say('220 go') or 'junk junk'})
            self.assertEqual(self.r.send().rcpts[0].outcome, want, level)
            self.assertEqual(s.connections, 2 if want == DONE else 1)
            self.end()
            s.close()

    def test_absent(self):
        """A server without STARTTLS, or one that refuses it (a downgrade)."""
        for script in ({'EHLO': '250 nothing'}, {'STARTTLS': '454 4.7.0 not now'}, {'STARTTLS': '502 5.5.1 no'}):
            for level, want in (('optional', DONE), ('required', TEMPFAIL), ('verify', TEMPFAIL)):
                s = self.house('good', 'tls ' + level, script=script)
                self.assertEqual(self.r.send().rcpts[0].outcome, want, (level, script))
                self.assertEqual(len(s.mail), want == DONE)
                self.end()
                s.close()

    def test_injected(self):
        """What came in plaintext behind the 220 is no answer within TLS."""
        def inject(session, line):
            session.say('220 go\r\n250-injected\r\n250 SIZE 1')
            session.start_tls()
            return ''

        s = self.house('good', script={'STARTTLS': inject})
        # an empty line of the script is sent within TLS: the reply to EHLO is then malformed
        self.assertEqual(self.r.send().rcpts[0].outcome, TEMPFAIL)
        self.assertEqual(s.mail, [])

    def test_verify(self):
        for cert, want in (('good', DONE), ('own', TEMPFAIL), ('other', TEMPFAIL)):
            s = self.house(cert, 'tls verify')
            a = self.r.send()
            self.assertEqual(a.rcpts[0].outcome, want, cert)
            if want == DONE:
                self.assertEqual(self.tls_used(), (True, True))
            else:
                self.assertEqual((a.rcpts[0].enhanced, s.mail), ('4.7.5', []))
                self.assertIn('certificate was refused', a.rcpts[0].text)
            self.end()
            s.close()

    def test_policies(self):
        """Of a domain, of what is below one, names that match."""
        blocks = ('tls-policy dest.test { tls verify match other.test }\n'
                  'tls-policy .sub.test { tls verify }\ntls-policy x.sub.test { tls off }\n')
        s = self.house('other', blocks=blocks)
        for d in ('a.sub.test', 'x.sub.test', 'free.test'):
            self.r.zone.add(d, MX, mx(10, 'm1.test'))
        for domain, want in (('dest.test', DONE), ('a.sub.test', TEMPFAIL), ('x.sub.test', DONE), ('free.test', DONE)):
            self.assertEqual(self.r.send(domain=domain).rcpts[0].outcome, want, domain)
        self.assertEqual(len(s.mail), 3)

    def test_min_version(self):
        c = context('good')
        c.maximum_version = ssl.TLSVersion.TLSv1_2
        self.house(c, 'tls required', 'tls-policy dest.test { tls required min-version TLSv1.3 }')
        self.r.zone.add('free.test', MX, mx(10, 'm1.test'))
        self.assertEqual(self.r.send().rcpts[0].outcome, TEMPFAIL)
        self.assertEqual(self.r.send(domain='free.test').rcpts[0].outcome, DONE)

    def test_resumed(self):
        s = self.house('good', 'idle-time none')
        for _ in range(3):
            self.assertEqual(self.r.send().codes(), [(DONE, 250)])
        self.assertEqual(s.resumed, [False, True, True])

    def test_implicit(self):
        s = self.house('good', blocks='next-hop "[m1.test]" { implicit-tls on tls verify }', implicit=True)
        self.assertEqual(self.r.send(next_hop='[m1.test]').codes(), [(DONE, 250)])
        self.assertEqual(s.lines[0].split()[0], 'EHLO')

    def test_tls_required_no(self):
        """TLS-Required: No of the message: a policy that fails does not hold it up."""
        s = self.house('own', 'tls verify')
        self.assertEqual(self.r.send().rcpts[0].outcome, TEMPFAIL)
        self.assertEqual(self.r.send(flags=NO_TLS).codes(), [(DONE, 250)])
        self.assertEqual(len(s.mail), 1)

    def test_requiretls(self):
        s = self.house('good', hello=HELLO + ['REQUIRETLS'])
        a = self.r.send(flags=2)
        self.assertEqual((a.rcpts[0].outcome, a.rcpts[0].enhanced), (REJECT, '5.7.10'))
        self.zone(secure=True)
        self.assertEqual(self.r.send(flags=2).codes(), [(DONE, 250)])
        self.assertIn(' REQUIRETLS', s.mail[0][0])
        s.hello.remove('REQUIRETLS')
        self.end()
        self.start('port %d\nca-file "%s"' % (s.port, path('ca')))
        self.zone(secure=True)
        self.assertEqual(self.r.send(flags=2).rcpts[0].enhanced, '5.7.30')


class Dane(House):
    def dane(self, records, cert='own', more='', chain=None, secure=True, **kw):
        s = self.house(context(cert, chain), more, **kw)
        self.zone(secure=True)
        key = ('_%d._tcp.m1.test' % s.port, TLSA)
        self.r.zone.data[key] = records
        if secure:
            self.r.zone.secure.add(key)
        return s

    def again(self, s):
        self.end()
        s.close()

    def test_usages(self):
        """Usages 2 and 3, both selectors, all matching types."""
        for selector in (0, 1):
            for matching in (0, 1, 2):
                for usage, cert, record, chain in ((3, 'own', 'own', None), (2, 'good', 'ca', 'ca')):
                    s = self.dane([tlsa(usage, selector, matching, record)], cert, chain=chain)
                    self.assertEqual(self.r.send().codes(), [(DONE, 250)], (usage, selector, matching))
                    self.assertEqual(self.tls_used(), (True, True))
                    self.again(s)

    def test_mismatch(self):
        """Another key: the message waits, and never goes in plaintext."""
        for records in ([tlsa(3, 1, 1, 'own')], [tlsa(2, 0, 1, 'own')], [tlsa(3, 0, 0, 'ca'), tlsa(3, 1, 2, 'ca')]):
            s = self.dane(records, 'good')
            a = self.r.send()
            self.assertEqual((a.codes(), a.rcpts[0].enhanced), ([(TEMPFAIL, 451)], '4.7.5'))
            self.assertEqual(s.mail, [])
            self.again(s)

    def test_rollover(self):
        s = self.dane([tlsa(3, 1, 1, 'good'), tlsa(3, 1, 1, 'own')])
        self.assertEqual(self.r.send().codes(), [(DONE, 250)])
        self.assertEqual(len(s.mail), 1)

    def test_wrong_name(self):
        """Usage 2 asks for the host's name, usage 3 does not."""
        s = self.dane([tlsa(2, 0, 1, 'ca')], 'other', chain='ca')
        self.assertEqual(self.r.send().rcpts[0].outcome, TEMPFAIL)
        self.again(s)
        self.dane([tlsa(3, 1, 1, 'other')], 'other')
        self.assertEqual(self.r.send().codes(), [(DONE, 250)])

    def test_no_starttls(self):
        s = self.dane([tlsa(3, 1, 1, 'own')], script={'EHLO': '250 nothing'})
        self.assertEqual(self.r.send().rcpts[0].outcome, TEMPFAIL)
        self.assertEqual(s.mail, [])

    def test_next_host(self):
        """A host that fails DANE makes room for one that has no records."""
        s = self.dane([tlsa(3, 1, 1, 'good')])
        t = self.server('127.0.0.3', s.port)
        self.r.zone.host('m2.test', '127.0.0.3', secure=True)
        self.r.zone.add('dest.test', MX, mx(10, 'm1.test'), mx(20, 'm2.test'), secure=True)
        self.assertEqual(self.r.send().codes(), [(DONE, 250)])
        self.assertEqual((len(s.mail), len(t.mail)), (0, 1))

    def test_unknown(self):
        for status in (FAILED, BOGUS):
            s = self.dane(status, secure=False)
            a = self.r.send()
            self.assertEqual((a.rcpts[0].outcome, a.rcpts[0].enhanced), (TEMPFAIL, '4.7.5'))
            self.assertEqual(s.connections, 0)
            self.again(s)

    def test_unusable(self):
        """Records that nobody can use: TLS, unverified; plaintext is refused."""
        for script, want in ((None, DONE), ({'EHLO': '250 nothing'}, TEMPFAIL)):
            s = self.dane([b'\x01\x00\x01' + bytes(32), b'\x03\x01\x09' + bytes(32), b'\x03\x01\x01short'], script=script)
            self.assertEqual(self.r.send().rcpts[0].outcome, want)
            self.again(s)

    def test_insecure(self):
        """Records that DNSSEC does not prove count for nothing; nor do they where MX or address are not proven."""
        s = self.dane([tlsa(3, 1, 1, 'good')], secure=False)
        self.assertEqual(self.r.send().codes(), [(DONE, 250)])
        self.again(s)
        s = self.dane([tlsa(3, 1, 1, 'good')])
        self.r.zone.secure.discard(('dest.test', MX))
        self.assertEqual(self.r.send().codes(), [(DONE, 250)])

    def test_only(self):
        s = self.dane([], more='tls dane-only', secure=False)
        self.assertEqual(self.r.send().rcpts[0].enhanced, '4.7.5')
        self.again(s)
        self.dane([tlsa(3, 1, 1, 'own')], more='tls dane-only')
        self.assertEqual(self.r.send().codes(), [(DONE, 250)])


class Login(House):
    def login(self, mech, user='user1', secret='geheim', hello=(), block='', tls=True, **kw):
        self.s = self.server('127.0.0.2', tls=context('good') if tls else None, users={'user1': 'geheim', 'a=b,c': 'x'},
                             hello=HELLO + list(hello), **kw)
        self.start('port %d\nca-file "%s"' % (self.s.port, path('ca')),
                   'next-hop "[m1.test]" { user x password y %s }' % block)
        self.zone()
        return self.r.send(next_hop='[m1.test]', cred=(mech, user, secret))

    ALL = ('AUTH PLAIN LOGIN SCRAM-SHA-256 XOAUTH2 CRAM-MD5',)

    def again(self):
        self.end()
        self.s.close()

    def test_mechanisms(self):
        for mech, said in (('plain', 'PLAIN'), ('LOGIN', 'LOGIN'), ('scram-sha-256', 'SCRAM-SHA-256'),
                           ('xoauth2', 'XOAUTH2'), ('', 'SCRAM-SHA-256'), ('auto', 'SCRAM-SHA-256')):
            a = self.login(mech, hello=self.ALL)
            self.assertEqual(a.codes(), [(DONE, 250)], mech)
            self.assertTrue([x for x in self.s.lines if x.startswith('AUTH ' + said)])
            self.again()

    def test_names(self):
        self.assertEqual(self.login('', 'a=b,c', 'x', self.ALL).codes(), [(DONE, 250)])

    def test_wrong(self):
        for mech in ('plain', 'login', 'scram-sha-256', 'xoauth2'):
            a = self.login(mech, secret='falsch', hello=self.ALL)
            self.assertEqual((a.rcpts[0].outcome, a.rcpts[0].enhanced), (TEMPFAIL, '4.7.8'), mech)
            self.assertEqual(self.s.mail, [])
            self.again()

    def test_false_servers(self):
        for how in ('short', 'cheap', 'liar'):
            a = self.login('scram-sha-256', hello=self.ALL, script={'scram': how})
            self.assertEqual(a.rcpts[0].enhanced, '4.7.8', how)
            self.assertEqual(self.s.mail, [])
            self.again()

    def test_not_offered(self):
        self.assertEqual(self.login('plain', hello=('AUTH CRAM-MD5',)).rcpts[0].enhanced, '4.7.8')
        self.again()
        self.assertEqual(self.login('', hello=('AUTH XOAUTH2',)).rcpts[0].enhanced, '4.7.8')

    def test_plaintext(self):
        """The password is not shown without TLS, unless the settings say so."""
        for block, mech, want in (('tls optional', 'plain', TEMPFAIL), ('tls optional', '', DONE), ('', '', TEMPFAIL),
                                  ('tls off', 'plain', DONE)):
            a = self.login(mech, hello=self.ALL, block=block, tls=False)
            self.assertEqual(a.rcpts[0].outcome, want, (block, mech))
            if want == TEMPFAIL:
                self.assertFalse([x for x in self.s.lines if 'PLAIN' in x])
            self.again()


if __name__ == '__main__':
    unittest.main(verbosity=int(os.environ.get('VERBOSE', 1)), warnings='ignore')
