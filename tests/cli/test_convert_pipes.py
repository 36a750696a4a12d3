# SPDX-License-Identifier: MIT
"""convert reads standard input and writes standard output, through real pipes;
the image is the same with any number of threads."""

import os
import pty
import subprocess

from cli_common import (ADDRESS_LIMITS, CliTest, HAS_ZSTD, KIB, MIB, OURS, main,
                        noise)

SIZE = 5 * MIB + 512
PIECES = [(0, noise(1, 70 * KIB)), (MIB, b'words and words ' * 50000),
          (3 * MIB + 4096, noise(2, 300 * KIB)), (SIZE - 512, noise(3, 512))]

TARGETS = ['-O raw', '-O qcow2', '-c -O qcow2', '-O qcow2 -S 0',
           '-c -O qcow2 -o compression_type=zstd',
           '-O qcow2 -o compat=0.10', '-O qcow2 -o extended_l2=on',
           '-c -O qcow2 -o cluster_size=4k,refcount_bits=1',
           '-O qcow2 -o cluster_size=2M,lazy_refcounts=on',
           '-O qcow2 -o cluster_size=512', '-S 1M -O qcow2']
if not HAS_ZSTD:
    TARGETS = [words for words in TARGETS if 'zstd' not in words]

REFUSED = ['-O qcow', '-n -O qcow2', '-W -O qcow2', '-C -O qcow2',
           '-O qcow2 -o preallocation=metadata', '-O qcow2 -o data_file=d',
           '-c -O raw', '-O qcow2 --snapshots', '-O qcow2 --bitmaps',
           '-O qcow2 -o encrypt.format=luks,encrypt.key-secret=s0']


