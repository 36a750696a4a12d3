# SPDX-License-Identifier: MIT
"""Images with a data file or with extended L2 entries look and behave as under
qemu-img and qemu-io."""

import json
import os

from cli_common import CliTest, MIB, main, without_disk_size, without_times
from test_info_same import without_children, without_file_node
from test_map_same import without_compressed

OPTIONS = ['data_file=d', 'data_file=d,data_file_raw=on', 'extended_l2=on',
           'extended_l2=on,cluster_size=16k', 'data_file=d,extended_l2=on',
           'extended_l2=on,preallocation=metadata',
           'data_file=d,preallocation=falloc']

SCRIPT = ['write -P 5 3k 5k', 'write -z 128k 4k', 'write -P 3 192k 64k',
          'write -z 200k 8k', 'write -P 6 448k 64k', 'discard 448k 64k',
          'read -P 0 448k 64k', 'read -P 5 3k 5k',
          'read -P 0 8k 120k', 'read -P 3 192k 8k', 'read -P 0 200k 8k',
          'read -P 3 208k 32k', 'writev -P 8 500k 1k 70k',
          'write -zu 512k 64k', 'read -P 8 500k 12k', 'read -P 0 512k 59k',
          'flush', 'length', 'info', 'alloc 0 1M']


def comparable(text):
    """A map where what is not there has no offset, as in newer versions."""
    if not text.startswith('['):
        return text
    extents = []
    for extent in json.loads(without_compressed(text)):
        if not extent['present']:
            extent.pop('offset', None)
        last = extents[-1] if extents else {}
        same = ('depth', 'present', 'zero', 'data')
        if not extent['present'] and all(
                last.get(key) == extent[key] for key in same):
            last['length'] += extent['length']
        else:
            extents.append(extent)
    return json.dumps(extents, indent=1)


class DataFilesAndSubclusters(CliTest):

    def script(self, *commands, name='a'):
        words = [word for c in commands for word in ('-c', c)]
        return self.same_all('qemu-io', *words, name, normalize=without_times)

    def same_look(self, name):
        for args in (['info'], ['info', '--backing-chain'], ['check']):
            self.same_all('qemu-img', *args, name,
                          normalize=lambda text: without_disk_size(
                              without_file_node(text)))
        self.same_all('qemu-img', 'info', '--output=json', name,
                      normalize=lambda text: without_disk_size(
                          without_children(text)))
        for form in ('human', 'json'):
            self.same_all('qemu-img', 'map', '--output', form, name,
                          normalize=comparable)

    def test_new_images(self):
        for options in OPTIONS:
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options,
                      'a', '1M')
            self.same_look('a')

    def test_requests(self):
        for options in OPTIONS:
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options,
                      'a', '1M')
            ours, _ = self.script(*SCRIPT)
            self.assertEqual(ours.status, 0, ours)
            self.is_sound('a')
            self.same_content('a', self.their_path('a'))

    def test_maps_of_what_theirs_wrote(self):
        for options in OPTIONS:
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options,
                      'a', '1M')
            words = [word for c in SCRIPT for word in ('-c', c)]
            self.qemu('qemu-io', *words, 'a')
            self.same_look('a')
            self.script('map', 'read -P 3 192k 8k')

    def test_raw_data_file_is_the_disk(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'data_file=d,data_file_raw=on', 'a', '1M')
        self.script(*SCRIPT)
        self.same_content('a', 'd', 'qcow2', 'raw')

    def test_overlays(self):
        for options in OPTIONS[2:4]:
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options,
                      'base', '1M')
            self.qemu('qemu-io', '-c', 'write -P 1 0 600k', 'base')
            for top in ('extended_l2=on', 'data_file=t', 'compat=1.1'):
                self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', top,
                          '-b', 'base', '-F', 'qcow2', 'a')
                self.script('write -P 2 10k 1k', 'write -z 100k 1k',
                            'read -P 1 11k 4k', 'read -P 2 10k 1k',
                            'read -P 0 100k 1k', 'read -P 1 101k 2k', 'map')
                self.same_look('a')

    def test_data_files_elsewhere(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'data_file=d', 'a', '1M')
        self.script('write -P 7 0 64k')
        for directory in (self.ours, self.theirs):
            os.rename(os.path.join(directory, 'd'),
                      os.path.join(directory, 'moved'))
        # Looking needs none; working does.
        self.same_all('qemu-img', 'info', 'a',
                      normalize=lambda text: without_disk_size(
                          without_file_node(text)))
        for args in (['map', 'a'], ['convert', 'a', 'out']):
            ours, _ = self.same_all('qemu-img', *args)
            self.assertEqual(ours.status, 1)
        for args in (['check', 'a'], ['check', '-r', 'all', 'a']):
            ours = self.our('qemu-img', *args)
            self.assertEqual((ours.status, ours.err), (0, ''), args)
        self.same_all('qemu-io', '-c', 'read 0 512', 'a')
        for more in ('data-file.filename=moved', 'data-file.driver=file,'
                     'data-file.filename=moved', 'data-file.filename=none'):
            opts = 'driver=qcow2,file.filename=a,' + more
            self.same_all('qemu-img', 'map', '--image-opts', opts)
            self.same_all('qemu-img', 'check', '--image-opts', opts)
            self.same_all('qemu-io', '-c', 'read -P 7 0 64k', '-c',
                          'write -P 8 64k 64k', '-c', 'read -P 8 64k 64k',
                          '--image-opts', opts, normalize=without_times)
            self.same_all('qemu-img', 'convert', '--image-opts', opts, 'out')
        self.same_bytes('moved')
        self.same_bytes('out')

    def test_a_data_file_for_an_image_without(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '1M')
        self.file('d', MIB)
        opts = 'driver=qcow2,file.filename=a,data-file.filename=d'
        ours, _ = self.same_status('qemu-io', '-c', 'read 0 512',
                                   '--image-opts', opts)
        self.assertEqual(ours.status, 1)
        self.assertIn('data file', ours.err)

    def test_names_are_relative_to_the_process(self):
        self.mkdir('sub')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'data_file=d', 'sub/a', '1M')
        self.script('write -P 7 0 64k', name='sub/a')
        self.same_bytes('d')
        self.same_look('sub/a')


if __name__ == '__main__':
    main()
