# SPDX-License-Identifier: MIT
"""What the tests of the reference policy share: a directory with hostile
neighbours, and programs run under the eyes of path_trace."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

EXIT_SKIP = 77

QCOW_IMG = os.environ.get('QCOW_IMG', 'qcow-img')
QCOW_IO = os.environ.get('QCOW_IO', 'qcow-io')
PATH_TRACE = os.environ.get('PATH_TRACE', 'path_trace')
POLICY_OPEN = os.environ.get('POLICY_OPEN', 'policy_open')

# What the C library looks at for itself.
SYSTEM = re.compile(r'/etc/localtime|/usr/share/zoneinfo/.*|/dev/urandom'
                    r'|/sys/devices/system/cpu(/.*)?'
                    r'|/proc/sys/crypto/fips_enabled|/etc/gcrypt/.*'
                    r'|/proc/sys/vm/overcommit_memory')

TIMEOUT = 30


class Touch:
    """One line of path_trace."""

    def __init__(self, line):
        self.call, self.kind, result, path, real = \
            line.rstrip('\n').split('\t')
        self.result = int(result)
        self.path = plain(path)
        self.real = plain(real)

    def __repr__(self):
        return '%s(%s) = %d, %s %s' % (self.call, self.path, self.result,
                                       self.kind, self.real)


def plain(text):
    raw = re.sub(rb'%([0-9A-F]{2})',
                 lambda m: bytes([int(m.group(1), 16)]), text.encode())
    path = os.path.normpath(os.fsdecode(raw)) if raw else ''
    return path


class Traced:
    """How a program ended, what it printed and what it reached for."""

    def __init__(self, status, out, err, touches):
        self.status = status
        self.out = out
        self.err = err
        self.touches = touches

    def __repr__(self):
        return 'status %d\n--- out\n%r\n--- err\n%r\n--- touched\n%s' % (
            self.status, self.out, self.err,
            '\n'.join(map(repr, self.touches)))


def run_traced(program, args, cwd):
    """Only the library path that was built in is searched: it takes less."""
    log = os.path.join(cwd, '..', 'log')
    env = {k: v for k, v in os.environ.items()
           if k not in ('LD_LIBRARY_PATH', 'LD_PRELOAD', 'LANG', 'LC_ALL')}
    done = subprocess.run([PATH_TRACE, log, program, *args], cwd=cwd,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=TIMEOUT, check=False,
                          env=dict(env, TMPDIR=cwd))
    if done.returncode == 99 or done.returncode < 0:
        raise RuntimeError('path_trace: %r' % done)
    if done.returncode == EXIT_SKIP:
        print('SKIP: tracing is not possible here', file=sys.stderr)
        sys.exit(EXIT_SKIP)
    with open(log, encoding='ascii') as f:
        touches = [Touch(line) for line in f]
    return Traced(done.returncode, done.stdout, done.stderr, touches)


class PolicyTest(unittest.TestCase):
    """work/ is where programs run; img/ in it holds the image; outside/ is what
    nobody may reach."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.root = os.path.realpath(tempfile.mkdtemp(prefix='qcow-policy-'))
        cls.work = os.path.join(cls.root, 'work')
        cls.outside = os.path.join(cls.root, 'outside')
        cls.img = os.path.join(cls.work, 'img')
        for path in (cls.work, cls.outside, cls.img,
                     os.path.join(cls.img, 'directory')):
            os.mkdir(path)
        cls.write(os.path.join(cls.outside, 'secret'), b'secret' * 1000)
        for name in ('base', 'raw data'):
            cls.write(os.path.join(cls.img, name), b'base' * 2048)
        cls.write(os.path.join(cls.work, 'data'), bytes(1 << 20))
        os.symlink('../../outside/secret', os.path.join(cls.img, 'link'))
        os.symlink('base', os.path.join(cls.img, 'near'))
        os.symlink('round', os.path.join(cls.img, 'round'))
        os.mkfifo(os.path.join(cls.img, 'fifo'))
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(os.path.join(cls.img, 'socket'))
        cls.started = {
            program: {t.path for t in run_traced(program, ['--version'],
                                                 cls.work).touches}
            for program in (QCOW_IMG, QCOW_IO)}
        cls.started[POLICY_OPEN] = {
            t.path for t in run_traced(POLICY_OPEN, ['refuse', '-', 'none'],
                                       cls.work).touches}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root, ignore_errors=True)

    @staticmethod
    def write(path, data):
        with open(path, 'wb') as f:
            f.write(data)

    def image(self, data, name='a'):
        self.write(os.path.join(self.img, name), data)

    def traced(self, program, *args):
        """What a program touched, without what every start of it does."""
        traced = run_traced(program, args, self.work)
        skip = self.started[program]
        traced.touches = [t for t in traced.touches
                          if t.path not in skip and
                          not SYSTEM.fullmatch(t.path)]
        self.assertLess(traced.status, 128, traced)
        for t in traced.touches:
            self.assertNotIn(t.kind, ('unknown', 'run', 'peer'), traced)
        return traced


def main():
    unittest.main(verbosity=1)
