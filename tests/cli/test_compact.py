# SPDX-License-Identifier: MIT
"""compact makes files shorter, and QEMU sees the same disks in them."""

import json
import os
import shutil

from cli_common import (CliTest, KIB, MIB, SECRETS, THEIRS, blocks_used,
                        image_opts, main, noise, run_program)


class Compact(CliTest):

    def make(self, *options, name='a', compressed=True):
        """An image with free clusters in front and used ones behind."""
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', *options, name,
                  '2M')
        self.io(name, 'write -P 1 0 700k')
        self.qemu('qemu-img', 'snapshot', '-c', 's1', name)
        if compressed:
            self.io(name, 'write -c -P 5 768k 64k', 'write -c -P 6 832k 64k')
        self.io(name, 'write -P 2 64k 300k', 'write -P 9 1500k 200k')
        self.qemu('qemu-img', 'snapshot', '-c', 's2', name)
        self.io(name, 'write -P 3 900k 400k', 'write -z -u 1500k 100k',
                'discard 100k 128k')
        self.qemu('qemu-img', 'snapshot', '-d', 's1', name)

    def io(self, name, *commands):
        args = []
        for command in commands:
            args += ['-c', command]
        self.qemu('qemu-io', '-d', 'unmap', '-f', 'qcow2', *args, name)

    def compact(self, name='a', *args):
        result = self.our('qemu-img', 'compact', '--output=json', *args, name)
        self.assertEqual((result.status, result.err), (0, ''), result)
        return json.loads(result.out)

    def used_clusters(self, name):
        """How many host clusters are counted, as the refcounts say."""
        with open(self.our_path(name), 'rb') as f:
            data = f.read()
        size = 1 << int.from_bytes(data[20:24], 'big')
        version = int.from_bytes(data[4:8], 'big')
        order = int.from_bytes(data[96:100], 'big') if version > 2 else 4
        table = int.from_bytes(data[48:56], 'big')
        count = int.from_bytes(data[56:60], 'big') * size // 8
        used = 0
        for i in range(count):
            at = int.from_bytes(data[table + i * 8:table + i * 8 + 8], 'big')
            bits = int.from_bytes(data[at:at + size], 'big') if at else 0
            width = 1 << order
            for _ in range(size * 8 // width if bits else 0):
                used += (bits & ((1 << width) - 1)) != 0
                bits >>= width
        return used, size

    def same_disks(self, name='a'):
        """As before, which theirs still is, in every snapshot."""
        self.is_sound(name)
        result = run_program(
            THEIRS, ['qemu-img', 'compare', self.our_path(name),
                     self.their_path(name)], self.root)
        self.assertEqual(result.status, 0, result)
        self.assertEqual(
            run_program(THEIRS, ['qemu-img', 'snapshot', '-l', name],
                        self.ours).out,
            run_program(THEIRS, ['qemu-img', 'snapshot', '-l', name],
                        self.theirs).out)
        self.qemu('qemu-img', 'convert', '-l', 's2', '-O', 'raw', name, 's2')
        self.same_bytes('s2')

    def test_file_is_as_short_as_can_be(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'raw', 'base', '2M')
        self.qemu('qemu-io', '-f', 'raw', '-c', 'write -P 7 0 2M', 'base')
        for options in ('cluster_size=4k', 'cluster_size=64k,compat=0.10',
                        'cluster_size=16k,extended_l2=on',
                        'cluster_size=4k,refcount_bits=64',
                        'cluster_size=2k,refcount_bits=8,lazy_refcounts=on'):
            for backing in ((), ('-b', 'base', '-F', 'raw')):
                with self.subTest(options=options, backing=backing):
                    self.make('-o', options, *backing)
                    self.share('a')
                    first = self.compact()
                    used, size = self.used_clusters('a')
                    length = os.stat(self.our_path('a')).st_size
                    self.assertEqual(length, used * size)
                    self.assertEqual(first['new-size'], length)
                    self.assertLess(length, first['old-size'])
                    self.assertGreater(first['clusters-moved'], 0)
                    self.same_disks()
                    again = self.compact()
                    self.assertEqual(
                        (again['old-size'], again['new-size'],
                         again['clusters-moved'], again['clusters-punched']),
                        (length, length, 0, 0))

    def test_what_follows_each_other_still_does(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '64M')
        self.io('a', 'write -P 1 0 8M', 'write -P 2 16M 8M', 'discard 0 8M')
        self.share('a')
        self.compact()
        self.assertEqual(len([e for e in self.our_map('a') if e['data']]), 1)

    def test_tables_move(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'cluster_size=512,refcount_bits=64', 'a', '1M')
        self.qemu('qemu-img', 'resize', '-q', 'a', '16M')
        self.io('a', 'write -P 1 0 6M')
        self.qemu('qemu-img', 'snapshot', '-c', 's1', 'a')
        self.qemu('qemu-img', 'snapshot', '-c', 's2', 'a')
        self.io('a', 'discard 64k 15M')
        self.qemu('qemu-img', 'snapshot', '-d', 's1', 'a')
        self.qemu('qemu-img', 'snapshot', '-d', 's2', 'a')
        self.qemu('qemu-img', 'snapshot', '-c', 's2', 'a')
        self.share('a')
        facts = self.compact()
        used, size = self.used_clusters('a')
        self.assertEqual(facts['new-size'], used * size)
        self.assertLess(facts['new-size'], facts['old-size'] // 2)
        self.same_disks()

    def test_leaks_are_given_back(self):
        self.make()
        self.share('a')
        with open(self.our_path('a'), 'r+b') as f:
            data = f.read()
            block = int.from_bytes(data[0x10000:0x10008], 'big')
            f.seek(block + 2 * 500)
            f.write(b'\0\7')
        self.compact()
        self.same_disks()

    def test_bitmaps_stay(self):
        self.make()
        self.qemu('qemu-img', 'bitmap', '--add', 'a', 'b0')
        self.io('a', 'write -P 4 0 64k', 'discard 600k 100k')
        self.share('a')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'b', '2M')
        first = self.compact()
        self.assertGreater(first['clusters-moved'], 0)
        self.same_disks()
        # Merging is reading.
        self.qemu('qemu-img', 'bitmap', '--add', '-g', '64k', 'b', 'b0')
        self.qemu('qemu-img', 'bitmap', '--merge', 'b0', '-b', 'a', '-F',
                  'qcow2', 'b', 'b0')
        self.same_bytes('b')

    def test_data_file(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'cluster_size=4k,data_file=d', 'a', '1M')
        self.io('a', 'write -P 1 0 128k')
        self.qemu('qemu-img', 'resize', '-q', 'a', '64M')
        self.io('a', 'write -P 2 4M 56M')
        self.qemu('qemu-img', 'resize', '-q', '--shrink', 'a', '1M')
        facts = self.compact()
        self.assertLess(facts['new-size'], facts['old-size'])
        self.is_sound('a')
        self.same_bytes('d')
        result = run_program(THEIRS, ['qemu-io', '-c', 'read -q -P 1 0 128k',
                                      'a'], self.ours)
        self.assertEqual((result.status, result.out), (0, ''))

    def test_encrypted(self):
        for kind in ('aes', 'luks,encrypt.iter-time=10'):
            with self.subTest(kind):
                self.our_image('e', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                               *SECRETS, '-o', 'encrypt.key-secret=s0,'
                               'encrypt.format=' + kind, 'e', '4M')
                self.qemu('qemu-io', *SECRETS, '-d', 'unmap', '-c',
                          'write -q -P 1 0 2M', '-c', 'write -q -P 2 2M 1M',
                          '-c', 'discard -q 64k 1M', '--image-opts',
                          image_opts('e'))
                result = self.our('qemu-img', 'compact', '--output=json',
                                  *SECRETS, '--image-opts', image_opts('e'))
                self.assertEqual(result.status, 0, result)
                facts = json.loads(result.out)
                self.assertLess(facts['new-size'] + (1 << 19),
                                facts['old-size'])
                result = run_program(
                    THEIRS, ['qemu-io', *SECRETS, '-c', 'read -q -P 1 0 64k',
                             '-c', 'read -q -P 0 64k 1M', '-c',
                             'read -q -P 2 2M 1M', '--image-opts',
                             image_opts('e')], self.ours)
                self.assertEqual((result.status, result.out), (0, ''))
                wrong = self.our('qemu-img', 'compact', 'e')
                self.assertEqual(wrong.status, 1)

    def test_output(self):
        self.make()
        keep = self.our_path('keep')
        shutil.copy(self.our_path('a'), keep)
        text = self.our('qemu-img', 'compact', 'a')
        self.assertRegex(text.out, r'^Image compacted: file size .*, was .*; '
                         r'\d+ clusters moved, space of \d+ free ones given '
                         r'back\.\n$')
        shutil.copy(keep, self.our_path('a'))
        progress = self.our('qemu-img', 'compact', '-q', 'a')
        self.assertEqual((progress.status, progress.out), (0, ''))
        shutil.copy(keep, self.our_path('a'))
        progress = self.our('qemu-img', 'compact', '-p', 'a')
        self.assertIn('(0.00/100%)', progress.out)
        self.assertIn('(100.00/100%)', progress.out)
        shutil.copy(keep, self.our_path('a'))
        progress = self.our('qemu-img', 'compact', '-q', '--progress=json',
                            'a')
        self.assertEqual((progress.status, progress.out), (0, ''))
        shutil.copy(keep, self.our_path('a'))
        progress = self.our('qemu-img', 'compact', '--progress=json',
                            '--output=json', 'a')
        self.assertIn('clusters-moved', json.loads(progress.out))
        last = json.loads(progress.err.splitlines()[-1])
        self.assertEqual((last['percent'], last['finished']), (100, True))
        helped = self.our('qemu-img', 'compact', '--help')
        self.assertEqual(helped.status, 0)
        for option in ('--output', '--progress', '--quiet', '--image-opts'):
            self.assertIn(option, helped.out)

    def test_refusals(self):
        self.make()
        self.file('raw', 65536)
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'v1', '1M')
        for args in ((), ('a', 'a'), ('none',), ('-f', 'raw', 'raw'), ('v1',),
                     ('--output=xml', 'a')):
            result = self.our('qemu-img', 'compact', *args)
            self.assertEqual((result.status, result.out), (1, ''), args)
            self.assertTrue(result.err.startswith('qemu-img: '), result)

    def test_damaged_images_stay_as_they_are(self):
        self.make()
        self.patch('a', 0x30000, b'\x80\0\0\0\0\x0f\xff\0')
        with open(self.our_path('a'), 'rb') as f:
            before = f.read()
        result = self.our('qemu-img', 'compact', 'a')
        self.assertEqual(result.status, 1)
        with open(self.our_path('a'), 'rb') as f:
            self.assertEqual(before, f.read())

    def test_free_clusters_that_stay_take_no_space(self):
        """Compressed clusters that belong together find no room in front."""
        half = noise(1, 32 * KIB) + bytes(32 * KIB)
        self.file('half', 64 * KIB, [(0, half)])
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '64M')
        self.io('a', 'write -P 1 0 2M',
                *('write -c -s half %dk 64k' % (4096 + i * 64)
                  for i in range(80)))
        self.qemu('qemu-io', '-c', 'discard 0 2M', '-d', 'unmap', 'a')
        with open(self.our_path('a'), 'r+b') as f:
            f.seek(0x50000)
            f.write(noise(2, 2 * MIB))
        self.share('a')
        before = blocks_used(self.our_path('a'))
        facts = self.compact()
        self.assertEqual(facts['clusters-moved'], 0)
        self.assertEqual(facts['clusters-punched'], 32)
        self.assertLess(blocks_used(self.our_path('a')), before - MIB)
        self.is_sound('a')
        self.same_content('a', self.their_path('a'))


if __name__ == '__main__':
    main()
