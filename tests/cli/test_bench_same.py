# SPDX-License-Identifier: MIT
"""bench takes the options of qemu-img, sends the same requests and says so."""

import re

from cli_common import AES, CliTest, MIB, SECRETS, image_opts, main


def without_time(text):
    return re.sub(r'in \d+\.\d{3} seconds', 'in TIME seconds', text)


class BenchSame(CliTest):

    def setUp(self):
        super().setUp()
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '16M')
        self.qemu('qemu-io', '-c', 'write -P 1 0 1M', 'a')

    def bench(self, *args):
        self.same_all('qemu-img', 'bench', *args, normalize=without_time)

    def test_reads(self):
        for args in ([], ['-c', '0'], ['-c', '10'],
                     ['-c', '10', '-d', '1'], ['-c', '10', '-d', '100'],
                     ['-c', '10', '-o', '1M'], ['-c', '100', '-o', '15M'],
                     ['-c', '10', '-s', '64k'], ['-c', '10', '-s', '0'],
                     ['-c', '10', '-s', '1000', '-o', '511'],
                     ['-c', '100', '-S', '1M'], ['-c', '10', '-S', '0'],
                     ['-c', '10', '-q'], ['-c', '10', '-U'],
                     ['-c', '10', '-t', 'none'], ['-c', '10', '-f', 'raw'],
                     ['-c', '10', '-i', 'threads'],
                     ['-c', '10', '-n', '-t', 'none'],
                     ['-c', '10', '-i', 'native', '-t', 'directsync'],
                     ['-c', '10', '--no-drain'],
                     ['-c', '10', '--pattern', '0x41'],
                     ['-c', '0x10', '-d', '010']):
            self.bench(*args, 'a')
        self.bench('-c', '10', '--image-opts', 'driver=qcow2,file.filename=a')

    def test_writes(self):
        for args in (['-c', '100', '--pattern', '7'],
                     ['-c', '100', '--pattern', '9', '-s', '64k', '-o', '3M'],
                     ['-c', '100', '--pattern', '3', '-d', '4', '-S', '100k',
                      '--flush-interval', '10'],
                     ['-c', '100', '-d', '4', '--flush-interval', '10',
                      '--no-drain', '-s', '3000', '-o', '100'],
                     ['-c', '100', '-d', '4', '--flush-interval', '4'],
                     ['-c', '50', '--flush-interval', '0'],
                     ['-c', '50', '-t', 'unsafe', '-o', '8M'],
                     ['-c', '5', '-t', 'writethrough', '-o', '9M'],
                     ['-c', '5', '-t', 'none', '-o', '9M']):
            self.bench('-w', *args, 'a')
        self.is_sound('a')
        self.same_content('a', self.their_path('a'))

    def test_long_names(self):
        args = ('--count=100 --depth=4 --offset=1M --buffer-size=8k '
                '--step-size=16k --write --pattern=5 --flush-interval=20 '
                '--no-drain --cache=none --native --quiet --format=qcow2')
        short = ('-c 100 -d 4 -o 1M -s 8k -S 16k -w --pattern=5 '
                 '--flush-interval=20 --no-drain -t none -n -q -f qcow2')
        ours = self.our('qemu-img', 'bench', *args.split(), 'a')
        theirs = self.their('qemu-img', 'bench', *short.split(), 'a')
        self.assertEqual((ours.status, without_time(ours.out)),
                         (0, without_time(theirs.out)))
        self.same_content('a', self.their_path('a'))

    def test_mistakes(self):
        for args in (['-c', '-1'], ['-c', 'x'], ['-c', '99999999999'],
                     ['-d', 'x'], ['-s', '3G'], ['-s', 'x'], ['-o', 'x'],
                     ['-S', 'x'], ['-S', '3G'], ['-w', '--pattern', '256'],
                     ['--pattern', 'x'], ['-t', 'foo'], ['-i', 'foo'],
                     ['-i', 'native'], ['-n'], ['-U', '-w'],
                     ['--flush-interval', '10'],
                     ['-w', '--flush-interval', '10'],
                     ['-w', '--flush-interval', 'x'],
                     ['-w', '--flush-interval', '-1'], ['-o', '-1']):
            self.bench(*args, 'a')
        for args in ([], ['a', 'b'], ['none'], ['-f', 'foo', 'a']):
            self.bench(*args)
        # QEMU's program waits for ever.
        ours = self.our('qemu-img', 'bench', '-d', '0', 'a')
        self.assertEqual((ours.status, ours.err),
                         (1, 'qemu-img: Invalid queue depth specified\n'))

    def test_encrypted_image(self):
        """qemu-img bench does not know --object."""
        self.their_image('aes', 'qemu-img', 'create', '-q', *SECRETS, '-f',
                         'qcow2', '-o', AES, 'aes', '4M')
        for args in (['-c', '10'], ['-c', '10', '-w', '--pattern', '7']):
            result = self.our('qemu-img', 'bench', *args, *SECRETS,
                              '--image-opts', image_opts('aes'))
            self.assertEqual(result.status, 0, result)
        result = self.their('qemu-io', *SECRETS, '-c', 'read -P 7 0 40k',
                            '--image-opts', image_opts(self.our_path('aes')))
        self.assertEqual((result.status, 'failed' in result.out), (0, False),
                         result)

    def test_requests_beyond_the_end(self):
        for args in (['-o', '17M'], ['-s', '17M', '-d', '1']):
            self.bench('-c', '10', *args, 'a')

    def test_other_formats(self):
        self.file('raw', MIB)
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'v1', '1M')
        for fmt, name in (('raw', 'raw'), ('qcow', 'v1')):
            self.bench('-f', fmt, '-c', '300', '-w', '--pattern', '8', name)
            self.bench('-f', fmt, '-c', '300', name)
            self.same_content(name, self.their_path(name), fmt, fmt)


if __name__ == '__main__':
    main()
