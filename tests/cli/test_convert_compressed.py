# SPDX-License-Identifier: MIT
"""convert -c writes compressed images that QEMU reads, and refuses what cannot
be compressed."""

import json
import os
import random

from cli_common import (AES, CliTest, KIB, LUKS, MIB, SECRETS, image_opts,
                        main, noise)

SIZE = 4 * MIB + 100 * KIB


def text(seed, length):
    """Bytes that compress, not too well."""
    words = random.Random(seed).choices([b'cluster', b'sector', b'image',
                                         b'offset', b'table'], k=length // 4)
    return b' '.join(words)[:length]


PIECES = [(0, text(1, MIB)), (MIB, noise(2, 300 * KIB)),
          (2 * MIB + 1536, text(3, 500 * KIB)), (4 * MIB, text(4, 100 * KIB))]

KINDS = ['cluster_size=64k', 'cluster_size=512', 'cluster_size=2M',
         'compat=0.10', 'compression_type=zstd',
         'compression_type=zstd,cluster_size=4k', 'extended_l2=on',
         'lazy_refcounts=on,refcount_bits=64', 'preallocation=off',
         'refcount_bits=1', 'encryption=off']

REFUSED = ['-O raw', '-O raw -o preallocation=full',
           '-O qcow2 -o ' + LUKS, '-O qcow2 -o ' + AES,
           '-O qcow2 -o encryption=on,encrypt.key-secret=s0',
           '-O qcow2 -o encrypt.format=foo',
           '-O qcow2 -o preallocation=metadata',
           '-O qcow2 -o preallocation=foo', '-O qcow -o ' + AES,
           '-O qcow -o preallocation=full', '-O qcow2 -o foo=1',
           '-O qcow2 -o compression_type=foo',
           '-O qcow2 -o compression_type=zstd,compat=v2', '-n -O raw']


class ConvertCompressed(CliTest):

    def setUp(self):
        super().setUp()
        self.file('src', SIZE, PIECES)

    def convert(self, *args):
        ours = self.our('qemu-img', 'convert', *SECRETS, '-f', 'raw', '-c',
                        *args)
        self.assertEqual((ours.status, ours.out, ours.err), (0, '', ''), args)
        return ours

    def is_right(self, name, fmt='qcow2'):
        self.same_content('src', name, 'raw', fmt)
        self.assertEqual(os.path.getsize(self.our_path(name)) % 512, 0)
        if fmt == 'qcow2':
            self.is_sound(name)

    def test_kinds(self):
        for options in KINDS:
            self.convert('-O', 'qcow2', '-o', options, 'src', 'new')
            self.is_right('new')
            self.assertTrue([e for e in self.our_map('new')
                             if e['compressed']], options)

    def test_the_same_clusters_as_theirs(self):
        for options in ('cluster_size=64k', 'compression_type=zstd'):
            self.same_all('qemu-img', 'convert', '-f', 'raw', '-c', '-O',
                          'qcow2', '-o', options, 'src', 'new')
            counts = []
            for path in (self.our_path('new'), self.their_path('new')):
                result = self.their('qemu-img', 'check', '--output=json', path)
                check = json.loads(result.out)
                counts.append((check['compressed-clusters'],
                               check['allocated-clusters']))
            self.assertEqual(counts[0], counts[1])
            self.assertGreater(counts[0][0], 20)

    def test_version_1(self):
        # 7.2 itself gives up at the end of such a target.
        self.convert('-O', 'qcow', 'src', 'new')
        self.is_right('new', 'qcow')
        self.assertLess(os.path.getsize(self.our_path('new')), 1500 * KIB)

    def test_ways_to_write(self):
        for flags in (['-W'], ['-m', '1'], ['-m', '16', '-W'], ['-S', '0'],
                      ['-t', 'none'], ['-t', 'writethrough'], ['-S', '1M']):
            self.convert(*flags, '-O', 'qcow2', 'src', 'new')
            self.is_right('new')

    def test_holes_stay_holes(self):
        self.convert('-O', 'qcow2', 'src', 'new')
        zeros = [e for e in self.our_map('new') if e['zero']]
        self.assertTrue(zeros)
        self.assertFalse([e for e in zeros if e['data'] or e['present']])
        self.convert('-S', '0', '-O', 'qcow2', 'src', 'new')
        self.assertFalse([e for e in self.our_map('new') if e['zero']])

    def test_what_is_refused(self):
        self.file('t.raw', SIZE)
        for words in REFUSED:
            target = 't.raw' if '-n' in words else 'new'
            self.same_all('qemu-img', 'convert', *SECRETS, '-f', 'raw', '-c',
                          *words.split(), 'src', target)
            self.assertFalse(os.path.exists(self.our_path('new')), words)

    def test_a_data_file_is_not_compressed(self):
        for options in ('data_file=d', 'data_file=d,data_file_raw=on'):
            ours, _ = self.same_status('qemu-img', 'convert', '-f', 'raw',
                                       '-c', '-O', 'qcow2', '-o', options,
                                       'src', 'new')
            self.assertEqual(ours.status, 1)
            self.assertIn('data file', ours.err)

    def test_an_encrypted_target_is_not_written_in_clear(self):
        self.our_image('t', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                       *SECRETS, '-o', AES, 't', '5M')
        ours = self.our('qemu-img', 'convert', *SECRETS, '-f', 'raw', '-c',
                        '-n', '--target-image-opts', 'src', image_opts('t'))
        self.assertEqual(ours.status, 1)
        self.assertIn('encrypt', ours.err)
        with open(self.our_path('t'), 'rb') as f:
            self.assertNotIn(b'cluster', f.read())

    def test_into_an_image_that_exists(self):
        for size in (SIZE, 6 * MIB):
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 't',
                      str(size))
            for _ in range(2):
                self.convert('-n', '-O', 'qcow2', 'src', 't')
                self.is_right('t')

    def test_onto_a_backing_file(self):
        self.qemu('qemu-io', '-f', 'raw', '-c', 'write -P 9 3M 64k', 'src')
        self.file('base', SIZE, PIECES)
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base',
                  '-F', 'raw', 'top')
        self.qemu('qemu-io', '-c', 'write -P 9 3M 64k', 'top')
        ours = self.our('qemu-img', 'convert', '-c', '-O', 'qcow2', '-B',
                        'base', '-F', 'raw', 'top', 'new')
        self.assertEqual((ours.status, ours.err), (0, ''))
        self.is_right('new')
        self.assertLess(os.path.getsize(self.our_path('new')), 400 * KIB)

    def test_compressed_sources(self):
        self.convert('-O', 'qcow2', 'src', 'one')
        ours = self.our('qemu-img', 'convert', '-c', '-O', 'qcow2', '-o',
                        'compression_type=zstd', 'one', 'new')
        self.assertEqual(ours.status, 0, ours)
        self.is_right('new')


