#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Promise: whatever fails while a command runs, it ends by itself; its exit status
is that of success only if its output and files are right; otherwise it says why,
has not touched its sources, and what it was to make is complete or not there; an
image that was to be changed is as before or as after, or at least sound; nothing is
left lying about.  What the system interrupts or does in parts is not noticed.

Each command runs on copies of prepared files under fault_shim.so, which makes the
n-th allocation or system call of a kind fail.  Without QCF_LONG a few n are tried for
each kind, spread over all.  QCF_COMMAND names one command to look at alone.
"""

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile

QCOW_IMG = os.environ['QCOW_IMG']
QCOW_IO = os.environ['QCOW_IO']
SHIM = os.environ['QCF_FAULT_SHIM']
LONG = 'QCF_LONG' in os.environ
THIN = max(1, int(os.environ.get('QCF_THIN', '1')))

EXIT_SKIP = 77
KIB = 1024
SECRET = ['--object', 'secret,id=s0,data=hunter2']
LUKS = 'encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=10'

# Of each kind: site, errno, manner; whether it must go unnoticed; points to try.
FAULTS = [
    ('memory', errno.ENOMEM, 'once', False, 5),
    ('memory', errno.ENOMEM, 'on', False, 3),
    ('preadv', errno.EIO, 'once', False, 3),
    ('preadv', errno.EIO, 'on', False, 1),
    ('preadv', errno.EINTR, 'once', True, 1),
    ('preadv', 0, 'part', True, 2),
    ('pwritev', errno.EIO, 'once', False, 3),
    ('pwritev', errno.ENOSPC, 'on', False, 2),
    ('pwritev', errno.EINTR, 'once', True, 1),
    ('pwritev', 0, 'part', True, 2),
    ('pread', errno.EIO, 'once', False, 1),
    ('pwrite', errno.ENOSPC, 'once', False, 1),
    ('read', errno.EIO, 'once', False, 1),
    ('read', errno.EINTR, 'once', True, 1),
    ('read', 0, 'part', True, 1),
    ('write', errno.ENOSPC, 'once', False, 1),
    ('write', errno.EINTR, 'once', True, 1),
    ('write', 0, 'part', True, 1),
    ('fdatasync', errno.EIO, 'once', False, 2),
    ('fdatasync', errno.EIO, 'on', False, 1),
    ('fdatasync', errno.EINTR, 'once', True, 1),
    ('fsync', errno.EIO, 'once', False, 1),
    ('fsync', errno.EINTR, 'once', True, 1),
    ('ftruncate', errno.ENOSPC, 'once', False, 1),
    ('ftruncate', errno.EINTR, 'once', True, 1),
    ('fallocate', errno.ENOSPC, 'once', False, 1),
    ('fallocate', errno.EINTR, 'once', True, 1),
    ('fallocate', errno.EOPNOTSUPP, 'on', True, 1),
    ('lseek', errno.EIO, 'once', False, 1),
    ('fstat', errno.EIO, 'once', False, 1),
    ('open', errno.EMFILE, 'once', False, 2),
    ('open', errno.EINTR, 'once', True, 1),
    ('fcntl', errno.EIO, 'once', False, 1),
    ('copy', errno.EXDEV, 'on', True, 1),
    ('copy', errno.EIO, 'once', False, 1),
    ('thread', errno.EAGAIN, 'on', True, 1),
    ('mmap', errno.ENOMEM, 'once', False, 1),
]


class Command:
    """args begin with img or io; files are copied from the prepared ones.  Those in
    changes may change, those in makes are made."""

    def __init__(self, name, args, files, changes=(), makes=(), rewrites=True,
                 random=False, feed=None):
        self.name = name
        self.args = args
        self.files = files
        self.changes = changes
        self.makes = makes
        # Whether a failure may leave another state than before or after.
        self.rewrites = rewrites
        # What is made differs from run to run.
        self.random = random
        # What comes out of the pipe that is its input, if any.
        self.feed = feed


def img(*args):
    return [QCOW_IMG] + list(args)


def io(*args):
    commands = []
    for text in args[1:]:
        commands += ['-c', text]
    return [QCOW_IO, '-f', 'qcow2'] + commands + [args[0]]


TOP = ('top', 'base')
FLAT = b'flat' * 20000 + bytes(176 * KIB + 224)

COMMANDS = [
    Command('create', img('create', '-f', 'qcow2', 'new', '1M'), (),
            makes=['new']),
    Command('create overlay', img('create', '-f', 'qcow2', '-b', 'base',
                                  '-F', 'qcow2', 'new'), ('base',),
            makes=['new']),
    Command('create preallocated',
            img('create', '-f', 'qcow2', '-o',
                'preallocation=falloc,cluster_size=4k', 'new', '256k'), (),
            makes=['new']),
    Command('create with data file',
            img('create', '-f', 'qcow2', '-o',
                'data_file=new-data,data_file_raw=on', 'new', '256k'), (),
            makes=['new', 'new-data']),
    Command('create version 1', img('create', '-f', 'qcow', 'new', '256k'),
            (), makes=['new']),
    Command('create raw', img('create', '-f', 'raw', 'new', '256k'), (),
            makes=['new']),
    Command('create encrypted', img('create', '-f', 'qcow2', *SECRET, '-o',
                                    LUKS, 'new', '256k'), (),
            makes=['new'], random=True),
    Command('info', img('info', '--output=json', 'top'), TOP),
    Command('info of a chain', img('info', '--backing-chain', 'top'), TOP),
    Command('info of snapshots', img('info', 'snaps'), ('snaps',)),
    Command('check', img('check', '-f', 'qcow2', 'snaps'), ('snaps',)),
    Command('repair', img('check', '-f', 'qcow2', '-r', 'all', 'leaky'),
            ('leaky',), changes=['leaky']),
    Command('map', img('map', '--output=json', 'top'), TOP),
    Command('list snapshots', img('snapshot', '-l', 'snaps'), ('snaps',)),
    Command('apply snapshot', img('snapshot', '-a', 'one', 'snaps'),
            ('snaps',), changes=['snaps']),
    Command('delete snapshot', img('snapshot', '-d', 'one', 'snaps'),
            ('snaps',), changes=['snaps']),
    Command('take snapshot', img('snapshot', '-c', 'two', 'snaps'),
            ('snaps',), changes=['snaps'], random=True),
    Command('add bitmap', img('bitmap', '--add', 'top', 'b2'), TOP,
            changes=['top']),
    Command('remove bitmap', img('bitmap', '--remove', 'top', 'b'), TOP,
            changes=['top']),
    Command('amend', img('amend', '-o', 'lazy_refcounts=on', 'top'), TOP,
            changes=['top']),
    Command('amend version', img('amend', '-f', 'qcow2', '-o', 'compat=0.10',
                                 'leaky'), ('leaky',), changes=['leaky']),
    Command('commit', img('commit', 'top'), TOP, changes=['top', 'base']),
    Command('commit and drop', img('commit', '-d', 'top'), TOP,
            changes=['base']),
    Command('rebase', img('rebase', '-b', 'other', '-F', 'qcow2', 'top'),
            TOP + ('other',), changes=['top']),
    Command('rebase to none', img('rebase', '-b', '', 'top'), TOP,
            changes=['top']),
    Command('rename base', img('rebase', '-u', '-b', './base', '-F', 'qcow2',
                               'top'), TOP, changes=['top']),
    Command('grow', img('resize', 'top', '+64k'), TOP, changes=['top']),
    Command('shrink', img('resize', '--shrink', 'leaky', '128k'), ('leaky',),
            changes=['leaky']),
    Command('convert', img('convert', '-O', 'qcow2', 'top', 'new'), TOP,
            makes=['new']),
    Command('convert compressed', img('convert', '-c', '-O', 'qcow2', 'top',
                                      'new'), TOP, makes=['new']),
    Command('convert to raw', img('convert', '-O', 'raw', 'top', 'new'), TOP,
            makes=['new']),
    Command('convert from raw', img('convert', '-f', 'raw', '-O', 'qcow2',
                                    'flat', 'new'), ('flat',), makes=['new']),
    Command('convert out of order', img('convert', '-m', '4', '-W', '-O',
                                        'qcow2', 'top', 'new'), TOP,
            makes=['new'], random=True),
    Command('convert with bitmaps',
            img('convert', '--bitmaps', '-O', 'qcow2', 'top', 'new'), TOP,
            makes=['new']),
    Command('convert a snapshot', img('convert', '-l', 'one', '-O', 'qcow2',
                                      'snaps', 'new'), ('snaps',),
            makes=['new']),
    Command('convert by copying', img('convert', '-C', '-f', 'raw', '-O',
                                      'raw', 'flat', 'new'), ('flat',),
            makes=['new'], random=True),
    Command('convert encrypted',
            img('convert', *SECRET, '--image-opts', '-O', 'qcow2',
                'driver=qcow2,file.filename=luks,encrypt.key-secret=s0',
                'new'), ('luks',), makes=['new']),
    Command('convert version 1', img('convert', '-O', 'qcow', 'top', 'new'),
            TOP, makes=['new']),
    Command('compare', img('compare', 'top', 'other'), TOP + ('other',)),
    Command('measure', img('measure', '-O', 'qcow2', 'top'), TOP),
    Command('compact', img('compact', 'leaky'), ('leaky',),
            changes=['leaky']),
    Command('dehydrate', img('dehydrate', 'top', 'new'), TOP,
            makes=['new']),
    Command('inspect', img('inspect', 'top'), TOP),
    Command('dd', img('dd', '-O', 'qcow2', 'bs=4096', 'skip=1', 'if=top',
                      'of=new'), TOP, makes=['new']),
    Command('dd to raw', img('dd', '-f', 'qcow2', '-O', 'raw', 'bs=3000',
                             'count=50', 'if=top', 'of=new'), TOP,
            makes=['new']),
    Command('dd to a pipe', img('dd', '-f', 'qcow2', '-O', 'raw', 'bs=4096',
                                'if=top', 'of=-'), TOP),
    Command('dd from a pipe', img('dd', '-f', 'raw', '-O', 'qcow2',
                                  'bs=4096', 'if=-', 'of=new'), (),
            makes=['new'], feed=FLAT),
    Command('convert to a pipe', img('convert', '-O', 'qcow2', 'top', '-'),
            TOP),
    Command('convert compressed to a pipe',
            img('convert', '-c', '-O', 'qcow2', 'top', '-'), TOP),
    Command('convert raw to a pipe', img('convert', '-O', 'raw', 'top', '-'),
            TOP),
    Command('convert from a pipe', img('convert', '-f', 'raw', '-O', 'qcow2',
                                       '-', 'new'), (), makes=['new'],
            feed=FLAT),
    Command('convert from a pipe to raw',
            img('convert', '-f', 'raw', '-O', 'raw', '-', 'new'), (),
            makes=['new'], feed=FLAT),
    Command('convert from pipe to pipe',
            img('convert', '-f', 'raw', '-O', 'qcow2', '-', '-'), (),
            feed=FLAT),
    Command('bench reads', img('bench', '-f', 'qcow2', '-c', '12', '-d', '3',
                               '-s', '5000', 'top'), TOP, random=True),
    Command('bench writes', img('bench', '-f', 'qcow2', '-w', '-c', '12',
                                '-d', '3', '-s', '5000', '--pattern=9',
                                '--flush-interval=4', 'top'), TOP,
            changes=['top'], random=True),
    Command('add key', img('amend', *SECRET, '--object',
                           'secret,id=s1,data=two', '--image-opts', '-o',
                           'encrypt.state=active,encrypt.new-secret=s1,'
                           'encrypt.iter-time=10',
                           'driver=qcow2,file.filename=luks,'
                           'encrypt.key-secret=s0'), ('luks',),
            changes=['luks'], random=True),
    Command('io write', io('top', 'write -P 7 3k 70k', 'flush'), TOP,
            changes=['top']),
    Command('io read', io('top', 'read -v 3k 2k', 'read -P 7 0 1k'), TOP),
    Command('io zero and discard', io('top', 'write -z 5k 50k',
                                      'discard 64k 64k', 'flush'), TOP,
            changes=['top']),
    Command('io compressed', io('top', 'write -c -P 9 64k 64k'), TOP,
            changes=['top']),
    Command('io asynchronous', io('top', 'aio_write -P 3 0 8k',
                                  'aio_write -P 4 64k 8k', 'aio_flush',
                                  'aio_read 0 8k', 'aio_flush'), TOP,
            changes=['top']),
    Command('io truncate', io('leaky', 'truncate 512k', 'length'),
            ('leaky',), changes=['leaky']),
    Command('io map', io('top', 'map', 'alloc 0 64k', 'info'), TOP),
]


# --- preparing

def must(args, cwd):
    done = subprocess.run(args, cwd=cwd, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit('preparing: %s: %s' % (args, done.stderr.decode()))


def prepare(path):
    """The files that commands work on."""
    small = 'cluster_size=4k'
    for name in ('base', 'other'):
        must(img('create', '-q', '-f', 'qcow2', '-o', small, name, '256k'),
             path)
        must(io(name, 'write -P %d 0 100k' % len(name)), path)
    must(img('create', '-q', '-f', 'qcow2', '-o', small, '-b', 'base', '-F',
             'qcow2', 'top', '256k'), path)
    must(img('bitmap', '--add', 'top', 'b'), path)
    must(io('top', 'write -P 7 20k 30k', 'write -c -P 8 128k 4k',
            'write -z 60k 10k'), path)
    must(img('create', '-q', '-f', 'qcow2', '-o', small, 'snaps', '256k'),
         path)
    must(io('snaps', 'write -P 1 0 90k'), path)
    must(img('snapshot', '-c', 'one', 'snaps'), path)
    must(io('snaps', 'write -P 2 30k 30k'), path)
    must(img('create', '-q', '-f', 'qcow2', '-o', small, 'leaky', '256k'),
         path)
    must(io('leaky', 'write -P 5 0 120k', 'write -z 20k 8k'), path)
    leak(os.path.join(path, 'leaky'))
    must(img('create', '-q', '-f', 'qcow2', *SECRET, '-o', LUKS, 'luks',
             '256k'), path)
    with open(os.path.join(path, 'flat'), 'wb') as f:
        f.write(FLAT)


def leak(path):
    """Count three clusters behind the end: the refcount block is at the place that
    the first entry of the refcount table says."""
    with open(path, 'r+b') as f:
        header = f.read(104)
        f.seek(int.from_bytes(header[48:56], 'big'))
        block = int.from_bytes(f.read(8), 'big')
        clusters = os.path.getsize(path) // 4096
        f.seek(block + 2 * clusters)
        f.write(b'\0\1' * 3)
        f.truncate((clusters + 3) * 4096)


# --- running

class Outcome:
    """How a run ended, and what it left."""

    def __init__(self, status, out, err, report, files):
        self.status = status
        self.out = out
        self.err = err
        self.failed = report.count('x')
        self.visits = dict(
            (name, int(count)) for name, count in
            (word.split('=') for word in report.replace('x', '').split()))
        self.files = files


def read_files(path):
    found = {}
    for name in os.listdir(path):
        with open(os.path.join(path, name), 'rb') as f:
            found[name] = f.read()
    return found


class Bench:
    """A directory to run in, and the prepared files."""

    def __init__(self, root):
        self.root = root
        self.made = os.path.join(root, 'made')
        os.mkdir(self.made)
        prepare(self.made)
        self.content = read_files(self.made)
        self.work = os.path.join(root, 'work')

    def fresh(self, command):
        shutil.rmtree(self.work, ignore_errors=True)
        os.mkdir(self.work)
        for name in command.files:
            self.put(name, self.content[name])

    def put(self, name, content):
        with open(os.path.join(self.work, name), 'wb') as f:
            f.write(content)

    def run(self, command, fault):
        self.fresh(command)
        # A pipe would fill: each allocation that fails is reported.
        report = os.memfd_create('report')
        env = dict(os.environ, LD_PRELOAD=SHIM, QCF_FAULT=fault,
                   QCF_FAULT_FD=str(report), TMPDIR=self.work)
        child = subprocess.Popen(command.args, cwd=self.work, env=env,
                                 stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, pass_fds=[report])
        try:
            out, err = child.communicate(command.feed or b'', timeout=60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            sys.exit('FAILED: %s, %s: does not end' % (command.name, fault))
        with open(report, 'rb') as f:
            f.seek(0)
            told = f.read().decode()
        # After a signal nothing tells how often sites were visited.
        return Outcome(child.returncode, out, err.decode(errors='replace'),
                       told, read_files(self.work))

    def ask(self, *args):
        """Whether one of our programs is content with the files."""
        return subprocess.run(args, cwd=self.work, capture_output=True,
                              check=False).returncode


# --- the verdict

def without_rates(text):
    """Output of qcow-io without times."""
    return re.sub(rb'\d+ ops; .*', b'', text)


def is_same_disk(bench, command, name, content):
    """Whether the image shows the disk that another content of it shows."""
    bench.put('expected', content)
    args = ['compare', name, 'expected']
    if name == 'luks':
        opts = 'driver=qcow2,encrypt.key-secret=s0,file.filename='
        args = ['compare', *SECRET, '--image-opts', opts + name,
                opts + 'expected']
    status = bench.ask(QCOW_IMG, *args)
    os.unlink(os.path.join(bench.work, 'expected'))
    return status == 0


def is_image(content):
    return content[:4] == b'QFI\xfb'


def expect_sound(bench, command, name, outcome, right):
    """An image that was to be changed, neither as before nor as after."""
    content = outcome.files.get(name)
    assert content is not None, '%s is gone' % name
    if is_image(content) and content[7] > 1:
        what = ['-f', 'qcow2', name]
        if name == 'luks':
            what = [*SECRET, '--image-opts', 'driver=qcow2,'
                    'encrypt.key-secret=s0,file.filename=luks']
        status = bench.ask(QCOW_IMG, 'check', '-r', 'all', *what)
        assert status == 0, '%s cannot be repaired: %d' % (name, status)
    # These make one request after the other.
    if command.args[0] == QCOW_IO or command.args[1] == 'bench' or \
            name == 'base':
        return
    assert is_same_disk(bench, command, name, bench.content[name]) or \
        is_same_disk(bench, command, name, right.files[name]), \
        '%s is another disk' % name


def expect_files(bench, command, outcome, right):
    for name in command.files:
        if name not in command.changes:
            assert outcome.files.get(name) == bench.content[name], \
                '%s has changed' % name
    known = set(command.files) | set(command.makes)
    extra = set(outcome.files) - known
    assert not extra, 'files are left: %s' % extra


def expect_failure(bench, command, outcome, right):
    assert outcome.err.strip() or b'rror' in outcome.out or \
        b'failed' in outcome.out, 'fails without a word'
    for name in command.makes:
        content = outcome.files.get(name)
        assert content is None or content == right.files[name] or \
            (command.random and is_same_disk(bench, command, name,
                                             right.files[name])), \
            '%s is left, and not complete' % name
    for name in command.changes:
        content = outcome.files.get(name)
        if content not in (bench.content[name], right.files[name]):
            expect_sound(bench, command, name, outcome, right)


def expect_success(bench, command, outcome, right):
    # What cannot be read is left out, and that is said.
    told = 'info' in command.args and 'warning: ' in outcome.err and \
        'no error' not in outcome.err
    told = told or (command.name == 'inspect' and (
        b'ERROR' in outcome.out or b'cannot be opened: ' in outcome.out))
    # Counts that cannot be read are made anew.
    told = told or (command.name == 'repair' and b'corruptions' in outcome.out)
    if not command.random and not told:
        assert without_rates(outcome.out) == without_rates(right.out), \
            'other output: %r' % outcome.out
    for name in list(command.makes) + list(command.changes):
        content = outcome.files.get(name)
        if content == right.files[name]:
            continue
        assert content is not None, '%s is not there' % name
        if command.name == 'create encrypted' or name == 'luks':
            continue
        if is_image(content) and content[7] > 1:
            assert bench.ask(QCOW_IMG, 'check', '-f', 'qcow2', name) in \
                (0, 3), '%s is not sound' % name
        assert is_same_disk(bench, command, name, right.files[name]), \
            '%s is another disk' % name


def judge(bench, command, outcome, right, invisible):
    assert outcome.status >= 0, 'killed by signal %d' % -outcome.status
    assert not invisible or outcome.status == right.status, \
        'status %d for what should go unnoticed' % outcome.status
    expect_files(bench, command, outcome, right)
    # A status such as 1 may be right, too; asynchronous requests that fail say so
    # and do not end the program, as with QEMU's.
    if outcome.status == right.status and \
            (right.status == 0 or outcome.err == right.err) and \
            not re.search(rb'^(aio_write|aio_read|readv) failed: ', outcome.out,
                          re.M):
        expect_success(bench, command, outcome, right)
    else:
        expect_failure(bench, command, outcome, right)


# --- the points

def points(visits, wanted, seed):
    """Which visits fail: all, or some that are spread over all.  Deriving a key
    allocates thousands of times, always alike."""
    if LONG:
        wanted = 500
    if visits <= wanted:
        return range(1, visits + 1, THIN)
    step = visits / wanted
    return sorted({1 + int(i * step + seed * 7 % step)
                   for i in range(0, wanted, THIN)})


def try_command(bench, number, command, counts):
    right = bench.run(command, 'none:0:0:once')
    failures = 0
    for site, err, manner, invisible, wanted in FAULTS:
        for nth in points(right.visits[site], wanted, number):
            fault = '%s:%d:%d:%s' % (site, nth, err, manner)
            outcome = bench.run(command, fault)
            counts['memory' if site == 'memory' else 'system'] += \
                outcome.failed > 0
            try:
                judge(bench, command, outcome, right, invisible)
            except AssertionError as e:
                failures += 1
                print('FAILED: %s, %s: %s\n    status %d, %s' % (
                    command.name, fault, e, outcome.status,
                    outcome.err.strip()[-300:]))
    return failures


def main():
    if not os.path.exists(SHIM):
        print('SKIPPED: no shim')
        return EXIT_SKIP
    chosen = os.environ.get('QCF_COMMAND')
    counts = {'memory': 0, 'system': 0}
    failures = 0
    root = tempfile.mkdtemp(prefix='qcow-faults-')
    try:
        bench = Bench(root)
        for number, command in enumerate(COMMANDS):
            if chosen in (None, command.name):
                failures += try_command(bench, number, command, counts)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print('figure: command-allocation-faults %d points' % counts['memory'])
    print('figure: command-system-call-faults %d points' % counts['system'])
    print('figure: commands-under-faults %d commands' % len(COMMANDS))
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
