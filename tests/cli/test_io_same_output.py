# SPDX-License-Identifier: MIT
"""Every command of qcow-io prints what qemu-io prints, and ends the same way,
in images of any kind."""

import re

from cli_common import CliTest, MIB, main, without_times

READS = ['read 0 1k', 'read 100 100', 'read 0 0', 'read 0 0x200',
         'read 0 1.5k', 'read -q 0 1M', 'read -C 0 1M', 'read -Cq 0 1M',
         'read -p 0 1k', 'read -v 0 20', 'read -v 3 5', 'read -v 0 512',
         'read -qv 0 3', 'read -vC 0 3', 'read -P 0x11 0 1k',
         'read -P 0x12 0 1k', 'read -vP 0 0 3', 'read -P 0 -s 10 -l 20 0 1k',
         'read -P 17 -s 10 -l 20 0 1k', 'read -P 17 -s 512 0 1k',
         'read -qP 1 0 16', 'read -qvP 1 0 16',
         'read -P 17 -l 512 0 1k', 'read -P 0 -s 10 -l 2000 0 1k',
         'read -P 1 -s 2000 0 1k', 'read -P 1 -s -1 0 1k', 'read -P 300 0 1',
         'read 0 11M', 'read 20M 1M', 'read 7E 1k', 'read 0 -- 1',
         'read 0 1 -q', 'r 0 1k']

WRITES = ['write 0 1M', 'write 1M 2M', 'write -P 0x11 0 1k', 'write 0 100',
          'write 100 512', 'write -P 010 0 1', 'write -P +5 0 1',
          'write -f 0 64k', 'write -p 0 64k', 'write -q 0 64k',
          'write -C 0 64k', 'write -z 0 64k', 'write -zu 64k 64k',
          'write -zf 1000 70000', 'write -z 0 0', 'write 0 0',
          'write -s pattern 0 64k', 'write -s pattern 100 3', 'w 0 4k',
          'write -s none 0 64k', 'write -s empty 0 64k',
          'write -s pattern -P 1 0 64k', 'write -s pattern -z 0 64k',
          'write -zP 1 0 64k', 'write -u 0 64k', 'write -P abc 0 1k',
          'write -P -1 0 1k', 'write -P 0x141 0 1k', 'write -P + 0 1',
          'write -P 0b1 0 1', 'write 10M 512', 'write 20M 1M',
          'write -z 10M 1', 'write 9M 2M']

VECTORS = ['readv 0 1k 2k', 'readv -v 0 16 16', 'readv -P 4 0 1k',
           'readv -q 0 1k', 'readv -C 0 1k', 'readv 0 0', 'readv 0 1k 0',
           'readv 20M 4k', 'readv -qC 0 4k', 'readv -qv 0 9', 'readv -Cv 0 9', 'writev 0 1k 2k',
           'writev -P 3 0 1k 2k', 'readv -P 3 0 1k 2k', 'writev -f 0 64k 64k',
           'writev -q 0 1k', 'writev -C 0 1k', 'writev 0 x', 'writev 0 1k x',
           'writev -P 300 0 1k', 'writev 20M 1k', 'readv -P x 0 1',
           'readv 0 3G', 'readv 0 1G 1G', 'writev 0 3G']

AIO = ['aio_write 0 1k', 'aio_read 0 1k', 'aio_read -v 0 3',
       'aio_read -C 0 1k', 'aio_read -q 0 1k', 'aio_read -P 9 0 4k',
       'aio_read 0 11M', 'aio_write 10M 4k', 'aio_write -q 0 1k',
       'aio_write -z 0 64k 64k', 'aio_write -u 0 64k',
       'aio_write -z -P 1 0 64k', 'aio_write -P 300 0 1',
       'aio_write 0 3G', 'aio_read x 1', 'aio_read 0 x', 'aio_flush']

OTHERS = ['discard 0 1M', 'discard -q 0 1M', 'discard -C 0 1M', 'd 64k 64k',
          'discard 100 100', 'discard 0 0', 'discard 0 20M', 'discard x 1',
          'discard 0 x', 'discard 0 3G', 'map', 'alloc 0', 'alloc 0 1M',
          'alloc 512k 1M', 'alloc 100 100', 'alloc 0 100M', 'alloc 20M',
          'alloc -1', 'alloc 0 x', 'length', 'l', 'flush', 'f', 'sleep 1',
          'sleep x', 'sleep -1', 'info', 'i']

