# SPDX-License-Identifier: MIT
"""dd copies what qemu-img copies, says what it says, and also takes pipes."""

import os
import subprocess

from cli_common import CliTest, KIB, MIB, OURS, main, noise

SIZE = 3 * MIB + 700 * 512
PARTS = ['', 'bs=1M', 'bs=64k count=3', 'bs=1000 skip=7', 'bs=300 skip=1001',
         'bs=64k count=9 skip=4', 'bs=64k skip=4 count=4', 'count=0',
         'bs=512 count=20000', 'bs=1k skip=100 count=1k', 'bs=1000 count=5',
         'bs=1G', 'skip=9223372036854775807',
         'bs=2147483647 count=9223372036854775807', 'bs=64k skip=54',
         'bs=512 skip=6844', 'bs=512 skip=6845', 'bs=1k skip=9 count=8']

ERRORS = ['', 'if=src', 'of=out', 'if=none of=out', 'if=src of=out foo=1',
          'if=src of=out foo', 'if=src of=out conv=sync', 'if=src of=out bs=0',
          'if=src of=out bs=x', 'if=src of=out bs=2G', 'if=src of=out bs=',
          'if=src of=out count=-1', 'if=src of=out skip=x', '--foo',
          '-O foo if=src of=out', '-f foo if=src of=out',
          '-f raw if=src of=none/out', '-f raw --image-opts if=src of=out',
          '--image-opts if=driver=raw,file.filename=none of=out']


class DdSame(CliTest):

    def setUp(self):
        super().setUp()
        self.file('src', SIZE, [(0, noise(1, 100 * KIB)),
                                (MIB, noise(2, MIB)),
                                (SIZE - 5000, noise(3, 5000))])

    def test_parts(self):
        self.qemu('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', 'src',
                  'src.qcow2')
        for part in PARTS:
            for source, fmt in (('src', 'raw'), ('src.qcow2', 'qcow2')):
                self.same_all('qemu-img', 'dd', '-f', fmt, *part.split(),
                              'if=' + source, 'of=out')
                self.same_bytes('out')
                self.same_all('qemu-img', 'dd', '-U', '-f', fmt, '-O',
                              'qcow2', *part.split(), 'if=' + source,
                              'of=new')
                self.same_content('out', 'new', 'raw', 'qcow2')
                self.is_sound('new')

    def test_image_options(self):
        self.same_all('qemu-img', 'dd', '--image-opts', 'bs=64k', 'count=5',
                      'if=driver=raw,file.filename=src', 'of=out')
        self.same_bytes('out')

    def test_errors(self):
        for words in ERRORS:
            self.same_all('qemu-img', 'dd', *words.split())
        self.same_bytes('src')

    def test_old_output_is_replaced(self):
        self.file('out', 5 * MIB, [(0, noise(9, MIB))])
        self.same_all('qemu-img', 'dd', '-f', 'raw', 'bs=4k', 'count=3',
                      'if=src', 'of=out')
        self.same_bytes('out')

    def test_the_input_is_not_the_output(self):
        ours = self.our('qemu-img', 'dd', '-f', 'raw', 'if=src', 'of=src')
        self.assertEqual(ours.status, 1)
        self.same_bytes('src')

    def test_an_encrypted_input(self):
        secret = ['--object', 'secret,id=s0,data=x']
        self.our_image('enc', 'qemu-img', 'convert', *secret, '-f', 'raw',
                       '-O', 'qcow2', '-o', 'encrypt.format=luks,'
                       'encrypt.key-secret=s0,encrypt.iter-time=10', 'src',
                       'enc')
        ours = self.our('qemu-img', 'dd', *secret, '--image-opts', 'bs=64k',
                        'skip=2', 'if=driver=qcow2,file.filename=enc,'
                        'encrypt.key-secret=s0', 'of=out')
        self.assertEqual(ours.status, 0, ours)
        with open(self.our_path('out'), 'rb') as out, \
                open(self.our_path('src'), 'rb') as src:
            src.seek(128 * KIB)
            self.assertEqual(out.read(), src.read())

    def test_pipes(self):
        with open(self.our_path('src'), 'rb') as f:
            content = f.read()
        for fmt in ('raw', 'qcow2'):
            done = subprocess.run(
                ['qemu-img', 'dd', '-f', 'raw', '-O', fmt, 'bs=4k', 'skip=3',
                 'count=500', 'if=-', 'of=-'], executable=OURS['qemu-img'],
                input=content, capture_output=True, cwd=self.ours,
                check=False)
            self.assertEqual((done.returncode, done.stderr), (0, b''))
            with open(self.our_path('out'), 'wb') as f:
                f.write(done.stdout)
            with open(self.our_path('want'), 'wb') as f:
                f.write(content[12 * KIB:2000 * KIB])
            self.same_content('want', 'out', 'raw', fmt)
        self.assertEqual(os.path.getsize(self.our_path('want')),
                         1988 * KIB)


if __name__ == '__main__':
    main()
