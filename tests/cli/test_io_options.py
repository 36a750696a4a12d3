# SPDX-License-Identifier: MIT
"""Requests that run beside others, and options of qcow-io's commands that ask
for more than moving bytes, act as in qemu-io."""

import os
import subprocess

from cli_common import CliTest, MIB, QCOW_IO, main, without_times


def sorted_lines(text):
    """In which order requests are over is up to chance."""
    return '\n'.join(sorted(without_times(text).split('\n')))


class IoOptions(CliTest):

    def setUp(self):
        super().setUp()
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '10M')
        self.qemu('qemu-io', '-c', 'write 0 1M', 'a')

    def io(self, *commands, options=(), name='a', normalize=without_times):
        args = list(options)
        for command in commands:
            args += ['-c', command]
        self.same_all('qemu-io', *args, *([name] if name else []),
                      normalize=normalize)

    # --- aio

    def test_aio_requests_overlap(self):
        writes = ['aio_write -P %d %dk 64k' % (i + 1, 64 * i)
                  for i in range(100)]
        reads = ['aio_read -P %d %dk 64k' % (i + 1, 64 * i)
                 for i in range(100)]
        self.io(*writes, 'aio_flush', *reads, 'aio_flush',
                normalize=sorted_lines)
        self.io(*writes[:3], normalize=sorted_lines)
        self.io(*writes[:3], 'quit', normalize=sorted_lines)
        self.io(*writes[:3], 'close', normalize=sorted_lines)
        self.is_sound('a')
        self.same_content('a', self.their_path('a'))

    def test_aio_requests_on_one_cluster(self):
        for _ in range(5):
            ours = self.our('qemu-io', *sum(
                (['-c', 'aio_write -q -P %d %d 512' % (i + 1, 5 * MIB +
                                                       512 * i)]
                 for i in range(64)), []), 'a')
            self.assertEqual((ours.status, ours.out, ours.err), (0, '', ''))
            for i in range(64):
                ours = self.our('qemu-io', '-c', 'read -q -P %d %d 512' %
                                (i + 1, 5 * MIB + 512 * i), 'a')
                self.assertEqual((ours.status, ours.out), (0, ''))
        self.is_sound('a')

    def test_aio_has_threads(self):
        self.file('big', 600 * MIB)
        commands = ''.join('aio_write -q %dM 100M\n' % (100 * i)
                           for i in range(6))
        most = 0
        for _ in range(5):
            with subprocess.Popen([QCOW_IO, '-f', 'raw', 'big'],
                                  cwd=self.ours, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE) as process:
                process.stdin.write(commands.encode())
                process.stdin.flush()
                while process.poll() is None and most < 3:
                    tasks = '/proc/%d/task' % process.pid
                    most = max(most, len(os.listdir(tasks)))
                    if not process.stdin.closed and most < 2:
                        continue
                    break
                process.stdin.close()
                process.stdout.read()
            if most >= 2:
                break
        self.assertGreaterEqual(most, 2)

    def test_aio_beside_other_commands(self):
        # What nobody waited for need not have been written yet.
        for commands in (('aio_write -P 3 0 64k', 'aio_flush', 'read -P 3 0 64k',
                          'aio_read 0 4k', 'length', 'aio_read -P 3 0 4k',
                          'map'),
                         ('aio_write -P 4 0 64k', 'reopen -r', 'aio_write 0 4k',
                          'aio_read -P 4 0 64k'),
                         ('aio_write -f 0 64k', 'aio_flush',
                          'aio_write -z -u 0 64k', 'aio_flush', 'map')):
            self.io(*commands, normalize=sorted_lines)

    def test_aio_with_copy_on_read(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'a', '-F',
                  'qcow2', 'top')
        ours = self.our('qemu-io', '-C', *sum(
            (['-c', 'aio_read -q %d 512' % (1024 * i), '-c',
              'aio_write -q -P 9 %d 512' % (1024 * i + 512)]
             for i in range(64)), []), 'top')
        self.assertEqual((ours.status, ours.out), (0, ''))
        for i in range(64):
            ours = self.our('qemu-io', '-c', 'read -q -P 9 %d 512' %
                            (1024 * i + 512), 'top')
            self.assertEqual((ours.status, ours.out), (0, ''))

    def test_invalid_requests(self):
        self.io('aio_read -i 0 1', 'aio_write -i 0 1', 'aio_write -i x y',
                'aio_read -qi 0 1')

    # --- zeros

    def test_no_slow_fallback(self):
        for options in ('compat=0.10', 'compat=1.1',
                        'compat=1.1,extended_l2=on'):
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options,
                      'z', '10M')
            self.qemu('qemu-io', '-c', 'write 0 1M', 'z')
            self.io('write -zn 0 64k', 'write -zn 512 1k', 'write -zun 64k 64k',
                    'write -zn 130k 64k', 'write -zn 129k 1k',
                    'write -zn 5M 100', 'write -zn 5000000 1000',
                    'write -zn 0 3G', 'write -zn 10485000 760', name='z')
            self.is_sound('z')
            self.same_content('z', self.their_path('z'))
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'z', '1M')
        self.io('write -zn 0 64k', name='z')
        self.file('z', MIB)
        self.io('write -zn 0 64k', 'write -zn 3 512', name='z',
                options=['-f', 'raw'])
        self.io('write -n 0 64k', 'write -zn -P 3 0 64k')

    def test_long_zeros(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'z', '1T')
        self.io('write -z 0 3G', 'write -zn 1M 3G', 'write -zn 512 100G',
                'map', name='z')

    # --- registered buffers, which are a hint

    def test_registered_buffers(self):
        ours = self.our('qemu-io', '-c', 'write -r -P 3 0 4k', '-c',
                        'read -r -P 3 0 4k', '-c', 'readv -r -P 3 0 4k', '-c',
                        'writev -r -P 3 0 4k', '-c', 'aio_write -r 0 4k',
                        '-c', 'aio_read -r 0 4k', 'a')
        self.assertEqual((ours.status, ours.err), (0, ''))
        self.assertEqual(ours.out.count('4096/4096'), 6)

    # --- reopen

    def test_reopen_with_options(self):
        for options in (['a'], ['--image-opts',
                                'driver=qcow2,file.filename=a']):
            for change in ('lazy-refcounts=on', 'lazy-refcounts=foo',
                           'lazy-refcounts=on,cache-size=1M', 'driver=raw',
                           'driver=qcow2', 'foo=1', 'file.filename=x',
                           'file.filename=a', 'node-name=x',
                           'cache-size=1M,l2-cache-size=2M',
                           'discard=ignore', 'overlap-check=none', 'foo',
                           'lazy-refcounts', 'nolazy-refcounts', ','):
                self.io('reopen -o ' + change, 'write 0 1', 'read 0 512',
                        options=options, name=None)
            for command in ('reopen -r -o read-only=off', 'reopen -r -w',
                            'reopen -c none -o cache.direct=off',
                            'reopen -o lazy-refcounts=on -o cache-size=1M',
                            'reopen -o read-only=off',
                            'reopen -r -o read-only',
                            'reopen -o noread-only'):
                self.io(command, 'write 0 1', 'read 0 512', options=options,
                        name=None)
        self.is_sound('a')

    def test_reopen_of_other_formats(self):
        self.file('raw', MIB)
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'v1', '1M')
        for name, fmt in (('raw', 'raw'), ('v1', 'qcow')):
            for change in ('lazy-refcounts=on', 'cache-size=1M',
                           'overlap-check=none', 'discard=unmap',
                           'overlap-check.main-header=on', 'driver=qcow2',
                           'driver=' + fmt):
                self.io('reopen -o ' + change, 'write 0 512', name=name,
                        options=['-f', fmt])

    def test_reopened_options_act(self):
        ours = self.our('qemu-io', '-c', 'reopen -o read-only=on', '-c',
                        'write 0 1', 'a')
        self.assertEqual(ours.status, 1)
        self.assertIn('read-only', ours.err)
        before = os.stat(self.our_path('a')).st_blocks
        self.our('qemu-io', '-c', 'reopen -o discard=ignore', '-c',
                 'discard 0 1M', 'a')
        self.assertEqual(os.stat(self.our_path('a')).st_blocks, before)
        ours = self.our('qemu-io', '-c', 'reopen -o lazy-refcounts=on', '-c',
                        'write 5M 64k', '-c', 'flush', '-c', 'sigraise 9', 'a')
        self.assertIn('"dirty-flag": true',
                      self.our('qemu-img', 'info', '--output=json', 'a').out)


if __name__ == '__main__':
    main()
