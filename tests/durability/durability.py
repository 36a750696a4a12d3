# SPDX-License-Identifier: MIT
"""What the tests share: kinds of images, a writer, and the judges of what it left."""

import collections
import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import sys

QCOW_IMG = os.environ.get('QCOW_IMG', 'qcow-img')
QEMU_IMG = shutil.which(os.environ.get('QEMU_IMG', 'qemu-img'))
WRITER = os.environ.get('DURABILITY_WRITER', 'writer')

LONG = os.environ.get('QCF_LONG') is not None
SEED = int(os.environ.get('QCF_SEED', random.SystemRandom().getrandbits(32)))

SKIP = 77
DISK_SIZE = '16M'
CORRUPT = 2
LEAKS_ONLY = 3

SECRET = ['--object', 'secret,id=s,data=hunter2']

# Creation options; what the writer does besides writing; letters as in writer.c.
Kind = collections.namedtuple('Kind', 'name format options habits threads')


def qcow2(name, options, habits='sb', threads=4):
    return Kind(name, 'qcow2', options, habits, threads)


KINDS = [
    Kind('version_1', 'qcow', [], '-', 4),
    qcow2('version_2', ['-o', 'compat=0.10'], 's'),
    qcow2('version_3', ['-o', 'compat=1.1']),
    qcow2('one_thread', ['-o', 'compat=1.1'], threads=1),
    qcow2('page_cache_bypassed', ['-o', 'compat=1.1'], 'sbd'),
    qcow2('small_clusters', ['-o', 'cluster_size=512']),
    qcow2('lazy_refcounts', ['-o', 'lazy_refcounts=on']),
    qcow2('subclusters', ['-o', 'extended_l2=on']),
    qcow2('encrypted', [*SECRET, '-o', 'encrypt.format=luks,'
                        'encrypt.key-secret=s,encrypt.iter-time=10']),
    qcow2('data_file', ['-o', 'data_file=data'], 'b'),
    qcow2('raw_data_file', ['-o', 'data_file=data,data_file_raw=on'], 'b'),
]


class Broken(Exception):
    """A promise was not kept, or a program failed."""


def run(*args, good=(0,), cwd=None, env=None):
    done = subprocess.run([str(arg) for arg in args], cwd=cwd, text=True,
                          capture_output=True, check=False, timeout=300,
                          env=env)
    if done.returncode not in good:
        raise Broken('%s ended with %d\n%s%s' % (
            ' '.join(map(str, args)), done.returncode, done.stdout,
            done.stderr))
    return done.stdout


def preloaded(library):
    """An environment in which programs are started with it, or none."""
    env = dict(os.environ)
    if library is not None:
        env['LD_PRELOAD'] = library
        # AddressSanitizer wants to be first.
        env['ASAN_OPTIONS'] = 'verify_asan_link_order=0:' + \
            env.get('ASAN_OPTIONS', '')
    return env


class Image:
    """One image in the life of many writers, each of which is killed."""

    def __init__(self, kind, directory, notes):
        """notes is a directory that is not harmed."""
        self.kind = kind
        self.directory = pathlib.Path(directory)
        self.notes = pathlib.Path(notes)
        self.path = self.directory / 'a'
        self.first = 1
        self.acknowledged = 0
        self.seed = SEED

    def create(self):
        run(QCOW_IMG, 'create', '-q', '-f', self.kind.format,
            *self.kind.options, 'a', DISK_SIZE, cwd=self.directory)

    def write(self, preload=None):
        """A writer, to be killed; what it says goes to a file."""
        with open(self.notes / 'said', 'wb') as said:
            return subprocess.Popen(
                [WRITER, 'write', str(self.path), str(self.seed),
                 str(self.kind.threads), str(self.first), self.kind.habits],
                stdout=said, stderr=subprocess.PIPE, cwd=self.directory,
                env=preloaded(preload))

    def said(self):
        return (self.notes / 'said').read_text(encoding='ascii')

    def _target(self):
        if self.kind.name == 'encrypted':
            return [*SECRET, '--image-opts', 'driver=qcow2,file.filename=%s,'
                    'encrypt.key-secret=s' % self.path]
        return ['-f', self.kind.format, str(self.path)]

    def check(self):
        """Nothing but leaks.  In version 2, whose header cannot say that snapshots
        are being changed, flags may be clear that could be set."""
        if self.kind.format != 'qcow2':
            return
        excused = self.kind.name == 'version_2'
        self._check_by(QCOW_IMG, excused)
        if QEMU_IMG is not None:
            self._check_by(QEMU_IMG, excused)

    def _check_by(self, program, excused):
        good = (0, CORRUPT, LEAKS_ONLY) if excused else (0, LEAKS_ONLY)
        # QEMU looks for data files where it is called.
        said = run(program, 'check', *self._target(), good=good,
                   cwd=self.directory)
        errors = [line for line in said.splitlines()
                  if line.startswith('ERROR')]
        if any(not line.startswith('ERROR OFLAG_COPIED') or
               not line.endswith('refcount=1') for line in errors):
            raise Broken('check by %s: %s' % (program, said))

    def repair(self):
        """Then there is nothing to be found."""
        if self.kind.format == 'qcow2':
            run(QCOW_IMG, 'check', '-q', '-r', 'all', *self._target())
            run(QCOW_IMG, 'check', *self._target())

    def _judge(self, state):
        return int(run(WRITER, 'judge', self.path, self.seed,
                       self.kind.threads, self.first, self.notes / 'said',
                       state))

    def judge(self):
        """Everything that was promised is there: as it lies there, and repaired."""
        said = self.said()
        self.acknowledged += said.count('\na ') + said.startswith('a ')
        state = self.notes / 'state'
        trial = self.notes / 'trial'
        if state.exists():
            shutil.copy(state, trial)
        else:
            trial.unlink(missing_ok=True)
        self._judge(trial)
        run(WRITER, 'settle', self.path)
        self.check()
        self.repair()
        self.first = self._judge(state)


def start_moment(writer, image, chance):
    """Wait until the writer has begun, mostly, and then some."""
    import time
    if chance.random() > 0.2:
        while writer.poll() is None and 'a ' not in image.said():
            time.sleep(0.002)
        time.sleep(chance.random() ** 2 * 0.3)
    else:
        time.sleep(chance.random() * 0.03)


def finish(writer, good):
    """Returns what it said on standard error."""
    writer.kill()
    _, said = writer.communicate(timeout=60)
    if writer.returncode not in good:
        raise Broken('the writer ended with %d: %s' %
                     (writer.returncode, said.decode()))
    return said.decode()


@contextlib.contextmanager
def story(what):
    """The name of what fails, and how to repeat it."""
    try:
        yield
    except Broken as broken:
        sys.exit('%s (QCF_SEED=%d): %s' % (what, SEED, broken))


def skip(why):
    print('SKIP: %s' % why)
    sys.exit(SKIP)
