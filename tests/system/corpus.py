"""Messages that are hard to read, for the IMAP tests: CRLF throughout, as they would come in."""


def crlf(text):
    if isinstance(text, str):
        text = text.encode('utf-8')
    return text.replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')


PLAIN = crlf('''\
Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)
From: Fred Foobar <foobar@blurdybloop.example>
Subject: afternoon meeting
To: mooch@owatagu.siam.example
Message-Id: <B27397-0100000@blurdybloop.example>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

Hello Joe, do you think we can meet at 3:30 tomorrow?

''')

NESTED = crlf('''\
Date: Tue, 24 Nov 2026 08:49:51 +0100
From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <juergen@example.test>
Sender: secretary@example.test
To: "Doe, John" <john@example.test>, friends: a@example.test, b@example.test;
Cc: (comment) c@example.test
Subject: =?iso-8859-1?Q?Gr=FC=DFe_?= =?utf-8?b?YXVzIEvDtmxu?=
In-Reply-To: <parent@example.test>
Message-ID: <nested@example.test>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="outer"
X-Folded: one
\ttwo

preamble
--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Stra=DFe in K=F6ln, und ein sehr langer =
Satz.
--inner
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64
Content-Language: de, en

PGh0bWw+PGhlYWQ+PHRpdGxlPng8L3RpdGxlPjwvaGVhZD48Ym9keT48cD5TdHJhJnN6bGlnOzxiPmVu
PC9iPmJhaG48L3A+PC9ib2R5PjwvaHRtbD4K
--inner--

--outer
Content-Type: message/rfc822
Content-Description: the original
Content-Disposition: attachment; filename="mail.eml"; size=3

From: inside@example.test
To: you@example.test
Subject: The message inside
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=deep

--deep

A part without a header: needle-in-the-deep.
--deep
Content-Type: application/octet-stream; name="data.bin"
Content-ID: <data@example.test>
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==
Content-Location: http://example.test/data
Content-Transfer-Encoding: base64

AAECAwQ=
--deep--
--outer
Content-Type: application/pdf;
 name*0="a very long "; name*1="file name.pdf"
Content-Disposition: attachment; filename*=utf-8''%c3%bc.pdf
Content-Transfer-Encoding: BASE64

JVBERi0=
--outer--
epilogue
''')

EIGHTBIT = (
    b'From: sp\xe4m@example.test\r\n'
    b'To: <a@example.test>\r\n'
    b'Subject: caf\xc3\xa9 au lait\r\n'
    b'Date: Thu, 1 Jan 2026 00:00:00 -1200\r\n'
    b'Message-ID: <eightbit@example.test>\r\n'
    b'Content-Type: text/plain; charset=utf-8\r\n'
    b'Content-Transfer-Encoding: 8bit\r\n'
    b'\r\n'
    b'\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82, \xd0\xbc\xd0\xb8\xd1\x80\r\n')

NO_BODY = b'From: nobody@example.test\r\nSubject: no body\r\nX-Empty:\r\n\r\n'

NO_HEADER = b'\r\nJust text, no header at all.\r\n'

UNCLOSED = crlf('''\
From: broken@example.test
Subject: unclosed
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain

first
--b
Content-Type: multipart/digest; boundary="c"

--c

From: digest1@example.test
Subject: in a digest

body one
--c

Subject: second of the digest

body two
''')

MISSING_BOUNDARY = crlf('''\
From: broken@example.test
Subject: says multipart
Content-Type: multipart/mixed

no boundary at all
''')

BAD_FIELDS = crlf('''\
From: broken@example.test
this line is no field
Subject: bad header lines
Content-Type: text/plain; charset=
Date: not a date

the body
''')

QUOTES = crlf('''\
From: "A \\"quoted\\" \\\\ name" <q@example.test>
To: undisclosed-recipients:;
Subject: He said "no" \\ yes
Date: Fri, 13 Mar 2026 23:30:00 -1100

short
''')

ISO2022 = (
    b'From: jp@example.test\r\n'
    b'Subject: =?iso-2022-jp?B?GyRCRnxLXDhsGyhC?=\r\n'
    b'MIME-Version: 1.0\r\n'
    b'Content-Type: text/plain; charset=iso-2022-jp\r\n'
    b'\r\n'
    b'\x1b$BF|K\\8l\x1b(B test\r\n')

BIG = (
    b'From: big@example.test\r\nSubject: big\r\nMIME-Version: 1.0\r\n'
    b'Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n'
    + b''.join(b'line %07d of a big text part ......................\r\n' % i for i in range(40000))
    + b'the needle at the end\r\n--x--\r\n')

CORPUS = {name: value for name, value in globals().items() if isinstance(value, bytes)}
