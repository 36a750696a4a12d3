# SPDX-License-Identifier: MIT
"""What "savevm" stored in a snapshot is there for "loadvm" after our program has
changed the image: resized it, taken, applied and deleted snapshots, compacted it.

Needs a QEMU that runs machines; skips without."""

import shutil
import subprocess
import sys

from cli_common import (CliTest, EXIT_SKIP, OURS, THEIRS, main, run_program)

MACHINE = shutil.which('qemu-system-x86_64')


class VmStateStays(CliTest):

    def setUp(self):
        super().setUp()
        # Many L1 entries, so that VM state begins at another one soon.
        self.theirs_do('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                       'cluster_size=4096', 'a', '8M')
        self.theirs_do('qemu-io', '-c', 'write -P 1 0 8M', 'a')
        self.assertEqual(self.monitor('savevm s1'), [])
        self.theirs_do('qemu-io', '-c', 'write -P 2 1M 2M', 'a')

    def theirs_do(self, *args):
        result = run_program(THEIRS, list(args), self.root)
        self.assertEqual(result.status, 0, result)
        return result.out

    def ours_do(self, *args):
        result = run_program(OURS, list(args), self.root)
        self.assertEqual(result.status, 0, result)

    def monitor(self, command):
        """What a machine that never runs has to say against a command."""
        done = subprocess.run(
            [MACHINE, '-accel', 'tcg', '-m', '16', '-nodefaults', '-display',
             'none', '-S', '-monitor', 'stdio', '-drive',
             'file=a,if=none,id=d,format=qcow2', '-device', 'ide-hd,drive=d'],
            input=command + '\nquit\n', cwd=self.root, capture_output=True,
            timeout=120, check=False, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [line for line in done.stdout.split('\n') if 'Error' in line]

    def expect_state(self):
        self.theirs_do('qemu-img', 'check', '-q', 'a')
        self.assertEqual(self.monitor('loadvm s1'), [])
        self.theirs_do('qemu-img', 'check', '-q', 'a')
        out = self.theirs_do('qemu-io', '-r', '-c', 'read -P 1 0 8M', 'a')
        self.assertNotIn('failed', out)

    def test_a_missing_state_is_noticed(self):
        self.assertNotEqual(self.monitor('loadvm s2'), [])

    def test_growing(self):
        self.ours_do('qemu-img', 'resize', '-q', 'a', '13M')
        self.expect_state()

    def test_shrinking(self):
        self.ours_do('qemu-img', 'resize', '-q', '--shrink', 'a', '3M')
        self.expect_state()

    def test_other_snapshots(self):
        self.ours_do('qemu-img', 'snapshot', '-c', 's2', 'a')
        self.ours_do('qemu-img', 'snapshot', '-a', 's1', 'a')
        self.ours_do('qemu-img', 'snapshot', '-c', 's3', 'a')
        self.ours_do('qemu-img', 'snapshot', '-d', 's2', 'a')
        self.expect_state()

    def test_it_never_shows_in_the_disk(self):
        """Going back leaves VM state behind the disk, which then grows."""
        self.ours_do('qemu-img', 'snapshot', '-a', 's1', 'a')
        self.ours_do('qemu-img', 'resize', '-q', 'a', '13M')
        out = self.theirs_do('qemu-io', '-r', '-c', 'read -P 0 8M 5M', 'a')
        self.assertNotIn('failed', out)
        self.expect_state()

    def test_compacting(self):
        self.theirs_do('qemu-io', '-d', 'unmap', '-c', 'discard 0 1M', 'a')
        self.ours_do('qemu-img', 'compact', 'a')
        self.expect_state()


if __name__ == '__main__':
    if MACHINE is None:
        print('SKIP: qemu-system-x86_64 is not installed')
        sys.exit(EXIT_SKIP)
    main()
