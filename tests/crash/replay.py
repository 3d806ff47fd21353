"""From a recording (record.c) to the tree that a crash may have left.

A file's data is durable after its sync, a name after the sync of its folder
(syncfs: both, of all). What is not durable may be there or not: dropped wholly,
kept wholly, or, for data, a random choice of its 4 KiB blocks and, for names, a
prefix of the changes.
"""
import os
import random
import struct

BLOCK = 4096


def read_log(path):
    """[(op, path, second path, offset, count, data)]"""
    out = []
    with open(path, 'rb') as f:
        raw = f.read()
    at = 0
    while at + 21 <= len(raw):
        n, = struct.unpack_from('<I', raw, at)
        op = chr(raw[at + 4])
        off, = struct.unpack_from('<Q', raw, at + 5)
        count = int.from_bytes(raw[at + 13:at + 19], 'little')
        pn, = struct.unpack_from('<H', raw, at + 19)
        p = at + 21
        name = raw[p:p + pn].decode()
        tn, = struct.unpack_from('<H', raw, p + pn)
        p += pn + 2
        to = raw[p:p + tn].decode()
        out.append((op, name, to, off, count, raw[p + tn:at + 4 + n]))
        at += 4 + n
    return out


def mark(path, what):
    """A marker of the judge's own: op 'J', the text in the path's place."""
    what = what.encode()
    body = struct.pack('<cQ6sH', b'J', 0, b'\0' * 6, len(what)) + what + b'\0\0'
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, struct.pack('<I', len(body)) + body)
    os.close(fd)


class File:
    def __init__(self):
        self.data = bytearray()   # durable
        self.pending = []         # (offset, bytes) or ('T', size)

    def settle(self):
        for w in self.pending:
            apply(self.data, w)
        self.pending = []


def apply(data, w):
    if w[0] == 'T':
        if w[1] < len(data):
            del data[w[1]:]
        else:
            data.extend(bytes(w[1] - len(data)))
        return
    off, new = w
    if len(data) < off:
        data.extend(bytes(off - len(data)))
    data[off:off + len(new)] = new


class Disk:
    """Two name spaces (durable, and as the program sees it) over files."""

    def __init__(self):
        self.now, self.durable = {}, {}   # path -> File or None (a folder)
        self.changes = []                 # of names, not durable: (folder, path, File/None/'gone')

    def set(self, path, what):
        if what == 'gone':
            self.now.pop(path, None)
        else:
            self.now[path] = what
        self.changes.append((os.path.dirname(path), path, what))

    @staticmethod
    def put(names, path, what):
        if what == 'gone':
            names.pop(path, None)
        else:
            names[path] = what

    def sync_folder(self, path):
        rest = []
        for c in self.changes:
            if c[0] == path:
                self.put(self.durable, c[1], c[2])
            else:
                rest.append(c)
        self.changes = rest

    def step(self, rec):
        op, path, to, off, count, data = rec
        f = self.now.get(path)
        if op == 'C':
            self.set(path, File())
        elif op == 'M':
            self.set(path, None)
        elif op in 'WZ' and f:
            f.pending.append((off, data if op == 'W' else bytes(count)))
        elif op == 'T' and f:
            f.pending.append(('T', off))
        elif op == 'S':
            if f:
                f.settle()
            else:
                self.sync_folder(path)
        elif op == 'A':
            for x in self.now.values():
                if x:
                    x.settle()
            for c in self.changes:
                self.put(self.durable, c[1], c[2])
            self.changes = []
        elif op == 'R':
            self.set(to, f)
            self.set(path, 'gone')
        elif op == 'L':
            self.set(to, f)
        elif op == 'U':
            self.set(path, 'gone')

    def crash(self, mode, rng):
        """{path: bytes or None}. mode: 'drop', 'keep', 'random'."""
        names = dict(self.durable)
        n = {'drop': 0, 'keep': len(self.changes), 'random': rng.randint(0, len(self.changes))}[mode]
        for c in self.changes[:n]:
            self.put(names, c[1], c[2])
        return {p: None if f is None else self.content(f, mode, rng) for p, f in names.items()}

    @staticmethod
    def content(f, mode, rng):
        if mode == 'drop' or not f.pending:
            return f.data
        data = bytearray(f.data)
        for w in f.pending:
            if mode == 'keep' or w[0] == 'T':
                apply(data, w)
                continue
            off, new = w
            for at in range(0, len(new), BLOCK):
                if rng.random() < 0.5:
                    apply(data, (off + at, new[at:at + BLOCK]))
        return data


def write_tree(tree, old, new):
    """Writes the tree with the root `old` below `new`."""
    for path in sorted(tree):
        target = new + path[len(old):]
        if tree[path] is None:
            os.makedirs(target, exist_ok=True)
    for path, data in tree.items():
        if data is None:
            continue
        target = new + path[len(old):]
        if not os.path.isdir(os.path.dirname(target)):
            continue
        with open(target, 'wb') as f:
            f.write(data)


def points(log, count, seed):
    """(index, mode, rng) of `count` crash points, in the order of the log: after
    record index - 1."""
    rng = random.Random(seed)
    where = sorted(rng.randint(1, len(log)) for _ in range(count))
    for i, at in enumerate(where):
        yield at, ('drop', 'keep', 'random', 'random')[i % 4], random.Random(seed * 1000003 + i)
