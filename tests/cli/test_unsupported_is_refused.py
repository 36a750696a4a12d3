# SPDX-License-Identifier: MIT
"""What qemu-img and qemu-io have and we do not is refused by its name."""

import os

from cli_common import CliTest, main


class UnsupportedIsRefused(CliTest):

    def setUp(self):
        super().setUp()
        self.qemu('qemu-img', 'create', '-f', 'qcow2', 'a.qcow2', '1M')

    def test_program_options(self):
        for option in ('-T', '--trace'):
            self.refused('--trace', 'qemu-img', option, 'x', 'info', 'a.qcow2')
            self.refused('--trace', 'qemu-io', option, 'x', 'a.qcow2')

    def test_formats(self):
        for name in ('vmdk', 'luks', 'vdi'):
            self.refused(name, 'qemu-img', 'create', '-f', name, 'out', '1M')
            self.refused(name, 'qemu-img', 'convert', '-O', name, 'a.qcow2',
                         'out')
        self.assertFalse(os.path.exists(self.our_path('out')))

    def test_image_options(self):
        for option in ('discard-no-unref=on', 'overlap-check=all', 'overlap-check.inactive-l2=on',
                       'detect-zeroes=on', 'detect-zeroes=unmap',
                       'auto-read-only=on', 'file.detect-zeroes=on'):
            text = 'driver=qcow2,file.filename=a.qcow2,' + option
            for command in ('info', 'map', 'check'):
                self.refused(option.split('=')[0], 'qemu-img', command,
                             '--image-opts', text)
            self.refused(option.split('=')[0], 'qemu-io', '--image-opts', text)
        for text in ('driver=vmdk,file.filename=a.qcow2',
                     'driver=qcow2,file.driver=nbd,file.filename=a.qcow2'):
            self.refused('Driver', 'qemu-img', 'info', '--image-opts', text)

    def test_objects(self):
        for text in ('secret,id=a,data=x,keyid=b', 'secret,id=a,data=x,iv=b',
                     'throttle-group,id=a', 'tls-creds-x509,id=a',
                     '{"qom-type":"throttle-group","id":"a"}'):
            self.refused('', 'qemu-img', 'info', '--object', text, 'a.qcow2')
            self.refused('', 'qemu-io', '--object', text, 'a.qcow2')

    def test_io_commands(self):
        for command in ('break x y', 'wait_break x', 'resume x',
                        'remove_break x',
                        'zone_report', 'zrp', 'zone_open', 'zo', 'zone_close',
                        'zc', 'zone_finish', 'zf', 'zone_reset', 'zrs',
                        'zone_append', 'zap'):
            self.refused('Command', 'qemu-io', '-c', command, 'a.qcow2')

    def test_io_command_options(self):
        self.refused('discard-no-unref', 'qemu-io', '-c',
                     'open -o discard-no-unref=on a.qcow2')
        self.same_content('a.qcow2', self.their_path('a.qcow2'))


if __name__ == '__main__':
    main()
