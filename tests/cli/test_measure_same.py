# SPDX-License-Identifier: MIT
"""measure gives the same numbers as qemu-img, and what it says is true."""

import json
import os

from cli_common import (CliTest, KIB, LUKS, MIB, SECRETS, image_opts, main,
                        noise)

OPTIONS = ('cluster_size=512', 'cluster_size=4k', 'cluster_size=64k',
           'cluster_size=2M', 'refcount_bits=1', 'refcount_bits=64',
           'extended_l2=on', 'extended_l2=on,cluster_size=16k',
           'preallocation=off', 'preallocation=metadata',
           'preallocation=falloc', 'preallocation=full',
           'compat=0.10', 'compat=1.1', 'lazy_refcounts=on',
           'lazy_refcounts=on,compat=0.10', 'compression_type=zstd',
           'backing_file=x', 'backing_file=x,backing_fmt=raw',
           'backing_file=x,preallocation=full',
           'backing_file=x,preallocation=metadata',
           'backing_file=x,extended_l2=on,preallocation=falloc',
           'data_file=x', 'data_file=x,data_file_raw=on',
           'cluster_size=512,refcount_bits=64', 'encryption=on',
           'encrypt.format=aes')

LUKS_OPTIONS = (LUKS,
           LUKS + ',cluster_size=2M',
           LUKS + ',cluster_size=512',
           LUKS + ',encrypt.cipher-alg=aes-128',
           LUKS + ',encrypt.cipher-alg=twofish-128,encrypt.cipher-mode=cbc')


