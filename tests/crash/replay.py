"""From a recording (record.c) to the tree that a crash may have left.

A file's data is durable after its sync, a name after the sync of its folder
(syncfs: both, of all); a sync covers what was there when it began. What is not
durable may be there or not: dropped wholly, kept wholly, or, for data, a random
choice of its 4 KiB blocks and, for names, a prefix of the changes, as a journal
keeps them. A rename is one change, of a folder too.
"""
import contextlib
import fcntl
import os
import random
import shutil
import struct
import tempfile

BLOCK = 4096
BLIND = bool(os.environ.get('CRASH_BLIND'))   # no sync counts: the judges must find losses


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


@contextlib.contextmanager
def between_calls(log):
    """While none of the recorded programs is within a call. Who kills one does it now: else a
    call may be done and not recorded, and what its next life builds on would be missing here."""
    with open(log, 'rb') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


class File:
    def __init__(self):
        self.data = bytearray()   # durable
        self.pending = []         # (number, offset, bytes) or (number, 'T', size)

    def settle(self, upto):
        while self.pending and self.pending[0][0] <= upto:
            apply(self.data, self.pending.pop(0))

    def content(self, mode, rng):
        if mode == 'drop' or not self.pending:
            return self.data
        data = bytearray(self.data)
        for w in self.pending:
            if mode == 'keep' or w[1] == 'T':
                apply(data, w)
                continue
            no, off, new = w
            for at in range(0, len(new), BLOCK):
                if rng.random() < 0.5:
                    apply(data, (no, off + at, new[at:at + BLOCK]))
        return data


def apply(data, w):
    _, off, new = w
    if off == 'T':
        if new < len(data):
            del data[new:]
        else:
            data.extend(bytes(new - len(data)))
        return
    if len(data) < off:
        data.extend(bytes(off - len(data)))
    data[off:off + len(new)] = new


class Folder:
    def __init__(self):
        self.now, self.durable = {}, {}   # name -> File or Folder


class Change:
    """Of names, all or nothing: [(folder, name, what is there now or None)]"""

    def __init__(self, number, parts):
        self.number, self.parts = number, parts

    def apply(self, entries):
        """entries(folder): the names that are to be changed"""
        for folder, name, what in self.parts:
            names = entries(folder)
            if what is None:
                names.pop(name, None)
            else:
                names[name] = what


def durable(folder):
    return folder.durable


