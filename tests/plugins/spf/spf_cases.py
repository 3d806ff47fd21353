"""Runs cases of SPF evaluation written in YAML, as the public suites for RFC 4408 and 7208 are.

    spf_cases.py PROGRAM FILE...

Each document has `tests` (name: helo, host, mailfrom, result or a list of results, explanation) and
`zonedata` (name: a list of {TYPE: value}; TIMEOUT: other questions about the name get no answer; of SPF
the same as TXT, unless the name has TXT too).
"""
import ipaddress
import struct
import subprocess
import sys

import yaml

TYPES = {'A': 1, 'CNAME': 5, 'PTR': 12, 'MX': 15, 'TXT': 16, 'AAAA': 28, 'SPF': 99}


def wire_name(name):
    labels = [l.encode('latin-1') for l in name.rstrip('.').split('.') if l]
    return b''.join(bytes([len(l)]) + l for l in labels) + b'\0'


def rdata(kind, value):
    if kind in ('A', 'AAAA'):
        return ipaddress.ip_address(value).packed
    if kind in ('CNAME', 'PTR'):
        return wire_name(value)
    if kind == 'MX':
        return struct.pack('>H', value[0]) + wire_name(value[1])
    parts = value if isinstance(value, list) else [value]
    return b''.join(p.encode('utf-8' if any(ord(c) > 255 for c in p) else 'latin-1') for p in parts)


def rows_of(name, entries):
    """The lines about one name."""
    pairs = [(k, v) for e in entries if isinstance(e, dict) for k, v in e.items()]
    has_txt = any(k == 'TXT' for k, _ in pairs)
    for kind, value in pairs:
        if value == 'NONE':
            continue
        data = rdata(kind, value).hex()
        yield 'record\t%s\t%d\t%s' % (name, TYPES[kind], data)
        if kind == 'SPF' and not has_txt:
            yield 'record\t%s\t%d\t%s' % (name, TYPES['TXT'], data)
    if 'TIMEOUT' in entries:
        yield 'silent\t%s' % name


def lines_of(doc):
    yield 'zone'
    for name, entries in doc['zonedata'].items():
        yield from rows_of(name, entries)
    for case in doc['tests'].values():
        yield 'case\t%s\t%s\t%s' % (case['host'], case['helo'], case['mailfrom'])


def wrong(case, answer):
    """What is not as the case has it, or ''."""
    want = case['result'] if isinstance(case['result'], list) else [case['result']]
    result, explanation = answer[:2]
    said = case.get('explanation')
    if result not in want:
        return 'is %s (%s), not %s' % (result, answer[3], ' or '.join(want))
    if said is not None and explanation.lower() != ('' if said == 'DEFAULT' else said.lower()):
        return 'explains %r, not %r' % (explanation, said)
    return ''


def run(program, path):
    with open(path, encoding='utf-8') as f:
        docs = list(yaml.safe_load_all(f))
    text = ''.join(l + '\n' for d in docs for l in lines_of(d))
    out = subprocess.run([program], input=text.encode('utf-8'), stdout=subprocess.PIPE, check=True, timeout=60)
    answers = [l.split('\t') for l in out.stdout.decode('utf-8', 'replace').split('\n')[:-1]]
    cases = [(n, c) for d in docs for n, c in d['tests'].items()]
    assert len(answers) == len(cases), (len(answers), len(cases))
    bad = [(n, wrong(c, a)) for (n, c), a in zip(cases, answers) if wrong(c, a)]
    for name, what in bad:
        print('FAIL: %s %s' % (name, what))
    differ = sum(a[2] not in ('-', a[0]) for a in answers)
    print('%s: %d of %d cases pass; libspf2 differs in %d of the %d that it was asked about' % (
        path.rsplit('/', 1)[-1], len(cases) - len(bad), len(cases), differ, sum(a[2] != '-' for a in answers)))
    return not bad


if __name__ == '__main__':
    sys.exit(0 if all([run(sys.argv[1], p) for p in sys.argv[2:]]) else 1)
