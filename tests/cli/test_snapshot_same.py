# SPDX-License-Identifier: MIT
"""snapshot takes the same arguments, says the same and leaves the same image.

Snapshots of ours are applied, deleted and read by QEMU's program and the other
way round."""

import re
import shutil

from cli_common import (AES, CliTest, LUKS, SECRETS, THEIRS, image_opts, main,
                        run_program, without_times)


def without_dates(text):
    text = re.sub(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d', 'DATE', text)
    return re.sub(r'("date-n?sec": )\d+', r'\1N', text)


KINDS = ('compat=0.10', 'compat=1.1', 'cluster_size=512',
         'cluster_size=512,compat=0.10', 'cluster_size=2M', 'refcount_bits=4',
         'refcount_bits=64', 'lazy_refcounts=on',
         'extended_l2=on,cluster_size=16k', 'preallocation=metadata',
         'compression_type=zstd')


class SnapshotSame(CliTest):

    def snapshot(self, *args):
        return self.same_all('qemu-img', 'snapshot', *args,
                             normalize=without_dates)

    def make(self, options='compat=1.1', size='2M', *more):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options,
                  *more, 'a', size)

    def io(self, *commands):
        """The same commands, each program on its own image."""
        args = ['qemu-io']
        for command in commands:
            args += ['-c', command]
        self.same_all(*args, 'a', normalize=without_times)

    def same_snapshot(self, name):
        """A snapshot of ours and of theirs hold the same disk."""
        for directory, path in ((self.ours, 'ours.raw'),
                                (self.theirs, 'theirs.raw')):
            result = run_program(
                THEIRS, ['qemu-img', 'convert', '-l', name, '-f', 'qcow2',
                         '-O', 'raw', directory + '/a', path], self.root)
            self.assertEqual(result.status, 0, result)
        result = run_program(THEIRS, ['qemu-img', 'compare', '-f', 'raw', '-F',
                                      'raw', 'ours.raw', 'theirs.raw'],
                             self.root)
        self.assertEqual(result.status, 0, result)

    def same_image(self, *names):
        """The active disk, the list and the snapshots agree; ours is sound."""
        self.snapshot('-l', 'a')
        self.is_sound('a')
        result = run_program(
            THEIRS, ['qemu-img', 'compare', '-f', 'qcow2', '-F', 'qcow2',
                     self.our_path('a'), self.their_path('a')], self.root)
        self.assertEqual(result.status, 0, result)
        for name in names:
            self.same_snapshot(name)

    # --- what is printed

    def test_messages(self):
        self.make()
        self.snapshot('-l', 'a')
        for name in ('one', 'one', '', 'n' * 200,
                     'with space', '\u00e4'):
            self.snapshot('-c', name, 'a')
        self.snapshot('-l', 'a')
        for args in (('-a', 'none', 'a'), ('-d', 'none', 'a'),
                     ('-d', '1', 'a'), ('-a', '1', 'a'), ('-a', 'one', 'a'),
                     ('-d', 'one', 'a'), ('-l', 'a'), ('-d', '', 'a'),
                     ('-q', '-d', 'one', 'a'), ('-l', 'a'),
                     ('-l',), ('-c',), ('-l', '-c', 'x', 'a'),
                     ('-c', 'x', '-d', 'x', 'a'), ('-l', 'a', 'b'),
                     ('-x', 'a'), ('-U', '-l', 'a'), ('-U', '-c', 'x', 'a'),
                     ('-l', '--image-opts', 'driver=qcow2,file.filename=a'),
                     ('-c', 'opts', '--image-opts',
                      'driver=qcow2,file.filename=a')):
            with self.subTest(args):
                self.snapshot(*args)
        self.same_image('opts')
        for option in ('-l', '-c', '-a', '-d'):
            name = [] if option == '-l' else ['x']
            self.same_failure('qemu-img', 'snapshot', option, *name, 'none')

    def test_long_options_and_default(self):
        self.make()
        for args in (('--create', 's', 'a'), ('--apply', 's', 'a'),
                     ('--create=t', '--quiet', 'a'), ('--delete', 't', 'a')):
            self.assertEqual(self.our('qemu-img', 'snapshot', *args).status, 0)
        long = self.our('qemu-img', 'snapshot', '--list', 'a')
        short = self.our('qemu-img', 'snapshot', '-l', 'a')
        plain = self.our('qemu-img', 'snapshot', 'a')
        self.assertEqual(long.out, short.out)
        self.assertEqual(plain.out, short.out)
        self.assertIn(' s  ', short.out)
        result = self.our('qemu-img', 'snapshot', '--help')
        self.assertEqual(result.status, 0)
        for option in ('--list', '--create', '--apply', '--delete', '--quiet',
                       '--force-share', '--object', '--image-opts'):
            self.assertIn(option, result.out)

    def test_other_formats(self):
        self.file('raw', 65536)
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'v1', '1M')
        for name in ('raw', 'v1'):
            for args in (['-l'], ['-c', 'x'], ['-a', 'x'], ['-d', 'x']):
                self.same_output('qemu-img', 'snapshot', *args, name)

    def test_info(self):
        self.make()
        self.io('write -P 1 0 1M')
        for name in ('one', 'two'):
            self.snapshot('-c', name, 'a')
        for args in ([], ['--output=json']):
            ours = self.our('qemu-img', 'info', *args, 'a')
            theirs = self.their('qemu-img', 'info', *args, 'a')
            for wanted in re.findall(
                    r'(?s)Snapshot list:.*?\nFormat|"snapshots": \[.*?\n    \]',
                    theirs.out):
                self.assertIn(without_dates(wanted), without_dates(ours.out))
            self.assertEqual(ours.err, theirs.err)

    # --- what is left in the image

    def test_kinds_of_images(self):
        for kind in KINDS:
            with self.subTest(kind):
                self.make(kind)
                self.io('write -P 1 0 1M', 'write -P 2 1500k 10k')
                self.snapshot('-c', 'one', 'a')
                self.io('write -P 3 100k 300k', 'discard 0 64k',
                        'write -z 600k 200k')
                self.snapshot('-c', 'two', 'a')
                self.io('write -P 4 350k 100k')
                self.same_image('one', 'two')
                self.snapshot('-a', 'one', 'a')
                self.same_image('one', 'two')
                self.io('write -P 5 1M 64k')
                self.snapshot('-c', 'three', 'a')
                self.snapshot('-d', 'one', 'a')
                self.same_image('two', 'three')
                self.snapshot('-a', 'two', 'a')
                self.snapshot('-d', 'two', 'a')
                self.snapshot('-d', 'three', 'a')
                self.same_image()

    def test_each_works_with_the_others(self):
        """The programs take turns on one image."""
        for kind in KINDS[::3]:
            with self.subTest(kind):
                self.make(kind)
                steps = (('-c', 'one'), ('-c', 'two'), ('-a', 'one'),
                         ('-c', 'three'), ('-d', 'two'), ('-a', 'three'),
                         ('-d', 'one'), ('-c', 'four'), ('-d', 'three'))
                for i, step in enumerate(steps):
                    self.io('write -P %d %dk 130k' % (i + 1, 70 * i))
                    first, second = ((self.our, self.their) if i % 2 else
                                     (self.their, self.our))
                    for run in (first, second):
                        result = run('qemu-img', 'snapshot', *step, 'a')
                        self.assertEqual(result.status, 0, result)
                    # The next step is done by the other program.
                    ours, theirs = self.our_path('a'), self.their_path('a')
                    shutil.move(ours, ours + '.moved')
                    shutil.move(theirs, ours)
                    shutil.move(ours + '.moved', theirs)
                    self.same_image()
                self.same_image('four')

    def test_compressed(self):
        self.make()
        self.io('write -c -P 1 0 64k', 'write -c -P 2 64k 64k',
                'write -P 3 1M 64k')
        self.snapshot('-c', 'one', 'a')
        self.io('write -P 4 64k 1k', 'write -c -P 5 128k 64k')
        self.same_image('one')
        self.snapshot('-a', 'one', 'a')
        self.snapshot('-d', 'one', 'a')
        self.same_image()

    def test_encrypted(self):
        for how in (LUKS, AES):
            with self.subTest(how):
                self.their_image('a', 'qemu-img', 'create', '-q', '-f',
                                 'qcow2', *SECRETS, '-o', how, 'a', '1M')
                opts = image_opts('a')
                self.same_output('qemu-io', *SECRETS[:2], '--image-opts', '-c',
                                 'write -P 7 0 300k', opts,
                                 normalize=without_times)
                for args in (('-c', 'one'), ('-l',), ('-a', 'one'),
                             ('-d', 'one')):
                    self.same_output('qemu-img', 'snapshot', *args, *SECRETS,
                                     '--image-opts', opts,
                                     normalize=without_dates)
                    self.same_output('qemu-io', *SECRETS[:2], '--image-opts',
                                     '-c', 'read -P 7 0 300k', opts,
                                     normalize=without_times)
                self.same_status('qemu-img', 'snapshot', '-c', 'two', 'a')

    def test_sizes(self):
        """A snapshot brings back its size; version 2 refuses."""
        for size in ('0', '512', '1000448', '8G'):
            self.make('compat=1.1', size)
            self.snapshot('-c', 'one', 'a')
            self.same_output('qemu-img', 'resize', 'a', '9G')
            self.io('write -P 1 8G 64k')
            self.snapshot('-c', 'two', 'a')
            self.snapshot('-a', 'one', 'a')
            self.same_image()
            self.snapshot('-a', 'two', 'a')
            self.same_image()
            self.snapshot('-d', 'one', 'a')
            self.same_image()
        self.make('compat=0.10')
        self.snapshot('-c', 'one', 'a')
        self.same_status('qemu-img', 'resize', 'a', '9G')
        self.same_image('one')

    def test_counts_that_are_too_narrow(self):
        self.make('refcount_bits=1')
        self.io('write -P 1 0 1M')
        self.snapshot('-c', 'one', 'a')
        # QEMU leaks the copy of a table.
        self.is_sound('a')
        self.make('refcount_bits=2')
        self.io('write -P 1 0 1M')
        for name in ('one', 'two', 'three', 'four'):
            self.snapshot('-c', name, 'a')
            self.is_sound('a')
        for name in ('one', 'two'):
            self.same_snapshot(name)
        self.snapshot('-a', 'one', 'a')
        self.is_sound('a')

    def test_data_file_has_none(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'data_file=d', 'a', '1M')
        self.same_status('qemu-img', 'snapshot', '-c', 'x', 'a')
        self.same_output('qemu-img', 'snapshot', '-l', 'a')

    def test_backing_file_may_be_missing(self):
        """Nothing is read from it.  QEMU's program opens it, and fails."""
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b',
                  'nowhere', '-F', 'raw', 'a', '1M')
        for args in (['-c', 'x'], ['-l'], ['-a', 'x'], ['-d', 'x']):
            result = self.our('qemu-img', 'snapshot', *args, 'a')
            self.assertEqual(result.status, 0, result)

    def test_long_names_are_cut(self):
        for length in (255, 256, 300):
            self.make()
            self.same_status('qemu-img', 'snapshot', '-c', 'x' * length, 'a')
            self.same_output('qemu-img', 'snapshot', '-l', 'a',
                             normalize=without_dates)
            self.same_status('qemu-img', 'snapshot', '-d', 'x' * length, 'a')

    def test_bitmaps_forbid_going_back(self):
        self.make()
        self.snapshot('-c', 'one', 'a')
        self.qemu('qemu-img', 'bitmap', '--add', 'a', 'b0')
        self.same_status('qemu-img', 'snapshot', '-a', 'one', 'a')

    # --- VM state

    def test_vm_state(self):
        self.make()
        self.io('write -P 1 0 1M', 'write -b -P 3 0 64k', 'write -b -c 0 64k',
                'write -b -z 0 64k', 'write -b -f 0 64k', 'write -b 100 512',
                'write -b 512 100', 'read -b 100 512', 'read -b 0 100',
                'write -b -P 3 0 64k', 'read -b -P 3 0 64k',
                'read -b -P 4 0 64k', 'read -b -v 0 16', 'read -b 0 512',
                'read -b 10G 512', 'read -b -P 0 100M 1M',
                'write -b -P 5 1G 64k', 'read -b -P 5 1G 64k',
                'write -bq 0 512', 'write -bu 0 512', 'write -b -c -z 0 64k',
                'write -b -c -f 0 64k', 'write -bfz 0 64k', 'map', 'length')
        self.same_failure('qemu-io', '-c', 'write -b 8000000000G 512', 'a')
        self.snapshot('-c', 'one', 'a')
        self.same_image('one')
        self.io('read -P 1 0 1M')
        self.snapshot('-a', 'one', 'a')
        self.io('read -b -P 5 1G 64k', 'read -b -P 0xcd 0 512',
                'read -b -P 0xcd 512 512', 'read -P 1 0 1M')
        self.same_image('one')
        self.file('raw', 65536)
        for command in ('write -b 0 512', 'read -b 0 512'):
            self.same_failure('qemu-io', '-f', 'raw', '-c', command, 'raw')

    def test_vm_state_over_a_backing_file(self):
        self.file('base', 8 << 20, [(0, b'b' * (8 << 20))])
        self.make('cluster_size=512', '100k', '-b', 'base', '-F', 'raw')
        # QEMU shows the backing file where nothing was written.
        result = self.our('qemu-io', '-c', 'read -b -P 0 0 100k', 'a')
        self.assertEqual(result.status, 0, result)
        self.io('write -b -P 7 1k 2k', 'read -b -P 7 1k 2k',
                'read -P 98 0 100k')
        self.snapshot('-c', 'one', 'a')
        self.io('write -b -P 8 512 1k', 'write -P 1 0 10k')
        self.snapshot('-a', 'one', 'a')
        self.io('read -b -P 7 1k 2k', 'read -P 98 0 100k')
        self.same_image('one')


if __name__ == '__main__':
    main()