class WriteCompressed(CliTest):
    """The same by qcow-io."""

    def script(self, *commands, name='a'):
        words = [word for c in commands for word in ('-c', c)]
        return self.same_output('qemu-io', *words, name,
                                normalize=lambda text: text.split('; ')[0])

    def test_requests(self):
        for options in ('compat=1.1', 'compression_type=zstd', 'compat=0.10',
                        'extended_l2=on', 'cluster_size=4k'):
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options,
                      'a', '1M')
            for command in ('write -c -P 1 64k 64k', 'write -cP 2 128k 256k',
                            'write -c 512 64k', 'write -c 896k 100',
                            'write -c 512k 0', 'write -cz 512k 64k',
                            'write -cf 640k 64k', 'write -cu 640k 64k',
                            'write -cqP 4 960k 64k', 'write -c 2M 64k',
                            'read -P 1 64k 64k', 'read -P 2 128k 256k',
                            'read -P 4 960k 64k', 'map', 'alloc 0 1M'):
                self.script(command)
            self.is_sound('a')
            self.same_content('a', self.their_path('a'))
            self.assertTrue([e for e in self.our_map('a') if e['compressed']])

    def test_the_last_cluster_may_be_short(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '100k')
        ours, _ = self.script('write -c -P 5 64k 36k')
        self.assertEqual(ours.status, 0)
        self.script('read -P 5 64k 36k')
        self.is_sound('a')

    def test_what_cannot_be_compressed(self):
        self.file('raw', MIB)
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'data_file=d', 'data', '1M')
        for name in ('raw', 'data'):
            ours, _ = self.script('write -c 64k 64k', name=name)
            self.assertEqual(ours.status, 1)

    def test_over_what_is_there(self):
        """7.2 refuses this."""
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '1M')
        for command in ('write -P 1 0 128k', 'write -c -P 2 64k 64k',
                        'write -c -P 3 64k 64k', 'read -P 1 0 64k',
                        'read -P 3 64k 64k'):
            ours = self.our('qemu-io', '-c', command, 'a')
            self.assertEqual(ours.status, 0, ours)
        self.is_sound('a')


if __name__ == '__main__':
    main()
