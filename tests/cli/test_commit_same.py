# SPDX-License-Identifier: MIT
"""commit leaves the same disks behind as qemu-img does."""

import os
import random
import re
import time

from cli_common import (CliTest, LUKS, MIB, SECRETS, THEIRS, image_opts, main,
                        run_program)


def without_progress(text):
    return re.sub(r'    \(\d+\.\d\d/100%\)\r', '', text)


class CommitSame(CliTest):

    def io(self, name, *commands, fmt='qcow2'):
        args = []
        for command in commands:
            args += ['-c', command]
        self.qemu('qemu-io', '-f', fmt, *args, name)

    def create(self, name, size, *args, fmt='qcow2'):
        self.qemu('qemu-img', 'create', '-q', '-f', fmt, *args, name, size)

    def overlay(self, name, base, size, *args, base_fmt='qcow2', fmt='qcow2'):
        self.create(name, size, '-b', base, '-F', base_fmt, *args, fmt=fmt)

    def size_of(self, name, directory):
        out = run_program(THEIRS, ['qemu-img', 'info', '--output=json', name],
                          directory).out
        return re.search(r'"virtual-size": (\d+)', out).group(1)

    def test_nothing_is_left_of_a_long_overlay(self):
        """A refcount block counts 128 KiB of the file, and lies in them."""
        self.create('base', '2M')
        self.overlay('top', 'base', '2M', '-o', 'cluster_size=512')
        self.io('top', 'write -P 3 0 2M')
        long = os.stat(self.our_path('top')).st_size
        self.same_status('qemu-img', 'commit', '-q', 'top')
        self.same_disks('base', 'top')
        self.is_sound('top')
        self.assertGreater(long, 2 * MIB)
        self.assertLessEqual(os.stat(self.our_path('top')).st_size,
                             os.stat(self.their_path('top')).st_size)

    def same_disks(self, *names, fmt=None):
        """Each of our images holds what theirs of this name does."""
        for name in names:
            args = ['qemu-img', 'compare'] + (['-f', fmt, '-F', fmt] if fmt
                                              else [])
            result = run_program(THEIRS, args + [self.our_path(name),
                                                 self.their_path(name)],
                                 self.root)
            self.assertEqual(result.status, 0, '%s: %r' % (name, result))
            self.assertEqual(self.size_of(name, self.ours),
                             self.size_of(name, self.theirs), name)

    def sound(self, *names):
        for name in names:
            self.is_sound(name)

    def chain(self, sizes=('4M', '5M', '6M', '6M'), options=()):
        self.create('c0', sizes[0], *options)
        self.io('c0', 'write -P 1 0 1M')
        for i in range(1, len(sizes)):
            self.overlay('c%d' % i, 'c%d' % (i - 1), sizes[i], *options)
            self.io('c%d' % i, 'write -P %d %dk 700k' % (i + 1, 400 * i),
                    'write -z %dk 64k' % (130 * i),
                    'write -P %d %d 1000' % (i + 5, 3000000 + 70000 * i))

    def our_bytes(self, name):
        with open(self.our_path(name), 'rb') as f:
            return f.read()

    def check(self, top, names, *args):
        """Commit and compare every image of the chain."""
        ours, _ = self.same_output('qemu-img', 'commit', *args, top)
        self.assertEqual(ours.status, 0, ours)
        self.same_disks(*names)
        self.sound(*names)

    def test_chains(self):
        for length in (2, 3, 4):
            sizes = ('4M', '5M', '6M', '6M')[:length]
            names = ['c%d' % i for i in range(length)]
            for base in range(length - 1):
                self.chain(sizes)
                self.check(names[-1], names, '-b', names[base])
            self.chain(sizes)
            self.check(names[-1], names)
            self.chain(sizes)
            self.check(names[-1], names, '-d')

    def test_top_is_emptied(self):
        self.chain()
        self.check('c3', ['c3'])
        kinds = {e['depth'] for e in self.our_map('c3')}
        self.assertNotIn(0, kinds)
        self.assertLessEqual(os.stat(self.our_path('c3')).st_size,
                             os.stat(self.their_path('c3')).st_size +
                             65536)
        # And is as good as new.
        self.io('c3', 'write -P 9 2M 300k')
        self.same_disks('c3')
        self.sound('c3')
        self.check('c3', ['c2', 'c3'])

    def test_top_is_kept(self):
        for args in (['-d'], ['-b', 'c2'], ['-b', 'c1'], ['-b', 'c0'],
                     ['--drop'], ['--base', 'c2']):
            self.chain()
            before = self.our_bytes('c3')
            result = self.our('qemu-img', 'commit', *args, 'c3')
            self.assertEqual(result.status, 0, result)
            self.assertEqual(before, self.our_bytes('c3'))

    def test_geometries(self):
        for options in ('compat=0.10', 'cluster_size=512', 'cluster_size=2M',
                        'extended_l2=on', 'lazy_refcounts=on',
                        'refcount_bits=1'):
            self.chain(('4M', '6M', '6M'), ('-o', options))
            self.check('c2', ['c0', 'c1', 'c2'])
            self.chain(('4M', '6M', '6M'), ('-o', options))
            self.check('c2', ['c0', 'c1', 'c2'], '-b', 'c0')

    def test_mixed_geometries(self):
        for top, base in (('cluster_size=512', 'cluster_size=64k'),
                          ('cluster_size=64k', 'cluster_size=512'),
                          ('extended_l2=on', 'compat=0.10'),
                          ('compat=0.10', 'extended_l2=on')):
            self.create('base', '3M', '-o', base)
            self.io('base', 'write -P 1 0 3M')
            self.overlay('top', 'base', '4M', '-o', top)
            self.io('top', 'write -P 2 100001 5', 'write -P 3 1M 70000',
                    'write -P 4 3500000 100', 'write -P 0 2M 64k')
            if 'compat=0.10' not in top:
                self.io('top', 'write -z 1500k 32k')
            self.check('top', ['base', 'top'])

    def test_raw_bases(self):
        for size in (4 * MIB, 1000000, 1000448, 513, 1):
            for top_size in ('4M', str((size + 511) // 512 * 512), '512k'):
                self.file('raw', size, [(0, b'x' * min(size, 70000))])
                self.overlay('top', 'raw', top_size, base_fmt='raw')
                self.io('top', 'write -P 2 512 %d' %
                        min(100, int(self.size_of('top', self.ours)) - 512)
                        if int(self.size_of('top', self.ours)) > 512
                        else 'write -P 2 0 100')
                ours, _ = self.same_output('qemu-img', 'commit', 'top')
                self.assertEqual(ours.status, 0)
                self.same_disks('top')
                self.same_disks('raw', fmt='raw')
                self.same_bytes('raw')

    def test_zeros_in_raw_bases(self):
        self.file('raw', 4 * MIB, [(0, b'x' * 4 * MIB)])
        self.overlay('top', 'raw', '4M', base_fmt='raw')
        self.io('top', 'write -z 1M 1M', 'write -P 0 3M 64k')
        ours, _ = self.same_output('qemu-img', 'commit', 'top')
        self.assertEqual(ours.status, 0)
        self.same_bytes('raw')

    def test_short_images_in_the_middle(self):
        """What is behind their end is zeros, not what the base has there."""
        self.create('base', '6M')
        self.io('base', 'write -P 1 0 6M')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base',
                  '-F', 'qcow2', 'mid', '2M')
        self.overlay('top', 'mid', '6M')
        self.io('top', 'write -P 3 5M 64k')
        self.check('top', ['base', 'mid', 'top'], '-b', 'base')

    def test_version_1(self):
        self.create('base', '1M', fmt='qcow')
        self.io('base', 'write -P 1 0 1M', fmt='qcow')
        self.overlay('top', 'base', '1M', base_fmt='qcow', fmt='qcow')
        self.io('top', 'write -P 2 4k 100k', fmt='qcow')
        ours, _ = self.same_output('qemu-img', 'commit', 'top')
        self.assertEqual(ours.status, 0)
        self.same_disks('base', 'top', fmt='qcow')
        self.assertEqual(os.stat(self.our_path('top')).st_size,
                         os.stat(self.their_path('top')).st_size)
        # Version 1 cannot grow.
        self.overlay('long', 'base', '2M', base_fmt='qcow', fmt='qcow')
        self.io('long', 'write -P 2 4k 100k', fmt='qcow')
        ours, _ = self.same_output('qemu-img', 'commit', 'long')
        self.assertEqual(ours.status, 1)

    def test_compressed_clusters(self):
        self.create('base', '4M')
        self.overlay('top', 'base', '4M')
        self.create('src', '4M')
        self.io('src', 'write -P 7 1M 1M')
        self.qemu('qemu-img', 'convert', '-c', '-O', 'qcow2', '-B', 'base',
                  '-F', 'qcow2', 'src', 'top')
        self.check('top', ['base', 'top'])

    def test_snapshots_stay(self):
        self.chain(('4M', '6M'))
        self.qemu('qemu-img', 'snapshot', '-c', 's1', 'c1')
        self.io('c1', 'write -P 99 0 2M')
        self.check('c1', ['c0', 'c1'])
        self.qemu('qemu-img', 'snapshot', '-a', 's1', 'c1')
        self.sound('c1')
        self.same_disks('c1')

    def test_bitmaps_stay(self):
        self.chain(('4M', '6M'))
        self.qemu('qemu-img', 'bitmap', '--add', 'c1', 'b0')
        self.io('c1', 'write -P 99 0 100k')
        self.check('c1', ['c0', 'c1'])

    def test_data_files(self):
        self.create('base', '4M')
        self.io('base', 'write -P 1 0 4M')
        self.overlay('top', 'base', '4M', '-o', 'data_file=top.data')
        for directory in (self.ours, self.theirs):
            result = run_program(THEIRS, ['qemu-io', '-c',
                                          'write -P 2 1M 1M', 'top'],
                                 directory)
            self.assertEqual(result.status, 0, result)
        ours, _ = self.same_output('qemu-img', 'commit', 'top')
        self.assertEqual(ours.status, 0)
        self.same_disks('base')
        self.sound('base', 'top')

    def test_encrypted_images(self):
        for name in ('base', 'top'):
            args = ['-b', 'base', '-F', 'qcow2'] if name == 'top' else []
            self.their_image(name, 'qemu-img', 'create', '-q', *SECRETS, '-f',
                             'qcow2', '-u', '-o', LUKS, *args, name, '2M')
        opts = image_opts('top') + ',backing.encrypt.key-secret=s0'
        for directory in (self.ours, self.theirs):
            result = run_program(
                THEIRS, ['qemu-io', *SECRETS, '--image-opts', '-c',
                         'write -P 5 64k 100k', opts], directory)
            self.assertEqual(result.status, 0, result)
        ours, _ = self.same_output('qemu-img', 'commit', *SECRETS,
                                   '--image-opts', opts)
        self.assertEqual(ours.status, 0, ours)
        result = run_program(
            THEIRS, ['qemu-img', 'compare', *SECRETS, '--image-opts',
                     image_opts(self.our_path('base')),
                     image_opts(self.their_path('base'))], self.root)
        self.assertEqual(result.status, 0, result)

    def test_names_of_the_base(self):
        os.mkdir(self.our_path('sub'))
        os.mkdir(self.their_path('sub'))
        for name in ('base', './base', '../base', 'sub/../base', 'none',
                     'top', 'mid', '../mid'):
            self.create('base', '1M')
            self.overlay('mid', 'base', '1M')
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b',
                      '../mid', '-F', 'qcow2', 'sub/top', '1M')
            self.io('sub/top', 'write -P 3 0 64k')
            self.same_all('qemu-img', 'commit', '-b', name, 'sub/top')

    def test_options(self):
        for args in (['-q'], ['-t', 'none'], ['-t', 'unsafe'],
                     ['-t', 'writethrough'], ['-f', 'qcow2'], ['-r', '100M'],
                     ['--cache', 'directsync'], ['--rate-limit', '1G'],
                     ['--format', 'qcow2'], ['--quiet']):
            self.chain(('2M', '4M'))
            ours = self.our('qemu-img', 'commit', *args, 'c1')
            self.assertEqual(ours.status, 0, ours)
            args = [{'--cache': '-t', '--rate-limit': '-r', '--format': '-f',
                     '--quiet': '-q'}.get(a, a) for a in args]
            theirs = self.their('qemu-img', 'commit', *args, 'c1')
            self.assertEqual(ours.out, theirs.out)
            self.same_disks('c0', 'c1')
            self.sound('c0', 'c1')
        self.chain(('2M', '4M'))
        self.same_all('qemu-img', 'commit', '-p', 'c1',
                      normalize=without_progress)
        self.chain(('2M', '4M'))
        out = self.our('qemu-img', 'commit', '--progress=json', 'c1').out
        self.assertIn('"percent": 100.00', out)
        self.chain(('2M', '4M'))
        self.same_all('qemu-img', 'commit', '--image-opts',
                      'driver=qcow2,file.filename=c1')
        self.assertEqual(self.our('qemu-img', 'commit', '--help').status, 0)

    def test_described_chains(self):
        """The base is what --image-opts say, not what the image names."""
        for base in ('backing.driver=qcow2,backing.file.filename=other',
                     'backing.file.filename=other', 'backing.driver=qcow2'):
            self.chain(('2M', '4M'))
            self.create('other', '2M')
            self.io('other', 'write -P 99 0 2M')
            self.same_all('qemu-img', 'commit', '--image-opts',
                          'driver=qcow2,file.filename=c1,' + base)
            self.same_content('c0', self.their_path('c0'))
            self.same_content('other', self.their_path('other'))
            self.sound('c0', 'c1', 'other')

    def test_rate_limit_takes_its_time(self):
        self.create('base', '4M')
        self.overlay('top', 'base', '4M')
        self.io('top', 'write -P 1 0 2M')
        result = self.our('qemu-img', 'commit', '-r', '2M', 'top')
        self.assertEqual(result.status, 0, result)
        self.io('top', 'write -P 1 0 2M')
        start = time.monotonic()
        self.our('qemu-img', 'commit', '-r', '2M', 'top')
        self.assertGreater(time.monotonic() - start, 0.9)

    def test_errors(self):
        self.chain(('2M', '4M'))
        for args in ('c0', '', 'a b', 'none', '-t bogus c1', '-r x c1',
                     '-r -1 c1', '-f raw c1', '-f bogus c1', '-b none c1',
                     '--image-opts -f qcow2 driver=qcow2,file.filename=c1',
                     '--image-opts driver=qcow2,file.filename=c1,backing=',
                     '-p c0', '-p -b none c1', '-p -q c0', '-p none'):
            ours, _ = self.same_all('qemu-img', 'commit', *args.split())
            self.assertNotEqual(ours.status, 0, args)
        os.unlink(self.our_path('c0'))
        os.unlink(self.their_path('c0'))
        self.same_all('qemu-img', 'commit', 'c1')

    def test_an_image_that_is_its_own_base(self):
        self.create('loop', '1M')
        result = self.our('qemu-img', 'rebase', '-u', '-b', 'loop', '-F',
                          'qcow2', 'loop')
        self.assertEqual(result.status, 0, result)
        before = self.our_bytes('loop')
        result = self.our('qemu-img', 'commit', 'loop')
        self.assertEqual(result.status, 1, result)
        self.assertEqual(before, self.our_bytes('loop'))

    def test_random_chains(self):
        seed = int(os.environ.get('QCF_TEST_SEED', random.randrange(1 << 32)))
        print('seed', seed)
        rng = random.Random(seed)
        for _ in range(8):
            length = rng.randrange(2, 5)
            names = ['r%d' % i for i in range(length)]
            log = []
            for i, name in enumerate(names):
                size = rng.choice((MIB, 2 * MIB, 2 * MIB + 512,
                                   MIB + 65536 + 1024))
                options = 'cluster_size=' + rng.choice(('512', '4k', '64k'))
                if i == 0:
                    self.create(name, str(size), '-o', options)
                else:
                    self.overlay(name, names[i - 1], str(size), '-o', options)
                commands = []
                for _ in range(rng.randrange(6)):
                    at = rng.randrange(size - 1)
                    n = min(size - at, rng.choice((1, 700, 65536, 300000)))
                    kind = rng.choice(('-P %d' % (i + 1), '-P 0', '-z',
                                       '-zu'))
                    commands.append('write %s %d %d' % (kind, at, n))
                if commands:
                    self.io(name, *commands)
                log.append((name, size, options, commands))
            base = rng.choice([None] + names[:-1])
            args = [] if base is None else ['-b', base]
            with self.subTest(log=log, args=args):
                self.check(names[-1], names if base is None
                           else names[:names.index(base) + 1] + names[-1:],
                           *args)


if __name__ == '__main__':
    main()
