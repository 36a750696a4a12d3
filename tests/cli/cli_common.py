# SPDX-License-Identifier: MIT
"""What the command line tests share: running our program and QEMU's on equal
files, and comparing what they print, how they end and what they leave.

Both run in directories of their own that hold the same files, under the same
program name, so that their outputs can be compared as they are.
"""

import difflib
import filecmp
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

QCOW_IMG = os.environ.get('QCOW_IMG', 'qcow-img')
QCOW_IO = os.environ.get('QCOW_IO', 'qcow-io')
QEMU_IMG = shutil.which(os.environ.get('QEMU_IMG', 'qemu-img'))
QEMU_IO = shutil.which(os.environ.get('QEMU_IO', 'qemu-io'))

OURS = {'qemu-img': QCOW_IMG, 'qemu-io': QCOW_IO}
THEIRS = {'qemu-img': QEMU_IMG, 'qemu-io': QEMU_IO}

# Whether our programs were built with a parser for JSON.
HAS_JSON = os.environ.get('QCOW_HAS_JSON', '1') == '1'

# Whether they can do with few addresses.
ADDRESS_LIMITS = os.environ.get('QCOW_ADDRESS_LIMITS', '1') == '1'

# Whether they were built with zstd, and what they say without.
HAS_ZSTD = os.environ.get('QCOW_HAS_ZSTD', '1') == '1'
NO_ZSTD = re.compile(r'\(zstd\) is not supported by this build|'
                     r'zstd is not built in')

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

EXIT_SKIP = 77


class Result:
    """How one program ended and what it printed."""

    def __init__(self, status, out, err):
        self.status = status
        self.out = out
        self.err = err

    def __repr__(self):
        return 'status %d\n--- err\n%s\n--- out\n%s' % (
            self.status, self.err, self.out)


# QEMU measures how long deriving a key takes, and gives up if the clock has not
# moved, as it may on a busy machine.
NO_TIME = b'Unable to get accurate CPU usage'


def run_program(table, args, cwd, stdin=None):
    """Run args[0], which is a name of QEMU's, as the program of the table."""
    for attempt in range(10):
        time.sleep(attempt / 10)
        done = subprocess.run(args, executable=table[args[0]], cwd=cwd,
                              input=(stdin or '').encode(),
                              capture_output=True, timeout=600,
                              env=dict(os.environ, TMPDIR=cwd), check=False)
        if done.returncode == 0 or NO_TIME not in done.stderr:
            break
    result = Result(done.returncode,
                    done.stdout.decode(errors='surrogateescape'),
                    done.stderr.decode(errors='surrogateescape'))
    if not HAS_ZSTD and NO_ZSTD.search(result.err):
        raise unittest.SkipTest('built without zstd')
    return result


def zeroing_keeps_space(path):
    """Whether zeroing a part of a file leaves it allocated, as on disks."""
    done = subprocess.run(['stat', '-f', '-c', '%T', path],
                          capture_output=True, check=True)
    return done.stdout.strip() != b'tmpfs'


def without_times(text):
    """Results of requests without their times and rates."""
    text = re.sub(r'ops; .*\)', 'ops; TIME', text)
    return re.sub(r',1,\d+:\d\d:\d\d\.\d\d,[\d.]+,[\d.]+', ',1,TIME', text)


SECRETS = ['--object', 'secret,id=s0,data=hunter2',
           '--object', 'secret,id=s1,data=second',
           '--object', 'secret,id=bad,data=wrong']

# The shortest time that a test can ask for.
LUKS = 'encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=10'
AES = 'encrypt.format=aes,encrypt.key-secret=s0'


def image_opts(name, driver='qcow2', secret='s0'):
    return 'driver=%s,file.filename=%s,encrypt.key-secret=%s' % (
        driver, name, secret)


def without_key_facts(text):
    """Information on an image without what is random about its keys."""
    return re.sub(r'((?:master.key.)?iters|uuid)("?: ).*', r'\1\2...', text)


def without_disk_size(text):
    """Files of the same content need not take the same space."""
    return '\n'.join(line for line in text.split('\n')
                     if 'disk size' not in line and 'actual-size' not in line)


def write_file(path, size, pieces=()):
    """A sparse file with (offset, bytes) pieces of data."""
    with open(path, 'wb') as f:
        f.truncate(size)
        for offset, data in pieces:
            f.seek(offset)
            f.write(data)


def noise(seed, length):
    """Bytes that do not compress and hold no run of zeros."""
    return random.Random(seed).randbytes(length).replace(b'\0', b'\1')


def blocks_used(path):
    return os.stat(path).st_blocks * 512


