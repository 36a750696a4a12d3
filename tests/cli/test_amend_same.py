# SPDX-License-Identifier: MIT
"""amend takes the same options, says the same and leaves the same disk."""

import json
import re
import shutil

from cli_common import (CliTest, SECRETS, THEIRS, image_opts, main,
                        run_program, without_disk_size)

# What each makes of an image of version 3, and of one of version 2.
OPTIONS = (
    'compat=0.10', 'compat=v2', 'compat=1.1', 'compat=v3', 'compat=0.11',
    'compat=', 'compat', 'refcount_bits=1', 'refcount_bits=8',
    'refcount_bits=64', 'refcount_bits=16', 'refcount_bits=7',
    'refcount_bits=0', 'refcount_bits=128', 'refcount_bits=x',
    'refcount_bits=', 'refcount_bits', 'refcount_bits=-1',
    'refcount_bits=0x8', 'refcount_bits=99999999999999999999',
    'refcount_bits=4294967304', 'refcount_bits=8,compat=1.1',
    'refcount_bits=8,compat=0.10', 'refcount_bits=16,compat=v2',
    'lazy_refcounts=on', 'lazy_refcounts=off', 'lazy_refcounts',
    'nolazy_refcounts', 'lazy_refcounts=x', 'lazy_refcounts=',
    'lazy_refcounts=on,compat=1.1', 'lazy_refcounts=on,compat=0.10',
    'data_file=x', 'data_file=', 'data_file_raw=on', 'data_file_raw=off',
    'data_file_raw=x', 'backing_file=x', 'backing_file=', 'backing_fmt=raw',
    'backing_fmt=', 'backing_file=x,backing_fmt=raw', 'size=2M', 'size=640k',
    'size=3000001', 'size=0', 'size=-1', 'size=x', 'size=', 'size',
    'size=1.5M', 'size=9E', 'size=3000000T', 'size=2M,compat=0.10',
    'size=2M,compat=1.1', 'foo=bar', 'compat=1.1,foo=bar', 'cluster_size=4k',
    'cluster_size=64k', 'preallocation=off', 'preallocation=full',
    'extended_l2=on', 'encryption=on', 'encryption=off',
    'compression_type=zstd', 'compression_type=zlib', 'encrypt.format=luks',
    'encrypt.key-secret=x', 'encrypt.state=active', 'encrypt.keyslot=x',
    'compat=0.10,compat=1.1',
)

FILL = ('-d', 'unmap', '-c', 'write -P 1 0 512k', '-c', 'write -z 64k 64k',
        '-c', 'write -z -u 128k 64k', '-c', 'write -P 5 320k 7k',
        '-c', 'discard 256k 64k')


# To change the width of refcounts QEMU takes 1 s, with the clusters it makes
# unless told otherwise, and 50 ms with these.
QUICK = ('-o', 'cluster_size=16k')


