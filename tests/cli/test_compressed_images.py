# SPDX-License-Identifier: MIT
"""Compressed images that QEMU wrote read back the same bytes, can be written to
and stay sound; damaged ones fail where they are damaged."""

import filecmp
import os
import random

from cli_common import CliTest, KIB, MIB, main, noise

SIZE = 3 * MIB + 512


def text(seed, length):
    """Bytes that compress, not too well."""
    words = random.Random(seed).choices([b'cluster', b'sector', b'image',
                                         b'offset', b'table'], k=length // 4)
    return b' '.join(words)[:length]


PIECES = [(0, text(1, MIB)), (MIB, noise(2, 300 * KIB)),
          (1536 * KIB + 1536, text(3, 200 * KIB)),
          (2 * MIB + 4096, text(4, MIB - 4096 + 512))]

KINDS = [('zlib', '1k', '1.1'), ('zstd', '4k', '1.1'),
         ('zlib', '64k', '0.10'), ('zstd', '2M', '1.1')]


class CompressedImages(CliTest):

    def setUp(self):
        super().setUp()
        self.file('src.raw', SIZE, PIECES)

    def compressed(self, name, kind='zlib', size='64k', compat='1.1'):
        options = 'cluster_size=%s,compat=%s' % (size, compat)
        if kind != 'zlib':
            options += ',compression_type=' + kind
        self.qemu('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2',
                  '-o', options, 'src.raw', name)

    def test_convert_and_check_read_them(self):
        for kind, size, compat in KINDS:
            self.compressed('a', kind, size, compat)
            self.same_all('qemu-img', 'convert', '-f', 'qcow2', 'a', 'b')
            self.assertTrue(filecmp.cmp(self.our_path('src.raw'),
                                        self.our_path('b'), False),
                            '%s %s %s' % (kind, size, compat))
            self.same_output('qemu-img', 'check', 'a')

    def write_script(self, seed):
        chance = random.Random(seed)
        script = []
        for _ in range(15):
            offset = chance.randrange(SIZE)
            length = min(chance.randrange(1, 200000), SIZE - offset)
            script.append(chance.choice(['write -P %d' %
                                         chance.randrange(1, 256),
                                         'write -z', 'discard']) +
                          ' %d %d' % (offset, length))
        return '\n'.join(script) + '\n'

    def test_overwriting_frees_them(self):
        for seed, (kind, size, compat) in enumerate(KINDS):
            self.compressed('a', kind, size, compat)
            script = self.write_script(seed)
            for run in (self.our, self.their):
                result = run('qemu-io', '-f', 'qcow2', '-d', 'unmap', 'a',
                             stdin=script)
                self.assertEqual(result.status, 0, result)
            self.is_sound('a')
            os.replace(self.their_path('a'), self.our_path('theirs'))
            self.same_content('a', 'theirs', 'qcow2', 'qcow2')

    def test_through_an_overlay(self):
        self.compressed('base', 'zstd')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base',
                  '-F', 'qcow2', 'top')
        result = self.our('qemu-io', '-f', 'qcow2', '-c',
                          'write -P 9 70000 100', '-c', 'read 0 1M', 'top')
        self.assertEqual(result.status, 0, result)
        with open(self.our_path('src.raw'), 'r+b') as f:
            f.seek(70000)
            f.write(b'\x09' * 100)
        self.same_content('src.raw', 'top', 'raw', 'qcow2')
        self.is_sound('top')

    def test_shared_with_a_snapshot(self):
        self.compressed('a')
        self.qemu('qemu-img', 'snapshot', '-c', 'before', 'a')
        result = self.our('qemu-io', '-f', 'qcow2', '-c',
                          'write -P 3 1000 2M', 'a')
        self.assertEqual(result.status, 0, result)
        self.is_sound('a')
        self.qemu('qemu-img', 'snapshot', '-a', 'before', 'a')
        self.same_content('src.raw', 'a', 'raw', 'qcow2')

    def test_damage_is_an_error_there_only(self):
        for kind in ('zlib', 'zstd'):
            self.compressed('a', kind)
            # Where the first compressed cluster of a new image lies.
            self.patch('a', 0x50000, b'\xff' * 64)
            bad, _ = self.same_status('qemu-io', '-r', '-f', 'qcow2', '-c',
                                      'read 0 64k', 'a')
            self.assertEqual(bad.status, 1)
            good, _ = self.same_status('qemu-io', '-r', '-f', 'qcow2', '-c',
                                       'read 2560k 64k', 'a')
            self.assertEqual(good.status, 0, good)


if __name__ == '__main__':
    main()
