# SPDX-License-Identifier: MIT
"""compare finds the same differences as qemu-img, in the same words."""

import os
import random
import re
import struct
import unittest

from cli_common import (CliTest, KIB, LUKS, MIB, SECRETS, image_opts, main,
                        noise)


def without_progress(text):
    """How often progress is reported is up to the program."""
    return re.sub(r'    \(\d+\.\d\d/100%\)\r', '', text)


class CompareSame(CliTest):

    def io(self, name, *commands):
        args = []
        for command in commands:
            args += ['-c', command]
        self.qemu('qemu-io', *args, name)

    def create(self, name, size, *args):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', *args, name, size)

    def check(self, *args):
        """Plain, strict, and the other way round."""
        results = []
        for strict in ([], ['-s']):
            for names in (args, args[:-2] + (args[-1], args[-2])):
                if '-f' in args or '-F' in args:
                    names = args
                results.append(self.same_all(
                    'qemu-img', 'compare', *strict, *names)[0].status)
        return results

    def test_same_and_different(self):
        self.create('a', '4M')
        self.create('b', '4M')
        self.assertEqual(self.check('a', 'b'), [0, 0, 0, 0])
        self.io('b', 'write -P 1 1000001 1')
        self.assertEqual(self.check('a', 'b'), [1, 1, 1, 1])
        self.io('a', 'write -P 1 1000001 1')
        self.assertEqual(self.check('a', 'b'), [0, 0, 0, 0])
        self.io('b', 'write -P 2 3M 64k')
        self.io('a', 'write -P 2 3M 64k', 'write -P 3 3211263 1')
        self.check('a', 'b')

    def test_offset_is_that_of_a_sector(self):
        self.create('a', '8M')
        self.create('b', '8M')
        for name in 'ab':
            self.io(name, 'write -P 1 0 8M')
        for at in (8 * MIB - 1, 5000000, 4194304, 2097151, 300000, 511):
            self.io('b', 'write -P 2 %d 1' % at)
            self.check('a', 'b')

    def test_zeros_are_zeros(self):
        self.create('a', '4M')
        self.create('b', '4M')
        self.io('a', 'write -P 0 0 1M', 'write -z 1M 1M')
        self.assertEqual(self.check('a', 'b')[:2], [0, 0])
        self.io('b', 'write -z 0 1M', 'write -P 0 1M 1M')
        self.check('a', 'b')
        self.create('c', '4M')
        self.io('c', 'write -P 1 2M 64k', 'write -zu 2M 64k')
        self.create('d', '4M')
        self.io('d', 'write -P 1 2M 64k', 'write -z 2M 64k')
        self.check('c', 'd')
        self.check('a', 'c')

    def test_sizes_differ(self):
        self.create('a', '4M')
        self.create('b', '6M')
        self.check('a', 'b')
        self.io('b', 'write -P 0 5M 64k')
        self.check('a', 'b')
        self.io('b', 'write -P 9 5000000 1')
        self.check('a', 'b')
        self.io('a', 'write -P 9 3M 1')
        self.check('a', 'b')
        self.create('c', '0')
        self.check('a', 'c')
        self.check('c', 'c')

    def test_layouts(self):
        """Strict mode looks at extents as they lie in the file."""
        self.create('a', '1M')
        self.create('b', '1M')
        self.io('a', 'write -P 1 0 1M')
        self.io('b', *['write -P 1 %dk 64k' % (64 * i)
                       for i in range(15, -1, -1)])
        self.check('a', 'b')
        self.qemu('qemu-img', 'convert', '-O', 'qcow2', 'a', 'c')
        self.qemu('qemu-img', 'convert', '-c', '-O', 'qcow2', 'a', 'd')
        self.qemu('qemu-img', 'convert', '-O', 'raw', 'a', 'e')
        self.check('a', 'c')
        self.check('a', 'd')
        self.check('-F', 'raw', 'a', 'e')
        self.check('-f', 'raw', '-F', 'qcow2', 'e', 'd')

    def test_strict_in_large_images(self):
        for size, at in (('1G', '100M'), ('1G', '600M'), ('4G', '2600M')):
            self.create('a', size)
            self.create('b', size)
            self.io('b', 'write -P 1 %s 64k' % at)
            self.check('a', 'b')
        for cluster in ('512', '4k', '2M'):
            self.create('a', '64M', '-o', 'cluster_size=' + cluster)
            self.create('b', '64M', '-o', 'cluster_size=' + cluster)
            self.io('b', 'write -P 1 40M 64k')
            self.check('a', 'b')

    def test_backing_chains(self):
        self.create('base', '4M')
        self.io('base', 'write -P 1 0 1M')
        self.create('top', '4M', '-b', 'base', '-F', 'qcow2')
        self.assertEqual(self.check('base', 'top'), [0, 0, 0, 0])
        self.io('top', 'write -P 2 1M 64k')
        self.check('base', 'top')
        self.create('other', '6M', '-b', 'base', '-F', 'qcow2')
        self.check('other', 'top')
        self.io('top', 'write -P 0 1M 64k')
        self.check('other', 'top')
        self.create('flat', '6M')
        self.check('other', 'flat')
        self.create('long', '8M', '-b', 'other', '-F', 'qcow2')
        self.create('deep', '8M', '-b', 'long', '-F', 'qcow2')
        for name in ('base', 'top', 'other', 'flat', 'long'):
            self.check('deep', name)

    def test_raw_files(self):
        self.file('a', 4 * MIB, [(0, noise(1, 4096)), (MIB, noise(2, MIB))])
        self.file('b', 4 * MIB, [(0, noise(1, 4096)), (MIB, noise(2, MIB))])
        both = ('-f', 'raw', '-F', 'raw')
        self.check(*both, 'a', 'b')
        self.patch('b', 3 * MIB, b'x')
        self.check(*both, 'a', 'b')
        self.patch('b', 3 * MIB, b'\0')
        self.check(*both, 'a', 'b')
        for size in (1024, 1536, 0, 70000):
            self.file('c', size, [(0, b'x' * min(size, 600))])
            self.file('d', 1024, [(0, b'x' * 600)])
            self.same_all('qemu-img', 'compare', *both, 'c', 'd')
            if size % 512 == 0:
                self.check(*both, 'c', 'd')

    def test_formats(self):
        self.file('raw', 4 * MIB, [(MIB, noise(2, MIB))])
        for options in ('compat=0.10', 'compat=1.1', 'cluster_size=512',
                        'cluster_size=2M', 'extended_l2=on',
                        'preallocation=metadata'):
            self.qemu('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-o',
                      options, 'raw', 'a')
            ours, _ = self.same_all('qemu-img', 'compare', '-F', 'raw', 'a',
                                    'raw')
            self.assertEqual(ours.status, 0)
            self.io('a', 'write -P 7 1100k 1k')
            self.check('-F', 'raw', 'a', 'raw')
        self.qemu('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow', 'raw',
                  'v1')
        self.check('-F', 'raw', 'v1', 'raw')
        # QEMU 7.2 reads the name of a data file from the working directory.
        self.create('data', '4M', '-o', 'data_file=file')
        self.io('data', 'write -P 7 1M 64k')
        self.check('-F', 'raw', 'data', 'raw')

    def test_encrypted(self):
        self.their_image('a', 'qemu-img', 'create', '-q', *SECRETS, '-f',
                         'qcow2', '-o', LUKS, 'a', '2M')
        self.their_image('b', 'qemu-img', 'create', '-q', *SECRETS, '-f',
                         'qcow2', '-o', LUKS, 'b', '2M')
        for directory in (self.ours, self.theirs):
            for name in 'ab':
                opts = image_opts(os.path.join(directory, name))
                self.assertEqual(
                    self.their('qemu-io', *SECRETS, '--image-opts', '-c',
                               'write -P 5 64k 100k', opts).status, 0)
        opts = (image_opts('a'), image_opts('b'))
        for extra in ([], ['-s']):
            ours, _ = self.same_all('qemu-img', 'compare', *extra, *SECRETS,
                                    '--image-opts', *opts)
            self.assertEqual(ours.status, 0)
        self.same_all('qemu-img', 'compare', *SECRETS, '--image-opts',
                      image_opts('a'), image_opts('b', secret='bad'))

    def test_random_images(self):
        seed = int(os.environ.get('QCF_TEST_SEED', random.randrange(1 << 32)))
        print('seed', seed)
        rng = random.Random(seed)
        for _ in range(12):
            cluster = rng.choice(('512', '4k', '64k'))
            size = rng.choice((MIB, 3 * MIB + 512, 2 * MIB + 1024))
            commands = []
            for _ in range(rng.randrange(1, 6)):
                at = rng.randrange(0, MIB - 1)
                length = rng.choice((1, 512, 5000, 70000, 200000))
                length = min(length, MIB - at)
                kind = rng.choice(('-P 1', '-P 0', '-P 2', '-z', '-zu'))
                commands.append('write %s %d %d' % (kind, at, length))
            self.create('a', str(size), '-o', 'cluster_size=' + cluster)
            self.io('a', *commands)
            if rng.random() < 0.5:
                commands.append('write -P %d %d 3' %
                                (rng.randrange(3), rng.randrange(MIB)))
            else:
                rng.shuffle(commands)
            self.create('b', str(rng.choice((size, size + 65536))), '-o',
                        'cluster_size=' + rng.choice((cluster, '64k')))
            self.io('b', *commands)
            with self.subTest(commands=commands):
                for args in (('a', 'b'), ('b', 'a')):
                    self.same_all('qemu-img', 'compare', *args)

    def damage(self, name, where, value):
        """Overwrite the L1 entry, or L2 entry number where, of an image."""
        for directory in (self.ours, self.theirs):
            with open(os.path.join(directory, name), 'r+b') as f:
                f.seek(40)
                at = struct.unpack('>Q', f.read(8))[0]
                if where is not None:
                    f.seek(at)
                    at = struct.unpack('>Q', f.read(8))[0] & ((1 << 56) - 1)
                    at += 8 * where
                f.seek(at)
                f.write(struct.pack('>Q', value))

    def test_broken_images(self):
        for where in (None, 2):
            self.create('good', '1M')
            self.io('good', 'write 0 1M')
            self.qemu('qemu-img', 'convert', '-O', 'qcow2', 'good', 'bad')
            self.damage('bad', where, (1 << 63) | 0x40200)
            for args in (('good', 'bad'), ('bad', 'good')):
                ours, theirs = self.same_output('qemu-img', 'compare', *args)
                self.assertEqual(ours.status, 3)
                self.assertIn('Sector allocation test failed for bad',
                              ours.err)
                self.assertIn('Sector allocation test failed for bad',
                              theirs.err)

    def test_unreadable_clusters(self):
        self.create('good', '1M')
        self.io('good', 'write 0 1M')
        self.qemu('qemu-img', 'convert', '-c', '-O', 'qcow2', 'good', 'bad')
        with open(self.our_path('bad'), 'rb') as f:
            f.seek(40)
            f.seek(struct.unpack('>Q', f.read(8))[0])
            f.seek((struct.unpack('>Q', f.read(8))[0] & ((1 << 56) - 1)) + 16)
            at = struct.unpack('>Q', f.read(8))[0] & ((1 << 54) - 1)
        self.patch('bad', at, b'\xff' * 20)
        for args in (('good', 'bad'), ('bad', 'good')):
            ours, _ = self.same_all('qemu-img', 'compare', *args)
            self.assertEqual(ours.status, 4)

    def test_options(self):
        self.create('a', '4M')
        self.create('b', '4M')
        self.io('b', 'write -P 1 1M 64k')
        for args in (['-q', 'a', 'b'], ['-q', 'a', 'a'], ['-T', 'none', 'a',
                                                          'b'],
                     ['-U', 'a', 'b'], ['-f', 'qcow2', '-F', 'qcow2', 'a',
                                        'b'],
                     ['-f', 'raw', 'a', 'b'], ['-q', '-s', 'a', 'b'],
                     ['--image-opts', 'driver=qcow2,file.filename=a',
                      'driver=qcow2,file.filename=b']):
            self.same_all('qemu-img', 'compare', *args)
        for args in (['-p', 'a', 'b'], ['-p', 'a', 'a'], ['-p', '-q', 'a',
                                                          'b']):
            self.same_all('qemu-img', 'compare', *args,
                          normalize=without_progress)
        self.create('c', '64M')
        self.io('c', *['write -P 1 %dk 64k' % (k * k * 64)
                       for k in range(30)])
        for names in (('a', 'a'), ('c', 'c'), ('c', 'a')):
            self.same_all('qemu-img', 'compare', '-p', *names)
        out = self.our('qemu-img', 'compare', '-p', 'a', 'a').out
        self.assertTrue(out.startswith('    (0.00/100%)\r'), out)
        self.assertIn('(100.00/100%)', out)

    def test_long_options(self):
        self.create('a', '4M')
        self.create('b', '6M')
        for args in (['--a-format', 'qcow2', '--b-format', 'qcow2'],
                     ['--strict'], ['--quiet'], ['--force-share'],
                     ['--cache', 'writeback'], ['--progress']):
            short = self.our('qemu-img', 'compare', args[0][:0] + 'a', 'b')
            result = self.our('qemu-img', 'compare', *args, 'a', 'b')
            self.assertEqual(result.status, 1 if args == ['--strict'] else 0,
                             '%s: %r %r' % (args, result, short))
        self.assertEqual(self.our('qemu-img', 'compare', '--help').status, 0)

    def test_errors(self):
        self.create('a', '4M')
        self.create('b', '4M')
        for args in ('a', '', 'a b c', 'a none', 'none a', '-f bogus a b',
                     '-F bogus a b', '-T bogus a b', '-x a b',
                     '--image-opts -f raw a b'):
            ours, theirs = self.same_all('qemu-img', 'compare', *args.split())
            self.assertNotEqual(ours.status, 0)
        # QEMU's program ignores the second format then.
        ours = self.our('qemu-img', 'compare', '--image-opts', '-F', 'raw',
                        'driver=qcow2,file.filename=a',
                        'driver=qcow2,file.filename=b')
        self.assertEqual(ours.status, 2)
        self.same_output('qemu-img', 'compare', '--object', 'bogus', 'a', 'b')
        self.same_output('qemu-img', 'compare', '-f', 'qcow', 'a', 'b')

    @unittest.skipUnless(os.path.exists('/proc/self/io'), 'needs /proc')
    def test_common_data_is_not_read(self):
        """Two overlays of one base take no longer than their own data."""
        self.create('base', '64M')
        self.io('base', 'write -P 1 0 64M')
        for name in 'ab':
            self.create(name, '64M', '-b', 'base', '-F', 'qcow2')
            self.io(name, 'write -P 2 1M 64k')
        # A base that cannot be read tells whether it was.
        for directory in (self.ours,):
            os.truncate(os.path.join(directory, 'base'), 400 * KIB)
        result = self.our('qemu-img', 'compare', 'a', 'b')
        self.assertEqual(result.status, 0, result)


if __name__ == '__main__':
    main()
