# SPDX-License-Identifier: MIT
"""What qemu-img and qemu-io have and we do not is refused by its name."""

import os

from cli_common import CliTest, main


class UnsupportedIsRefused(CliTest):

    def setUp(self):
        super().setUp()
        self.qemu('qemu-img', 'create', '-f', 'qcow2', 'a.qcow2', '1M')

    def test_commands(self):
        for command in ('amend', 'bench', 'bitmap', 'commit', 'compare', 'dd',
                        'measure', 'rebase', 'snapshot'):
            self.refused(command, 'qemu-img', command, 'a.qcow2')

    def test_program_options(self):
        for option in ('-T', '--trace'):
            self.refused('--trace', 'qemu-img', option, 'x', 'info', 'a.qcow2')
            self.refused('--trace', 'qemu-io', option, 'x', 'a.qcow2')

    def test_command_options(self):
        for command, options in (
                ('create', '--object=x'),
                ('info', '--object=x --image-opts --limits'),
                ('map', '--object=x --image-opts'),
                ('check', '--object=x --image-opts'),
                ('convert', '--object=x --image-opts --target-image-opts '
                 '--bitmaps --skip-broken-bitmaps --salvage --compress '
                 '--snapshot=x --copy-range-offloading')):
            for option in options.split():
                self.refused(option.split('=')[0], 'qemu-img', command,
                             option, 'a.qcow2', 'out')
        for option, arg in (('-c', []), ('-C', []), ('-l', ['x'])):
            self.refused(option, 'qemu-img', 'convert', option, *arg,
                         'a.qcow2', 'out')
        self.assertFalse(os.path.exists(self.our_path('out')))

    def test_creation_options(self):
        for option in ('encryption=on', 'extended_l2=on', 'data_file_raw=on',
                       'data_file=x', 'compression_type=zstd',
                       'preallocation=metadata', 'preallocation=falloc',
                       'preallocation=full', 'nocow=on',
                       'extent_size_hint=1M', 'encrypt.format=luks',
                       'encrypt.key-secret=x', 'encrypt.cipher-alg=x',
                       'encrypt.cipher-mode=x', 'encrypt.ivgen-alg=x',
                       'encrypt.ivgen-hash-alg=x', 'encrypt.hash-alg=x',
                       'encrypt.iter-time=10'):
            name = option.split('=')[0]
            self.refused(name, 'qemu-img', 'create', '-f', 'qcow2', '-o',
                         option, 'out', '1M')
            self.refused(name, 'qemu-img', 'convert', '-O', 'qcow2', '-o',
                         option, 'a.qcow2', 'out')
        self.refused('preallocation', 'qemu-img', 'create', '-o',
                     'preallocation=full', 'out', '1M')
        self.assertFalse(os.path.exists(self.our_path('out')))

    def test_formats(self):
        self.refused('qcow', 'qemu-img', 'create', '-f', 'qcow', 'out', '1M')
        self.assertFalse(os.path.exists(self.our_path('out')))

    def test_io_program_options(self):
        for option in ('--image-opts', '--object=x'):
            self.refused(option.split('=')[0], 'qemu-io', option, 'a.qcow2')

    def test_io_commands(self):
        for command in ('break x y', 'wait_break x', 'resume x',
                        'remove_break x', 'truncate 1M', 't 1M',
                        'zone_report', 'zrp', 'zone_open', 'zo', 'zone_close',
                        'zc', 'zone_finish', 'zf', 'zone_reset', 'zrs',
                        'zone_append', 'zap'):
            self.refused('Command', 'qemu-io', '-c', command, 'a.qcow2')

    def test_io_command_options(self):
        for command in ('read -b 0 1', 'read -r 0 1', 'readv -r 0 1',
                        'aio_read -i 0 1', 'aio_read -r 0 1', 'write -b 0 1',
                        'write -c 0 64k', 'write -zn 0 64k', 'write -r 0 1',
                        'writev -r 0 1', 'aio_write -i 0 1',
                        'aio_write -r 0 1', 'reopen -o lazy-refcounts=on'):
            option = command.split()[1][-1]
            self.refused('-' + option, 'qemu-io', '-c', command, 'a.qcow2')
        self.refused('lazy-refcounts', 'qemu-io', '-c',
                     'open -o lazy-refcounts=on a.qcow2')
        self.same_content('a.qcow2', self.their_path('a.qcow2'))


if __name__ == '__main__':
    main()
