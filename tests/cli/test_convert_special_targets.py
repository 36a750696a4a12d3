# SPDX-License-Identifier: MIT
"""convert into encrypted images, images of version 1, with subclusters, with a
data file, and preallocated ones."""

import os
import subprocess

from cli_common import (ADDRESS_LIMITS, AES, CliTest, HAS_JSON, KIB, LUKS,
                        MIB, OURS, SECRETS, image_opts, main, noise)

SIZE = 4 * MIB + 512
PIECES = [(0, noise(1, 70 * KIB)), (MIB, noise(2, MIB)),
          (3 * MIB, noise(3, 4096)), (SIZE - 512, noise(4, 512))]

# Options, whether the copy is encrypted.
QCOW2 = [('extended_l2=on', False), ('extended_l2=on,cluster_size=2M', False),
         ('data_file=d', False), ('data_file=d,data_file_raw=on', False),
         ('data_file=d,extended_l2=on', False),
         ('preallocation=metadata', False), ('preallocation=falloc', False),
         ('preallocation=full,cluster_size=4k', False),
         ('compression_type=zstd', False), (LUKS, True), (AES, True),
         (LUKS + ',preallocation=metadata', True),
         (LUKS + ',data_file=d,extended_l2=on,cluster_size=16k', True),
         (AES + ',data_file=d,data_file_raw=on', True),
         (LUKS + ',compat=0.10,cluster_size=512', True)]

ERRORS = ['-O qcow2 -o encrypt.format=luks,encrypt.key-secret=none src new',
          '-O qcow2 -o encrypt.format=foo src new',
          '-O qcow2 -o encrypt.format=luks src new',
          '-O qcow2 -o extended_l2=on,compat=v2 src new',
          '-O qcow2 -o data_file=src src new',
          '-O qcow2 -o data_file=src,data_file_raw=on src new',
          '-O qcow2 -o data_file=/nonexistent/x src new',
          '-O qcow -o encrypt.iter-time=10 src new',
          '-O qcow -o encrypt.format=luks,encrypt.key-secret=s0 src new',
          '-O qcow -o cluster_size=64k src new',
          '-O raw -o preallocation=metadata src new',
          '-O raw -o preallocation=foo src new', '-O raw -o encryption=on '
          'src new', '--target-image-opts src driver=raw,file.filename=src',
          '-n -O qcow2 --target-image-opts src driver=qcow2,file.filename=x',
          '-n --target-image-opts src driver=qcow2,file.filename=none',
          '-n --target-image-opts src driver=qcow2',
          '-n --target-image-opts src driver=raw,file.filename=src',
          '--image-opts src new']