class CliTest(unittest.TestCase):
    """Two directories, ours and theirs; files are made in both."""

    maxDiff = None

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix='qcow-cli-')
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.ours = os.path.join(self.root, 'ours')
        self.theirs = os.path.join(self.root, 'theirs')
        os.mkdir(self.ours)
        os.mkdir(self.theirs)

    # --- preparing

    def qemu(self, *args, stdin=None):
        """Run QEMU's program in both directories; it must succeed."""
        for directory in (self.ours, self.theirs):
            result = run_program(THEIRS, list(args), directory, stdin)
            self.assertEqual(result.status, 0, '%s: %r' % (args, result))

    def file(self, name, size, pieces=()):
        for directory in (self.ours, self.theirs):
            write_file(os.path.join(directory, name), size, pieces)

    def mkdir(self, name):
        for directory in (self.ours, self.theirs):
            os.mkdir(os.path.join(directory, name))

    def patch(self, name, offset, data):
        """Overwrite bytes of a file in both directories."""
        for directory in (self.ours, self.theirs):
            with open(os.path.join(directory, name), 'r+b') as f:
                f.seek(offset)
                f.write(data)

    def share(self, name):
        """Make their copy of a file the bytes of ours."""
        shutil.copy(os.path.join(self.ours, name),
                    os.path.join(self.theirs, name))

    def their_image(self, name, *args):
        """An image that QEMU made, the same for both: of encrypted ones no two
        are alike."""
        result = self.their(*args)
        self.assertEqual(result.status, 0, '%s: %r' % (args, result))
        shutil.copy(os.path.join(self.theirs, name),
                    os.path.join(self.ours, name))

    def our_image(self, name, *args):
        """The same, made by us, which takes less time for encrypted ones."""
        result = self.our(*args)
        self.assertEqual(result.status, 0, '%s: %r' % (args, result))
        self.share(name)

    # --- running

    def our(self, *args, stdin=None):
        return run_program(OURS, list(args), self.ours, stdin)

    def their(self, *args, stdin=None):
        return run_program(THEIRS, list(args), self.theirs, stdin)

    def both(self, *args, stdin=None):
        return self.our(*args, stdin=stdin), self.their(*args, stdin=stdin)

    # --- comparing

    def show(self, args, what, ours, theirs):
        diff = difflib.unified_diff(theirs.splitlines(True),
                                    ours.splitlines(True),
                                    'theirs', 'ours', n=20)
        return '%s differs for: %s\n%s' % (what, ' '.join(args), ''.join(diff))

    def same_status(self, *args, stdin=None):
        """Both end with the same status; returns both results."""
        ours, theirs = self.both(*args, stdin=stdin)
        self.assertEqual(ours.status, theirs.status,
                         '%s\nours: %r\ntheirs: %r' %
                         (' '.join(args), ours, theirs))
        return ours, theirs

    def same_output(self, *args, stdin=None, normalize=lambda text: text):
        """The same status and the same text on standard output."""
        ours, theirs = self.same_status(*args, stdin=stdin)
        ours_out, theirs_out = normalize(ours.out), normalize(theirs.out)
        self.assertEqual(ours_out, theirs_out,
                         self.show(args, 'output', ours_out, theirs_out))
        return ours, theirs

    def same_all(self, *args, stdin=None, normalize=lambda text: text):
        """The same status, standard output and standard error."""
        ours, theirs = self.same_output(*args, stdin=stdin,
                                        normalize=normalize)
        self.assertEqual(ours.err, theirs.err,
                         self.show(args, 'errors', ours.err, theirs.err))
        return ours, theirs

    def same_failure(self, *args, stdin=None):
        """Both fail in the same way, each with a reason of its own."""
        ours, theirs = self.same_output(*args, stdin=stdin)
        self.assertNotEqual(ours.status, 0, ' '.join(args))
        self.assertTrue(ours.err.startswith(args[0] + ': '), ours.err)
        return ours, theirs

    def refused(self, name, *args, stdin=None):
        """We refuse, naming what we refuse."""
        ours = self.our(*args, stdin=stdin)
        self.assertEqual(ours.status, 1, '%s: %r' % (args, ours))
        self.assertIn(name, ours.err)
        self.assertIn('not supported', ours.err)

    def same_bytes(self, name):
        self.assertTrue(
            filecmp.cmp(os.path.join(self.ours, name),
                        os.path.join(self.theirs, name), shallow=False),
            '%s differs between ours and theirs' % name)

    def same_content(self, a, b, a_format=None, b_format=None):
        """Two of our images hold the same disk, in the eyes of QEMU."""
        args = ['qemu-img', 'compare']
        if a_format:
            args += ['-f', a_format]
        if b_format:
            args += ['-F', b_format]
        result = run_program(THEIRS, args + [a, b], self.ours)
        self.assertEqual(result.status, 0, '%s %s: %r' % (a, b, result))

    def is_sound(self, name):
        """QEMU finds nothing wrong with one of our images."""
        result = run_program(THEIRS, ['qemu-img', 'check', '-f', 'qcow2',
                                      name], self.ours)
        self.assertEqual(result.status, 0, '%s: %r' % (name, result))

    def our_path(self, name):
        return os.path.join(self.ours, name)

    def their_path(self, name):
        return os.path.join(self.theirs, name)

    def our_map(self, name, *args):
        """Our map of an image as a list."""
        result = self.our('qemu-img', 'map', '--output=json', *args, name)
        self.assertEqual(result.status, 0, result)
        return json.loads(result.out)


def main():
    """Run the tests of the calling script, or skip without QEMU."""
    if QEMU_IMG is None or QEMU_IO is None:
        print('SKIP: qemu-img or qemu-io is missing', file=sys.stderr)
        sys.exit(EXIT_SKIP)
    unittest.main(verbosity=1)
