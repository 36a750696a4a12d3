# SPDX-License-Identifier: MIT
"""resize takes the same arguments, says the same and leaves the same disk."""

from cli_common import CliTest, main, run_program, THEIRS

MODES = ('off', 'metadata', 'falloc', 'full')


class ResizeSame(CliTest):

    def resize(self, *args):
        return self.same_all('qemu-img', 'resize', *args)

    def same_disk(self, name, fmt='qcow2'):
        """Theirs and ours hold the same disk; ours is sound."""
        result = run_program(
            THEIRS, ['qemu-img', 'compare', '-f', fmt, '-F', fmt,
                     self.our_path(name), self.their_path(name)], self.root)
        self.assertEqual(result.status, 0, result)
        self.assertIn('identical', result.out)
        if fmt == 'qcow2':
            self.is_sound(name)

    def make(self, *options):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', *options, 'a',
                  '1M')
        self.qemu('qemu-io', '-c', 'write -P 1 0 1M', 'a')

    def test_sizes(self):
        self.make()
        for size in ('2M', '+1M', '1000001', '+0', '8G', '+1'):
            self.resize('a', size)
            self.same_disk('a')
        self.resize('--shrink', 'a', '-7G')
        self.resize('--shrink', 'a', '320k')
        self.same_disk('a')
        self.resize('a', '1M')
        self.same_disk('a')

    def test_what_was_cut_off_stays_away(self):
        # QEMU shows the end of the last cluster again.
        self.make()
        self.resize('--shrink', 'a', '300k')
        self.resize('a', '1M')
        result = self.our('qemu-io', '-c', 'read -P 1 0 300k', '-c',
                          'read -P 0 300k 724k', 'a')
        self.assertEqual(result.status, 0, result)
        self.assertNotIn('failed', result.out)
        self.is_sound('a')

    def test_refusals(self):
        self.make()
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'v1', '1M')
        self.file('raw', 65536)
        for args in ((), ('a',), ('a', '512k'), ('a', '-512k'), ('a', '-5M'),
                     ('a', '0'), ('a', 'x'), ('a', 'b', '1M'),
                     ('--preallocation=bad', 'a', '2M'),
                     ('--shrink', '--preallocation=full', 'a', '100k'),
                     ('--preallocation=falloc', 'a', '1M'),
                     ('v1', '2M'), ('v1', '1000'), ('v1', '+1'),
                     ('-f', 'raw', '--preallocation=metadata', 'raw', '1M')):
            self.resize(*args)
        self.same_failure('qemu-img', 'resize', 'none', '1M')
        self.same_disk('a')

    def test_preallocation(self):
        for mode in MODES:
            with self.subTest(mode):
                self.make()
                self.resize('--preallocation=' + mode, 'a', '3M')
                self.same_disk('a')
        self.file('raw', 65536, [(0, b'x' * 100)])
        for mode in ('off', 'falloc', 'full'):
            self.resize('-f', 'raw', '--preallocation=' + mode, 'raw', '+64k')
            self.same_disk('raw', 'raw')

    def test_raw_files_have_any_size(self):
        for size in ('1', '511', '1000', '+1', '+1000', '-1', '5000001'):
            for mode in ('off', 'falloc', 'full'):
                self.file('raw', 65536, [(0, b'x' * 65536)])
                self.same_all('qemu-img', 'resize', '-f', 'raw', '--shrink',
                              '--preallocation=' + mode, 'raw', '--', size)
                self.same_bytes('raw')
        self.file('raw', 1000, [(0, b'x' * 1000)])
        for size in ('1010', '+10', '2000', '-3'):
            self.same_all('qemu-img', 'resize', '-f', 'raw', '--shrink', 'raw',
                          '--', size)
            self.same_bytes('raw')

    def test_a_part_of_a_file_with_a_size_keeps_it(self):
        self.file('raw', 4 << 20)
        for window in ('size=1M', 'offset=1M,size=1M', 'offset=1M'):
            for size in ('1M', '2M', '512k', '+0'):
                self.same_all('qemu-img', 'resize', '--shrink', '--image-opts',
                              'driver=raw,file.filename=raw,' + window, size)
                self.same_bytes('raw')

    def test_longer_backing_file(self):
        self.file('base', 4 << 20, [(0, b'b' * (4 << 20))])
        self.make('-b', 'base', '-F', 'raw')
        self.resize('a', '3M')
        self.same_disk('a')

    def test_encrypted(self):
        secret = ('--object', 'secret,id=s,data=abc')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', *secret, '-o',
                  'encrypt.format=aes,encrypt.key-secret=s', 'a', '1M')
        self.resize(*secret, '--image-opts',
                    'driver=qcow2,file.filename=a,encrypt.key-secret=s', '2M')
        self.same_status('qemu-img', 'resize', 'a', '3M')

    def test_quiet(self):
        self.make()
        self.resize('-q', 'a', '2M')
        self.same_disk('a')


if __name__ == '__main__':
    main()
