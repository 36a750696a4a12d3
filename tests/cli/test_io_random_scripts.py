# SPDX-License-Identifier: MIT
"""Random scripts print the same and leave the same disk in both programs.

The seed is printed; QCOWFMT_TEST_SEED repeats a run.
"""

import os
import random
import sys

from cli_common import CliTest, KIB, MIB, main, without_times

SIZE = 3 * MIB + 5 * 512
SCRIPTS = 12
COMMANDS = 60


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


def random_command(rng):
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

    def test_scripts(self):
        seed = int(os.environ.get('QCOWFMT_TEST_SEED',
                                  random.SystemRandom().randrange(1 << 32)))
        print('seed %d' % seed, file=sys.stderr)
        rng = random.Random(seed)
        for _ in range(SCRIPTS):
            self.create(rng)
            script = '\n'.join(random_command(rng) for _ in range(COMMANDS))
            self.same_all('qemu-io', '-t', 'unsafe', 'a', stdin=script,
                          normalize=without_prompts)
            self.same_content('a', self.their_path('a'), 'qcow2', 'qcow2')
            self.is_sound('a')


if __name__ == '__main__':
    main()
