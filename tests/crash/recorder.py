#!/usr/bin/env python3
"""The recorder itself: a program killed within any call leaves a recording that knows of all
that it has done.

A small program changes a folder under record.so, which leaves time between each call and its
record; it is killed as soon as the call's work can be seen, in the way of the crash tests.
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import replay  # noqa: E402

SHIM = os.path.abspath(os.environ.get('RECORD', 'tests/crash/record.so'))
LATE_MS = 300
BEFORE = {'dir': None, 'old': b'before'}
CALLS = (
    "os.open(root + '/new', os.O_CREAT | os.O_WRONLY)",
    "os.open(root + '/old', os.O_TRUNC | os.O_WRONLY)",
    "os.mkdir(root + '/made')",
    "os.rmdir(root + '/dir')",
    "os.unlink(root + '/old')",
    "os.rename(root + '/old', root + '/dir/old')",
    "os.link(root + '/old', root + '/dir/old')",
    "os.pwrite(os.open(root + '/old', os.O_RDWR), b'after', 0)",
    "os.write(os.open(root + '/old', os.O_RDWR), b'after')",
    "os.writev(os.open(root + '/old', os.O_RDWR), [b'af', b'ter'])",
    "os.ftruncate(os.open(root + '/old', os.O_RDWR), 3)",
)


def tree(root):
    """{path: content, or None of a folder}"""
    out = {}
    for at, dirs, files in os.walk(root):
        out.update((os.path.relpath(os.path.join(at, name), root), None) for name in dirs)
        for name in files:
            with open(os.path.join(at, name), 'rb') as f:
                out[os.path.relpath(f.name, root)] = f.read()
    return out


def changed(root):
    try:
        return tree(root) != BEFORE
    except FileNotFoundError:   # it changes while it is read
        return True


def run_and_kill(call, root, log):
    """False: the call's work was not seen."""
    env = dict(os.environ, LD_PRELOAD=SHIM, CRASH_ROOT=root, CRASH_LOG=log, CRASH_LATE=str(LATE_MS))
    program = subprocess.Popen([sys.executable, '-c', 'import os\nroot = %r\n%s\nos.read(0, 1)' % (root, call)],
                               env=env, stdin=subprocess.PIPE)
    end = time.time() + 60
    while not (seen := changed(root)) and time.time() < end:
        time.sleep(0.005)
    with replay.between_calls(log):
        program.kill()
        program.wait()
    program.stdin.close()
    return seen


def complaint(call, folder):
    root, log = os.path.join(folder, 'root'), os.path.join(folder, 'recording')
    os.makedirs(root + '/dir')
    for path, content in ((root + '/old', BEFORE['old']), (log, b'')):
        with open(path, 'wb') as f:
            f.write(content)
    disk = replay.Disk(root)
    disk.load(root)
    if not run_and_kill(call, root, log):
        return 'was not done'
    for rec in replay.read_log(log):
        disk.step(rec)
    recorded = {path: data if data is None else bytes(data)
                for path, data, _ in disk.crash('keep', random.Random(0))}
    return None if recorded == tree(root) else '%s is there, %s was recorded' % (tree(root), recorded)


def main():
    with open(SHIM, 'rb') as f:
        if b'__asan_init' in f.read():
            print('recorder: skipped, it does not go with a sanitizer')
            return 77
    failed = 0
    for call in CALLS:
        folder = tempfile.mkdtemp(prefix='recorder.')
        try:
            bad = complaint(call, folder)
        finally:
            shutil.rmtree(folder)
        if bad:
            failed += 1
            print('%s: %s' % (call, bad))
    print('recorder: killed in %d calls, %d failed' % (len(CALLS), failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