class AmendSame(CliTest):

    def setUp(self):
        super().setUp()
        self.made = {}

    def make(self, name, *options):
        """The same image for both; one that was made before is copied."""
        if options not in self.made:
            template = 'template%d' % len(self.made)
            for args in (('qemu-img', 'create', '-q', '-f', 'qcow2', *options,
                          template, '1M'),
                         ('qemu-io', '-f', 'qcow2', *FILL, template)):
                result = self.their(*args)
                self.assertEqual(result.status, 0, result)
            self.made[options] = self.their_path(template)
        shutil.copy(self.made[options], self.their_path(name))
        shutil.copy(self.made[options], self.our_path(name))

    def info(self, directory, name):
        result = run_program(THEIRS, ['qemu-img', 'info', '--output=json',
                                      name], directory)
        self.assertEqual(result.status, 0, result)
        return without_disk_size(result.out)

    def same_image(self, name):
        """Ours says the same about itself, holds the same, and is sound."""
        self.assertEqual(self.info(self.ours, name),
                         self.info(self.theirs, name))
        self.is_sound(name)
        self.qemu('qemu-img', 'convert', '-O', 'raw', name, 'disk.raw')
        self.same_bytes('disk.raw')

    def read_snapshot(self, snapshot):
        result = run_program(
            THEIRS, ['qemu-img', 'convert', '-l', snapshot, '-O', 'raw', 'a',
                     'snapshot.raw'], self.ours)
        self.assertEqual(result.status, 0, result)
        with open(self.our_path('snapshot.raw'), 'rb') as f:
            return f.read()

    def amend(self, options, name):
        """Amend in the same way, from images that are the same."""
        with open(self.our_path(name), 'rb') as f:
            before = f.read()
        ours, _ = self.same_all('qemu-img', 'amend', '-o', options, name)
        with open(self.our_path(name), 'rb') as f:
            unchanged = before == f.read()
        if ours.status == 0 or not unchanged:
            self.same_image(name)
        else:
            self.assertEqual(self.info(self.ours, name),
                             self.info(self.theirs, name))

    def test_every_option(self):
        for options in OPTIONS:
            quick = 'refcount_bits' in options and options != 'refcount_bits=8'
            with self.subTest(options):
                self.make('a', *(QUICK if quick else ()))
                self.amend(options, 'a')

    def test_other_images(self):
        for create in ('compat=0.10',
                       'compat=1.1,lazy_refcounts=on,refcount_bits=32'):
            for options in OPTIONS:
                if not options.startswith(('compat', 'lazy', 'refcount_bits=8',
                                           'size=2M', 'refcount_bits=16')):
                    continue
                with self.subTest(create=create, amend=options):
                    self.make('a', '-o', create)
                    self.amend(options, 'a')

    def test_cluster_sizes(self):
        # QEMU takes minutes where clusters are large.
        for size in ('512', '4k'):
            for steps in (('compat=v2', 'compat=v3'),
                          ('refcount_bits=8', 'refcount_bits=64',
                           'refcount_bits=16,compat=0.10',
                           'refcount_bits=4,compat=1.1')):
                with self.subTest(size=size, steps=steps):
                    self.make('a', '-o', 'cluster_size=' + size)
                    for options in steps:
                        self.amend(options, 'a')

    def test_backing_file(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', '1M')
        self.qemu('qemu-io', '-c', 'write -P 7 0 1M', 'base')
        for options in ('backing_file=base', 'backing_fmt=qcow2',
                        'backing_file=base,backing_fmt=qcow2',
                        'backing_file=base,backing_fmt=raw',
                        'backing_file=./base,backing_fmt=qcow2',
                        'backing_file=', 'backing_fmt=', 'compat=0.10',
                        'refcount_bits=2', 'size=2M', 'size=512k'):
            with self.subTest(options):
                self.make('a', *QUICK, '-b', 'base', '-F', 'qcow2')
                self.amend(options, 'a')

    def test_snapshots(self):
        """Of zero clusters that keep their host cluster QEMU overwrites the
        host cluster, whether a snapshot needs it or not, and snapshots of
        smaller disks it pads; so snapshots are held against what they
        were."""
        for options in ('compat=0.10', 'refcount_bits=2', 'refcount_bits=4',
                        'refcount_bits=1', 'size=2M', 'size=2M,compat=0.10',
                        'lazy_refcounts=on'):
            with self.subTest(options):
                self.make('a', *QUICK)
                for i in range(4):
                    self.qemu('qemu-img', 'snapshot', '-c', 's%d' % i, 'a')
                    self.qemu('qemu-io', '-c', 'write -z %dk 128k' % (i * 64),
                              'a')
                self.share('a')
                want = [self.read_snapshot('s%d' % i) for i in range(4)]
                for again in (options, 'compat=1.1'):
                    self.amend(again, 'a')
                    self.assertEqual(
                        want, [self.read_snapshot('s%d' % i)[:1 << 20]
                               for i in range(4)])

    def test_size_and_version_with_snapshots(self):
        self.make('a')
        self.qemu('qemu-img', 'snapshot', '-c', 's', 'a')
        self.share('a')
        want = self.read_snapshot('s')
        for options in ('size=2M', 'compat=0.10', 'size=1M,compat=0.10',
                        'size=2M', 'size=2M,compat=1.1'):
            self.amend(options, 'a')
            self.assertEqual(want, self.read_snapshot('s')[:len(want)])

    def test_bitmaps(self):
        """Version 2 has none; QEMU leaks what they took."""
        for options in ('compat=0.10', 'refcount_bits=64', 'size=2M',
                        'lazy_refcounts=on'):
            with self.subTest(options):
                self.make('a', *QUICK)
                self.qemu('qemu-img', 'bitmap', '--add', 'a', 'b0')
                self.qemu('qemu-io', '-c', 'write 0 64k', 'a')
                self.qemu('qemu-img', 'bitmap', '--add', '-g', '4096', 'a',
                          'b1')
                self.amend(options, 'a')

    def test_compression_types(self):
        self.make('a', '-o', 'compression_type=zstd')
        self.amend('compat=0.10', 'a')
        self.make('a', '-o', 'compression_type=zstd')
        self.qemu('qemu-io', '-c', 'write -c -P 3 768k 64k', 'a')
        self.amend('compat=0.10', 'a')
        self.qemu('qemu-io', '-c', 'write -P 3 768k 64k', 'a')
        self.amend('compat=0.10', 'a')

    def test_subclusters(self):
        self.make('a', '-o', 'extended_l2=on,cluster_size=16k')
        for options in ('compat=0.10', 'refcount_bits=64', 'lazy_refcounts=on',
                        'size=2M'):
            self.amend(options, 'a')

    def test_data_file(self):
        self.make('a', '-o', 'data_file=raw,data_file_raw=on,'
                  'cluster_size=16k')
        self.share_data()
        for options in ('compat=0.10', 'data_file_raw=on', 'data_file_raw=off',
                        'data_file_raw=on', 'refcount_bits=1',
                        'lazy_refcounts=on', 'data_file=./raw'):
            with self.subTest(options):
                self.amend(options, 'a')
        words = 'driver=qcow2,file.filename=a,data-file.filename=raw'
        for options in ('data_file=', 'data_file=raw',
                        'data_file=' + 70000 * 'x'):
            self.same_all('qemu-img', 'amend', '--image-opts', '-o', options,
                          words + ',data-file.driver=file')
            ours = json.loads(self.info(self.ours, 'a'))
            theirs = json.loads(self.info(self.theirs, 'a'))
            self.assertEqual(ours['format-specific'],
                             theirs['format-specific'])

    def share_data(self):
        shutil.copy(self.their_path('raw'), self.our_path('raw'))

    def test_encrypted(self):
        for kind in ('aes', 'luks'):
            for options in ('compat=0.10', 'refcount_bits=64', 'size=2M'):
                with self.subTest(kind=kind, amend=options):
                    self.encrypted(kind, options)

    def encrypted(self, kind, options):
        self.file('base', 1 << 20, [(0, b'b' * (1 << 20))])
        self.our_image('e', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                       *SECRETS, '-o', 'encrypt.format=%s,'
                       'encrypt.key-secret=s0,cluster_size=16k%s' %
                       (kind, ',encrypt.iter-time=10'
                        if kind == 'luks' else ''),
                       '-b', 'base', '-F', 'raw', 'e', '1M')
        self.qemu('qemu-io', *SECRETS, *FILL, '--image-opts',
                  image_opts('e'))
        self.share('e')
        self.same_all('qemu-img', 'amend', *SECRETS, '--image-opts', '-o',
                      options, image_opts('e'))
        # QEMU leaves noise where there were zeros in a version 2 image.
        self.their('qemu-img', 'convert', '-O', 'raw', 'base', 'want')
        for check in ('read -q -P 0 64k 128k', 'read -q -P 1 0 64k',
                      'read -q -P 98 512k 512k', 'read -q -P 0 256k 64k',
                      'read -q -P 5 320k 7k'):
            result = run_program(
                THEIRS, ['qemu-io', *SECRETS, '-c', check, '--image-opts',
                         image_opts('e')], self.ours)
            self.assertEqual((result.status, result.out), (0, ''), check)

    def test_keys_and_more(self):
        self.our_image('k', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                       *SECRETS, '-o', 'encrypt.format=luks,'
                       'encrypt.key-secret=s0,encrypt.iter-time=10', 'k',
                       '1M')
        ours, _ = self.same_status(
            'qemu-img', 'amend', *SECRETS, '--image-opts', '-o',
            'encrypt.state=active,encrypt.new-secret=s1,'
            'encrypt.iter-time=10,refcount_bits=8,size=2M', image_opts('k'))
        self.assertEqual(ours.status, 0, ours)
        self.share('k')
        ours, _ = self.same_all('qemu-io', *SECRETS, '-c', 'length',
                                '--image-opts', image_opts('k', secret='s1'))
        self.assertEqual(ours.out, '2 MiB\n')

    def test_command_line(self):
        self.make('a', *QUICK)
        self.file('raw', 65536)
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'v1', '1M')
        for args in (('-o', 'help'), ('-o', 'help', 'a'),
                     ('-f', 'qcow2', '-o', 'help'),
                     ('-f', 'qcow2', '-o', '?', 'a'),
                     ('-f', 'raw', '-o', 'help'), ('-f', 'qcow', '-o', 'help'),
                     ('-f', 'nonsense', '-o', 'help'), ('a',), (),
                     ('-o', 'compat=0.10'), ('-o', 'compat=0.10', 'a', 'b'),
                     ('-o', 'compat=0.10,,', 'a'), ('-o', ',', 'a'),
                     ('-t', 'foo', '-o', 'size=2M', 'a'),
                     ('-t', 'none', '-o', 'size=2M', 'a'),
                     ('-t', 'writethrough', '-o', 'compat=0.10', 'a'),
                     ('-t', 'unsafe', '-o', 'compat=1.1', 'a'),
                     ('-q', '-o', 'size=3M', 'a'),
                     ('-o', 'refcount_bits=64', '-o', 'size=3M', 'a'),
                     ('--force', '-o', 'lazy_refcounts=on', 'a'),
                     ('-f', 'raw', '-o', 'size=3M', 'a'),
                     ('-o', 'size=3M', 'v1'), ('-o', 'size=3M', 'raw'),
                     ('--image-opts', '-o', 'size=4M',
                      'driver=qcow2,file.filename=a'),
                     ('-f', 'qcow2', '-o', 'size=4M', 'raw')):
            with self.subTest(args):
                self.same_all('qemu-img', 'amend', *args)
        self.same_failure('qemu-img', 'amend', '-o', 'size=3M', 'none')
        self.same_image('a')

    def test_progress(self):
        """The same lines at the beginning and at the end."""
        def ends(text):
            lines = re.split('[\r\n]', text)
            return '\n'.join(lines[:1] + lines[-3:])

        for options in ('size=2M', 'compat=0.10', 'compat=1.1,refcount_bits=8',
                        'compat=0.11', 'foo=1'):
            self.make('a', *QUICK)
            self.same_all('qemu-img', 'amend', '-p', '-o', options, 'a',
                          normalize=ends)

    def test_progress_as_json(self):
        self.make('a')
        for options, status in (('compat=0.10', 0), ('refcount_bits=8', 1)):
            ours = self.our('qemu-img', 'amend', '--progress=json', '-o',
                            options, 'a')
            self.assertEqual(ours.status, status)
            last = json.loads(ours.out.splitlines()[-1])
            self.assertEqual(last['finished'], status == 0)

    def test_long_options(self):
        """As newer releases have them."""
        self.make('a')
        ours = self.our('qemu-img', 'amend', '--format=qcow2', '--progress',
                        '--cache', 'writeback', '--options',
                        'compat=0.10,size=2M', 'a')
        self.assertEqual((ours.status, ours.err), (0, ''))
        self.their('qemu-img', 'amend', '-o', 'compat=0.10,size=2M', 'a')
        self.same_image('a')


if __name__ == '__main__':
    main()
