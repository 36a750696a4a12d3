# SPDX-License-Identifier: MIT
"""Images on block devices, whose size is what it is: made, filled and read by our
programs and QEMU's."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from cli_common import KIB, MIB, QCOW_IMG, QEMU_IMG, main, noise

SIZE = 32 * MIB


def losetup(*words):
    program = shutil.which('losetup', path=os.environ['PATH'] + ':/sbin:'
                           '/usr/sbin')
    return subprocess.run([program or 'losetup', *words], text=True,
                          capture_output=True, check=False)


class BlockDevices(unittest.TestCase):

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='qcow-cli-')
        self.addCleanup(shutil.rmtree, self.dir)
        path = os.path.join(self.dir, 'device')
        with open(path, 'wb') as file:
            file.truncate(SIZE)
        done = losetup('--find', '--show', path)
        if done.returncode != 0:
            raise unittest.SkipTest('no loop device')
        self.device = done.stdout.strip()
        self.addCleanup(losetup, '--detach', self.device)
        self.source = os.path.join(self.dir, 'source')
        with open(self.source, 'wb') as file:
            file.truncate(6 * MIB)
            file.seek(MIB + 512)
            file.write(noise(1, 300 * KIB))

    def outcome(self, *words):
        """The same exit code from both, ours last; returns it."""
        codes = {subprocess.run([program, *words], cwd=self.dir, check=False,
                                capture_output=True).returncode
                 for program in (QEMU_IMG, QCOW_IMG)}
        self.assertEqual(len(codes), 1, words)
        return codes.pop()

    def test_a_raw_image_has_to_fit(self):
        self.assertEqual(self.outcome('create', '-q', '-f', 'raw',
                                      self.device, str(SIZE)), 0)
        self.assertEqual(self.outcome('create', '-q', '-f', 'raw',
                                      self.device, '1M'), 0)
        self.assertNotEqual(self.outcome('create', '-q', '-f', 'raw',
                                         self.device, str(SIZE + 512)), 0)

    def test_an_image_takes_what_it_needs(self):
        # What was there before must not show.
        with open(self.device, 'r+b') as device:
            device.write(noise(2, 12 * MIB))
        self.assertEqual(self.outcome('create', '-q', '-f', 'qcow2',
                                      self.device, '1G'), 0)
        self.assertEqual(self.outcome('check', '-f', 'qcow2', self.device), 0)
        self.assertEqual(self.outcome('convert', '-f', 'raw', '-O', 'qcow2',
                                      self.source, self.device), 0)
        self.assertEqual(self.outcome('compare', '-f', 'raw', '-F', 'qcow2',
                                      self.source, self.device), 0)
        self.assertEqual(self.outcome('check', '-f', 'qcow2', self.device), 0)

    def test_a_raw_copy_leaves_the_rest(self):
        with open(self.device, 'r+b') as device:
            device.write(noise(3, 8 * MIB))
        self.assertEqual(self.outcome('convert', '-n', '-f', 'raw', '-O',
                                      'raw', self.source, self.device), 0)
        with open(self.device, 'rb') as device, \
                open(self.source, 'rb') as source:
            self.assertEqual(device.read(6 * MIB), source.read())
            self.assertEqual(device.read(2 * MIB), noise(3, 8 * MIB)[6 * MIB:])


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('SKIP: only root can make a block device', file=sys.stderr)
        sys.exit(77)
    main()
