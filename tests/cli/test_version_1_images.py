# SPDX-License-Identifier: MIT
"""Images of version 1 behave as under qemu-img and qemu-io."""

from cli_common import (AES, CliTest, MIB, SECRETS, main, noise,
                        without_disk_size, without_times)
from test_info_same import without_children, without_file_node
from test_map_same import without_compressed


class Version1Images(CliTest):

    def setUp(self):
        super().setUp()
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'a', '1M')

    def script(self, *commands, name='a'):
        words = [word for c in commands for word in ('-c', c)]
        return self.same_all('qemu-io', *words, name, normalize=without_times)

    def same_look(self, name):
        self.same_all('qemu-img', 'info', name, normalize=lambda text: without_disk_size(
                          without_file_node(text)))
        self.same_all('qemu-img', 'info', '--output=json', name,
                      normalize=lambda text: without_disk_size(
                          without_children(text)))
        self.same_all('qemu-img', 'info', '--backing-chain', name,
                      normalize=lambda text: without_disk_size(
                          without_file_node(text)))
        for form in ('human', 'json'):
            self.same_all('qemu-img', 'map', '--output', form, name,
                          normalize=without_compressed)

    def test_looks(self):
        self.same_look('a')
        self.script('write -P 1 0 4k', 'write -P 2 40k 100k',
                    'write -P 3 513 100')
        self.same_look('a')
        self.same_bytes('a')

    def test_there_is_no_check(self):
        for args in ([], ['--output=json'], ['-r', 'all'], ['-q'],
                     ['-f', 'qcow']):
            ours, _ = self.same_all('qemu-img', 'check', *args, 'a')
            self.assertEqual(ours.status, 63)

    def test_requests(self):
        ours, _ = self.script('write -P 1 0 4k', 'read -P 1 0 4k',
                              'write -P 2 100 5000', 'read -P 2 100 5000',
                              'read -P 0 8k 1000k', 'write -z 1k 1k',
                              'read -P 0 1k 1k', 'discard 0 64k',
                              'read -P 2 2k 3052', 'length', 'info', 'map',
                              'alloc 0 1M', 'write 1M 512', 'read 1048575 1',
                              'aio_write -P 7 64k 64k', 'aio_flush',
                              'read -P 7 64k 64k', 'flush')
        self.assertEqual(ours.status, 1)
        self.same_content('a', self.their_path('a'))

    def test_compressed_requests(self):
        for command in ('write -c -P 1 4k 4k', 'write -c -P 2 8k 4k',
                        'write -c 12k 512',
                        'read -P 1 4k 4k', 'read -P 2 8k 4k',
                        'write -P 3 4k 512', 'read -P 3 4k 512',
                        'read -P 1 4608 3584', 'map', 'alloc 0 1M'):
            self.same_output('qemu-io', '-c', command, 'a',
                             normalize=without_times)
        self.same_content('a', self.their_path('a'))
        self.same_output('qemu-img', 'map', '--output=json', 'a',
                         normalize=without_compressed)

    def test_converted_images(self):
        self.file('src', 2 * MIB, [(10000, noise(1, 50000)),
                                   (MIB, noise(2, 100))])
        for options in ([], ['-o', AES]):
            self.same_all('qemu-img', 'convert', *SECRETS, '-f', 'raw', '-O',
                          'qcow', *options, 'src', 'new')
            self.same_bytes('new')
        self.same_all('qemu-img', 'convert', '-f', 'qcow', 'a', 'out')
        self.same_bytes('out')

    def test_overlays(self):
        self.script('write -P 1 0 1M')
        for args in (['-b', 'a', '-F', 'qcow', 'top'],
                     ['-b', 'a', '-F', 'qcow', 'longer', '2M']):
            self.same_all('qemu-img', 'create', '-f', 'qcow', *args)
            name = args[4]
            ours, _ = self.script('read -P 1 0 1M', 'write -P 2 1k 512',
                                  'read -P 2 1k 512', 'read -P 1 1536 4k',
                                  name=name)
            self.assertEqual(ours.status, 0)
            self.same_look(name)
            self.same_content(name, self.their_path(name))

    def test_partial_writes_keep_the_rest_of_a_backed_cluster(self):
        """7.2 loses it where clusters are larger than a sector."""
        self.script('write -P 1 0 1M')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'cluster_size=4k', '-b', 'a', '-F', 'qcow', 'top')
        self.script('write -P 2 100 50', 'read -P 1 0 100',
                    'read -P 1 150 4k', name='top')

    def test_version_is_not_mistaken(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'two', '1M')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'compat=0.10', 'old', '1M')
        self.file('raw', MIB, [(0, b'hello')])
        for fmt, name in (('qcow2', 'a'), ('qcow', 'two'), ('qcow', 'old'),
                          ('qcow', 'raw'), ('qcow2', 'raw')):
            self.same_all('qemu-img', 'info', '-f', fmt, name)
            self.same_all('qemu-img', 'map', '-f', fmt, name)
            self.same_all('qemu-io', '-f', fmt, '-c', 'read 0 512', name)


if __name__ == '__main__':
    main()
