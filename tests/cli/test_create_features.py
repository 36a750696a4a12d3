# SPDX-License-Identifier: MIT
"""create makes every kind of image as qemu-img does: the same words, the same
refusals, and images that are the same or that QEMU finds equal."""

import os

from cli_common import (AES, CliTest, LUKS, SECRETS, image_opts, main,
                        without_disk_size, without_key_facts)
from test_info_same import without_children, without_file_node

# Options that do not take the time of a hash.
QCOW2 = ['encryption=off', 'encryption=on', 'encrypt.format=luks',
         'encrypt.format=aes', 'encrypt.format=foo', 'encrypt.format=',
         'encrypt.key-secret=s0', 'encrypt.iter-time=10', AES,
         'encryption=on,encrypt.key-secret=s0',
         'encryption=on,encrypt.format=luks', 'encrypt=foo',
         'encryption=off,encrypt.format=aes,encrypt.key-secret=s0',
         'encrypt.format=luks,encrypt.key-secret=none',
         AES + ',encrypt.iter-time=10', AES + ',encrypt.cipher-alg=aes-128',
         LUKS + ',encrypt.cipher-alg=foo', LUKS + ',encrypt.cipher-mode=foo',
         LUKS + ',encrypt.ivgen-alg=foo', LUKS + ',encrypt.hash-alg=foo',
         LUKS + ',encrypt.ivgen-hash-alg=foo', LUKS + ',encrypt.cipher-alg=',
         LUKS + ',encrypt.iter-time=foo', LUKS + ',encrypt.foo=1',
         LUKS + ',encrypt.cipher-alg=des', LUKS + ',encrypt.cipher-alg=3des',
         LUKS + ',encrypt.detached-header=true', LUKS + ',cluster_size=3k',
         'encryption=on,encrypt.format=luks,compat=foo',
         'compat=foo,encrypt.format=foo', 'compat=foo,preallocation=foo',
         'preallocation=foo,compression_type=foo',
         'compression_type=foo,encrypt.format=foo',
         'preallocation=foo,encrypt.format=foo',
         'encrypt.format=foo,compat=v2,compression_type=zstd',
         'encrypt.format=luks,encrypt.key-secret=no,compat=v2,'
         'lazy_refcounts=on',
         'extended_l2=on,compat=0.10', 'extended_l2=on,cluster_size=8k',
         'extended_l2=on,cluster_size=3k', 'compression_type=zstd,compat=v2',
         'compression_type=foo', 'preallocation=foo', 'data_file_raw=on',
         'data_file=d,compat=0.10', 'data_file=d,data_file_raw=on,compat=0.10',
         'data_file=/nonexistent/x', 'data_file=', 'data_file=xx:d',
         'refcount_bits=3,extended_l2=on,cluster_size=512',
         'data_file_raw=on,compat=v2,lazy_refcounts=on',
         'data_file=d,compat=v2,lazy_refcounts=on',
         'refcount_bits=1,compat=v2,data_file=d',
         'compression_type=zstd,compat=v2,data_file=d',
         'compression_type=zstd,compat=v2,extended_l2=on',
         'lazy_refcounts=on,compat=v2,extended_l2=on,refcount_bits=3',
         'extended_l2=on,data_file_raw=on,refcount_bits=3']

WITH_BACKING = ['preallocation=metadata', 'preallocation=full',
                'data_file=d,data_file_raw=on', 'data_file=d,'
                'preallocation=full', 'compat=v2,preallocation=full,'
                'compression_type=zstd', 'cluster_size=3k,'
                'preallocation=metadata,compat=v2', 'compat=v2,'
                'compression_type=zstd,lazy_refcounts=on',
                'cluster_size=512,extended_l2=on,encrypt.format=luks']

# Files that come out the same to the byte.
SAME = ['extended_l2=on', 'extended_l2=on,cluster_size=16k',
        'extended_l2=on,cluster_size=2M', 'compression_type=zstd',
        'preallocation=off', 'data_file=d', 'data_file=d,data_file_raw=off',
        'data_file=d,extended_l2=on', 'data_file=a,,b', 'data_file=file:d',
        'refcount_bits=1,extended_l2=on,lazy_refcounts=on,'
        'compression_type=zstd']

# Those that only have to be as good.
EQUAL = ['preallocation=metadata', 'preallocation=falloc',
         'preallocation=full', 'preallocation=metadata,cluster_size=512',
         'preallocation=metadata,extended_l2=on',
         'data_file=d,preallocation=falloc', 'data_file=d,data_file_raw=on',
         'data_file=d,data_file_raw=on,extended_l2=on,preallocation=full']

RAW = ['preallocation=off', 'preallocation=falloc', 'preallocation=full',
       'preallocation=metadata', 'preallocation=foo', 'encryption=on',
       'data_file=x']

QCOW = ['encryption=on', 'encryption=on,encrypt.key-secret=s0', AES,
        'encrypt.format=luks,encrypt.key-secret=s0', 'encrypt.format=foo',
        'encryption=on,encrypt.format=aes', 'encrypt.key-secret=s0',
        'cluster_size=64k', 'backing_fmt=raw', 'backing_fmt=foo',
        'preallocation=metadata', 'preallocation=foo', 'preallocation=off',
        'encrypt.iter-time=10', 'compat=0.10', 'encryption=off', 'size=2M']


