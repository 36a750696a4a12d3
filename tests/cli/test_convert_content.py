# SPDX-License-Identifier: MIT
"""convert makes a sound image with the content of its source, whatever the
formats, cluster sizes, thread counts and cache modes."""

import filecmp
import os

from cli_common import CliTest, KIB, MIB, main, noise

PIECES = [(0, noise(1, 70 * KIB)), (MIB, noise(2, MIB)),
          (3 * MIB + 512, noise(3, 100)), (5 * MIB - 4096, noise(4, 8192)),
          (9 * MIB, noise(5, 3 * MIB))]
SIZE = 13 * MIB + 512


class ConvertContent(CliTest):

    def setUp(self):
        super().setUp()
        self.file('src.raw', SIZE, PIECES)

    def convert(self, *args):
        return self.same_all('qemu-img', 'convert', *args)

    def expect(self, name, fmt='qcow2'):
        self.same_content('src.raw', name, 'raw', fmt)
        if fmt == 'qcow2':
            self.is_sound(name)

    def test_raw_to_qcow2_and_back(self):
        for options in ('cluster_size=512', 'cluster_size=4k',
                        'cluster_size=64k', 'cluster_size=2M',
                        'compat=0.10', 'refcount_bits=1', 'refcount_bits=64',
                        'lazy_refcounts=on'):
            self.convert('-f', 'raw', '-O', 'qcow2', '-o', options, 'src.raw',
                         'a.qcow2')
            self.expect('a.qcow2')
            self.convert('-f', 'qcow2', 'a.qcow2', 'b.raw')
            self.assertTrue(filecmp.cmp(self.our_path('src.raw'),
                                        self.our_path('b.raw'), False))

    def test_between_cluster_sizes(self):
        self.convert('-O', 'qcow2', '-o', 'cluster_size=4k', 'src.raw', 'a')
        for size in ('512', '64k', '2M'):
            self.convert('-O', 'qcow2', '-o', 'cluster_size=' + size, 'a',
                         'b')
            self.expect('b')
            self.convert('-O', 'qcow2', '-o', 'cluster_size=4k', 'b', 'a')
            self.expect('a')

    def test_raw_to_raw(self):
        self.convert('src.raw', 'a')
        self.assertTrue(filecmp.cmp(self.our_path('src.raw'),
                                    self.our_path('a'), False))

    def test_images_that_qemu_wrote(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '20M')
        self.qemu('qemu-io', '-c', 'write -P 1 1M 2M', '-c', 'write -z 2M 64k',
                  '-c', 'write -P 2 10000001 77777', '-c', 'discard 1M 64k',
                  '-c', 'write -zu 1152k 64k', 'a')
        self.convert('a', 'b.raw')
        self.same_content('a', 'b.raw', 'qcow2', 'raw')
        self.convert('-O', 'qcow2', 'a', 'b')
        self.same_content('a', 'b')
        self.is_sound('b')

    def test_same_bytes_with_any_number_of_threads(self):
        self.convert('-O', 'qcow2', '-m', '1', 'src.raw', 'first')
        for number in ('2', '3', '8', '16'):
            self.convert('-O', 'qcow2', '-m', number, 'src.raw', 'a')
            self.assertTrue(filecmp.cmp(self.our_path('first'),
                                        self.our_path('a'), False), number)

    def test_out_of_order_writes(self):
        for fmt in ('raw', 'qcow2'):
            for number in ('1', '8'):
                self.convert('-W', '-m', number, '-O', fmt, 'src.raw', 'a')
                self.expect('a', fmt)

    def test_cache_modes(self):
        for mode in ('none', 'writeback', 'unsafe', 'directsync',
                     'writethrough'):
            for fmt in ('raw', 'qcow2'):
                self.convert('-t', mode, '-T', mode, '-O', fmt, 'src.raw', 'a')
                self.expect('a', fmt)

    def test_rate_limit(self):
        self.convert('-r', '100M', '-O', 'qcow2', 'src.raw', 'a')
        self.expect('a')

    def test_odd_sizes(self):
        for size in (1, 511, 512, 513, 1000, 65535, 65537, MIB + 1):
            self.file('odd', size, [(0, noise(size, size))])
            self.same_all('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2',
                          'odd', 'a')
            self.same_content('odd', 'a', 'raw', 'qcow2')
            self.is_sound('a')
            self.convert('-f', 'raw', 'odd', 'b')
            self.same_bytes('b')
            self.assertEqual(os.path.getsize(self.our_path('b')),
                             -(-size // 512) * 512)

    def test_empty_images(self):
        self.file('odd', 0)
        self.convert('-f', 'raw', '-O', 'qcow2', 'odd', 'a')
        self.is_sound('a')
        self.convert('a', 'b')
        self.assertEqual(os.path.getsize(self.our_path('b')), 0)

    def test_several_sources(self):
        self.file('odd', 1000, [(0, noise(9, 1000))])
        self.convert('-O', 'qcow2', 'src.raw', 'a')
        for sources in (['src.raw', 'a', 'odd'], ['odd', 'odd', 'src.raw'],
                        ['odd'] * 5):
            for fmt in ('raw', 'qcow2'):
                self.convert('-O', fmt, *sources, 'all')
                self.convert(*sources, 'all.raw')
                self.same_bytes('all.raw')
                self.same_content('all', 'all.raw', fmt, 'raw')

    def test_chains_are_flattened(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'src.raw',
                  '-F', 'raw', 'mid', '20M')
        self.qemu('qemu-io', '-c', 'write -P 3 2M 100k', '-c',
                  'write -z 9M 1M', '-c', 'write -P 4 15M 64k', 'mid')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'mid', '-F',
                  'qcow2', 'top', '18M')
        self.qemu('qemu-io', '-c', 'write -P 5 1M 10k', '-c',
                  'write -z 2M 64k', 'top')
        for name in ('mid', 'top'):
            self.convert('-O', 'qcow2', name, 'flat')
            self.same_content(name, 'flat', 'qcow2', 'qcow2')
            self.is_sound('flat')
            info = self.our('qemu-img', 'info', 'flat').out
            self.assertNotIn('backing', info)
            self.convert(name, 'flat.raw')
            self.same_bytes('flat.raw')

    def test_long_names_of_newer_versions(self):
        ours = self.our('qemu-img', 'convert', '--source-format', 'raw',
                        '--target-format', 'qcow2', '--target-format-options',
                        'cluster_size=4k', '--source-cache', 'writeback',
                        '--target-cache', 'unsafe', '--sparse-size', '64k',
                        '--parallel', '4', '--oob-writes', '--rate-limit',
                        '1G', '--quiet', '--force-share', 'src.raw', 'a')
        self.assertEqual((ours.status, ours.out, ours.err), (0, '', ''))
        self.expect('a')
        ours = self.our('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2',
                        '--no-create', '--compress', 'src.raw', 'a')
        self.assertEqual((ours.status, ours.out, ours.err), (0, '', ''))
        self.expect('a')


if __name__ == '__main__':
    main()
