# SPDX-License-Identifier: MIT
"""Random scripts print the same and leave the same disk in both programs.

The seed is printed; QCF_TEST_SEED repeats a run.
"""

import os
import random
import sys

from cli_common import (AES, CliTest, KIB, LUKS, MIB, SECRETS, image_opts, main,
                        without_times)

SIZE = 3 * MIB + 5 * 512
SCRIPTS = 12
SPECIAL_SCRIPTS = 20
COMMANDS = 60

SPECIAL = [('qcow', ''), ('qcow', AES), ('qcow2', AES), ('qcow2', LUKS),
           ('qcow2', LUKS + ',cluster_size=4k,compat=0.10'),
           ('qcow2', LUKS + ',extended_l2=on,cluster_size=16k'),
           ('qcow2', LUKS + ',data_file=d'), ('qcow2', 'extended_l2=on'),
           ('qcow2', 'extended_l2=on,cluster_size=16k'),
           ('qcow2', 'data_file=d'), ('qcow2', 'data_file=d,extended_l2=on'),
           ('qcow2', 'data_file=d,data_file_raw=on'),
           ('qcow2', 'preallocation=metadata,cluster_size=4k')]


def random_range(rng):
    offset = rng.randrange(SIZE)
    if rng.random() < 0.5:
        offset -= offset % rng.choice([512, 4096, 65536])
    length = rng.choice([rng.randrange(100), rng.randrange(64 * KIB),
                         rng.randrange(600 * KIB), 512, 4096, 65536, 131072])
    # A few go past the end.
    if rng.random() < 0.97:
        length = min(length, SIZE - offset)
    return '%d %d' % (offset, length)


def whole_clusters(where):
    """QEMU discards nothing less, we discard subclusters as well."""
    offset, length = (int(word) for word in where.split())
    return '%d %d' % (offset // 65536 * 65536,
                      max(1, length // 65536) * 65536)


def random_command(rng, subclusters=False):
    kind = rng.choice(['write'] * 5 + ['zero'] * 3 + ['discard'] * 2 +
                      ['read'] * 3 + ['writev', 'readv', 'flush',
                                      'aio_write'])
    pattern = rng.randrange(256)
    where = random_range(rng)
    if kind == 'write':
        return 'write %s -P %d %s' % (rng.choice(['', '-f']), pattern, where)
    if kind == 'zero':
        return 'write %s %s' % (rng.choice(['-z', '-zu', '-zf']), where)
    if kind == 'writev':
        return 'writev -P %d %s' % (pattern, where)
    if kind == 'aio_write':
        return 'aio_write -P %d %s\naio_flush' % (pattern, where)
    if kind == 'read':
        return 'read %s %s' % (rng.choice(['', '-P %d' % pattern]), where)
    if kind == 'discard' and subclusters:
        where = whole_clusters(where)
    if kind in ('readv', 'discard'):
        return '%s %s' % (kind, where)
    return kind


def without_prompts(text):
    """Where they stand among the results of aio requests is up to chance."""
    return without_times(text).replace('qemu-io> ', '')


class IoRandomScripts(CliTest):

    def create(self, rng):
        options = rng.choice(['cluster_size=512', 'cluster_size=4k',
                              'cluster_size=64k', 'cluster_size=2M',
                              'compat=0.10', 'lazy_refcounts=on',
                              'compat=0.10,cluster_size=1k'])
        args = ['qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options]
        if rng.random() < 0.5:
            self.file('base', 2 * MIB + 1000,
                      [(0, rng.randbytes(MIB)), (3 * MIB // 2, b'base' * 9999)])
            args += ['-b', 'base', '-F', 'raw']
        self.qemu(*args, 'a', str(SIZE))

    def create_special(self, rng):
        """One that both have the same of; returns how to open it."""
        fmt, options = rng.choice(SPECIAL)
        args = ['qemu-img', 'create', '-q', '-f', fmt, *SECRETS]
        args += ['-o', options] if options else []
        if rng.random() < 0.5 and 'raw' not in options and \
                'preallocation' not in options:
            self.file('base', 2 * MIB + 1000,
                      [(0, rng.randbytes(MIB)), (3 * MIB // 2, b'base' * 9999)])
            args += ['-b', 'base', '-F', 'raw']
        self.our_image('a', *args, 'a', str(SIZE))
        if 'data_file' in options:
            self.share('d')
        return image_opts('a', fmt), options

    def is_same_disk(self, opts, what):
        """QEMU reads the same from ours as from theirs."""
        for name in ('a', 'd'):
            if os.path.exists(self.our_path(name)):
                os.rename(self.their_path(name), self.their_path('t' + name))
                self.share(name)
                os.rename(self.their_path(name), self.their_path('o' + name))
        for who in 'ot':
            for name in ('a', 'd'):
                if os.path.exists(self.their_path(who + name)):
                    os.rename(self.their_path(who + name),
                              self.their_path(name))
            result = self.their('qemu-img', 'convert', *SECRETS,
                                '--image-opts', opts, who + '.raw')
            self.assertEqual(result.status, 0, '%s: %r' % (what, result))
            if 'qcow2' in opts:
                result = self.their('qemu-img', 'check', *SECRETS,
                                    '--image-opts', opts)
                self.assertEqual(result.status, 0, '%s: %r' % (what, result))
        result = self.their('qemu-img', 'compare', '-f', 'raw', '-F', 'raw',
                            'o.raw', 't.raw')
        self.assertEqual(result.status, 0, '%s: %r' % (what, result))

    def setUp(self):
        super().setUp()
        seed = int(os.environ.get('QCF_TEST_SEED',
                                  random.SystemRandom().randrange(1 << 32)))
        print('seed %d' % seed, file=sys.stderr)
        self.rng = random.Random(seed)

    def test_special_images(self):
        for _ in range(SPECIAL_SCRIPTS):
            opts, options = self.create_special(self.rng)
            subclusters = 'extended_l2' in options
            script = '\n'.join(random_command(self.rng, subclusters)
                               for _ in range(COMMANDS))
            ours, _ = self.same_all('qemu-io', '-t', 'unsafe', *SECRETS,
                                    '--image-opts', opts, stdin=script,
                                    normalize=without_prompts)
            self.assertIn('wrote', ours.out)
            self.is_same_disk(opts, options)
            for name in os.listdir(self.ours):
                os.unlink(self.our_path(name))
            for name in os.listdir(self.theirs):
                os.unlink(self.their_path(name))

    def test_scripts(self):
        rng = self.rng
        for _ in range(SCRIPTS):
            self.create(rng)
            script = '\n'.join(random_command(rng) for _ in range(COMMANDS))
            self.same_all('qemu-io', '-t', 'unsafe', 'a', stdin=script,
                          normalize=without_prompts)
            self.same_content('a', self.their_path('a'), 'qcow2', 'qcow2')
            self.is_sound('a')


if __name__ == '__main__':
    main()