class CreateFeatures(CliTest):

    def create(self, options, *args, fmt='qcow2'):
        return self.same_all('qemu-img', 'create', '-f', fmt, *SECRETS, '-o',
                             options, *args)

    def test_words(self):
        for options in QCOW2:
            self.create(options, 'new', '1M')

    def test_words_with_a_backing_file(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', '1M')
        for options in WITH_BACKING:
            self.create(options, '-b', 'base', '-F', 'qcow2', 'new')

    def test_raw(self):
        for options in RAW:
            self.create(options, 'new', '1M', fmt='raw')

    def test_raw_space_is_reserved(self):
        for mode in ('falloc', 'full'):
            self.create('preallocation=' + mode, 'new', '1M', fmt='raw')
            self.assertGreaterEqual(
                os.stat(self.our_path('new')).st_blocks * 512, 1 << 20)
            self.same_bytes('new')

    def test_version_1(self):
        for options in QCOW:
            self.create(options, 'new', '1M', fmt='qcow')
        for size in ('0', '1', '513', '1M', '1T', '8E'):
            self.same_all('qemu-img', 'create', '-f', 'qcow', 'new', size)

    def test_version_1_is_the_same_to_the_byte(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'base', '3M')
        for args in (['new', '1'], ['new', '1M'], ['new', '10G'],
                     ['-b', 'base', '-F', 'qcow', 'new'],
                     ['-u', '-b', 'gone', '-F', 'raw', 'new', '1M']):
            self.same_all('qemu-img', 'create', '-f', 'qcow', *args)
            self.same_bytes('new')
        self.create('encryption=on,encrypt.key-secret=s0', 'new', '1M',
                    fmt='qcow')
        self.same_bytes('new')

    def test_what_is_the_same_to_the_byte(self):
        for options in SAME:
            self.create(options, 'new', '3M')
            self.same_bytes('new')
        self.create(AES, 'new', '3M')
        self.same_bytes('new')

    def test_what_is_as_good(self):
        for options in EQUAL:
            self.create(options, 'new', '3M')
            self.same_output('qemu-img', 'info', '--output=json', 'new',
                             normalize=without_sizes)
            self.is_sound('new')
            self.same_output('qemu-img', 'check', 'new',
                             normalize=lambda text: text.split('Image end')[0])

    def test_preallocation_over_a_backing_file(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', '1M')
        self.qemu('qemu-io', '-c', 'write -P 7 0 1M', 'base')
        for mode in ('metadata', 'falloc', 'full'):
            self.create('extended_l2=on,preallocation=' + mode, '-b', 'base',
                        '-F', 'qcow2', 'new')
            self.is_sound('new')
            self.same_content('base', 'new')

    def test_luks_images_are_understood(self):
        for options in ('compat=0.10', 'encrypt.cipher-alg=twofish-256,'
                        'encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,'
                        'encrypt.ivgen-hash-alg=sha256,'
                        'encrypt.hash-alg=sha512',
                        'data_file=d,extended_l2=on', 'cluster_size=512',
                        'encrypt.iter-time=0'):
            ours = self.our('qemu-img', 'create', '-f', 'qcow2', *SECRETS,
                            '-o', LUKS + ',' + options, 'new', '1M')
            self.assertEqual((ours.status, ours.err), (0, ''))
            self.share('new')
            if 'data_file' in options:
                self.share('d')
            self.same_output('qemu-img', 'info', 'new',
                             normalize=lambda text: without_disk_size(
                                 without_file_node(text)))
            self.same_output('qemu-img', 'info', '--output=json', 'new',
                             normalize=without_sizes)
            theirs = self.their('qemu-img', 'check', *SECRETS, '--image-opts',
                                image_opts('new'))
            self.assertEqual(theirs.status, 0, theirs)
            ours, _ = self.same_all('qemu-io', *SECRETS, '-c',
                                    'read -qP 0 0 1M', '--image-opts',
                                    image_opts('new'))
            self.assertEqual(ours.status, 0, ours)

    def test_luks_line(self):
        """The one that takes QEMU its time."""
        self.create(LUKS + ',compat=v3', 'new', '1M')
        self.same_output('qemu-img', 'info', 'new',
                         normalize=lambda text: without_key_facts(
                             without_disk_size(without_file_node(text))))

    def test_encrypted_backing_files_need_no_secret(self):
        self.our_image('base', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                       *SECRETS, '-o', LUKS, 'base', '3M')
        self.same_all('qemu-img', 'create', '-f', 'qcow2', '-b', 'base', '-F',
                      'qcow2', 'new')

    def test_option_tables(self):
        for args in (['-f', 'qcow'], ['-f', 'qcow2'], ['-f', 'raw']):
            self.same_all('qemu-img', 'create', '-o', 'help', *args)
            self.same_all('qemu-img', 'create', '-o', 'help', *args, 'x')

    def test_options_of_the_file(self):
        for fmt in ('raw', 'qcow', 'qcow2'):
            for options in ('nocow=on', 'nocow=off', 'nocow=foo',
                            'extent_size_hint=2M', 'extent_size_hint=1',
                            'extent_size_hint=0', 'extent_size_hint=5G',
                            'extent_size_hint=x',
                            'nocow=on,extent_size_hint=64k'):
                self.create(options, 'new', '1M', fmt=fmt)
                if os.path.exists(self.our_path('new')):
                    self.same_content('new', self.their_path('new'), fmt, fmt)
        for mode in ('off', 'falloc', 'full', 'metadata'):
            self.create('preallocation=' + mode, 'new', '1M', fmt='qcow')
        self.same_all('qemu-img', 'convert', '-O', 'qcow2', '-o',
                      'nocow=on,extent_size_hint=1M', 'new', 'copy')
        self.same_content('new', 'copy')

    def test_no_file_is_left_behind(self):
        ours = self.our('qemu-img', 'create', '-f', 'qcow2', '-o',
                        'nocow=on,data_file=/nonexistent/x', 'new', '1M')
        self.assertEqual(ours.status, 1)
        self.assertFalse(os.path.exists(self.our_path('new')))


def without_sizes(text):
    return without_disk_size(without_children(text))


if __name__ == '__main__':
    main()