class ConvertPipes(CliTest):

    def setUp(self):
        super().setUp()
        self.file('src', SIZE, PIECES)

    def run_ours(self, args, stdin=None, env=None):
        with open(stdin, 'rb') if stdin else open(os.devnull, 'rb') as f:
            return subprocess.run(
                ['qemu-img', 'convert', *args], executable=OURS['qemu-img'],
                cwd=self.ours, stdin=f, capture_output=True, check=False,
                env=dict(os.environ, TMPDIR=self.ours, **(env or {})))

    def pipe(self, shell, temporary=None):
        """Our program is $0."""
        return subprocess.run(
            ['sh', '-c', shell, OURS['qemu-img']], cwd=self.ours,
            capture_output=True, check=False,
            env=dict(os.environ, TMPDIR=temporary or self.ours))

    def in_one_go(self, shell, fmt='qcow2'):
        """Without any place for a temporary file."""
        done = self.pipe(shell, '/nonexistent')
        self.assertEqual((done.returncode, done.stderr), (0, b''), shell)
        self.same_content('src', 'new', 'raw', fmt)
        if fmt == 'qcow2':
            self.is_sound('new')

    def keep(self, name, content):
        with open(self.our_path(name), 'wb') as f:
            f.write(content)

    def test_targets(self):
        for words in TARGETS:
            done = self.run_ours(['-f', 'raw', *words.split(), 'src', '-'])
            self.assertEqual((done.returncode, done.stderr), (0, b''), words)
            self.keep('new', done.stdout)
            fmt = 'qcow2' if 'qcow2' in words else 'raw'
            self.same_content('src', 'new', 'raw', fmt)
            if fmt == 'qcow2':
                self.is_sound('new')
            if '-c' in words and 'zstd' not in words:
                continue
            for number in ('1', '3', '16'):
                again = self.run_ours(['-f', 'raw', '-m', number,
                                       *words.split(), 'src', '-'])
                self.assertEqual(again.stdout, done.stdout, words)

    def test_real_pipes(self):
        for shell in (
                'cat src | "$0" convert -f raw -O qcow2 - new',
                'cat src | "$0" convert -f raw -O qcow2 - - | cat > new',
                '"$0" convert -f raw -c -O qcow2 src - | gzip -1 | gunzip '
                '> new',
                'cat src | "$0" convert -f raw -c -O qcow2 - - | "$0" convert '
                '-f qcow2 -O qcow2 - new',
                '"$0" convert -f raw -O qcow2 src - | "$0" convert - - | '
                '"$0" convert -f raw -O qcow2 - new',
                '"$0" convert -f raw -O qcow2 - new < src'):
            done = self.pipe(shell)
            self.assertEqual((done.returncode, done.stderr), (0, b''), shell)
            self.same_content('src', 'new', 'raw', 'qcow2')
            self.is_sound('new')

    def test_raw_input_in_one_go(self):
        for words in ('', '-c', '-m 1', '-m 16 -W', '-S 0', '-S 1M', '-C',
                      '-p -q',
                      '-c -o compression_type=zstd',
                      '-o compat=0.10', '-o extended_l2=on',
                      '-o cluster_size=512', '-c -o cluster_size=2M',
                      '-o size=%d' % SIZE):
            self.in_one_go('cat src | "$0" convert -f raw -O qcow2 %s - new'
                           % words)
            self.assertIn(b'(%d bytes)' % SIZE,
                          self.pipe('"$0" info new').stdout)
        self.in_one_go('cat src | "$0" convert -f raw - new', 'raw')
        self.in_one_go('cat src | "$0" convert - - | cat > new', 'raw')
        self.in_one_go('cat src | "$0" convert -f raw -O qcow2 -S 0 '
                       '-o size=%d - - | cat > new' % SIZE)

    def test_raw_input_into_an_image_that_exists(self):
        for size, code in ((SIZE, 0), (SIZE + MIB, 0), (SIZE - 512, 1)):
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'new',
                      str(size))
            done = self.pipe('cat src | "$0" convert -n -f raw -O qcow2 - '
                             'new', '/nonexistent')
            self.assertEqual(done.returncode, code, done)
            self.is_sound('new')
            if code == 0:
                self.same_content('src', 'new', 'raw', 'qcow2')
        self.assertIn(b'longer than', done.stderr)

    def test_raw_input_of_another_length_than_said(self):
        for size in (SIZE - 512, SIZE + 512):
            for target in ('new', '-S 0 -'):
                done = self.pipe('cat src | "$0" convert -f raw -O qcow2 -o '
                                 'size=%d - %s | cat > pipe; test ! -e new'
                                 % (size, target))
                self.assertEqual(done.returncode, 0, done)
                self.assertNotEqual(done.stderr, b'')

    def test_raw_input_that_is_no_whole_sector(self):
        self.keep('odd', noise(4, 3 * 64 * KIB + 77))
        for fmt in ('raw', 'qcow2'):
            done = self.pipe('cat odd | "$0" convert -f raw -O %s - new' % fmt,
                             '/nonexistent')
            self.assertEqual(done.returncode, 0, done)
            self.same_content('odd', 'new', 'raw', fmt)

    def test_growth_past_the_first_step(self):
        """Input of more than a gigabyte, almost all zeros."""
        self.file('src', (1 << 30) + 3 * MIB, [(0, noise(1, MIB)),
                                               ((1 << 30) + MIB, b'end')])
        self.in_one_go('cat src | "$0" convert -f raw -O qcow2 - new')
        limit = 'ulimit -v 400000; ' if ADDRESS_LIMITS else ''
        done = self.pipe('(' + limit + 'cat src | "$0" convert -m 2 '
                         '-f raw -O qcow2 -c - new)', '/nonexistent')
        self.assertEqual(done.returncode, 0, done)
        self.same_content('src', 'new', 'raw', 'qcow2')

    def test_our_own_images_in_one_go(self):
        for first, second in (('', ''), ('-c', ''), ('-c', '-c'),
                              ('-S 0', '-m 1'), ('-o extended_l2=on', ''),
                              ('-o cluster_size=512', ''),
                              ('-c -o compression_type=zstd', '-m 16'),
                              ('-o cluster_size=2M', '-S 0')):
            self.in_one_go('"$0" convert -f raw -O qcow2 %s src - | "$0" '
                           'convert -O qcow2 %s - new' % (first, second))
            self.in_one_go('"$0" convert -f raw -O qcow2 %s src - | "$0" '
                           'convert -O raw - - | cat > new' % first, 'raw')
        self.in_one_go('"$0" convert -f raw -O qcow2 -c src - | "$0" convert '
                       '-O qcow2 - - | "$0" convert -O qcow2 - new')

    def test_large_images_in_one_go(self):
        """More data than is kept of an image."""
        self.file('src', 160 * MIB, [(0, noise(1, 90 * MIB)),
                                     (120 * MIB, noise(2, 20 * MIB))])
        for words in ('', '-c'):
            self.in_one_go('"$0" convert -f raw -O qcow2 %s src - | "$0" '
                           'convert -O qcow2 - new' % words)

    def test_an_image_whose_data_is_not_in_order(self):
        """Small ones are kept; large ones go to a temporary file."""
        for size, code in ((2 * MIB, 0), (90 * MIB, 1)):
            self.file('src', 100 * MIB, [(0, noise(1, MIB)),
                                         (8 * MIB, noise(2, size))])
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'image',
                      '100M')
            # What lies behind comes first.
            for at, end in ((8, 8 + size // MIB), (0, 1)):
                self.qemu('qemu-io', '-c', 'write -q -P 1 %dM %dM' %
                          (at, end - at), 'image')
            self.qemu('qemu-img', 'convert', '-O', 'raw', 'image', 'src')
            done = self.pipe('cat image | "$0" convert - new', '/nonexistent')
            self.assertEqual(done.returncode, code, done)
            if code:
                self.assertIn(b'temporary file', done.stderr)
            done = self.pipe('cat image | "$0" convert - new')
            self.assertEqual(done.returncode, 0, done)
            self.same_content('src', 'new', 'raw', 'raw')

    def test_an_image_that_breaks_off(self):
        self.file('src', 160 * MIB, [(0, noise(1, 90 * MIB))])
        for length in (10, 70000, 80 * MIB):
            done = self.pipe('"$0" convert -f raw -O qcow2 src - | '
                             'head -c %d | "$0" convert -f qcow2 -O qcow2 - '
                             'new; test ! -e new' % length)
            self.assertEqual(done.returncode, 0, length)
            self.assertNotEqual(done.stderr.count(b'qcow-img'), 1, done)

    def test_what_needs_a_temporary_file(self):
        for words in ('-f raw -O qcow2 - -', '-f raw -O qcow -  new',
                      '-f raw -O qcow2 -o preallocation=metadata - new',
                      '-f raw src - new'):
            shell = 'cat src | "$0" convert %s > out' % words
            done = self.pipe(shell, '/nonexistent')
            self.assertEqual(done.returncode, 1, words)
            self.assertIn(b'temporary file', done.stderr)
            self.assertEqual(self.pipe(shell).returncode, 0, words)

    def test_nothing_is_left_behind(self):
        self.pipe('cat src | "$0" convert -f raw - new')
        self.assertEqual(sorted(os.listdir(self.ours)), ['new', 'src'])

    def test_formats_of_the_input(self):
        for fmt in ('qcow', 'qcow2'):
            self.qemu('qemu-img', 'convert', '-f', 'raw', '-O', fmt, 'src',
                      'image')
            for flags in ('', '-f ' + fmt):
                done = self.pipe('cat image | "$0" convert %s - new' % flags)
                self.assertEqual(done.returncode, 0, done)
                self.same_content('src', 'new', 'raw', 'raw')

    def test_input_with_other_sources(self):
        done = self.pipe('cat src | "$0" convert -f raw src - src new')
        self.assertEqual(done.returncode, 0, done)
        self.qemu('qemu-img', 'convert', '-f', 'raw', 'src', 'src', 'src',
                  'want')
        self.same_content('want', 'new', 'raw', 'raw')
        done = self.pipe('cat src | "$0" convert -f raw - - new')
        self.assertEqual(done.returncode, 1)
        self.assertIn(b'only once', done.stderr)

    def test_empty_input(self):
        done = self.pipe('"$0" convert -f raw -O qcow2 - new < /dev/null')
        self.assertEqual(done.returncode, 0, done)
        self.is_sound('new')
        done = self.pipe(': | "$0" convert -f raw -O qcow2 - - > new')
        self.assertEqual(done.returncode, 0, done)
        self.is_sound('new')

    def test_a_reader_that_goes_away(self):
        for words in TARGETS:
            done = self.pipe('("$0" convert -f raw %s src -; echo $? >&2) | '
                             'head -c 100 > /dev/null' % words)
            self.assertIn(b'Broken pipe', done.stderr, words)
            self.assertTrue(done.stderr.endswith(b'\n1\n'), done.stderr)

    def test_a_full_output(self):
        done = self.pipe('"$0" convert -f raw src - > /dev/full')
        self.assertEqual(done.returncode, 1)
        self.assertIn(b'No space left', done.stderr)

    def test_no_terminal(self):
        controller, terminal = pty.openpty()
        done = subprocess.run(
            ['qemu-img', 'convert', '-f', 'raw', 'src', '-'],
            executable=OURS['qemu-img'], cwd=self.ours, stdout=terminal,
            stderr=subprocess.PIPE, check=False)
        os.close(terminal)
        os.close(controller)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b'terminal', done.stderr)

    def test_what_is_refused(self):
        for words in REFUSED:
            done = self.run_ours(['--object', 'secret,id=s0,data=x', '-f',
                                  'raw', *words.split(), 'src', '-'])
            self.assertEqual((done.returncode, done.stdout), (1, b''), words)
            self.assertTrue(done.stderr, words)

    def test_an_overlay(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'src',
                  '-F', 'raw', 'top')
        self.qemu('qemu-io', '-c', 'write -P 9 2M 64k', '-c',
                  'write -z 1M 128k', 'top')
        for flags in ([], ['-c']):
            done = self.run_ours([*flags, '-O', 'qcow2', '-b', 'src', '-F',
                                  'raw', 'top', '-'])
            self.assertEqual(done.returncode, 0, done)
            self.keep('new', done.stdout)
            self.same_content('top', 'new')
            self.is_sound('new')
            self.assertLess(len(done.stdout), MIB)

    def test_progress_does_not_mix_with_the_image(self):
        done = self.run_ours(['-p', '-f', 'raw', '-O', 'qcow2', 'src', '-'])
        self.assertEqual(done.returncode, 0)
        self.assertTrue(done.stderr.endswith(b'(100.00/100%)\r\n'))
        self.keep('new', done.stdout)
        self.same_content('src', 'new', 'raw', 'qcow2')


if __name__ == '__main__':
    main()
