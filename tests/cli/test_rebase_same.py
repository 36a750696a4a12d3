# SPDX-License-Identifier: MIT
"""rebase keeps the disk, as qemu-img does, and gives it the same name below."""

import json
import os
import random
import re

from cli_common import (CliTest, LUKS, MIB, SECRETS, THEIRS, image_opts, main,
                        run_program)


def without_progress(text):
    return re.sub(r'    \(\d+\.\d\d/100%\)\r', '', text)


class RebaseSame(CliTest):

    def io(self, name, *commands):
        args = []
        for command in commands:
            args += ['-c', command]
        self.qemu('qemu-io', *args, name)

    def create(self, name, size, *args, fmt='qcow2'):
        self.qemu('qemu-img', 'create', '-q', '-f', fmt, *args, name, size)

    def overlay(self, name, base, size, *args, base_fmt='qcow2', fmt='qcow2'):
        self.create(name, size, '-b', base, '-F', base_fmt, *args, fmt=fmt)

    def facts(self, name, directory):
        out = run_program(THEIRS, ['qemu-img', 'info', '-U', '--output=json',
                                   name], directory).out
        info = json.loads(out)
        return [info.get(key) for key in
                ('virtual-size', 'backing-filename',
                 'backing-filename-format', 'format')]

    def keep(self, name='top'):
        """Remember the disk as it is now."""
        result = run_program(THEIRS, ['qemu-img', 'convert', '-O', 'raw', name,
                                      'before'], self.ours)
        self.assertEqual(result.status, 0, result)

    def theirs_kept_the_disk(self, name):
        result = run_program(THEIRS, ['qemu-img', 'compare', '-f', 'raw',
                                      self.our_path('before'),
                                      self.their_path(name)], self.root)
        return result.status == 0

    def same_disk(self, name='top', theirs_may_lose=False):
        """It still is, and theirs has the same name and disk.

        qemu-img 7.2 changes the disk where a new base of smaller clusters
        ends inside a cluster of the image; ours must keep it there too.
        """
        self.same_content('before', name, a_format='raw')
        self.assertEqual(self.facts(name, self.ours),
                         self.facts(name, self.theirs))
        if theirs_may_lose and not self.theirs_kept_the_disk(name):
            return
        result = run_program(THEIRS, ['qemu-img', 'compare',
                                      self.our_path(name),
                                      self.their_path(name)], self.root)
        self.assertEqual(result.status, 0, '%s: %r' % (name, result))

    def chain(self, options=(), sizes=('4M', '5M', '6M')):
        self.create('base', sizes[0], *options)
        self.io('base', 'write -P 1 0 1M', 'write -P 2 3M 100k')
        self.overlay('mid', 'base', sizes[1], *options)
        self.io('mid', 'write -P 3 512k 1M', 'write -z 3M 64k',
                'write -P 4 4500000 100')
        self.overlay('top', 'mid', sizes[2], *options)
        self.io('top', 'write -P 5 1M 100k', 'write -z 128k 64k',
                'write -P 6 5500000 100')
        self.create('new', '4M', *options)
        self.io('new', 'write -P 9 256k 1M', 'write -P 1 0 100k')
        self.keep()

    def check(self, *args, name='top', theirs_may_lose=False):
        ours, _ = self.same_all('qemu-img', 'rebase', *args, name)
        self.assertEqual(ours.status, 0, ours)
        self.same_disk(name, theirs_may_lose)
        self.is_sound(name)

    def test_new_bases(self):
        for base in ('base', 'new', 'mid', './new', '../ours/new'):
            self.chain()
            if base.startswith('..'):
                ours = self.our('qemu-img', 'rebase', '-b', base, '-F',
                                'qcow2', 'top')
                self.assertEqual(ours.status, 0, ours)
                self.same_content('before', 'top', a_format='raw')
            else:
                self.check('-b', base, '-F', 'qcow2')

    def test_flatten(self):
        for args in (['-b', ''], ['-b', '', '-F', 'qcow2']):
            self.chain()
            self.check(*args)
            self.assertEqual({e['depth'] for e in self.our_map('top')}, {0})

    def test_zero_ranges_stay_unallocated(self):
        self.chain()
        self.check('-b', '')
        kinds = [e for e in self.our_map('top') if not e['present']]
        self.assertTrue(kinds)

    def test_geometries(self):
        for options in ('compat=0.10', 'cluster_size=512', 'cluster_size=2M',
                        'extended_l2=on', 'lazy_refcounts=on',
                        'refcount_bits=64'):
            for base in ('base', 'new', ''):
                self.chain(('-o', options))
                self.check('-b', base, *(['-F', 'qcow2'] if base else []))

    def test_subclusters_over_small_clusters(self):
        self.create('base', '4M', '-o', 'cluster_size=512')
        self.io('base', 'write -P 1 100k 512', 'write -P 2 1M 3k',
                'write -P 3 2000001 1')
        self.overlay('top', 'base', '4M', '-o', 'extended_l2=on')
        self.io('top', 'write -P 4 102k 2k', 'write -z 1M 2k')
        self.create('new', '4M', '-o', 'cluster_size=4k')
        self.io('new', 'write -P 1 100k 1k', 'write -P 7 3M 64k')
        self.keep()
        self.check('-b', 'new', '-F', 'qcow2')

    def test_sizes(self):
        for sizes in (('2M', '6M', '6M'), ('6M', '2M', '6M'),
                      ('6M', '6M', '2M'), ('1M', '3M', '6M')):
            for base in ('base', 'new', ''):
                self.create('base', sizes[0])
                self.io('base', 'write -P 1 0 1M')
                self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b',
                          'base', '-F', 'qcow2', 'mid', sizes[1])
                self.io('mid', 'write -P 2 1500k 100k')
                self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b',
                          'mid', '-F', 'qcow2', 'top', sizes[2])
                self.create('new', '5M')
                self.io('new', 'write -P 3 0 5M')
                self.keep()
                self.check('-b', base, *(['-F', 'qcow2'] if base else []))

    def test_raw_files(self):
        for size in (3 * MIB, 3 * MIB + 1, 1000, 6 * MIB + 512):
            self.chain()
            self.file('raw', size, [(0, b'\1' * min(size, 100000))])
            self.check('-b', 'raw', '-F', 'raw')
            self.file('raw2', size // 2, [(0, b'\1' * min(size // 2, 9000))])
            self.check('-b', 'raw2', '-F', 'raw')

    def test_images_without_a_backing_file(self):
        for options in ('compat=1.1', 'compat=0.10', 'extended_l2=on'):
            self.create('top', '6M', '-o', options)
            self.io('top', 'write -P 5 1M 100k', 'write -P 6 5500000 100')
            self.create('new', '4M')
            self.io('new', 'write -P 9 0 4M')
            self.keep()
            if options != 'compat=0.10':
                self.check('-b', 'new', '-F', 'qcow2')
                continue
            # There QEMU 7.2 lets the new backing file show through.
            result = self.our('qemu-img', 'rebase', '-b', 'new', '-F',
                              'qcow2', 'top')
            self.assertEqual(result.status, 0, result)
            self.same_content('before', 'top', a_format='raw')
            self.is_sound('top')

    def test_common_data_is_not_copied(self):
        self.chain()
        self.overlay('other', 'base', '4M')
        self.check('-b', 'other', '-F', 'qcow2')
        depths = {e['start']: e['depth'] for e in self.our_map('top')}
        self.assertEqual(depths[0], 2)

    def test_common_data_is_not_read(self):
        self.create('base', '8M')
        self.io('base', 'write -P 1 0 8M')
        for name in ('mid', 'other'):
            self.overlay(name, 'base', '8M')
        self.overlay('top', 'mid', '8M')
        os.truncate(self.our_path('base'), 400 * 1024)
        result = self.our('qemu-img', 'rebase', '-b', 'other', '-F', 'qcow2',
                          'top')
        self.assertEqual(result.status, 0, result)
        self.assertEqual(self.facts('top', self.ours)[1], 'other')

    def test_unsafe(self):
        for args in (['-b', 'new', '-F', 'qcow2'], ['-b', ''],
                     ['-b', '', '-F', 'raw'], ['-b', 'none', '-F', 'vmdk'],
                     ['-b', 'top', '-F', 'qcow2'], []):
            for missing in (False, True):
                self.chain()
                if missing:
                    os.unlink(self.our_path('mid'))
                    os.unlink(self.their_path('mid'))
                before = self.our_map_of_top()
                ours, _ = self.same_all('qemu-img', 'rebase', '-u', *args,
                                        'top')
                self.assertEqual(ours.status, 0, ours)
                self.assertEqual(self.facts('top', self.ours),
                                 self.facts('top', self.theirs))
                self.assertEqual(before, self.our_map_of_top())

    def our_map_of_top(self):
        """Bytes behind the header, which is all that may change."""
        with open(self.our_path('top'), 'rb') as f:
            f.seek(65536)
            return f.read()

    def test_compressed_copies(self):
        for options in ('compat=1.1', 'compat=0.10', 'extended_l2=on'):
            for base in ('new', 'base', ''):
                self.chain(('-o', options))
                ours = self.our('qemu-img', 'rebase', '-c', '-b', base,
                                *(['-F', 'qcow2'] if base else []), 'top')
                self.assertEqual(ours.status, 0, ours)
                self.same_content('before', 'top', a_format='raw')
                self.is_sound('top')
                self.assertIn(True, [e['compressed']
                                     for e in self.our_map('top')])
        self.chain()
        ours = self.our('qemu-img', 'rebase', '--compress', '-u', '-b', '',
                        'top')
        self.assertEqual(ours.status, 1)

    def test_long_names(self):
        for length, options in ((1023, 'compat=1.1'), (1024, 'compat=1.1'),
                                (1000, 'cluster_size=512'),
                                (300, 'cluster_size=512'),
                                (500, 'cluster_size=512'),
                                (1023, 'compat=0.10')):
            self.create('top', '1M', '-o', options)
            ours, _ = self.same_output('qemu-img', 'rebase', '-u', '-b',
                                       'x' * length, '-F', 'qcow2', 'top')
            self.assertEqual(self.facts('top', self.ours),
                             self.facts('top', self.theirs))
            if ours.status != 0 and length == 1000:
                self.assertIn('No space left in the file header', ours.err)

    def test_version_1(self):
        """QEMU's program does not do that at all."""
        self.create('base', '1M', fmt='qcow')
        self.qemu('qemu-io', '-f', 'qcow', '-c', 'write -P 1 0 100k', 'base')
        self.overlay('top', 'base', '1M', base_fmt='qcow', fmt='qcow')
        self.qemu('qemu-io', '-f', 'qcow', '-c', 'write -P 2 50k 100k', 'top')
        self.keep()
        result = self.our('qemu-img', 'rebase', '-b', '', 'top')
        self.assertEqual(result.status, 0, result)
        self.same_content('before', 'top', a_format='raw')
        self.create('new', '1M')
        self.io('new', 'write -P 9 0 1M')
        result = self.our('qemu-img', 'rebase', '-b', 'new', '-F', 'qcow2',
                          'top')
        self.assertEqual(result.status, 0, result)
        self.same_content('before', 'top', a_format='raw')
        result = self.our('qemu-img', 'rebase', '-u', '-b', 'x' * 500, '-F',
                          'qcow2', 'top')
        self.assertEqual(result.status, 1, result)
        self.same_content('before', 'top', a_format='raw')

    def test_snapshots_stay(self):
        self.chain()
        self.qemu('qemu-img', 'snapshot', '-c', 's', 'top')
        self.io('top', 'write -P 77 0 1M')
        self.keep()
        self.check('-b', 'new', '-F', 'qcow2')

    def test_data_files(self):
        self.create('base', '1M')
        self.io('base', 'write -P 1 0 200k')
        self.create('top', '1M', '-o', 'data_file=top.data', '-b', 'base',
                    '-F', 'qcow2')
        for directory in (self.ours, self.theirs):
            result = run_program(THEIRS, ['qemu-io', '-c',
                                          'write -P 2 64k 64k', 'top'],
                                 directory)
            self.assertEqual(result.status, 0, result)
        self.keep()
        ours, _ = self.same_all('qemu-img', 'rebase', '-b', '', 'top')
        self.assertEqual(ours.status, 0)
        self.same_content('before', 'top', a_format='raw')
        self.is_sound('top')
        for args in (['-b', 'base', '-F', 'qcow2'], ['-b', '']):
            ours, _ = self.same_all('qemu-img', 'rebase', '-u', *args, 'top')
            self.assertEqual(ours.status, 0, ours)
            self.assertEqual(self.facts('top', self.ours),
                             self.facts('top', self.theirs))
        self.create('raw', '1M', '-o', 'data_file=raw.data,data_file_raw=on')
        self.same_output('qemu-img', 'rebase', '-u', '-b', 'base', '-F',
                         'qcow2', 'raw')

    def test_encrypted_images(self):
        self.create('base', '2M')
        self.io('base', 'write -P 1 0 1M')
        self.create('new', '2M')
        self.io('new', 'write -P 3 64k 1M')
        self.their_image('top', 'qemu-img', 'create', '-q', *SECRETS, '-f',
                         'qcow2', '-u', '-o', LUKS, '-b', 'base', '-F',
                         'qcow2', 'top', '2M')
        for directory in (self.ours, self.theirs):
            result = run_program(
                THEIRS, ['qemu-io', *SECRETS, '--image-opts', '-c',
                         'write -P 5 100k 100k', image_opts('top')],
                directory)
            self.assertEqual(result.status, 0, result)
        for run, path in ((self.our, self.our_path),
                          (self.their, self.their_path)):
            # QEMU's program takes no relative name here.
            result = run('qemu-img', 'rebase', *SECRETS, '--image-opts', '-b',
                         path('new'), '-F', 'qcow2', image_opts('top'))
            self.assertEqual(result.status, 0, result)
        result = run_program(
            THEIRS, ['qemu-img', 'compare', *SECRETS, '--image-opts',
                     image_opts(self.our_path('top')),
                     image_opts(self.their_path('top'))], self.root)
        self.assertEqual(result.status, 0, result)

    def test_options(self):
        for args in (['-q'], ['-U'], ['-t', 'none'], ['-T', 'none'],
                     ['-f', 'qcow2'], ['-t', 'unsafe', '-T', 'unsafe']):
            self.chain()
            self.check(*args, '-b', 'new', '-F', 'qcow2')
        for args in (['--backing', 'new', '--backing-format', 'qcow2'],
                     ['-b', 'new', '-B', 'qcow2', '--quiet'],
                     ['-b', 'new', '-F', 'qcow2', '--format', 'qcow2'],
                     ['-b', 'new', '-F', 'qcow2', '--cache', 'writethrough',
                      '--backing-cache', 'none', '--force-share']):
            self.chain()
            result = self.our('qemu-img', 'rebase', *args, 'top')
            self.assertEqual(result.status, 0, result)
            self.same_content('before', 'top', a_format='raw')
        self.chain()
        self.same_all('qemu-img', 'rebase', '-p', '-b', 'new', '-F', 'qcow2',
                      'top', normalize=without_progress)
        for args in ('-b none -F qcow2 top', '-b new -F qcow2 none',
                     '-b new -F bogus top', '-q -b none -F qcow2 top'):
            self.same_all('qemu-img', 'rebase', '-p', *args.split())
        self.same_all('qemu-img', 'rebase', '-b', 'base', '-F', 'qcow2',
                      '--image-opts', 'driver=qcow2,file.filename=top')
        self.same_disk()
        self.assertEqual(self.our('qemu-img', 'rebase', '--backing-unsafe',
                                  '-b', '', 'top').status, 0)
        self.assertEqual(self.our('qemu-img', 'rebase', '--help').status, 0)

    def test_errors(self):
        self.chain()
        for args in ('top', '-b new -F qcow2', '-b new -F qcow2 a b',
                     '-b new -F qcow2 none', '-b none -F qcow2 top',
                     '-b new -F bogus top', '-u -b new -F bogus top',
                     '-b new top', '-u -b new top',
                     '-t bogus -b new -F qcow2 top',
                     '-T bogus -b new -F qcow2 top',
                     '-f bogus -b new -F qcow2 top',
                     '-b top -F qcow2 top',
                     '--image-opts -f qcow2 -b new -F qcow2 '
                     'driver=qcow2,file.filename=top'):
            ours, _ = self.same_all('qemu-img', 'rebase', *args.split())
            self.assertNotEqual(ours.status, 0, args)
        for args in ('-f raw -b new -F qcow2 top',
                     '-f raw -u -b new -F qcow2 top'):
            self.same_output('qemu-img', 'rebase', *args.split())
        self.same_content('before', 'top', a_format='raw')
        os.unlink(self.our_path('mid'))
        os.unlink(self.their_path('mid'))
        self.same_all('qemu-img', 'rebase', '-b', 'new', '-F', 'qcow2', 'top')

    def test_an_image_below_itself_is_refused(self):
        self.chain()
        self.qemu('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-b', 'top',
                  '-F', 'qcow2', 'above', '6M')
        self.same_output('qemu-img', 'rebase', '-b', 'above', '-F', 'qcow2',
                         'top')
        self.same_content('before', 'top', a_format='raw')

    def test_random_chains(self):
        seed = int(os.environ.get('QCF_TEST_SEED', random.randrange(1 << 32)))
        print('seed', seed)
        rng = random.Random(seed)
        for _ in range(8):
            names = ['base', 'mid', 'top', 'new', 'newer']
            below = {'mid': 'base', 'top': 'mid', 'newer': rng.choice(
                ('new', 'base'))}
            for name in names:
                size = rng.choice((MIB, 2 * MIB, 2 * MIB + 512,
                                   MIB + 65536 + 1024))
                options = rng.choice(('cluster_size=512', 'cluster_size=4k',
                                      'cluster_size=64k', 'extended_l2=on',
                                      'compat=0.10'))
                if name in below:
                    self.overlay(name, below[name], str(size), '-o', options)
                else:
                    self.create(name, str(size), '-o', options)
                commands = []
                for _ in range(rng.randrange(5)):
                    at = rng.randrange(size - 1)
                    n = min(size - at, rng.choice((1, 700, 65536, 300000)))
                    commands.append('write %s %d %d' % (
                        rng.choice(('-P 1', '-P 2', '-P 0', '-z')), at, n))
                if commands:
                    self.io(name, *commands)
            self.keep()
            for base in rng.sample(('base', 'new', 'newer', '', 'mid'), 3):
                self.check('-b', base, *(['-F', 'qcow2'] if base else []),
                           theirs_may_lose=True)


if __name__ == '__main__':
    main()
