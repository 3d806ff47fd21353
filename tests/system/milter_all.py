"""A milter on Debian's python3-milter that has every callback and makes every change; what it does is
asked for by X-Do fields, what it has heard is told in a field X-Heard and in a file."""
import json
import sys

import Milter

SOCKET, LOG = sys.argv[1], sys.argv[2]


class All(Milter.Base):
    def __init__(self):
        self.heard = []
        self.do = []

    def hear(self, *what):
        self.heard.append(what)
        with open(LOG, 'a', encoding='utf-8') as f:
            f.write(json.dumps(what) + '\n')
        return Milter.CONTINUE

    def macros(self, *names):
        return {n: self.getsymval(n) for n in names}

    def connect(self, name, family, address):
        return self.hear('connect', name, family, address, self.macros('j', '{daemon_name}'))

    def hello(self, name):
        if name == 'reject.test':
            return Milter.REJECT
        return self.hear('hello', name)

    def envfrom(self, sender, *args):
        self.do = []
        if sender.startswith('<mail-'):
            self.setreply('552', '5.2.3', 'no %% thanks', 'really')
            return Milter.REJECT
        if sender.startswith('<discard-'):
            return Milter.DISCARD
        if sender.startswith('<accept-'):
            return Milter.ACCEPT
        return self.hear('mail', sender, args, self.macros('i', '{mail_addr}', '{auth_authen}'))

    def envrcpt(self, rcpt, *args):
        if rcpt.startswith('<user2'):
            self.setreply('450', '4.2.1', 'busy')
            return Milter.TEMPFAIL
        return self.hear('rcpt', rcpt, args, self.macros('{rcpt_addr}'))

    def data(self):
        return self.hear('data')

    def header(self, name, value):
        if name == 'X-Do':
            self.do.append(value)
        return self.hear('header', name, value)

    def eoh(self):
        return self.hear('eoh')

    def body(self, chunk):
        self.hear('body', len(chunk))
        return Milter.SKIP if 'skip' in self.do else Milter.CONTINUE

    def eom(self):
        self.hear('eom', self.macros('i'))
        for what in self.do:
            if hasattr(self, 'do_' + what):
                getattr(self, 'do_' + what)()
        if 'reject' in self.do:
            return Milter.REJECT
        return Milter.CONTINUE

    def do_headers(self):
        self.addheader('X-Last', 'added\n\tfolded')
        self.addheader('X-First', 'inserted', 0)
        self.chgheader('Subject', 1, 'changed')
        self.chgheader('X-Twice', 2, '')
        self.chgheader('X-New', 1, 'made')

    def do_rcpts(self):
        self.addrcpt('<user3@example.test>')
        self.addrcpt('<user4@example.test>', 'NOTIFY=NEVER')
        self.delrcpt('<user1@example.test>')

    def do_sender(self):
        self.chgfrom('<other@elsewhere.test>')

    def do_body(self):
        self.replacebody('Another body.\n')
        self.replacebody('Two chunks.')

    def do_quarantine(self):
        self.quarantine('looks odd')

    def do_progress(self):
        self.progress()

    def abort(self):
        return self.hear('abort')

    def close(self):
        return self.hear('close')


Milter.factory = All
Milter.set_flags(Milter.CHGBODY + Milter.CHGHDRS + Milter.ADDHDRS + Milter.ADDRCPT + Milter.DELRCPT +
                 Milter.CHGFROM + Milter.ADDRCPT_PAR + Milter.QUARANTINE)
Milter.runmilter('all', SOCKET, 60)
