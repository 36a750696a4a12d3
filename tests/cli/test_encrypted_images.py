# SPDX-License-Identifier: MIT
"""Encrypted images are opened, read, written, mapped and checked as qemu-img
and qemu-io do, and what one wrote the other reads."""

import os
import shutil
import tempfile

from cli_common import (AES, CliTest, LUKS, MIB, QEMU_IMG, SECRETS, THEIRS,
                        image_opts, main, noise, run_program, without_times)
from test_info_same import without_children, without_file_node
from test_map_same import without_compressed

WRONG = ['driver=qcow2,file.filename=luks', image_opts('luks', secret='bad'),
         image_opts('luks', secret='none'),
         image_opts('luks') + ',encrypt.format=aes',
         image_opts('luks') + ',encrypt.format=foo',
         'driver=qcow2,file.filename=luks,encrypt.format=aes',
         image_opts('aes') + ',encrypt.format=luks',
         'driver=qcow2,file.filename=aes', image_opts('aes', secret='none'),
         image_opts('v1', 'qcow') + ',encrypt.format=luks',
         'driver=qcow,file.filename=v1', image_opts('v1', 'qcow', 'none'),
         image_opts('plain') + ',encrypt.format=luks',
         image_opts('plain') + ',encrypt.format=aes',
         image_opts('luks', 'raw'), image_opts('luks', 'qcow'),
         image_opts('v1', 'qcow2'), image_opts('none'),
         'driver=qcow2', 'driver=raw', 'driver=foo,file.filename=luks', '',
         'driver=qcow2,,file.filename=luks',
         'driver=qcow2,file.driver=foo,file.filename=luks']

RIGHT = [image_opts('luks') + ',encrypt.format=luks',
         'file.filename=luks,encrypt.key-secret=s0',
         'file.driver=file,' + image_opts('luks'), image_opts('plain'),
         image_opts('aes') + ',encrypt.format=aes',
         image_opts('v1', 'qcow') + ',encrypt.format=aes',
         'driver=raw,file.filename=luks', image_opts('luks', secret='bad') +
         ',encrypt.key-secret=s0']

KINDS = [('luks', 'qcow2'), ('aes', 'qcow2'), ('v1', 'qcow')]

SCRIPT = ['write -P 5 64k 128k', 'read -P 5 64k 128k', 'read -P 0 0 64k',
          'write -P 9 1000 100', 'read -P 9 1000 100', 'read -v 990 120',
          'write -z 100k 10k', 'read -P 0 100k 10k', 'writev -P 3 512k 1k 2k',
          'discard 256k 64k', 'read -P 0 256k 64k', 'map', 'alloc 0 1M',
          'length', 'flush', 'info']


