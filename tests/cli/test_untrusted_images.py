# SPDX-License-Identifier: MIT
"""With --untrusted no file is opened that an image names."""

import os

from cli_common import CliTest, main


class UntrustedImages(CliTest):

    def setUp(self):
        super().setUp()
        self.qemu('qemu-img', 'create', '-q', '-f', 'raw', 'base', '1M')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'plain', '1M')
        for name, options in (('top', ['-b', 'base', '-F', 'raw']),
                              ('json', ['-b', 'json:{"driver":"raw",'
                                        '"file.filename":"base"}', '-F',
                                        'raw']),
                              ('data', ['-o', 'data_file=raw'])):
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', *options,
                      name, '1M')

    def run_untrusted(self, *args):
        return self.our('qemu-img', '--untrusted', *args)

    def test_references_are_refused(self):
        for name in ('top', 'json', 'data'):
            for args in (['map'], ['convert', '-O', 'raw'],
                         ['info', '--backing-chain']):
                if name == 'data' and args[0] == 'info':
                    continue
                ours = self.run_untrusted(*args, name, *(
                    ['out'] if args[0] == 'convert' else []))
                self.assertEqual(ours.status, 1, (name, args, ours))
                self.assertIn('--untrusted', ours.err)
        self.assertFalse(os.path.exists(self.our_path('out')))

    def test_the_rest_works(self):
        for name in ('top', 'json', 'data', 'plain'):
            for args in (['info'], ['check'], ['check', '-r', 'all']):
                ours = self.run_untrusted(*args, name)
                self.assertEqual(ours.status, 0, (name, args, ours))
        for args in (['map', 'plain'], ['check', 'plain'],
                     ['convert', '-O', 'raw', 'plain', 'out'],
                     ['info', '--backing-chain', 'plain']):
            ours = self.run_untrusted(*args)
            self.assertEqual(ours.status, 0, (args, ours))

    def test_what_the_user_names_is_opened(self):
        for text in ('driver=qcow2,file.filename=top,backing.driver=raw,'
                     'backing.file.filename=base',
                     'driver=qcow2,file.filename=top,backing=',
                     'driver=qcow2,file.filename=data,'
                     'data-file.driver=file,data-file.filename=raw'):
            ours = self.run_untrusted('map', '--image-opts', text)
            self.assertEqual(ours.status, 0, (text, ours))

    def test_tables_have_a_ceiling(self):
        """512 byte clusters: 8 bytes of L1 table for 32 KiB of disk."""
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'cluster_size=512', 'wide', '32G')
        self.assertEqual(self.our('qemu-img', 'map', 'wide').status, 0)
        ours = self.run_untrusted('map', 'wide')
        self.assertEqual(ours.status, 1, ours)
        self.assertEqual(self.our('qemu-img', 'check', 'wide').status, 0)


if __name__ == '__main__':
    main()
