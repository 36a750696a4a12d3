# SPDX-License-Identifier: MIT
"""How qcow-io opens, closes and reads commands is how qemu-io does it."""

import os
import re

from cli_common import CliTest, MIB, main, without_times


class IoSessions(CliTest):

    def setUp(self):
        super().setUp()
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '10M')
        self.qemu('qemu-io', '-c', 'write 0 128k', 'a')

    def io(self, *args, stdin=None):
        return self.same_all('qemu-io', *args, stdin=stdin,
                             normalize=without_times)

    def commands(self, *commands, options=(), name='a'):
        args = list(options)
        for command in commands:
            args += ['-c', command]
        return self.io(*args, *([name] if name else []))

    # --- standard input

    def test_standard_input(self):
        for text in ('', '\n', 'length\n', 'length', 'length\n\n  length  \n',
                     'foo\nlength\n', 'read 0 1k\nquit\nlength\n',
                     'quit\n', 'length\nfoo', 'read\t0\t1k\n'):
            self.io('a', stdin=text)

    def test_without_an_image(self):
        self.commands('length', 'read 0 1k', 'read', 'length 1', 'close',
                      name=None)
        self.io(stdin='length\nopen a\nlength\nclose\nlength\n')

    # --- open and close

    def test_open_and_close(self):
        self.commands('open a', 'length', 'close', 'length', 'close',
                      name=None)
        self.commands('open a')
        self.commands('open none', 'length', name=None)
        self.commands('open -r a', 'write 0 4k', 'close', 'o a', 'write 0 4k',
                      'c', name=None)
        self.commands('open -o driver=raw a', 'length', 'close',
                      'open -n a', 'read 0 4k', 'close', name=None)
        self.commands('open', 'open -t foo a', 'open -d foo a',
                      'open -o driver=qcow2', 'open -C -r a', name=None)

    def test_options_of_open(self):
        """They are looked at last, and none of them is a name."""
        commands = ['open -o driver=foo a', 'open -o foo=1 a', 'open -o foo a',
                    'open -o driver=foo', 'open -o driver=qcow2,foo=1 a',
                    'open -o backing= a', 'open -o , a', 'open a b']
        self.commands(*[c for c in commands if c != 'open a b'])
        self.mkdir('dir')
        for command in commands[:-3] + ['open dir', 'open -r dir']:
            self.commands(command, name=None)
        self.commands('open -o backing= a', 'length', name=None)

    def test_descriptions_instead_of_names(self):
        """With --image-opts, for "open", too."""
        image = 'driver=qcow2,file.filename=a'
        for commands in (('open ' + image, 'length', 'read 0 512'),
                         ('open -r ' + image, 'write 0 512'),
                         ('open -o driver=qcow2 ' + image, 'length'),
                         ('open -o driver=qcow2,file.filename=a', 'length'),
                         ('open a', 'length'), ('open foo=1,bar', 'length'),
                         ('open driver=qcow2,file.filename=none', 'length')):
            self.commands(*commands, options=['--image-opts'], name=None)
            self.commands(*commands, options=['--image-opts'], name=image)
            self.commands('close', *commands, options=['--image-opts'],
                          name=image)
        for name in ('a', 'foo', 'foo=1'):
            self.commands('length', options=['--image-opts'], name=name)

    def test_one_warning_for_an_image_that_was_probed(self):
        self.file('raw', MIB)
        self.commands('reopen -r', 'reopen -w', 'reopen -o discard=unmap',
                      'reopen -c foo', 'write 0 512', name='raw')
        self.commands('reopen -r', 'close', 'open a', 'length', name='raw')

    def test_open_does_not_inherit(self):
        self.commands('length', 'close', 'open a', 'length',
                      options=['-f', 'raw'])

    def test_reopen(self):
        self.commands('reopen -r', 'write 0 1k', 'reopen -w', 'write 0 1k',
                      'reopen', 'write 0 1k', 'reopen -c none', 'read 0 1k',
                      'reopen -c writethrough', 'write 0 1k')
        self.is_sound('a')
        self.same_content('a', self.their_path('a'))

    def test_missing_files(self):
        self.io('none')
        self.io('-c', 'length', 'none')
        self.qemu('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-b',
                  'gone', '-F', 'raw', 'orphan', '1M')
        self.commands('read 0 1', name='orphan')

    # --- options

    def test_formats(self):
        for fmt in ('qcow2', 'raw', 'foo'):
            self.commands('length', options=['-f', fmt])
            self.commands('length', options=['--format', fmt])

    def test_read_only(self):
        self.commands('write 0 1k', 'writev 0 1k', 'aio_write 0 1k',
                      'discard 0 1k', 'read 0 1k', 'flush', options=['-r'])
        self.same_bytes('a')

    def test_cache_modes(self):
        for mode in ('none', 'writeback', 'unsafe', 'directsync',
                     'writethrough', 'foo'):
            self.commands('write -P 3 0 4k', 'read -P 3 0 4k', 'flush',
                          'write -z 4k 4k', 'discard 0 64k',
                          options=['-t', mode])
        self.commands('write -P 3 100 1000', 'read -P 3 100 1000',
                      options=['-n', '-m'])
        self.is_sound('a')
        self.same_content('a', self.their_path('a'))

    def test_unsafe_on_a_chain(self):
        os.mkdir(self.our_path('sub'))
        os.mkdir(self.their_path('sub'))
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', '../a',
                  '-F', 'qcow2', 'sub/top')
        self.commands('write 1000 1000', 'read -P 0xcd 0 64k', 'map',
                      options=['-t', 'unsafe'], name='sub/top')
        self.is_sound('sub/top')

    def test_discard_modes(self):
        for mode in ('ignore', 'off', 'unmap', 'on', 'foo'):
            self.commands('write 1M 64k', 'discard 1M 64k', 'map',
                          'read -P 0 1M 64k', options=['-d', mode])

    def test_discard_gives_space_back(self):
        for options in ([], ['-d', 'unmap']):
            self.commands('write 1M 4M', options=options)
            before = os.stat(self.our_path('a')).st_blocks
            self.commands('discard 1M 4M', options=options)
            after = os.stat(self.our_path('a')).st_blocks
            self.assertLess(after, before - 4 * MIB // 512 // 2)

    def test_aio_modes(self):
        for options in (['-i', 'threads'], ['-i', 'io_uring'],
                        ['-i', 'native'], ['-k'], ['-k', '-n'],
                        ['-i', 'native', '-t', 'none'], ['-i', 'foo']):
            self.commands('read 0 4k', options=options)

    def test_long_options(self):
        """Whole and cut short, with values of both kinds."""
        for options in (['--read-only'], ['--snapshot'], ['--nocache'],
                        ['--copy-on-read'], ['--misalign', '--nocache'],
                        ['--native-aio', '--nocache'], ['--aio=threads'],
                        ['--aio', 'native', '--nocache'], ['--aio=foo'],
                        ['--cache=unsafe'], ['--cache', 'foo'],
                        ['--discard=unmap'], ['--discard', 'foo'],
                        ['--force-share', '--read-only'], ['--force-share'],
                        ['--format=qcow2'], ['--format', 'raw'],
                        ['--read'], ['--no'], ['--snap'], ['--disc=unmap'],
                        ['--cmd', 'length'], ['--cmd=length', '--cm', 'map']):
            self.io(*options, '-c', 'write 512 1k', '-c', 'read 512 1k', 'a')
            self.io('a', '-c', 'read 512 1k', *options)
        self.is_sound('a')

    def test_force_share(self):
        self.commands('write 0 4k', options=['-U'])
        self.commands('read 0 4k', options=['-U', '-r'])

    def test_usage(self):
        for args in (['--foo', 'a'], ['a', 'b'], ['-c']):
            ours, theirs = self.both('qemu-io', *args)
            self.assertEqual(ours.status, theirs.status)
            self.assertTrue(ours.out.startswith('Usage: qemu-io '))
        self.assertIn("unrecognized option '--foo'",
                      self.our('qemu-io', '--foo').err)

    def test_help_and_version(self):
        for option in ('-h', '--help'):
            ours = self.our('qemu-io', option)
            self.assertEqual((ours.status, ours.err), (0, ''))
            theirs = self.their('qemu-io', option)
            # All their options but those that are refused.
            known = set(re.findall(r'--[a-z-]+', theirs.out))
            self.assertEqual(
                known - set(re.findall(r'--[a-z-]+', ours.out)),
                {'--trace'})
        for option in ('-V', '--version'):
            ours = self.our('qemu-io', option)
            self.assertEqual(ours.status, 0)
            self.assertRegex(ours.out, r'^qemu-io version \d+\.\d+\.\d+\n$')

    def test_every_command_is_explained(self):
        listed = self.our('qemu-io', '-c', 'help').out
        names = re.findall(r'(?m)^(\w+) .*-- ', listed)
        self.assertIn('read', names)
        for name in names:
            ours = self.our('qemu-io', '-c', 'help ' + name)
            self.assertEqual(ours.status, 0)
            self.assertTrue(ours.out.startswith(name + ' '), ours.out)

    # --- snapshot and copy on read

    def test_snapshot(self):
        with open(self.our_path('a'), 'rb') as f:
            before = f.read()
        self.commands('info', 'map', 'write -P 5 64k 128k', 'map',
                      'read -P 5 64k 128k', 'read -P 0xcd 0 64k', 'length',
                      'discard 64k 64k', options=['-s'])
        ours = self.our('qemu-io', '-s', '-c', 'write -q -P 5 64k 128k', '-c',
                        'reopen -r', '-c', 'read -qP 5 64k 128k', '-c',
                        'reopen -w', '-c', 'write -qP 6 64k 64k', '-c',
                        'read -qP 6 64k 64k', 'a')
        self.assertEqual((ours.status, ours.out, ours.err), (0, '', ''))
        with open(self.our_path('a'), 'rb') as f:
            self.assertEqual(f.read(), before)
        self.file('raw', MIB)
        self.commands('write -P 5 0 64k', 'read -P 5 0 64k', 'map',
                      options=['-s', '-f', 'raw'], name='raw')
        self.same_bytes('raw')
        # Nothing is left behind.
        self.assertEqual(sorted(os.listdir(self.ours)), ['a', 'raw'])

    def test_snapshot_of_a_missing_file(self):
        self.commands('length', options=['-s'], name='none')

    def test_copy_on_read(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'a', '-F',
                  'qcow2', 'top')
        self.commands('read -P 0xcd 1000 1000', 'map', 'read -P 0 5M 200k',
                      'map', 'readv -v 131060 16 16', 'map',
                      options=['-C'], name='top')
        self.is_sound('top')
        self.same_content('top', 'a')
        self.commands('read 0 4k', options=['-C', '-r'], name='top')

    def test_copy_on_read_of_the_last_cluster(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', '70000')
        self.qemu('qemu-io', '-c', 'write -P 9 0 70000', 'base')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base',
                  '-F', 'qcow2', 'top')
        self.commands('read -P 9 65600 4000', 'map', options=['-C'],
                      name='top')
        self.is_sound('top')

    # --- raw images by probing

    def test_probed_raw_cannot_become_another_format(self):
        self.file('raw', MIB)
        self.commands('write 0 4k', 'write -s a 0 512', 'write -s a 0 3',
                      'write -P 0x51 0 1', 'write -z 0 512', 'map',
                      name='raw')
        self.same_bytes('raw')
        self.commands('write -s a 0 512', options=['-f', 'raw'], name='raw')
        self.same_bytes('raw')

    def test_probed_raw_byte_by_byte(self):
        self.file('raw', MIB)
        for name, byte in (('Q', 0x51), ('F', 0x46), ('I', 0x49),
                           ('end', 0xfb)):
            self.file(name, 1, [(0, bytes([byte]))])
        ours = self.our('qemu-io', '-c', 'write -P 0x51 0 1', '-c',
                        'write -P 0x46 1 1', '-c', 'write -P 0x49 2 1', '-c',
                        'write -P 2 7 1', '-c', 'write -P 0xfb 3 1', 'raw')
        self.assertEqual(ours.status, 1)
        self.assertIn('write failed: Operation not permitted', ours.out)

    def test_no_warning_where_nothing_can_be_written(self):
        self.file('raw', MIB)
        self.commands('read 0 3', options=['-r'], name='raw')


if __name__ == '__main__':
    main()