USAGE = ['foo', 'read', 'read 0', 'write', 'write 0', 'discard 0', 'alloc',
         'alloc 0 1 2', 'sleep', 'sleep 1 2', 'readv 0', 'writev', 'length 1',
         'help read write', 'help foo', 'read x 1', 'read 0 x', 'read 1e3 4',
         'read 0 1KB', 'read 99999999999999999999 1', 'read 0 8E',
         'read 0 3G', 'write 0 3G', 'quit 1', 'reopen -r -w', 'reopen -c foo',
         'open a', 'sigraise x', '', '   ', '# x', '"read" 0 1']

# Their usage lines do not show options that are newer.
ODD_USAGE = ['read -Z 0 1', 'read 0 1 2', 'read -s 0 0 1k', 'read -l 10 0 1k',
             'write -Z 0 1', 'write 0 1 2', 'write -1 512', 'discard -Z 0 1',
             'discard 0 1 2', 'readv -Z 0 1', 'writev -Z 0 1',
             'aio_read -Z 0 1', 'aio_write -Z 0 1', 'reopen x', 'reopen -Z',
             'open -Z a', 'open a b']


def without_new_options(text):
    """Usage lines without -r, which has come since, and without -i of open."""
    text = re.sub(r'(?m)^((?:aio_)?(?:read|write)v? \[-\w*?)r(\w*\])',
                  r'\1\2', text)
    return text.replace('[-d discard] [-i aio] ', '[-d discard] ')


