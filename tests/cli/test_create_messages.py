# SPDX-License-Identifier: MIT
"""create says what qemu-img says: sizes, options, backing files, errors."""

from cli_common import CliTest, main

SIZES = ['1M', '1.5G', '1000', '1000b', '0', '1B', '+1k', ' 1k', '1.k',
         '1.0001k', '0.5k', '0.00001k', '00010', '0x100000', '0x10M',
         '1.9999999999999999999999G', '7E', '8E', '9E', '100E',
         '99999999999999999999', '9223372036854775808',
         '1X', '1e3', '1.5', '1.5b', '.5k', '1kk', '1kB', '1k ', 'abc', '',
         '0.1', '0x', 'inf', 'nan', '1.5e3k', '1,5k', '0x1g']

OPTIONS = ['size=4M', 'size=4M,size=3M', 'size=1.5G', 'size=1000', 'size=-1',
           'size=', 'size', 'size=16E', 'size=17E', 'foo=1', 'foo', 'nofoo',
           'help=1', '?=1', 'a,b', '', ',,a', 'cluster_size=4k,',
           ',cluster_size=4k', ' cluster_size=4k', 'cluster_size= 4k',
           'cluster_size =4k', 'cluster_size=', 'cluster_size=-1',
           'cluster_size=64kk', 'cluster_size=abc', 'cluster_size=0',
           'cluster_size=256', 'cluster_size=1000', 'cluster_size=1.5k',
           'cluster_size=4M', 'cluster_size=99999999999999999999',
           'cluster_size=4k,cluster_size=8k', 'refcount_bits=0x10',
           'refcount_bits= 16', 'refcount_bits=+16', 'refcount_bits=',
           'refcount_bits=-1', 'refcount_bits=0', 'refcount_bits=3',
           'refcount_bits=128', 'refcount_bits=16k', 'refcount_bits=abc',
           'refcount_bits=99999999999999999999', 'compat=', 'compat=foo',
           'compat=1.1,compat=0.10', 'compat=0.10,refcount_bits=16',
           'compat=0.10,refcount_bits=8', 'compat=0.10,lazy_refcounts=on',
           'lazy_refcounts', 'nolazy_refcounts', 'lazy_refcounts=',
           'lazy_refcounts=ON', 'lazy_refcounts=y', 'lazy_refcounts=n',
           'lazy_refcounts=true', 'lazy_refcounts=maybe',
           'preallocation=foo', 'compression_type=foo']

BACKING = ['-b none -F raw', '-b none', '-b none -F raw 1M',
           '-u -b none -F raw 1M', '-u -b none -F raw', '-u -b none 1M',
           '-b base.qcow2 -F qcow2', '-b base.qcow2 -F raw',
           '-b base.qcow2 -F foo', '-b base.raw -F raw 3M',
           '-b orphan.qcow2 -F qcow2', '-u -b orphan.qcow2 -F qcow2 1M',
           '-u -b x -F foo 1M', '-F raw 1M', '-o backing_fmt=raw 1M',
           '-o backing_file=base.raw,backing_fmt=raw',
           '-o backing_file=base.raw,backing_fmt=raw -b base.qcow2 -F qcow2',
           '-o backing_file= 1M', '-o backing_file=base.raw,backing_fmt= 1M',
           '-u -o backing_file=a,,b,backing_fmt=raw 1M',
           '-b base.raw -F raw -o size=0', '-u', '-q 1M']