class Disk:
    """The tree below a root, as the program sees it and as a crash leaves it."""

    def __init__(self, root):
        self.root, self.top = root, Folder()
        self.number = 0
        self.changes, self.dirty, self.syncs = [], [], {}

    def load(self, path):
        """Takes what stands there, as durable."""
        folders = {path: self.top}
        for at, dirs, files in os.walk(path):
            here = folders[at]
            for name in dirs:
                here.now[name] = here.durable[name] = folders[os.path.join(at, name)] = Folder()
            for name in files:
                full = os.path.join(at, name)
                if os.path.isfile(full):
                    here.now[name] = here.durable[name] = f = File()
                    with open(full, 'rb') as raw:
                        f.data = bytearray(raw.read())

    def split(self, path):
        """(folder, name) of a path; the root itself is (None, '')."""
        parts = [p for p in path[len(self.root):].split('/') if p]
        if not parts:
            return None, ''
        at = self.top
        for p in parts[:-1]:
            at = at.now[p]
        return at, parts[-1]

    def find(self, path):
        folder, name = self.split(path)
        return folder.now.get(name) if folder else self.top

    def known(self, path):
        """What stands under a path that a call has found there."""
        what = self.find(path)
        if what is None:
            raise LookupError('the recording lacks %s' % path)
        return what

    def change(self, *parts):
        c = Change(self.number, [p for p in parts if p[0]])
        c.apply(lambda folder: folder.now)
        self.changes.append(c)

    def write(self, f, what):
        if not f.pending:
            self.dirty.append(f)
        f.pending.append((self.number, *what))

    def sync(self, upto, node=None):
        """node: what was synced; None: everything."""
        if isinstance(node, File):
            node.settle(upto)
            return
        if node is None:
            for f in self.dirty:
                f.settle(upto)
            self.dirty = [f for f in self.dirty if f.pending]
        rest = []
        for c in self.changes:
            if c.number <= upto and (node is None or any(p[0] is node for p in c.parts)):
                c.apply(durable)
            else:
                rest.append(c)
        self.changes = rest

    def step(self, rec):
        op, path, to, off, count, data = rec
        self.number += 1
        if op in 'CM':
            folder, name = self.split(path)
            self.change((folder, name, File() if op == 'C' else Folder()))
        elif op in 'WZ':
            self.write(self.known(path), (off, data if op == 'W' else bytes(count)))
        elif op == 'T':
            self.write(self.known(path), ('T', off))
        elif op == 'B':
            self.syncs[off] = self.number, self.find(path)
        elif op in 'SA' and not BLIND:
            upto, node = self.syncs.pop(off)
            self.sync(upto, node if op == 'S' else None)
        elif op == 'R':
            self.change((*self.split(to), self.known(path)), (*self.split(path), None))
        elif op == 'L':
            self.change((*self.split(to), self.known(path)))
        elif op == 'U':
            self.change((*self.split(path), None))

    def crash(self, mode, rng):
        """[(path below the root, None or the content, the file)], folders before what
        is in them. mode: 'drop', 'keep', 'random'."""
        names = {}

        def entries(folder):
            if folder not in names:
                names[folder] = dict(folder.durable)
            return names[folder]

        n = {'drop': 0, 'keep': len(self.changes), 'random': rng.randint(0, len(self.changes))}[mode]
        for c in self.changes[:n]:
            c.apply(entries)
        out, contents = [], {}

        def walk(folder, path):
            for name, what in sorted(entries(folder).items()):
                if isinstance(what, Folder):
                    out.append((path + name, None, what))
                    walk(what, path + name + '/')
                else:
                    if what not in contents:
                        contents[what] = what.content(mode, rng)
                    out.append((path + name, contents[what], what))

        walk(self.top, '')
        return out


def write_tree(tree, root):
    """Writes what Disk.crash gave below root; one file under several names is one file."""
    os.makedirs(root, exist_ok=True)
    done = {}
    for path, data, what in tree:
        target = os.path.join(root, path)
        if data is None:
            os.mkdir(target, 0o700)
        elif what in done:
            os.link(done[what], target)
        else:
            done[what] = target
            with open(target, 'wb') as f:
                if data.count(0) == len(data):
                    f.truncate(len(data))
                else:
                    f.write(data)


def points(log, count, seed):
    """(index, mode, rng) of `count` crash points, in the order of the log: after
    record index - 1."""
    rng = random.Random(seed)
    where = sorted(rng.randint(1, len(log)) for _ in range(count))
    for i, at in enumerate(where):
        yield at, ('drop', 'keep', 'random', 'random')[i % 4], random.Random(seed * 1000003 + i)


def scratch():
    """A folder for trees: in memory where there is room, since a point needs no real disk."""
    where = os.environ.get('TMPDIR')
    if not where and os.access('/dev/shm', os.W_OK):
        st = os.statvfs('/dev/shm')
        where = '/dev/shm' if st.f_bavail * st.f_frsize > 1 << 30 else None
    return where


def run(name, program, campaign, faults, count, per, seed, least):
    """A script's whole run, its exit status: campaign(folder, points, seed) over `count` points,
    `per` of them a recording; then faults(folder, n, seed) with n a tenth of that, at least `least`."""
    with open(program, 'rb') as f:
        binary = f.read()
    if b'__asan_init' in binary or b'__tsan_init' in binary:
        print('%s: skipped, the recorder does not go with a sanitizer' % name)
        return 77
    folder = tempfile.mkdtemp(prefix=name + '.', dir=scratch())
    try:
        bad = sum(campaign(tempfile.mkdtemp(dir=folder), min(per, count - i), seed + i)
                  for i in range(0, count, per))
        if BLIND:
            print('%s: blind, the judge %s' % (name, 'says no, as it must' if bad else 'SAYS NOTHING'))
            return 0 if bad else 1
        bad += faults(folder, max(least, count // 10), seed)
    finally:
        if not os.environ.get('CRASH_KEEP'):
            shutil.rmtree(folder)
    return 1 if bad else 0
