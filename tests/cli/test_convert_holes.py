# SPDX-License-Identifier: MIT
"""convert keeps holes, makes holes of zeros, and needs no more space than
qemu-img does."""

import os
import time

from cli_common import (CliTest, GIB, KIB, MIB, blocks_used, main, noise,
                        zeroing_keeps_space)

SCATTERED = [(0, b'x' * 512), (3 * MIB, b'x' * 512),
             (5 * MIB + 4096, b'x' * 512), (5 * MIB + 12288, b'x' * 512),
             (6 * MIB, b'x' * 512), (6 * MIB + 512, b'x' * 512),
             (7 * MIB, b'y' * 8192)]


class ConvertHoles(CliTest):

    def convert(self, *args):
        return self.same_all('qemu-img', 'convert', *args)

    def takes_no_more(self, name, slack=64 * KIB):
        ours = blocks_used(self.our_path(name))
        theirs = blocks_used(self.their_path(name))
        self.assertLessEqual(ours, theirs + slack, name)

    def same_map(self, name, fmt='qcow2'):
        """Of raw images qemu-img always allocates the first block."""
        if fmt == 'qcow2':
            self.same_output('qemu-img', 'map', name)

    def test_zeros_become_holes(self):
        """All of the source is allocated, most of it zeros."""
        zeros = bytes(8 * MIB)
        for size in ('512', '4k', '64k', '1M', '3M', '16M'):
            for fmt in ('raw', 'qcow2'):
                self.file('src', 8 * MIB, [(0, zeros)] + SCATTERED)
                self.convert('-S', size, '-f', 'raw', '-O', fmt, 'src', 'out')
                self.same_content('src', 'out', 'raw', fmt)
                self.same_map('out', fmt)
                self.takes_no_more('out')

    def test_no_holes_on_request(self):
        self.file('src', 8 * MIB, SCATTERED)
        for fmt in ('raw', 'qcow2'):
            self.convert('-S', '0', '-O', fmt, 'src', 'out')
            self.same_content('src', 'out', 'raw', fmt)
            self.same_map('out', fmt)
            self.assertGreaterEqual(blocks_used(self.our_path('out')),
                                    8 * MIB)

    def test_no_holes_over_a_backing_file(self):
        """What a backing file has stays there, and so do zeros behind it."""
        self.file('src', 8 * MIB, SCATTERED)
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'src', '-F',
                  'raw', 'top', '12M')
        self.qemu('qemu-io', '-c', 'write -P 4 1M 100k', '-c',
                  'write -z 3M 64k', '-c', 'write -P 5 10M 4k', 'top')
        for options in ('compat=1.1', 'extended_l2=on', 'cluster_size=512'):
            self.convert('-S', '0', '-B', 'src', '-F', 'raw', '-O', 'qcow2',
                         '-o', options, 'top', 'out')
            self.same_content('top', 'out')
            self.takes_no_more('out')
            # Tables lie between small clusters, each where it likes; and
            # where zeroing punches holes the map shows them.
            if (options != 'cluster_size=512' and
                    zeroing_keeps_space(self.root)):
                self.same_map('out')

    def test_holes_are_not_filled_up(self):
        """A hole of the source stays one, however short; zeros that are
        written in it become one if they are long enough."""
        self.file('src', 8 * MIB, [(5 * MIB, bytes(MIB))] + SCATTERED)
        for size in ('4k', '64k', '1M', '16M'):
            self.convert('-S', size, 'src', 'out')
            self.same_bytes('out')
            self.takes_no_more('out', 4 * KIB)

    def test_preallocated_targets(self):
        """Clusters that are there already are not filled with zeros."""
        self.file('src', 8 * MIB, SCATTERED)
        for options in ('preallocation=metadata',
                        'preallocation=metadata,extended_l2=on',
                        'preallocation=metadata,cluster_size=512',
                        'data_file=d,data_file_raw=on', 'data_file=d'):
            self.convert('-O', 'qcow2', '-o', options, 'src', 'out')
            self.same_content('src', 'out', 'raw', 'qcow2')
            self.takes_no_more('out')
            if 'data_file' in options:
                self.takes_no_more('d', 4 * KIB)

    def test_small_clusters(self):
        self.file('src', 8 * MIB, [(0, bytes(8 * MIB))] + SCATTERED)
        for size in ('512', '4k', '2M'):
            self.convert('-O', 'qcow2', '-o', 'cluster_size=' + size, 'src',
                         'out')
            self.same_content('src', 'out', 'raw', 'qcow2')
            self.takes_no_more('out')

    def test_holes_of_the_source_are_kept(self):
        self.file('src', 64 * MIB, [(20 * MIB, noise(1, 64 * KIB)),
                                    (40 * MIB, noise(2, 4 * KIB))])
        for fmt in ('raw', 'qcow2'):
            self.convert('-O', fmt, 'src', 'out')
            self.same_map('out', fmt)
            self.takes_no_more('out')
            self.assertLess(blocks_used(self.our_path('out')), MIB)
            self.convert('-f', fmt, 'out', 'back')
            self.takes_no_more('back')
            self.same_bytes('back')

    def test_zero_clusters_of_the_source(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'src', '64M')
        self.qemu('qemu-io', '-c', 'write 0 1M', '-c', 'write -z 256k 512k',
                  '-c', 'write -z 10M 30M', 'src')
        for fmt in ('raw', 'qcow2'):
            self.convert('-O', fmt, 'src', 'out')
            self.same_map('out', fmt)
            self.takes_no_more('out')

    def test_huge_and_empty(self):
        """64 TiB of nothing take no time and no space."""
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'cluster_size=2M', 'src', '64T')
        self.qemu('qemu-io', '-c', 'write -P 7 40T 64k', '-c',
                  'write -P 8 70368744112128 64k', 'src')
        start = time.monotonic()
        self.convert('-O', 'qcow2', '-o', 'cluster_size=2M', 'src', 'out')
        self.assertLess(time.monotonic() - start, 60)
        self.is_sound('out')
        self.takes_no_more('out', 4 * MIB)
        self.same_map('out')
        for command in ('read -P 7 40T 64k', 'read -P 8 70368744112128 64k',
                        'read -P 0 1T 64k'):
            self.assertEqual(self.our('qemu-io', '-c', command, 'out').status,
                             0)
        self.same_output('qemu-img', 'map', 'src')

    def test_a_large_raw_hole(self):
        self.file('src', 100 * GIB, [(99 * GIB, noise(3, 4096))])
        start = time.monotonic()
        self.convert('-O', 'qcow2', 'src', 'out')
        self.convert('out', 'back')
        self.assertLess(time.monotonic() - start, 60)
        self.assertEqual(os.path.getsize(self.our_path('back')), 100 * GIB)
        self.assertLess(blocks_used(self.our_path('back')), MIB)
        self.same_content('src', 'back', 'raw', 'raw')


if __name__ == '__main__':
    main()
