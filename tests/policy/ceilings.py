# SPDX-License-Identifier: MIT
"""Programs run on hostile images under ceilings of memory and time."""

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import unittest

QCOW_IMG = os.environ.get('QCOW_IMG', 'qcow-img')

MIB = 1 << 20
MEMORY = 512 * MIB      # of address space, programs and libraries included
SECONDS = 10            # of the processor
FILE_SIZE = 1 << 30     # that a program may write
TIMEOUT = 60            # of the clock: the machine may be busy

# All commands that look at an image; A is the image, B one that is sound, OUT a
# file that is made.
READING = [
    ['info', 'A'], ['info', '--output=json', 'A'],
    ['check', 'A'], ['check', '--output=json', 'A'],
    ['check', '-r', 'all', '--plan', 'A'],
    ['map', 'A'], ['map', '--output=json', 'A'],
    ['convert', '-O', 'qcow2', 'A', 'OUT'],
    ['convert', '-O', 'raw', 'A', 'OUT'],
    ['compare', 'A', 'B'], ['measure', '-O', 'qcow2', 'A'],
    ['inspect', 'A'], ['inspect', '--untrusted', '--output=json', 'A'],
    ['snapshot', '-l', 'A'], ['bitmap', '--list', 'A'],
    ['dehydrate', 'A', 'OUT'],
]

# And those that change it, each on a copy.
WRITING = [
    ['check', '-r', 'leaks', 'A'], ['check', '-r', 'all', 'A'],
    ['snapshot', '-c', 'new', 'A'], ['compact', 'A'],
    ['resize', 'A', '+1M'], ['amend', '-o', 'lazy_refcounts=on', 'A'],
]


def limit():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    # A file that grows too much is an error of a write, not a signal.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


class CeilingTest(unittest.TestCase):
    """Each test has a directory of its own, and counts what it ran."""

    runs = 0
    most_memory = 0     # KiB
    most_seconds = 0.0

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='qcow-ceiling-')
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.run_program([QCOW_IMG, 'create', '-q', '-f', 'qcow2', 'sound',
                          '1M'])

    def path(self, name):
        return os.path.join(self.dir, name)

    def run_program(self, args):
        done = subprocess.run(args, cwd=self.dir, stdin=subprocess.DEVNULL,
                              capture_output=True, check=False,
                              timeout=TIMEOUT)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def limited(self, args, good=None):
        """Ends by itself, under the ceilings; returns the exit status.  Output
        may be long: only its beginning is kept."""
        cls = CeilingTest
        with tempfile.TemporaryFile(dir=self.dir) as err:
            with subprocess.Popen(args, cwd=self.dir, preexec_fn=limit,
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL,
                                  stderr=err) as child:
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
            err.seek(0)
            text = err.read(2000)
        cls.runs += 1
        cls.most_memory = max(cls.most_memory, usage.ru_maxrss)
        cls.most_seconds = max(cls.most_seconds,
                               usage.ru_utime + usage.ru_stime)
        where = '%s: %d %r' % (' '.join(args), child.returncode, text)
        self.assertGreaterEqual(child.returncode, 0, where)
        self.assertLess(child.returncode, 126, where)
        self.assertTrue(child.returncode in (0, 2, 3, 4) or text or
                        args[1] == 'compare', where)
        if good is not None:
            self.assertIn(child.returncode, good, where)
        return child.returncode

    def command(self, words, image, flags=()):
        out = self.path('out')
        if os.path.exists(out):
            os.unlink(out)
        names = {'A': image, 'B': 'sound', 'OUT': 'out'}
        return self.limited([QCOW_IMG, *flags,
                             *(names.get(w, w) for w in words)])


def print_figures(name):
    print('figure: %s-commands %d runs' % (name, CeilingTest.runs))
    print('figure: %s-memory %d KiB at most' % (name,
                                                CeilingTest.most_memory))
    print('figure: %s-time %.2f s at most' % (name,
                                              CeilingTest.most_seconds))


def main(name):
    program = unittest.main(verbosity=1, exit=False)
    print_figures(name)
    raise SystemExit(0 if program.result.wasSuccessful() else 1)