class IoSameOutput(CliTest):

    def setUp(self):
        super().setUp()
        self.file('pattern', 100, [(0, bytes(range(100)))])
        self.file('empty', 0)

    def create(self, *args):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', *args, 'a', '10M')

    def io(self, *args, normalize=without_times):
        return self.same_all('qemu-io', *args, normalize=normalize)

    def each(self, commands, *args):
        for command in commands:
            self.io('-c', command, *args)

    def finish(self, fmt='qcow2', same_map=True):
        """The disks are equal, and ours is sound."""
        self.same_content('a', self.their_path('a'), fmt, fmt)
        if fmt == 'qcow2':
            self.is_sound('a')
            if same_map:
                self.same_output('qemu-io', '-c', 'map', 'a')

    def test_reads(self):
        self.create()
        self.qemu('qemu-io', '-c', 'write -P 17 0 1M', 'a')
        self.each(READS, 'a')

    def test_writes(self):
        self.create()
        self.each(WRITES, 'a')
        self.finish()

    def test_writes_in_other_images(self):
        for options in ('compat=0.10', 'cluster_size=512', 'cluster_size=2M',
                        'lazy_refcounts=on', 'refcount_bits=1'):
            self.create('-o', options)
            self.io(*sum([['-c', c] for c in WRITES if 'none' not in c and
                          'empty' not in c], []), 'a')
            # Version 2 has no zero clusters: what zeros take is up to us.
            self.finish(same_map=options != 'compat=0.10')

    def test_vectors(self):
        self.create()
        self.each(VECTORS, 'a')
        self.finish()

    def test_aio(self):
        self.create()
        self.each(AIO, 'a')
        self.finish()

    def test_other_commands(self):
        self.create()
        self.qemu('qemu-io', '-c', 'write 0 3M', '-c', 'write 5M 1M', 'a')
        self.each(OTHERS, 'a')
        self.finish()

    def test_usage(self):
        self.create()
        self.each(USAGE, 'a')
        self.io('-c', 'write -s none -Z', 'a', normalize=without_new_options)
        for command in ODD_USAGE:
            self.io('-c', command, 'a', normalize=without_new_options)

    def test_help(self):
        """One line for each command, but for those that we do not have."""
        theirs = self.their('qemu-io', '-c', 'help').out
        lines = [line for line in theirs.splitlines() if
                 not re.match('break|wait_break|resume|remove_break', line)]
        ours = self.our('qemu-io', '-c', 'help')
        self.assertEqual(without_new_options(ours.out).splitlines(), lines)
        for line in lines[:-2]:
            name = line.split()[0]
            ours, theirs = self.both('qemu-io', '-c', 'help ' + name)
            self.assertEqual(without_new_options(ours.out).split('\n')[0],
                             theirs.out.split('\n')[0])
            for option in re.findall(r'(?m)^ -(\w), ', theirs.out):
                self.assertIn('\n -%s ' % option, ours.out, name)

    def test_raw(self):
        self.file('a', 10 * MIB, [(MIB, b'x' * MIB)])
        for commands in (READS, WRITES, VECTORS, OTHERS):
            self.each([c for c in commands if 'discard' not in c], '-f', 'raw',
                      'a')
        self.finish('raw')

    def test_raw_of_odd_length(self):
        for size in (1, 511, 1000, 65537):
            self.file('a', size, [(0, b'x' * size)])
            self.io('-f', 'raw', '-c', 'length', '-c', 'map', '-c',
                    'alloc 0 10k', '-c', 'read -v 0 512', 'a')

    def test_backing_files(self):
        self.file('base', 5 * MIB, [(0, b'x' * MIB), (3 * MIB, b'y' * MIB)])
        self.create('-b', 'base', '-F', 'raw')
        self.each(['map', 'alloc 0 1M', 'read -P 120 0 1M', 'info',
                   'write 100 100', 'write -z 3M 70000', 'discard 0 64k',
                   'discard 4M 64k', 'map', 'alloc 0 10M',
                   'read -v 3211200 128', 'read -P 0 5M 5M'], 'a')
        self.finish()

    def test_an_empty_disk(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'z', '0')
        self.io('-c', 'length', '-c', 'map', '-c', 'info', '-c', 'alloc 0',
                '-c', 'discard 0 0', '-c', 'read 0 0', '-c', 'write 0 1', 'z')

    def test_info_of_versions(self):
        for options in ('compat=0.10', 'cluster_size=512', 'cluster_size=2M',
                        'lazy_refcounts=on', 'refcount_bits=1'):
            self.create('-o', options)
            self.io('-c', 'info', 'a')

    def test_commands_after_a_failure(self):
        self.create()
        self.io('-c', 'foo', '-c', 'read 0 11M', '-c', 'length', 'a')

    def test_quitting(self):
        self.create()
        for command in ('quit', 'q'):
            self.io('-c', command, '-c', 'length', 'a')
            self.io('-c', 'foo', '-c', command, 'a')

    def test_ending_by_a_signal(self):
        self.create()
        for command in ('sigraise 0', 'sigraise 65', 'sigraise 66',
                        'sigraise 100', 'sigraise -1', 'sigraise 1E'):
            self.io('-c', command, '-c', 'length', 'a')
        for command in ('abort', 'sigraise 9', 'sigraise 15'):
            ours, theirs = self.both('qemu-io', '-c', 'write -q 0 1', '-c',
                                     command, '-c', 'length', 'a')
            self.assertEqual(ours.status, theirs.status)
            self.assertLess(ours.status, 0)
            self.assertEqual(ours.out, theirs.out)

    def test_patterns_do_not_repeat_by_chance(self):
        """The content of -s is that of the file, over and over."""
        self.create()
        self.our('qemu-io', '-c', 'write -s pattern 10 1000', 'a')
        self.our('qemu-img', 'convert', 'a', 'raw')
        with open(self.our_path('raw'), 'rb') as f:
            self.assertEqual(f.read(1020),
                             bytes(10) + bytes(range(100)) * 10 + bytes(10))

    def test_truncate(self):
        self.file('r', MIB)
        for options in ('compat=1.1', 'extended_l2=on', 'data_file=d',
                        'compat=0.10'):
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options,
                      'a', '1M')
            self.qemu('qemu-io', '-c', 'write -P 5 0 1M', 'a')
            for command in ('2M', '-m off 512k', '-m full 256k', '1000', 'x',
                            '-m foo 2M', '', '-m', '1M 2M', '-1', '-x 1M', '0',
                            '9E', '1 2 3 4', '512', '-m metadata 3M',
                            '-m falloc 4M'):
                # A mode without a size is a fault in theirs.
                self.same_all('qemu-io', '-f', 'qcow2', '-c',
                              'truncate ' + command, '-c', 'l', 'a')
            self.same_all('qemu-io', '-f', 'qcow2', '-c', 'read -P 0 512 4093k',
                          '-c', 'read -P 5 0 512', '-c', 't 512k', 'a',
                          normalize=without_times)
            self.is_sound('a')
            self.same_all('qemu-io', '-r', '-c', 't 2M', 'a')
        self.same_all('qemu-io', '-s', '-c', 't 2M', '-c', 'l', '-c',
                      'read -P 0 512k 1536k', 'a', normalize=without_times)
        for command in ('2M', '100', '1000', '-m metadata 4M', '-m full 3M',
                        '-m full 1M', '513'):
            self.same_all('qemu-io', '-f', 'raw', '-c', 't ' + command, '-c',
                          'l', 'r')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'v1', '1M')
        self.same_all('qemu-io', '-c', 't 2M', '-c', 'l', 'v1')
        self.same_all('qemu-io', '-c', 't 2M')


if __name__ == '__main__':
    main()