class EncryptedImages(CliTest):

    @classmethod
    def setUpClass(cls):
        """One image of each kind that QEMU made; LUKS takes it a while."""
        cls.made = tempfile.mkdtemp(prefix='qcow-cli-')
        for name, fmt, options in (('luks', 'qcow2', LUKS),
                                   ('aes', 'qcow2', AES), ('v1', 'qcow', AES),
                                   ('plain', 'qcow2', 'compat=1.1')):
            done = run_program(THEIRS, ['qemu-img', 'create', '-q', '-f',
                                        fmt, *SECRETS, '-o', options, name,
                                        '1M'], cls.made)
            assert done.status == 0, done

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.made)

    def setUp(self):
        super().setUp()
        for directory in (self.ours, self.theirs):
            for name in os.listdir(self.made):
                shutil.copy(os.path.join(self.made, name), directory)

    def script(self, commands, opts, *args):
        words = [word for command in commands for word in ('-c', command)]
        return self.same_all('qemu-io', *args, *SECRETS, *words,
                             '--image-opts', opts, normalize=without_times)

    def swap(self, name):
        """Ours becomes theirs and theirs ours."""
        os.rename(self.our_path(name), self.our_path('other'))
        os.rename(self.their_path(name), self.our_path(name))
        os.rename(self.our_path('other'), self.their_path(name))

    def test_wrong_options(self):
        for opts in WRONG:
            self.script(['read 0 512'], opts, '-r')
            self.same_all('qemu-img', 'map', *SECRETS, '--image-opts', opts)
            self.same_all('qemu-img', 'convert', *SECRETS, '--image-opts',
                          opts, 'out')

    def test_right_options(self):
        for opts in RIGHT:
            ours, _ = self.script(['read 0 512'], opts, '-r')
            self.assertEqual(ours.status, 0, opts)

    def test_options_exclude_a_format(self):
        for command in ('info', 'map', 'check'):
            self.same_all('qemu-img', command, '-f', 'qcow2', '--image-opts',
                          image_opts('luks'))
        self.same_all('qemu-img', 'convert', '-f', 'qcow2', '--image-opts',
                      image_opts('luks'), 'out')
        self.same_all('qemu-io', '-f', 'qcow2', '--image-opts',
                      image_opts('luks'))

    def test_names_give_no_secret(self):
        for name in ('luks', 'aes', 'v1'):
            self.same_all('qemu-io', '-r', '-c', 'read 0 512', name)
            for command in (['map'], ['check'], ['check', '--output=json'],
                            ['check', '-r', 'all']):
                self.same_all('qemu-img', *command, name)
            self.same_all('qemu-img', 'convert', name, 'out')

    def test_info_needs_none(self):
        for name, driver in KINDS:
            for opts in ([name], ['-f', driver, name],
                         ['--image-opts', 'file.filename=' + name],
                         ['--image-opts', image_opts(name, driver)],
                         ['--image-opts', image_opts(name, driver, 'none')],
                         ['--image-opts', image_opts(name, driver) +
                          ',encrypt.format=foo']):
                self.same_output('qemu-img', 'info', *opts,
                                 normalize=without_file_node)
                self.same_all('qemu-img', 'info', '--output=json', *opts,
                              normalize=without_children)

    def test_weak_encryption_is_warned_of(self):
        for name in ('aes', 'v1', 'luks'):
            ours = self.our('qemu-img', 'info', name)
            self.assertEqual(('weak' in ours.err), name != 'luks')
            ours = self.our('qemu-img', 'info', '--output=json', name)
            self.assertEqual(ours.err, '')

    def test_requests(self):
        for name, driver in KINDS:
            opts = image_opts(name, driver)
            ours, _ = self.script(SCRIPT, opts)
            self.assertEqual(ours.status, 0, ours)
            # Each reads what the other wrote.
            self.swap(name)
            ours, _ = self.script(['read -P 9 1000 100', 'read -P 0 0 1000',
                                   'read -P 5 64k 36k', 'read -P 0 100k 10k',
                                   'read -P 5 110k 82k', 'read -P 3 512k 3k',
                                   'read -P 0 515k 509k'], opts, '-r')
            self.assertEqual(ours.status, 0, ours)

    def test_map_and_check(self):
        for name, driver in KINDS:
            opts = image_opts(name, driver)
            self.script(['write -P 5 64k 128k', 'write -z 100k 64k'], opts)
            for form in ('human', 'json'):
                self.same_all('qemu-img', 'map', *SECRETS, '--output', form,
                              '--image-opts', opts,
                              normalize=without_compressed)
                self.same_all('qemu-img', 'check', *SECRETS, '--output', form,
                              '--image-opts', opts)

    def test_open_command(self):
        for name, driver in KINDS:
            more = ',encrypt.key-secret=s0'
            for words in (['open -o driver=%s%s %s' % (driver, more, name),
                           'write -P 3 0 512', 'close',
                           'open -r -o driver=%s,file.filename=%s%s' %
                           (driver, name, more), 'read -P 3 0 512'],
                          ['open -o driver=%s%s %s' % (driver, more, name),
                           'read 0 512', 'reopen -r', 'read 0 512',
                           'write 0 512', 'reopen -w', 'write 0 512'],
                          ['open %s' % name],
                          ['open -o driver=%s,encrypt.key-secret=no %s' %
                           (driver, name)],
                          ['open -o driver=%s,file.filename=none' % driver]):
                commands = [w for word in words for w in ('-c', word)]
                self.same_all('qemu-io', *SECRETS, *commands,
                              normalize=without_times)

    def test_temporary_overlay(self):
        for name, driver in KINDS:
            for secret in ('s0', 'none'):
                self.script(['write -P 4 0 512', 'read -P 4 0 512',
                             'read -P 0 512 64k'],
                            image_opts(name, driver, secret), '-s')
            self.same_bytes(name)

    def test_secrets_of_backing_files(self):
        self.script(['write -P 7 0 1M'], image_opts('luks'))
        for directory in (self.theirs, self.ours):
            result = run_program(
                {'qemu-img': QEMU_IMG}, ['qemu-img', 'create', '-q', '-u',
                                         '-f', 'qcow2', *SECRETS, '-b', 'luks',
                                         '-F', 'qcow2', '-o',
                                         'encrypt.format=aes,'
                                         'encrypt.key-secret=s1', 'top', '1M'],
                directory)
            self.assertEqual(result.status, 0, result)
        top = image_opts('top', secret='s1')
        for more, status in (('', 1), (',backing.encrypt.key-secret=s0', 0),
                             (',backing.encrypt.key-secret=bad', 1),
                             (',backing.encrypt.key-secret=none', 1)):
            ours, _ = self.script(['read -P 7 0 1M', 'write -P 8 1000 1000',
                                   'read -P 7 2000 4k'], top + more)
            self.assertEqual(ours.status, status, ours)
            for target in ('-O', 'raw'), ('-O', 'qcow2'):
                ours, _ = self.same_all('qemu-img', 'convert', *SECRETS,
                                        *target, '--image-opts', top + more,
                                        'out')
                self.assertEqual(ours.status, status, ours)
        self.same_content('out', self.their_path('out'))

    def test_convert_from_them(self):
        data = noise(1, 300000)
        self.file('src', MIB, [(70000, data)])
        for name, driver in KINDS:
            opts = image_opts(name, driver)
            self.same_all('qemu-img', 'convert', '-n', *SECRETS, '-f', 'raw',
                          '--target-image-opts', 'src', opts)
            for run in range(2):
                ours, _ = self.same_all('qemu-img', 'convert', *SECRETS,
                                        '--image-opts', opts, 'out')
                self.assertEqual(ours.status, 0, ours)
                self.same_bytes('out')
                self.same_content('src', 'out', 'raw', 'raw')
                self.swap(name)

    def test_legacy_keys_are_checked_by_nothing(self):
        self.script(['write -P 5 0 64k'], image_opts('aes'))
        ours, _ = self.script(['read -P 5 0 64k'], image_opts('aes',
                                                            secret='bad'))
        self.assertEqual(ours.status, 1)
        self.assertIn('Pattern verification failed', ours.out)


if __name__ == '__main__':
    main()