class MeasureSame(CliTest):

    def io(self, name, *commands):
        args = []
        for command in commands:
            args += ['-c', command]
        self.qemu('qemu-io', *args, name)

    def create(self, name, size, *args):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', *args, name, size)

    def same_json(self, *args):
        """The order of members is compared, too."""
        ours, _ = self.same_all('qemu-img', 'measure', '--output=json', *args)
        return json.loads(ours.out)

    def check(self, *args):
        self.same_all('qemu-img', 'measure', *args)
        return self.same_json(*args)

    def test_sizes(self):
        for size in ('0', '1', '512', '65536', '1000000', '10M', '1G', '100G',
                     '64T', '1.5k', '0x1000'):
            self.check('--size', size)
            self.check('-O', 'raw', '--size', size)
            self.check('-O', 'qcow2', '--size', size)

    def test_options_of_an_empty_disk(self):
        for size in ('0', '1000000', '100G'):
            for options in OPTIONS:
                self.same_json('-O', 'qcow2', *SECRETS, '-o', options,
                               '--size', size)

    def test_luks(self):
        for options in LUKS_OPTIONS:
            args = ['qemu-img', 'measure', '--output=json', '-O', 'qcow2',
                    *SECRETS, '-o', options, '--size', '1G']
            ours, theirs = self.both(*args)
            self.assertEqual((ours.status, ours.out),
                             (theirs.status, theirs.out), options)

    def test_large_disks(self):
        for options, size in (('cluster_size=512', '128G'),
                              ('cluster_size=512', '129G'),
                              ('cluster_size=64k', '2P'),
                              ('cluster_size=64k', '3P'),
                              ('cluster_size=2M', '2E'),
                              ('cluster_size=2M', '3E'),
                              ('cluster_size=2M,refcount_bits=1', '1E'),
                              ('cluster_size=64k', '7E'),
                              ('extended_l2=on', '1P'),
                              ('extended_l2=on', '2P')):
            self.same_all('qemu-img', 'measure', '-O', 'qcow2', '-o', options,
                          '--size', size)

    def make_source(self):
        self.create('src', '4M')
        self.io('src', 'write 1M 100k', 'write -z 2M 64k', 'write 3000k 1k',
                'write 64k 1k')

    def test_sources(self):
        self.make_source()
        self.qemu('qemu-img', 'convert', '-O', 'qcow', 'src', 'v1')
        self.qemu('qemu-img', 'convert', '-O', 'qcow2', '-o', 'compat=0.10',
                  'src', 'v2')
        self.qemu('qemu-img', 'convert', '-c', '-O', 'qcow2', 'src', 'packed')
        self.create('top', '8M', '-b', 'src', '-F', 'qcow2')
        self.io('top', 'write 5M 1k', 'write -z 1M 64k')
        self.create('prealloc', '8M', '-o', 'preallocation=metadata')
        self.io('prealloc', 'write 5M 1k')
        self.create('sub', '8M', '-o', 'extended_l2=on')
        self.io('sub', 'write 5M 1k', 'write 6M 64k')
        for name in ('src', 'v1', 'v2', 'packed', 'top', 'prealloc', 'sub'):
            self.check(name)
            self.check('-O', 'qcow2', name)
            for options in ('cluster_size=512', 'cluster_size=4k',
                            'cluster_size=2M', 'compat=0.10',
                            'backing_file=x,backing_fmt=raw',
                            'preallocation=full', 'preallocation=metadata',
                            'extended_l2=on'):
                self.same_json('-O', 'qcow2', '-o', options, name)

    def test_snapshots(self):
        self.make_source()
        self.qemu('qemu-img', 'snapshot', '-c', 's1', 'src')
        self.io('src', 'write 2M 1M')
        self.check('-O', 'qcow2', 'src')
        for name in ('s1', '1', 'snapshot.name=s1', 'snapshot.id=1',
                     'snapshot.id=1,snapshot.name=s1'):
            self.check('-l', name, '-O', 'qcow2', 'src')
        for name in ('none', 'snapshot.id=2', 'snapshot.name=x',
                     'snapshot.id=1,snapshot.name=x'):
            self.same_all('qemu-img', 'measure', '-l', name, '-O', 'qcow2',
                          'src')

    def test_bitmaps(self):
        self.make_source()
        self.qemu('qemu-img', 'bitmap', '--add', 'src', 'b0')
        self.check('-O', 'qcow2', 'src')
        self.qemu('qemu-img', 'bitmap', '--add', '-g', '512', 'src', 'b1')
        self.qemu('qemu-img', 'bitmap', '--add', '-g', '2G', 'src', 'x' * 99)
        self.io('src', 'write 0 1M')
        self.check('-O', 'qcow2', 'src')
        self.check('src')
        for options in ('compat=0.10', 'cluster_size=512', 'cluster_size=2M'):
            self.check('-O', 'qcow2', '-o', options, 'src')

    def test_raw_sources(self):
        self.file('raw', 4 * MIB, [(MIB, noise(1, 100 * KIB)),
                                   (3000 * KIB, b'x')])
        self.file('odd', 1000, [(900, b'x')])
        self.file('odd2', 3 * MIB + 1, [(2 * MIB, b'x')])
        self.file('hole', 64 * MIB)
        for name in ('raw', 'odd', 'odd2', 'hole'):
            self.check('-f', 'raw', name)
            for options in ('cluster_size=512', 'cluster_size=64k',
                            'cluster_size=2M'):
                self.check('-f', 'raw', '-O', 'qcow2', '-o', options, name)

    def test_what_is_measured_is_what_convert_makes(self):
        """The estimate is an upper bound, and not a wild one."""
        self.make_source()
        for options in ('cluster_size=4k', 'cluster_size=64k',
                        'extended_l2=on', 'refcount_bits=64'):
            wanted = self.same_json('-O', 'qcow2', '-o', options, 'src')
            result = self.our('qemu-img', 'convert', '-O', 'qcow2', '-o',
                              options, 'src', 'copy')
            self.assertEqual(result.status, 0, result)
            size = os.stat(self.our_path('copy')).st_size
            self.assertLessEqual(size, wanted['required'])
            self.assertGreater(size, wanted['required'] * 0.3)

    def test_encrypted_source(self):
        self.their_image('luks', 'qemu-img', 'create', '-q', *SECRETS, '-f',
                         'qcow2', '-o', LUKS, 'luks', '2M')
        for directory in (self.ours, self.theirs):
            self.assertEqual(self.their(
                'qemu-io', *SECRETS, '--image-opts', '-c', 'write 64k 100k',
                image_opts(os.path.join(directory, 'luks'))).status, 0)
        self.check('-O', 'qcow2', *SECRETS, '--image-opts',
                   image_opts('luks'))

    def test_human_output(self):
        out = self.our('qemu-img', 'measure', '-O', 'qcow2', '--size',
                       '1G').out
        self.assertEqual(out, 'required size: 393216\n'
                              'fully allocated size: 1074135040\n')

    def test_options_and_operands(self):
        self.make_source()
        for args in ('-f qcow2 -O qcow2 src', '-U -O qcow2 src',
                     '-O qcow2 --image-opts driver=qcow2,file.filename=src',
                     '-O qcow2 -o size=1G src', '-O qcow2 -o size=1G --size 1M',
                     '-O qcow2 -o nocow=on --size 1M',
                     '-O qcow2 -o cluster_size=4k -o refcount_bits=1 '
                     '--size 1M'):
            self.same_all('qemu-img', 'measure', *args.split())

    def test_long_options(self):
        self.make_source()
        for short, long in (
                ('-O qcow2 -s 1M', '--target-format qcow2 --size 1M'),
                ('-O qcow2 -o cluster_size=4k -f qcow2 src',
                 '--target-format qcow2 --options cluster_size=4k --format '
                 'qcow2 src'),
                ('-U -O qcow2 src', '--force-share --target-format qcow2 '
                                    'src')):
            a = self.our('qemu-img', 'measure', *short.split())
            b = self.our('qemu-img', 'measure', *long.split())
            self.assertEqual((a.status, a.out), (0, b.out), '%r %r' % (a, b))
        self.assertEqual(self.our('qemu-img', 'measure', '--help').status, 0)

    def test_errors(self):
        self.make_source()
        for args in ('', '-O qcow2', '-O qcow2 --size 1M src', '-O qcow2 a b',
                     '-O qcow --size 1M', '-O vmdk --size 1M',
                     '-O bogus --size 1M', '-O qcow2 none',
                     '-O qcow2 -f bogus src',
                     '-f raw -O qcow2 --size 1M', '-l x -O qcow2 --size 1M',
                     '--image-opts -O qcow2 --size 1M',
                     '--output=xml --size 1M', '--size x', '--size -1',
                     '--size 8E', '-O qcow2 -o bogus=1 --size 1M',
                     '-O raw -o cluster_size=1 --size 1M',
                     '-O qcow2 -o cluster_size=3k --size 1M',
                     '-O qcow2 -o cluster_size=0 --size 1M',
                     '-O qcow2 -o refcount_bits=3 --size 1M',
                     '-O qcow2 -o refcount_bits=128 --size 1M',
                     '-O qcow2 -o compat=x --size 1M',
                     '-O qcow2 -o compat=0.10,refcount_bits=1 --size 1M',
                     '-O qcow2 -o extended_l2=on,cluster_size=4k --size 1M',
                     '-O qcow2 -o preallocation=x --size 1M',
                     '-O qcow2 -o encrypt.format=luks --size 1M',
                     '-O qcow2 -o encrypt.format=luks,'
                     'encrypt.key-secret=none --size 1M'):
            ours, _ = self.same_all('qemu-img', 'measure', *args.split())
            self.assertNotEqual(ours.status, 0, args)


if __name__ == '__main__':
    main()
