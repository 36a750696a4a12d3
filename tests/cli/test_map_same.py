# SPDX-License-Identifier: MIT
"""map shows the same extents as qemu-img, and whether they are compressed."""

import os
import re
import subprocess

from cli_common import CliTest, KIB, MIB, main


def without_compressed(text):
    """Version 7.2 does not say what is compressed."""
    return re.sub(r', "compressed": (true|false)', '', text)


class MapSame(CliTest):

    def check(self, *args):
        self.same_all('qemu-img', 'map', *args)
        self.same_all('qemu-img', 'map', '--output=json', *args,
                      normalize=without_compressed)

    def io(self, name, *commands):
        args = []
        for command in commands:
            args += ['-c', command]
        self.qemu('qemu-io', *args, name)

    def create(self, name, size, *args):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', *args, name, size)

    def test_empty_images(self):
        for size in ('0', '512', '1M', '100G', '64T'):
            self.create('a', size, '-o', 'cluster_size=2M')
            self.check('a')

    def test_data_and_zeros(self):
        for options in ('compat=0.10', 'compat=1.1', 'cluster_size=512',
                        'cluster_size=4k', 'cluster_size=2M'):
            self.create('a', '16M', '-o', options)
            self.io('a', 'write 1M 2M', 'write -z 4M 1M', 'write 5M 1',
                    'write 9M 64k', 'write -z 9M 64k', 'write 10M 128k',
                    'write -zu 10M 64k', 'write 15M 1M')
            self.check('a')

    def test_fragments(self):
        self.create('a', '4M', '-o', 'cluster_size=4k')
        self.io('a', *['write %dk 4k' % (4 * (i * 7 % 97)) for i in range(97)])
        self.check('a')

    def test_ranges(self):
        self.create('a', '12M')
        self.io('a', 'write 1M 2M', 'write -z 3M 1M')
        for args in ('-s 2M -l 1M', '-s 20M -l 1M', '-s 20M', '-s 12M',
                     '-s 2000001 -l 1000', '-l 0', '-l 1', '-s 1.5M',
                     '--start-offset=1M --max-length=1M', '-s 11M -l 5M'):
            self.check(*args.split(), 'a')

    def test_backing_chains(self):
        self.file('base.raw', 8 * MIB, [(MIB, b'x' * (2 * MIB)),
                                        (7 * MIB, b'y' * MIB)])
        self.create('mid', '10M', '-b', 'base.raw', '-F', 'raw')
        self.io('mid', 'write 2M 64k', 'write -z 3M 1M', 'write 9M 1M')
        self.create('top', '12M', '-b', 'mid', '-F', 'qcow2')
        self.io('top', 'write 64k 64k', 'write 9216k 64k', 'write 11M 64k')
        for name in ('mid', 'top'):
            self.check(name)
            self.check('-s', '1M', '-l', '2M', name)

    def test_short_backing_files(self):
        for compat in ('0.10', '1.1'):
            self.create('base', '1M')
            self.io('base', 'write 0 1M')
            self.create('top', '4M', '-o', 'compat=' + compat, '-b', 'base',
                        '-F', 'qcow2')
            self.check('top')

    def test_ends_of_raw_files(self):
        """The last sector may end behind the file."""
        self.file('a', 1000, [(0, b'x' * 1000)])
        self.file('b', 100500, [(98304, b'x' * 2196)])
        self.file('c', 100001, [(0, b'x' * 5000)])
        self.create('top', '1M', '-b', 'a', '-F', 'raw')
        for name in ('a', 'b', 'c'):
            self.check('-f', 'raw', name)
            self.check('-f', 'raw', '-s', '900', name)
            self.check('-f', 'raw', '-s', '1010', '-l', '5', name)
        self.check('top')
        self.check('--image-opts', 'driver=raw,file.filename=a,cache.direct=on')

    def test_parts_of_raw_files(self):
        self.file('a', 4 * MIB, [(MIB, b'x' * MIB)])
        for window in ('offset=512k', 'offset=1M,size=1M', 'size=2M',
                       'offset=1536k,size=1M'):
            self.check('--image-opts', 'driver=raw,file.filename=a,' + window)

    def test_raw_files(self):
        self.file('a', 4 * MIB, [(0, b'x' * 4096), (MIB, b'x' * MIB)])
        self.check('-f', 'raw', 'a')
        self.check('a')
        self.file('a', 1536)
        self.check('-f', 'raw', 'a')
        self.file('a', 0)
        self.check('-f', 'raw', 'a')

    def test_preallocated_metadata(self):
        self.create('a', '1M', '-o', 'preallocation=metadata')
        self.check('a')
        self.io('a', 'write 256k 64k')
        self.check('a')

    def test_holes_in_image_files(self):
        """They count from a share of the file on that QEMU was seen to use."""
        if subprocess.run(['fallocate', '-p', '-o', '0', '-l', '4096',
                           self.root + '/probe'], stderr=subprocess.DEVNULL,
                          check=False).returncode == 127:
            self.skipTest('fallocate is missing')
        for clusters in (4, 20, 50):
            self.create('a', '8M')
            self.io('a', 'write 0 %dk' % (64 * clusters))
            for hole in range(min(clusters, 8)):
                for directory in (self.ours, self.theirs):
                    subprocess.run(['fallocate', '-p', '-o',
                                    str(327680 + 65536 * hole), '-l', '65536',
                                    os.path.join(directory, 'a')], check=True)
                self.check('a')

    def test_compressed_clusters(self):
        self.create('src', '4M')
        self.io('src', 'write 1M 1M')
        self.qemu('qemu-img', 'convert', '-c', '-O', 'qcow2', 'src', 'a')
        ours, theirs = self.same_status('qemu-img', 'map', 'a')
        if 'compressed clusters' not in ours.err:
            self.fail('%r' % ours)
        self.assertEqual(ours.err, theirs.err)

    def test_json_says_what_is_compressed(self):
        self.create('a', '1M')
        self.io('a', 'write 0 64k')
        out = self.our('qemu-img', 'map', '--output=json', 'a').out
        self.assertEqual(
            out,
            '[{ "start": 0, "length": 65536, "depth": 0, "present": true, '
            '"zero": false, "data": true, "compressed": false, '
            '"offset": 327680},\n'
            '{ "start": 65536, "length": 983040, "depth": 0, '
            '"present": false, "zero": true, "data": false, '
            '"compressed": false}]\n')

    def test_errors(self):
        self.create('a', '1M')
        for args in ('', 'none', 'a b', '-s -1 a', '-s x a', '-l x a',
                     '-l 9E a', '-f foo a', '--foo a', '-s'):
            self.check(*args.split())
        self.same_all('qemu-img', 'map', '--output=xx', 'a')

    def test_missing_backing_file(self):
        self.create('a', '1M', '-u', '-b', 'gone', '-F', 'raw')
        self.check('a')

    def test_sharing_with_a_writer(self):
        self.create('a', '1M')
        self.check('-U', 'a')


if __name__ == '__main__':
    main()
