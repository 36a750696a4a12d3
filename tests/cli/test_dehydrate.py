# SPDX-License-Identifier: MIT
"""dehydrate makes a copy in which check finds what it finds in the original, and
in which there is no guest data, no key and, if asked for, no name."""

import os

from cli_common import LUKS, MIB, SECRETS, blocks_used, image_opts, main
from damage import COPIED, FAR, OFFSET, DamageTest

GUEST = b'guest data of somebody'


class Dehydrate(DamageTest):

    def dehydrate(self, *options):
        ours = self.our('qemu-img', 'dehydrate', *options, 'a', 'dry')
        self.assertEqual((ours.status, ours.out, ours.err), (0, '', ''))
        with open(self.our_path('dry'), 'rb') as f:
            return f.read()

    def same_check(self):
        """Both programs say the same about the copy as about the original."""
        for run in (self.our, self.their):
            self.share('a')
            self.share('dry')
            original = run('qemu-img', 'check', 'a')
            copy = run('qemu-img', 'check', 'dry')
            self.assertEqual((copy.status, copy.out, copy.err),
                             (original.status, original.out, original.err))

    def write_guest_data(self):
        with open(self.our_path('pattern'), 'wb') as f:
            f.write(GUEST.ljust(512, b'.') * 2048)
        ours = self.our('qemu-io', '-c', 'write -s pattern 1M 1M', 'a')
        self.assertEqual(ours.status, 0, ours)

    def test_sound_images(self):
        for options in ([], ['-o', 'cluster_size=512'],
                        ['-o', 'extended_l2=on,refcount_bits=64'],
                        ['-o', 'compat=0.10']):
            self.make(*options, snapshots=2)
            self.write_guest_data()
            with open(self.our_path('a'), 'rb') as f:
                self.assertIn(GUEST, f.read())
            copy = self.dehydrate()
            self.assertNotIn(GUEST, copy)
            self.assertNotIn(b'\xcd' * 16, copy)
            self.assertEqual(len(copy), os.path.getsize(self.our_path('a')))
            self.same_check()

    def test_the_copy_is_sparse(self):
        self.make()
        self.dehydrate()
        self.assertLess(blocks_used(self.our_path('dry')), MIB // 2)

    def test_damaged_images(self):
        for damage in (lambda: self.put(self.count(8), 0, 2),
                       lambda: self.flip(self.l2(16), COPIED),
                       lambda: self.put(self.l1(), COPIED | FAR),
                       lambda: self.flip(self.reftable(), 1)):
            self.make(snapshots=1)
            damage()
            self.dehydrate()
            self.same_check()

    def test_a_table_that_is_guest_data_is_left_out(self):
        self.make()
        self.write_guest_data()
        # An L1 entry that names a data cluster.
        self.put(self.l1(), COPIED | (5 << 16))
        self.assertNotIn(GUEST, self.dehydrate()[:5 << 16])
        self.make()
        self.write_guest_data()
        self.put(48, 20 << 16)
        self.assertNotIn(GUEST, self.dehydrate())

    def test_images_that_cannot_be_opened(self):
        for at, width, value in ((20, 4, 40), (72, 8, 1 << 50), (40, 8, FAR)):
            self.make()
            self.write_guest_data()
            self.put(at, value, width)
            copy = self.dehydrate()
            self.assertNotIn(GUEST, copy)
            with open(self.our_path('a'), 'rb') as f:
                self.assertEqual(copy[:112], f.read(112))

    def test_bitmaps(self):
        self.make(bitmap=True)
        at = self.get(self.bitmap_table())
        copy = self.dehydrate()
        self.assertEqual(copy[at:at + 65536].strip(b'\0'), b'')
        self.assertIn(b'bm0', copy)
        self.same_check()
        self.assertNotIn(b'bm0', self.dehydrate('--no-names'))
        self.is_sound('dry')

    def test_keys(self):
        self.our_image('a', 'qemu-img', 'create', *SECRETS[:2], '-f', 'qcow2',
                       '-o', LUKS, 'a', '1M')
        with open(self.our_path('a'), 'rb') as f:
            original = f.read()
        area = original.index(b'LUKS\xba\xbe')
        material = area + 4096
        self.assertNotEqual(original[material:material + 512].strip(b'\0'),
                            b'')
        copy = self.dehydrate()
        self.assertEqual(copy[area:area + 592], original[area:area + 592])
        self.assertEqual(copy[area + 592:].strip(b'\0'), b'')

    def fill(self):
        """Guest data in an image and its snapshots, some of it compressed."""
        with open(self.our_path('pattern'), 'wb') as f:
            f.write(GUEST.ljust(512, b'.') * 2048)
        for i in range(3):
            ours = self.our('qemu-io', '-c',
                            'write -s pattern %dM 1M' % (2 * i), 'a')
            self.assertEqual(ours.status, 0, ours)
            for j in range(16):
                ours = self.our('qemu-io', '-c', 'write -c -s pattern %d 64k' %
                                ((2 * i + 1) * MIB + j * 65536), 'a')
                self.assertEqual(ours.status, 0, ours)
            if i < 2:
                self.our('qemu-img', 'snapshot', '-c', 's%d' % i, 'a')

    def compressed_ranges(self, data):
        """Where the compressed clusters of an image of 64 KiB clusters are."""
        ranges = []
        for i in range(96):
            word = self.get(self.l2(i))
            if word & (1 << 62):
                offset = word & ((1 << 54) - 1)
                sectors = (word >> 54 & 0xff) + 1
                ranges.append((offset, (offset & ~511) + sectors * 512))
        self.assertTrue(ranges)
        return [data[start:end] for start, end in ranges]

    def test_nothing_of_the_guest_is_left(self):
        for options in ('compat=1.1', 'compat=0.10', 'extended_l2=on'):
            self.our('qemu-img', 'create', '-f', 'qcow2', '-o', options, 'a',
                     '8M')
            if options != 'compat=0.10':
                self.our('qemu-img', 'bitmap', '--add', 'a', 'bm0')
            self.fill()
            with open(self.our_path('a'), 'rb') as f:
                original = f.read()
            self.assertIn(GUEST, original)
            copy = self.dehydrate()
            self.assertNotIn(GUEST, copy)
            self.assertNotIn(b'.' * 64, copy)
            if options != 'extended_l2=on':
                for data in self.compressed_ranges(copy):
                    self.assertEqual(data.strip(b'\0'), b'')

    def test_nothing_behind_the_end_is_left(self):
        """Where VM state is."""
        self.make(snapshots=1)
        self.write_guest_data()
        self.put(24, MIB)
        self.assertNotIn(GUEST, self.dehydrate())

    def test_no_cipher_text_is_left(self):
        self.our_image('a', 'qemu-img', 'create', *SECRETS[:2], '-f', 'qcow2',
                       '-o', LUKS, 'a', '8M')
        area = self.get(self.get(100, 4) + 8)
        length = self.get(self.get(100, 4) + 16)
        with open(self.our_path('pattern'), 'wb') as f:
            f.write(GUEST.ljust(512, b'.') * 2048)
        ours = self.our('qemu-io', *SECRETS[:2], '-c',
                        'write -s pattern 0 1M', '--image-opts',
                        image_opts('a'))
        self.assertEqual(ours.status, 0, ours)
        copy = self.dehydrate()
        first = self.get(self.l2()) & OFFSET
        self.assertNotEqual(first, 0)
        self.assertEqual(copy[first:first + MIB].strip(b'\0'), b'')
        self.assertEqual(copy[area + 592:area + length].strip(b'\0'), b'')

    def test_a_data_file_stays_where_it_is(self):
        for options in ('data_file=d', 'data_file=d,data_file_raw=on'):
            self.our('qemu-img', 'create', '-f', 'qcow2', '-o', options, 'a',
                     '8M')
            self.write_guest_data()
            with open(self.our_path('d'), 'rb') as f:
                self.assertIn(GUEST, f.read())
            self.assertNotIn(GUEST, self.dehydrate())
            self.assertNotIn(GUEST, self.dehydrate('--no-names'))

    def test_version_1(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'a', '10M')
        self.write_guest_data()
        self.assertNotIn(GUEST, self.dehydrate())
        ours = self.our('qemu-img', 'inspect', 'dry')
        self.assertEqual(ours.status, 0, ours)

    def test_names(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '1M')
        self.qemu('qemu-img', 'snapshot', '-c', 'secret-project', 'a')
        self.qemu('qemu-img', 'rebase', '-u', '-b', '/home/somebody/base',
                  '-F', 'raw', 'a')
        self.share('a')
        copy = self.dehydrate()
        self.assertIn(b'/home/somebody/base', copy)
        self.assertIn(b'secret-project', copy)
        copy = self.dehydrate('--no-names')
        self.assertNotIn(b'somebody', copy)
        self.assertNotIn(b'secret', copy)
        self.assertIn(b'x' * len('/home/somebody/base'), copy)
        self.assertIn(b'raw', copy)
        self.assertEqual(self.our('qemu-img', 'inspect', 'dry').status, 0)

    def test_stale_names(self):
        """What is left of an older header goes with the names."""
        self.make()
        self.patch('a', 60000, b'/home/somebody')
        self.assertNotIn(b'somebody', self.dehydrate('--no-names'))

    def test_refusals(self):
        self.file('raw', MIB)
        self.make()
        for args in ([], ['a'], ['a', 'b', 'c'], ['none', 'dry'],
                     ['raw', 'dry'], ['a', 'a'], ['a', './a']):
            ours = self.our('qemu-img', 'dehydrate', *args)
            self.assertEqual((ours.status, ours.out), (1, ''), args)
            self.assertNotEqual(ours.err, '')
        self.is_sound('a')


if __name__ == '__main__':
    main()
