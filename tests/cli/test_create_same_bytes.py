# SPDX-License-Identifier: MIT
"""A new image is byte for byte the one that qemu-img makes."""

from cli_common import CliTest, main

CLUSTER_SIZES = [512 << shift for shift in range(13)]
REFCOUNT_BITS = [1, 2, 4, 8, 16, 32, 64]


class CreateSameBytes(CliTest):

    def check(self, *args):
        self.same_all('qemu-img', 'create', '-f', 'qcow2', *args[:-1],
                      'new.qcow2', args[-1])
        self.same_bytes('new.qcow2')

    def test_cluster_sizes(self):
        for cluster_size in CLUSTER_SIZES:
            for compat in ('0.10', '1.1'):
                self.check('-o', 'cluster_size=%d,compat=%s' %
                           (cluster_size, compat), '64M')

    def test_refcount_widths(self):
        for bits in REFCOUNT_BITS:
            for cluster_size in (512, 4096, 65536, 2097152):
                self.check('-o', 'refcount_bits=%d,cluster_size=%d' %
                           (bits, cluster_size), '100M')

    def test_sizes(self):
        for size in ('0', '1', '511', '512', '513', '65536', '65537', '1G',
                     '512M', '513M', '1T', '64T', '2047T'):
            self.check(size)

    def test_sizes_with_small_clusters(self):
        for size in ('0', '512', '32768', '32769', '256M'):
            self.check('-o', 'cluster_size=512', size)

    def test_metadata_beyond_one_refcount_block(self):
        """Where its refcount blocks lie is up to the program."""
        for bits in (1, 16, 64):
            for size in ('1G', ):
                self.same_all('qemu-img', 'create', '-f', 'qcow2', '-o',
                              'cluster_size=512,refcount_bits=%d' % bits,
                              'new.qcow2', size)
                self.is_sound('new.qcow2')
                for directory in (self.ours, self.theirs):
                    with open(directory + '/new.qcow2', 'rb') as f:
                        header = f.read(512)
                    self.assertEqual(header[24:40] + header[96:100],
                                     self.geometry(bits, size))

    def geometry(self, bits, size):
        """Size, no encryption, L1 entries and the width of refcounts."""
        virtual_size = int(size[:-1]) << 30
        return (virtual_size.to_bytes(8, 'big') + bytes(4) +
                (virtual_size // (512 * 64)).to_bytes(4, 'big') +
                (bits.bit_length() - 1).to_bytes(4, 'big'))

    def test_compat_and_lazy_refcounts(self):
        for options in ('compat=v2', 'compat=v3', 'compat=1.1',
                        'lazy_refcounts=on', 'lazy_refcounts=off',
                        'compat=v3,lazy_refcounts=yes'):
            self.check('-o', options, '10M')

    def test_options_that_ask_for_nothing(self):
        self.check('-o', 'preallocation=off,encryption=off,extended_l2=off,'
                   'compression_type=zlib,data_file_raw=off', '10M')

    def test_backing_files(self):
        self.file('base.raw', 3 << 20)
        self.qemu('qemu-img', 'create', '-f', 'qcow2', 'base.qcow2', '5M')
        for name, fmt in (('base.raw', 'raw'), ('base.qcow2', 'qcow2')):
            for compat in ('0.10', '1.1'):
                for cluster_size in (512, 65536, 2097152):
                    options = 'compat=%s,cluster_size=%d' % (compat,
                                                             cluster_size)
                    for size in ([], ['1M'], ['20M']):
                        self.same_all('qemu-img', 'create', '-f', 'qcow2',
                                      '-o', options, '-b', name, '-F', fmt,
                                      'new.qcow2', *size)
                        self.same_bytes('new.qcow2')

    def test_backing_names_of_any_length(self):
        for length in (1, 7, 8, 9, 300, 1023):
            self.same_all('qemu-img', 'create', '-f', 'qcow2', '-u', '-b',
                          'n' * length, '-F', 'raw', 'new.qcow2', '1M')
            self.same_bytes('new.qcow2')

    def test_an_existing_file_is_replaced(self):
        self.file('new.qcow2', 3 << 20, [(0, b'x' * (3 << 20))])
        self.check('1M')

    def test_raw(self):
        for size in ('0', '1', '1000', '4096', '10M', '1G'):
            self.same_all('qemu-img', 'create', 'new.raw', size)
            self.same_bytes('new.raw')


if __name__ == '__main__':
    main()
