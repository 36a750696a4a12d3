# SPDX-License-Identifier: MIT
"""Random images survive random conversions.

The seed is printed; QCF_TEST_SEED repeats a run.
"""

import os
import random
import sys

from cli_common import AES, CliTest, KIB, LUKS, MIB, SECRETS, image_opts, main

ROUNDS = 15
SPECIAL_ROUNDS = 10

# Formats and options of targets that are not plain, and what else they take.
SPECIAL = [('qcow', '', ['-c']), ('qcow', AES, []),
           ('qcow2', 'extended_l2=on', ['-c']),
           ('qcow2', 'extended_l2=on,cluster_size=16k,preallocation=full', []),
           ('qcow2', 'data_file=data', []),
           ('qcow2', 'data_file=data,data_file_raw=on', []),
           ('qcow2', 'data_file=data,extended_l2=on', []),
           ('qcow2', 'compression_type=zstd', ['-c']),
           ('qcow2', 'compat=0.10,cluster_size=4k', ['-c']),
           ('qcow2', LUKS, []), ('qcow2', AES + ',cluster_size=4k', []),
           ('qcow2', LUKS + ',preallocation=metadata', []),
           ('qcow2', LUKS + ',data_file=data,extended_l2=on', []),
           ('qcow2', 'preallocation=falloc,cluster_size=2M', []),
           ('raw', 'preallocation=falloc', [])]


class ConvertRandomImages(CliTest):

    def source(self, rng, name, backing):
        """A qcow2 image, on top of another one if backing names it."""
        options = rng.choice(['cluster_size=512', 'cluster_size=4k',
                              'cluster_size=64k', 'compat=0.10',
                              'cluster_size=2M', 'extended_l2=on',
                              'data_file=%s.data' % name])
        size = rng.randrange(1, 6 * MIB // 512) * 512
        args = ['qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options]
        if backing:
            args += ['-b', backing, '-F', 'qcow2']
        self.qemu(*args, name, str(size))
        commands = []
        for _ in range(rng.randrange(20)):
            offset = rng.randrange(size)
            length = min(rng.choice([1, 512, 4096, 65536, 300 * KIB]),
                         size - offset)
            commands += ['-c', '%s %d %d' % (
                rng.choice(['write -P %d' % rng.randrange(1, 256), 'write -z',
                            'write -P 0', 'discard', 'write -zu']),
                offset, length)]
        self.qemu('qemu-io', '-t', 'unsafe', *commands, '-c', 'flush', name)

    def options(self, rng, fmt):
        args = ['-O', fmt, '-m', str(rng.randrange(1, 17))]
        if rng.random() < 0.6:
            args += ['-S', rng.choice(['0', '512', '4k', '12k', '64k', '1M'])]
        if rng.random() < 0.3:
            args += ['-W']
        return args

    def creation(self, rng, fmt):
        if fmt == 'raw' or rng.random() < 0.3:
            return []
        return ['-o', rng.choice(['cluster_size=512', 'cluster_size=8k',
                                  'cluster_size=1M', 'compat=0.10'])]

    def convert(self, *args):
        result = self.our('qemu-img', 'convert', *args)
        self.assertEqual((result.status, result.out, result.err),
                         (0, '', ''), args)

    def one_round(self, rng):
        self.source(rng, 'base', None)
        self.source(rng, 'top', rng.choice(['base', None]))
        fmt = rng.choice(['raw', 'qcow2'])
        self.convert(*self.options(rng, fmt), *self.creation(rng, fmt), 'top',
                     'out')
        self.same_content('top', 'out', 'qcow2', fmt)
        if fmt == 'qcow2':
            self.is_sound('out')
        # Onto something old that is at least as large.
        self.our('qemu-img', 'create', '-q', '-f', fmt, 'old', '6M')
        self.our('qemu-io', '-t', 'unsafe', '-f', fmt, '-c',
                 'write -q -P 99 0 6M', 'old')
        self.convert('-n', *self.options(rng, fmt), 'top', 'old')
        result = self.their('qemu-img', 'compare', '-f', 'qcow2', '-F', fmt,
                            self.our_path('top'), self.our_path('old'))
        # A longer target is either equal or different behind the source.
        self.assertRegex(result.out, 'Content mismatch at offset %d!|identical'
                         % self.size_of('top'))
        # As an overlay of what lies below the source, or of anything else.
        self.convert(*self.options(rng, 'qcow2'),
                     *self.creation(rng, 'qcow2'), '-B', 'base', '-F',
                     'qcow2', 'top', 'overlay')
        self.same_content('top', 'overlay', 'qcow2', 'qcow2')
        self.is_sound('overlay')

    def size_of(self, name):
        with open(self.our_path(name), 'rb') as f:
            f.seek(24)
            return int.from_bytes(f.read(8), 'big')

    def equal_to_source(self, opts, words):
        result = self.their('qemu-img', 'compare', *SECRETS, '--image-opts',
                            'driver=qcow2,file.filename=top', opts)
        self.assertEqual(result.status, 0, '%s: %r' % (words, result))

    def special_round(self, rng):
        """To a special image and back, each read by QEMU."""
        self.source(rng, 'base', None)
        self.source(rng, 'top', rng.choice(['base', None]))
        fmt, options, flags = rng.choice(SPECIAL)
        words = [*SECRETS, *self.options(rng, fmt)]
        words += flags if rng.random() < 0.7 else []
        words += ['-o', options] if options else []
        self.convert(*words, 'top', 'new')
        opts = ('driver=raw,file.filename=new' if fmt == 'raw' else
                image_opts('new', fmt))
        for name in os.listdir(self.ours):
            self.share(name)
        self.equal_to_source(opts, words)
        if fmt == 'qcow2':
            result = self.their('qemu-img', 'check', *SECRETS, '--image-opts',
                                opts)
            self.assertEqual(result.status, 0, '%s: %r' % (words, result))
        self.convert(*SECRETS, '-O', 'qcow2', '--image-opts', opts, 'back')
        self.share('back')
        self.equal_to_source('driver=qcow2,file.filename=back', words)

    def setUp(self):
        super().setUp()
        seed = int(os.environ.get('QCF_TEST_SEED',
                                  random.SystemRandom().randrange(1 << 32)))
        print('seed %d' % seed, file=sys.stderr)
        self.rng = random.Random(seed)

    def test_conversions(self):
        for _ in range(ROUNDS):
            self.one_round(self.rng)

    def test_special_targets(self):
        for _ in range(SPECIAL_ROUNDS):
            self.special_round(self.rng)


if __name__ == '__main__':
    main()
