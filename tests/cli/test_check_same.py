# SPDX-License-Identifier: MIT
"""check finds what qemu-img finds, says so in the same words, and ends with
the same exit code; a repair leaves an image that qemu-img calls clean."""

import json
import struct

from cli_common import CliTest, MIB, main

CLUSTER = 65536
REFCOUNT_BLOCK = 2 * CLUSTER
EXIT_CORRUPT = 2
EXIT_LEAKS = 3


class CheckSame(CliTest):

    def setUp(self):
        super().setUp()
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '10M')
        self.qemu('qemu-io', '-c', 'write 1M 2M', '-c', 'write -z 4M 1M', 'a')

    def check(self, *args):
        return self.same_all('qemu-img', 'check', *args)

    def check_everything(self, name):
        self.check(name)
        self.check('-q', name)
        self.check('--output=json', name)
        return self.check('-q', '--output', 'json', name)[0].status

    def set_refcount(self, cluster, value):
        self.patch('a', REFCOUNT_BLOCK + 2 * cluster,
                   struct.pack('>H', value))

    def leak(self):
        """Count a cluster that nothing uses."""
        self.set_refcount(100, 1)
        for directory in (self.ours, self.theirs):
            with open(directory + '/a', 'r+b') as f:
                f.truncate(7 * MIB)

    def repair(self, mode):
        """Repair ours; returns the exit code and the JSON result."""
        ours = self.our('qemu-img', 'check', '-r', mode, '--output=json', 'a')
        return ours.status, json.loads(ours.out)

    def expect_clean(self):
        self.is_sound('a')
        self.share('a')
        self.assertEqual(self.check_everything('a'), 0)

    # --- finding

    def test_clean_images(self):
        self.assertEqual(self.check_everything('a'), 0)
        for options in ('compat=0.10', 'refcount_bits=1', 'refcount_bits=64',
                        'cluster_size=512', 'cluster_size=2M'):
            for size in ('0', '512', '10M'):
                self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                          options, 'b', size)
                self.assertEqual(self.check_everything('b'), 0)

    def test_fragmented_images(self):
        self.qemu('qemu-io', *sum([['-c', 'write %dk 64k' % (64 * i)]
                                   for i in (150, 20, 90, 21, 7, 159)], []),
                  'a')
        self.check_everything('a')

    def test_images_with_snapshots(self):
        for name in ('one', 'two'):
            self.qemu('qemu-img', 'snapshot', '-c', name, 'a')
            self.qemu('qemu-io', '-c', 'write 0 1536k', 'a')
        self.assertEqual(self.check_everything('a'), 0)
        # A cluster of the disk that both snapshots hold, too.
        self.set_refcount(30, 1)
        self.check_everything('a')

    def test_leaks(self):
        self.leak()
        self.assertEqual(self.check_everything('a'), EXIT_LEAKS)

    def test_refcounts_that_are_too_high(self):
        self.set_refcount(10, 5)
        self.assertEqual(self.check_everything('a'), EXIT_CORRUPT)

    def test_refcounts_that_are_too_low(self):
        self.set_refcount(8, 0)
        self.assertEqual(self.check_everything('a'), EXIT_CORRUPT)

    def test_both(self):
        self.set_refcount(8, 0)
        self.set_refcount(10, 5)
        self.assertEqual(self.check_everything('a'), EXIT_CORRUPT)

    def test_unclosed_images(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'lazy_refcounts=on', 'b', '1M')
        self.their('qemu-io', '-c', 'write 0 64k', '-c', 'sigraise 9', 'b')
        with open(self.their_path('b'), 'rb') as f:
            content = f.read()
        with open(self.our_path('b'), 'wb') as f:
            f.write(content)
        self.assertEqual(self.check_everything('b'), EXIT_CORRUPT)

    # --- repairing

    def test_a_clean_image_needs_no_repair(self):
        for mode in ('leaks', 'all'):
            self.check('-r', mode, 'a')
            self.check('-r', mode, '--output=json', 'a')
            self.same_bytes('a')

    def test_leaks_are_repaired(self):
        for mode in ('leaks', 'all'):
            self.leak()
            status, result = self.repair(mode)
            self.assertEqual(status, 0)
            self.assertEqual(result['leaks-fixed'], 1)
            self.assertNotIn('leaks', result)
            self.expect_clean()

    def test_what_a_repair_prints(self):
        self.leak()
        self.same_output('qemu-img', 'check', '-r', 'leaks', 'a')
        self.leak()
        self.same_output('qemu-img', 'check', '-q', '-r', 'leaks', 'a')
        self.leak()
        self.same_output('qemu-img', 'check', '--output=json', '-r', 'all',
                         'a')

    def test_refcounts_are_repaired(self):
        for value in (0, 5):
            self.set_refcount(10, value)
            status, result = self.repair('all')
            self.assertEqual(status, 0, result)
            self.assertNotIn('corruptions', result)
            self.expect_clean()

    def test_repairing_leaks_leaves_corruptions(self):
        self.set_refcount(8, 0)
        ours = self.our('qemu-img', 'check', '-r', 'leaks', 'a')
        self.assertNotEqual(ours.status, 0)
        self.share('a')
        self.assertEqual(self.check_everything('a'), EXIT_CORRUPT)

    def test_data_survives_a_repair(self):
        self.qemu('qemu-img', 'convert', 'a', 'before')
        self.set_refcount(8, 0)
        self.set_refcount(10, 7)
        self.assertEqual(self.repair('all')[0], 0)
        self.same_content('a', 'before', 'qcow2', 'raw')

    # --- not checking

    def test_raw_cannot_be_checked(self):
        self.file('raw', MIB)
        for args in (['raw'], ['-f', 'raw', 'raw'], ['-q', 'raw'],
                     ['--output=json', 'raw'], ['-r', 'all', 'raw']):
            self.assertEqual(self.check(*args)[0].status, 63)

    def test_errors(self):
        self.file('empty', 0)
        for args in ('', 'none', 'a a', '-r foo a', '-T foo a',
                     '-f qcow2 empty', '-f foo a', '--foo', '-r'):
            self.assertEqual(self.check(*args.split())[0].status, 1)

    def test_no_other_file_is_needed(self):
        """QEMU's program opens what the image names, and fails without it."""
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b',
                  'gone', '-F', 'raw', 'orphan', '1M')
        for args in (['orphan'], ['-r', 'all', 'orphan'],
                     ['--image-opts', 'driver=qcow2,file.filename=orphan,'
                      'backing.driver=raw,backing.file.filename=gone']):
            ours, theirs = self.both('qemu-img', 'check', *args)
            self.assertEqual((ours.status, theirs.status), (0, 1), ours)

    def test_long_names(self):
        for args in (['--repair', 'leaks', '--quiet'],
                     ['--cache', 'none', '--force-share'],
                     ['--format', 'qcow2', '--output', 'human']):
            ours = self.our('qemu-img', 'check', *args, 'a')
            self.assertEqual((ours.status, ours.err), (0, ''), args)

    def test_nothing_is_repaired_without_a_lock(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'u', '1M')
        self.file('raw', 65536)
        for args in (['-r', 'all', 'u'], ['-r', 'leaks', '-f', 'raw', 'raw'],
                     ['-r', 'leaks', '--image-opts',
                      'driver=qcow2,file.filename=u']):
            ours, _ = self.same_all('qemu-img', 'check', '-U', *args)
            self.assertEqual(ours.status, 1)
            self.assertIn('force-share', ours.err)
        self.same_bytes('u')


if __name__ == '__main__':
    main()
