# SPDX-License-Identifier: MIT
"""A writer is killed at random moments.  Afterwards the image opens, a check finds
no corruption, and everything written before a flush that returned is there."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

QCOW_IMG = os.environ.get('QCOW_IMG', 'qcow-img')
QEMU_IMG = shutil.which(os.environ.get('QEMU_IMG', 'qemu-img'))
KILL_WRITER = os.environ.get('KILL_WRITER', 'kill_writer')

ROUNDS = 100 if os.environ.get('QCF_LONG') == '1' else 10
SEED = int(os.environ.get('QCF_SEED', random.SystemRandom().getrandbits(32)))

SECRET = ['--object', 'secret,id=s,data=hunter2']
LEAKS_ONLY = 3

FORMATS = {
    'version_2': ['-o', 'compat=0.10'],
    'version_3': ['-o', 'compat=1.1'],
    'small_clusters': ['-o', 'cluster_size=512'],
    'lazy_refcounts': ['-o', 'lazy_refcounts=on'],
    'subclusters': ['-o', 'extended_l2=on'],
    'encrypted': [*SECRET, '-o', 'encrypt.format=luks,'
                  'encrypt.key-secret=s,encrypt.iter-time=10'],
    'bitmaps': [],
}


class KilledWriter(unittest.TestCase):

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='qcow-kill-')
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def run_program(self, *args, good=(0,)):
        done = subprocess.run(args, cwd=self.dir, capture_output=True,
                              text=True, check=False, timeout=120)
        self.assertIn(done.returncode, good, done)
        return done.stdout

    def write_and_kill(self, seed, first, delay):
        """Returns the last number that was acknowledged, or first - 1."""
        with subprocess.Popen(
                [KILL_WRITER, 'write', 'a', str(seed), str(first)],
                cwd=self.dir, bufsize=0, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE) as writer:
            said = b''
            if delay is not None:
                # It has begun; then any moment is as good.
                said = writer.stdout.read(4096)
                time.sleep(delay)
            else:
                time.sleep(random.random() * 0.02)
            said += self.kill(writer)
        # A line that was cut short was not said.
        lines = said[:said.rfind(b'\n') + 1].split()
        return int(lines[-1]) if lines else first - 1

    def kill(self, writer):
        writer.send_signal(signal.SIGKILL)
        said, err = writer.communicate(timeout=60)
        self.assertEqual((writer.returncode, err), (-signal.SIGKILL, b''))
        return said

    def check(self, name):
        secret = SECRET if name == 'encrypted' else []
        target = ['a']
        if secret:
            target = ['--image-opts',
                      'driver=qcow2,file.filename=a,encrypt.key-secret=s']
        said = json.loads(self.run_program(
            QCOW_IMG, 'check', '--output=json', *secret, *target,
            good=(0, LEAKS_ONLY)))
        self.assertEqual(said.get('corruptions', 0), 0, said)
        self.assertEqual(said['check-errors'], 0, said)
        if QEMU_IMG is not None:
            self.run_program(QEMU_IMG, 'check', *secret, *target,
                             good=(0, LEAKS_ONLY))

    def settle(self, name):
        """Counts may be behind while the dirty bit says so: opening for writing
        sees to that."""
        if name == 'lazy_refcounts':
            self.run_program(QCOW_IMG, 'snapshot', '-c', 's', 'a')
            self.run_program(QCOW_IMG, 'snapshot', '-d', 's', 'a')

    def judge_bitmap(self, has_written):
        """It was in use when the writer was killed, so nobody may trust it."""
        (bitmap,) = json.loads(self.run_program(
            QCOW_IMG, 'bitmap', '--list', '--output=json', 'a'))
        if has_written:
            self.assertTrue(bitmap['in-use'], bitmap)

    def kill_again_and_again(self, name):
        chance = random.Random('%d %s' % (SEED, name))
        self.run_program(QCOW_IMG, 'create', '-q', '-f', 'qcow2',
                         *FORMATS[name], 'a', '16M')
        if name == 'bitmaps':
            self.run_program(QCOW_IMG, 'bitmap', '--add', 'a', 'b')
        first = 1
        acknowledged = 0
        for _ in range(ROUNDS):
            delay = None
            if chance.random() > 0.2:
                delay = chance.random() ** 2 * 0.1
            last = self.write_and_kill(SEED, first, delay)
            acknowledged += last >= first
            if name == 'lazy_refcounts':
                # First what reading alone shows, then with the counts mended.
                shutil.copy(os.path.join(self.dir, 'a'),
                            os.path.join(self.dir, 'killed'))
                self.run_program(KILL_WRITER, 'verify', 'killed', str(SEED),
                                 str(first), str(last), 'trial')
            self.settle(name)
            self.check(name)
            following = int(self.run_program(
                KILL_WRITER, 'verify', 'a', str(SEED), str(first), str(last),
                'state'))
            shutil.copy(os.path.join(self.dir, 'state'),
                        os.path.join(self.dir, 'trial'))
            if name == 'bitmaps':
                self.judge_bitmap(last >= first)
            first = following
        self.assertGreater(acknowledged, 0)

    def test_judge_notices_lost_writes(self):
        """The same with a file that is set back behind the writer's back."""
        self.run_program(QCOW_IMG, 'create', '-q', '-f', 'qcow2', 'a', '16M')
        shutil.copy(os.path.join(self.dir, 'a'),
                    os.path.join(self.dir, 'old'))
        last = self.write_and_kill(SEED, 1, 0.02)
        self.assertGreater(last, 0)
        self.run_program(KILL_WRITER, 'verify', 'old', str(SEED), '1',
                         str(last), 'state', good=(1,))
        self.run_program(KILL_WRITER, 'verify', 'a', str(SEED), '1',
                         str(last), 'state')


def add_test(name):
    setattr(KilledWriter, 'test_' + name,
            lambda self: self.kill_again_and_again(name))


if __name__ == '__main__':
    print('seed %d (QCF_SEED)' % SEED, file=sys.stderr)
    for each in FORMATS:
        add_test(each)
    unittest.main(verbosity=1)