class ConvertSpecialTargets(CliTest):

    def setUp(self):
        super().setUp()
        self.file('src', SIZE, PIECES)

    def reads_back(self, opts):
        """QEMU finds the content of the source."""
        for name in os.listdir(self.ours):
            if name != 'src':
                self.share(name)
        theirs = self.their('qemu-img', 'convert', *SECRETS, '--image-opts',
                            opts, 'back')
        self.assertEqual(theirs.status, 0, theirs)
        theirs = self.their('qemu-img', 'compare', '-f', 'raw', '-F', 'raw',
                            'back', 'src')
        self.assertEqual(theirs.status, 0, '%s: %r' % (opts, theirs))
        if 'qcow2' in opts:
            theirs = self.their('qemu-img', 'check', *SECRETS, '--image-opts',
                                opts)
            self.assertEqual(theirs.status, 0, '%s: %r' % (opts, theirs))

    def convert(self, *args):
        ours = self.our('qemu-img', 'convert', *SECRETS, '-f', 'raw', *args)
        self.assertEqual((ours.status, ours.out, ours.err), (0, '', ''), args)

    def test_qcow2(self):
        for options, encrypted in QCOW2:
            self.convert('-O', 'qcow2', '-o', options, 'src', 'new')
            opts = 'driver=qcow2,file.filename=new'
            self.reads_back(opts + ',encrypt.key-secret=s0' * encrypted)

    def test_version_1(self):
        for options in ([], ['-o', AES]):
            self.convert('-O', 'qcow', *options, 'src', 'new')
            self.reads_back(image_opts('new', 'qcow'))

    def test_version_1_overlay(self):
        self.file('base', SIZE, PIECES[:2])
        self.convert('-O', 'qcow', '-B', 'base', '-F', 'raw', 'src', 'new')
        self.reads_back('driver=qcow,file.filename=new')

    def test_raw_space_is_reserved(self):
        for mode in ('falloc', 'full'):
            self.convert('-O', 'raw', '-o', 'preallocation=' + mode, 'src',
                         'new')
            self.same_content('src', 'new', 'raw', 'raw')
            self.assertGreaterEqual(
                os.stat(self.our_path('new')).st_blocks * 512, SIZE)

    def test_a_raw_data_file_is_the_source(self):
        self.convert('-O', 'qcow2', '-o', 'data_file=d,data_file_raw=on',
                     'src', 'new')
        self.same_content('src', 'd', 'raw', 'raw')

    def test_zeros_are_zeros_in_encrypted_preallocated_images(self):
        self.file('src', MIB)
        self.convert('-O', 'qcow2', '-o', LUKS + ',preallocation=full', 'src',
                     'new')
        self.reads_back(image_opts('new'))

    def test_existing_targets(self):
        for options in (LUKS, AES, LUKS + ',data_file=d', 'extended_l2=on',
                        'data_file=d'):
            self.our_image('t', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                           *SECRETS, '-o', options, 't', '6M')
            opts = image_opts('t')
            ours = self.our('qemu-io', *SECRETS, '-c', 'write -P 9 0 6M',
                            '--image-opts', opts)
            self.assertEqual(ours.status, 0, ours)
            self.convert('-n', '--target-image-opts', 'src', opts)
            ours = self.our('qemu-io', *SECRETS, '-c',
                            'read -P 9 %d 1M' % (5 * MIB), '--image-opts',
                            opts)
            self.assertEqual(ours.status, 0, ours)
            for name in os.listdir(self.ours):
                if name != 'src':
                    self.share(name)
            theirs = self.their('qemu-img', 'convert', *SECRETS,
                                '--image-opts', opts, 'back')
            self.assertEqual(theirs.status, 0, theirs)
            with open(self.their_path('back'), 'rb') as f:
                back = f.read(SIZE)
            with open(self.our_path('src'), 'rb') as f:
                self.assertEqual(back, f.read(), options)

    def test_errors(self):
        for words in ERRORS:
            self.same_all('qemu-img', 'convert', *SECRETS, '-f', 'raw',
                          *words.split())
        for data in (self.ours, self.theirs):
            self.assertEqual(os.path.getsize(os.path.join(data, 'src')), SIZE)
        self.same_bytes('src')

    def test_holes_of_subclusters(self):
        self.convert('-O', 'qcow2', '-o', 'extended_l2=on', 'src', 'new')
        self.their('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-o',
                   'extended_l2=on', 'src', 'new')
        self.same_output('qemu-img', 'map', 'new')

    def test_a_target_described_in_json(self):
        if not HAS_JSON:
            self.skipTest('built without JSON')
        inner = '{"driver": "file", "filename": "new"}'
        for described in ('json:{"driver": "qcow2", "file": %s}' % inner,
                          'json:{"file": %s}' % inner,
                          'json:{"file.filename": "new"}'):
            for flags in ('-O qcow2', '-O qcow2 --target-is-zero', '',
                          '-O raw', '-O bad'):
                self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'new',
                          str(SIZE))
                args = ['qemu-img', 'convert', '-n', '-f', 'raw',
                        *flags.split(), 'src', described]
                self.same_all(*args)
                if 'qcow2' in flags:
                    self.same_content('src', 'new', 'raw', 'qcow2')
                    self.is_sound('new')
        for name in ('json:{"driver": "qcow2", "file.filename": "none"}',
                     'json:{"driver": "qcow2"}'):
            self.same_all('qemu-img', 'convert', '-n', '-O', 'qcow2', '-f',
                          'raw', 'src', name)
        self.same_all('qemu-img', 'convert', '-O', 'qcow2', '-f', 'raw', 'src',
                      'json:{"driver": "qcow2", "file.filename": "x"}')

    def test_a_huge_overlay_without_its_backing_file(self):
        """Zeros in place of it take no memory, however large it was."""
        if not HAS_JSON:
            self.skipTest('built without JSON')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', '4T')
        self.qemu('qemu-io', '-c', 'write -q -P 1 1T 64k', 'base')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base',
                  '-F', 'qcow2', 'top')
        self.qemu('qemu-io', '-c', 'write -q -P 3 3T 64k', 'top')
        self.same_all('qemu-img', 'convert', '-O', 'qcow2',
                      'json:{"driver": "qcow2", "file.filename": "top", '
                      '"backing": null}', 'new')
        self.same_bytes('new')
        limit = 'ulimit -v 300000; ' if ADDRESS_LIMITS else ''
        done = subprocess.run(
            ['sh', '-c', limit + 'exec "$0" "$@"',
             OURS['qemu-img'], 'convert', '-O', 'qcow2',
             'json:{"driver": "qcow2", "file.filename": "top", '
             '"backing": null}', 'again'], cwd=self.ours,
            capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done)
        self.same_content('new', 'again')


if __name__ == '__main__':
    main()