class CreateMessages(CliTest):

    def create(self, *args):
        return self.same_all('qemu-img', 'create', '-f', 'qcow2', *args)

    def test_sizes(self):
        for size in SIZES:
            self.create('--', 'new', size)

    def test_negative_sizes(self):
        for size in ('-1', '-1M', '-0'):
            self.create('--', 'new', size)

    def test_size_limits_of_cluster_sizes(self):
        for options, sizes in (('cluster_size=64k', ('2000T', '2049T')),
                               ('cluster_size=512', ('128G', '129G')),
                               ('cluster_size=2M', ('64T', '7E'))):
            for size in sizes:
                self.create('-o', options, 'new', size)

    def test_options_with_a_size(self):
        for option in OPTIONS:
            self.create('-o', option, 'new', '1M')

    def test_options_without_a_size(self):
        for option in OPTIONS:
            self.create('-o', option, 'new')

    def test_options_given_twice(self):
        self.create('-o', 'cluster_size=4k', '-o', 'compat=v2', 'new', '3M')

    def prepare_backing(self):
        self.qemu('qemu-img', 'create', '-f', 'qcow2', 'base.qcow2', '10M')
        self.qemu('qemu-img', 'create', '-f', 'raw', 'base.raw', '10M')
        self.qemu('qemu-img', 'create', '-f', 'qcow2', '-u', '-b', 'gone',
                  '-F', 'raw', 'orphan.qcow2', '1M')
        self.mkdir('sub')

    def test_backing_files(self):
        self.prepare_backing()
        for words in BACKING:
            args = words.split()
            size = [args.pop()] if args[-1][0].isdigit() else []
            self.create(*args, 'new', *size)

    def test_backing_names_are_relative_to_the_new_image(self):
        self.prepare_backing()
        self.create('-b', 'base.qcow2', '-F', 'qcow2', 'sub/new')
        self.create('-b', '../base.qcow2', '-F', 'qcow2', 'sub/new')

    def test_a_missing_backing_format_is_named(self):
        self.prepare_backing()
        for name in ('base.raw', 'base.qcow2'):
            ours, theirs = self.same_output('qemu-img', 'create', '-f',
                                            'qcow2', '-b', name, 'new')
            self.assertEqual(ours.err.rstrip('\n'), theirs.err)

    def test_empty_names(self):
        self.create('-b', '', 'new', '1M')
        self.create('-b', '', '-F', 'raw', 'new', '1M')

    def test_an_image_is_not_its_own_backing_file(self):
        self.file('new', 1 << 20)
        self.create('-b', 'new', '-F', 'raw', 'new')
        for name in ('./new', self.our_path('new')):
            ours = self.our('qemu-img', 'create', '-f', 'qcow2', '-b', name,
                            '-F', 'raw', 'new')
            self.assertEqual(ours.status, 1)
            self.assertIn('same filename', ours.err)
            with open(self.our_path('new'), 'rb') as f:
                self.assertEqual(f.read(), bytes(1 << 20))

    def test_raw(self):
        for words in ('new 1000', 'new 1', 'new 7E', 'new', 'new 1X',
                      '-o size=3M new', '-o preallocation=off,size=3M new',
                      '-o nocow=off,size=3M new',
                      '-o extent_size_hint=0,size=3M new',
                      '-o foo=on new 3M', '-o cluster_size=4k new 3M',
                      '-o backing_file=x new 1M', '-F raw new 1M',
                      '-b new -F raw new 1M'):
            self.same_all('qemu-img', 'create', *words.split())

    def test_options_of_the_file_come_last(self):
        self.create('-o', 'nocow=off,extent_size_hint=0,compat=1.1,size=3M,'
                    'encryption=off', 'new')

    def test_names(self):
        for name in ('none/new', 'file:new', 'xx:new', 'json:{}', './xx:new',
                     "a'b", 'a b'):
            self.create(name, '1M')

    def test_usage(self):
        for words in ('', '-f', '-b', '--foo', '-Z', 'a 1M 2M', '-f foo a 1M',
                      '-f foo -o help a', '--size a'):
            self.same_all('qemu-img', 'create', *words.split())

    def test_option_tables_name_only_what_qemu_knows(self):
        for args in (['-f', 'qcow2'], ['-f', 'qcow2', 'x'], ['-f', 'raw'],
                     ['-f', 'raw', 'x']):
            for word in ('help', '?', 'help,size=1M'):
                ours, theirs = self.same_status('qemu-img', 'create', '-o',
                                                word, *args)
                ours = [line.split(' - ')[0] for line in ours.out.split('\n')]
                theirs = [line.split(' - ')[0]
                          for line in theirs.out.split('\n')]
                self.assertEqual(ours[0], theirs[0])
                self.assertEqual([line for line in theirs if line in ours],
                                 ours)
                self.assertIn('  size=<size>           ', ours)

    def test_long_names_of_newer_versions(self):
        self.qemu('qemu-img', 'create', '-f', 'raw', 'base.raw', '10M')
        ours = self.our('qemu-img', 'create', '--format', 'qcow2', '--backing',
                        'base.raw', '--backing-format', 'raw', '--options',
                        'compat=v3', 'new')
        theirs = self.their('qemu-img', 'create', '-f', 'qcow2', '-b',
                            'base.raw', '-F', 'raw', '-o', 'compat=v3', 'new')
        self.assertEqual((ours.status, ours.out, ours.err),
                         (theirs.status, theirs.out, theirs.err))
        self.same_bytes('new')
        ours = self.our('qemu-img', 'create', '--quiet', '-f', 'qcow2', '-B',
                        'raw', '-b', 'gone', '--backing-unsafe', 'new', '1M')
        self.assertEqual((ours.status, ours.out, ours.err), (0, '', ''))
        self.their('qemu-img', 'create', '-f', 'qcow2', '-F', 'raw', '-b',
                   'gone', '-u', 'new', '1M')
        self.same_bytes('new')


if __name__ == '__main__':
    main()
