# SPDX-License-Identifier: MIT
"""convert into images that exist, onto backing files, and what becomes of a
target when something goes wrong."""

import os
import re
import signal
import subprocess
import time

from cli_common import CliTest, HAS_JSON, KIB, MIB, OURS, main, noise

PIECES = [(0, noise(1, 70 * KIB)), (MIB, noise(2, MIB)),
          (5 * MIB, noise(3, 4096))]


class ConvertTargets(CliTest):

    def setUp(self):
        super().setUp()
        self.file('src', 8 * MIB, PIECES)

    def convert(self, *args):
        return self.same_all('qemu-img', 'convert', *args)

    def target(self, name, size, *args):
        self.qemu('qemu-img', 'create', '-q', *args, name, size)

    def dirty(self, name, size):
        self.qemu('qemu-io', '-f', 'qcow2' if name.endswith('2') else 'raw',
                  '-c', 'write -P 77 0 ' + size, name)

    # --- existing targets

    def test_old_content_is_replaced(self):
        for name, fmt in (('t.raw', 'raw'), ('t.qcow2', 'qcow2')):
            self.target(name, '8M', '-f', fmt)
            self.dirty(name, '8M')
            self.convert('-n', '-f', 'raw', '-O', fmt, 'src', name)
            self.same_content('src', name, 'raw', fmt)
            self.same_output('qemu-img', 'map', '-f', fmt, name)

    def test_old_version_2_content_is_replaced(self):
        self.target('t.qcow2', '8M', '-f', 'qcow2', '-o', 'compat=0.10')
        self.dirty('t.qcow2', '8M')
        self.convert('-n', '-f', 'raw', '-O', 'qcow2', 'src', 't.qcow2')
        self.same_content('src', 't.qcow2', 'raw', 'qcow2')
        self.is_sound('t.qcow2')

    def test_what_lies_behind_stays(self):
        for name, fmt in (('t.raw', 'raw'), ('t.qcow2', 'qcow2')):
            self.target(name, '10M', '-f', fmt)
            self.dirty(name, '10M')
            self.convert('-n', '-f', 'raw', '-O', fmt, 'src', name)
            self.same_output('qemu-io', '-f', fmt, '-c',
                             'read -qP 77 8M 2M', name)
            self.assertEqual(self.our('qemu-io', '-f', fmt, '-c',
                                      'read -qP 77 8M 2M', name).status, 0)

    def test_targets_with_a_backing_file(self):
        self.target('base', '8M', '-f', 'raw')
        self.dirty('base', '8M')
        for compat in ('0.10', '1.1'):
            self.target('t.qcow2', '8M', '-f', 'qcow2', '-b', 'base', '-F',
                        'raw', '-o', 'compat=' + compat)
            self.convert('-n', '-f', 'raw', '-O', 'qcow2', 'src', 't.qcow2')
            self.same_content('src', 't.qcow2', 'raw', 'qcow2')
            self.is_sound('t.qcow2')

    def test_target_is_zero(self):
        self.target('t.qcow2', '8M', '-f', 'qcow2')
        self.convert('-n', '--target-is-zero', '-f', 'raw', '-O', 'qcow2',
                     'src', 't.qcow2')
        self.same_content('src', 't.qcow2', 'raw', 'qcow2')
        # Zeros were not even written down.
        self.same_output('qemu-img', 'map', 't.qcow2')
        zeros = [e for e in self.our_map('t.qcow2') if e['present'] and
                 e['zero']]
        self.assertEqual(zeros, [])

    def test_target_is_zero_but_has_a_backing_file(self):
        """QEMU says so, too, but ends as if it had copied something."""
        self.target('t.qcow2', '8M', '-f', 'qcow2', '-b', 'src', '-F', 'raw')
        args = ['qemu-img', 'convert', '-n', '--target-is-zero', '-B', 'src',
                '-F', 'raw', '-O', 'qcow2', 'src', 't.qcow2']
        ours, theirs = self.both(*args)
        self.assertEqual((ours.status, ours.err), (1, theirs.err))
        self.same_bytes('t.qcow2')

    def test_target_is_zero_is_believed(self):
        self.target('t.raw', '8M')
        self.dirty('t.raw', '8M')
        self.convert('-n', '--target-is-zero', '-f', 'raw', 'src', 't.raw')
        self.same_bytes('t.raw')
        with open(self.our_path('t.raw'), 'rb') as f:
            f.seek(4 * MIB)
            self.assertEqual(f.read(4096), bytes([77]) * 4096)

    # --- backing files

    def chain(self):
        self.target('base', '4M', '-f', 'raw')
        self.dirty('base', '4M')
        self.target('top.qcow2', '8M', '-f', 'qcow2', '-b', 'base', '-F',
                    'raw')
        self.qemu('qemu-io', '-c', 'write -P 1 1M 64k', '-c',
                  'write -z 2M 1M', '-c', 'write -P 0 3M 64k', '-c',
                  'write -P 2 6M 64k', 'top.qcow2')

    def test_what_the_backing_file_has_is_left_out(self):
        self.chain()
        for compat in ('0.10', '1.1'):
            for flag in ('-B', '-b'):
                ours = self.our('qemu-img', 'convert', '-O', 'qcow2', '-o',
                                'compat=' + compat, flag, 'base', '-F', 'raw',
                                'top.qcow2', 'new')
                self.assertEqual((ours.status, ours.err), (0, ''))
                self.same_content('top.qcow2', 'new')
                self.is_sound('new')
                self.their('qemu-img', 'convert', '-O', 'qcow2', '-o',
                           'compat=' + compat, '-B', 'base', '-F', 'raw',
                           'top.qcow2', 'new')
                self.same_output('qemu-img', 'map', 'new')

    def test_backing_file_as_an_option(self):
        self.chain()
        self.convert('-O', 'qcow2', '-o', 'backing_file=base,backing_fmt=raw',
                     'top.qcow2', 'new')
        self.same_content('top.qcow2', 'new')
        self.same_output('qemu-img', 'map', 'new')

    def test_a_source_without_backing_file_is_copied_whole(self):
        self.target('base', '6M', '-f', 'raw')
        self.dirty('base', '6M')
        for cluster_size in ('4k', '64k', '2M'):
            self.convert('-O', 'qcow2', '-o', 'cluster_size=' + cluster_size,
                         '-B', 'base', '-F', 'raw', '-f', 'raw', 'src', 'new')
            self.same_content('src', 'new', 'raw', 'qcow2')
            self.is_sound('new')

    def test_a_backing_file_longer_than_the_one_of_the_source(self):
        self.chain()
        self.target('longer', '8M', '-f', 'raw')
        self.dirty('longer', '8M')
        ours = self.our('qemu-img', 'convert', '-O', 'qcow2', '-B', 'longer',
                        '-F', 'raw', 'top.qcow2', 'new')
        self.assertEqual(ours.status, 0, ours)
        self.same_content('top.qcow2', 'new')

    def test_target_in_another_directory(self):
        self.chain()
        self.mkdir('sub')
        self.convert('-O', 'qcow2', '-B', '../base', '-F', 'raw', 'top.qcow2',
                     'sub/new')
        self.same_content('top.qcow2', 'sub/new')

    # --- failure

    def test_errors(self):
        self.target('small', '1M', '-f', 'raw')
        for words in ('', 'src', 'none out', '-O foo src out',
                      '-f foo src out', '-m 0 src out', '-m 17 src out',
                      '-m x src out', '-S x src out', '-S 100 src out',
                      '-S 3G src out', '-t foo src out', '-T foo src out',
                      '-r x src out', '-n src none',
                      '-n -O qcow2 src none', '-n src small',
                      '--target-is-zero src small',
                      '-n -o size=1M src small', '-O qcow2 -B x src out',
                      '-B src -F raw src out', '-O qcow2 -F raw src out',
                      '-O qcow2 -B src -F raw src src out',
                      '-O qcow2 -o backing_file=x src out',
                      '-o cluster_size=4k src out',
                      '-O qcow2 -o cluster_size=5k src out',
                      '-O qcow2 -o foo src out', '-O qcow2 -o , src out',
                      '-O qcow2 src none/out', 'src src', '--foo', '-O',
                      '-O foo -o help'):
            self.convert(*words.split())

    def test_errors_before_anything_is_copied(self):
        """With -p a line of progress is there, too."""
        self.target('small', '1M', '-f', 'raw')
        for words in ('none out', '-O foo src out', '-f foo src out',
                      'src none/out', '-n src small', '-l x src out',
                      '--bitmaps src out', '-q none out'):
            self.convert('-p', *words.split())

    def test_directories(self):
        self.mkdir('dir')
        for words in ('src dir', '-O qcow2 src dir', '-O qcow src dir',
                      'dir out', '-n src dir', '-n -O qcow2 src dir',
                      '-O qcow2 -o data_file=dir src out'):
            self.convert(*words.split())

    def test_numbers_of_requests(self):
        for number in ('0x4', '010', ' 4', '+4', '0x11', '0x', '-1', '1k', '',
                       '99999999999999999999'):
            self.convert('-m', number, 'src', 'out')

    def test_help_is_no_option_of_a_target_that_exists(self):
        self.convert('-n', '-o', 'help', '-O', 'qcow2')
        self.convert('-n', '-o', 'help', 'src', 'out')

    def test_descriptions_of_targets(self):
        self.target('t.qcow2', '8M', '-f', 'qcow2')
        self.target('t.raw', '8M', '-f', 'raw')
        for words in ('-O qcow2 src json:{"driver":"qcow2",'
                      '"file.filename":"t.qcow2"}', 'src bogus:out',
                      '-n src bogus:out'):
            self.convert(*words.split())
        for name, fmt, text in (
                ('t.qcow2', 'qcow2', '{"driver":"qcow2","file":'
                 '{"driver":"file","filename":"t.qcow2"}}'),
                ('t.qcow2', 'qcow2', '{"file.filename":"t.qcow2"}'),
                ('t.raw', 'raw', '{"driver":"raw","file.filename":"t.raw"}')):
            if not HAS_JSON:
                break
            self.dirty(name, '64k')
            self.convert('-n', '-O', fmt, 'src', 'json:' + text)
            self.same_content('src', name, 'raw', fmt)

    def test_a_new_target_is_removed(self):
        for words in ('-O qcow2 -B gone -F raw src out',
                      '-O qcow2 -o cluster_size=5k src out'):
            ours = self.our('qemu-img', 'convert', *words.split())
            self.assertEqual(ours.status, 1)
            self.assertFalse(os.path.exists(self.our_path('out')))

    def test_a_new_target_is_removed_when_reading_fails(self):
        self.target('bad.qcow2', '8M', '-f', 'qcow2')
        self.dirty('bad.qcow2', '8M')
        # An L2 table far beyond the end of the file.
        self.patch('bad.qcow2', 3 * 65536, bytes.fromhex('8000400000000000'))
        for fmt in ('raw', 'qcow2'):
            ours = self.our('qemu-img', 'convert', '-O', fmt, 'bad.qcow2',
                            'out')
            self.assertEqual(ours.status, 1)
            self.assertIn('error while reading', ours.err)
            self.assertFalse(os.path.exists(self.our_path('out')))

    def test_an_old_target_is_not_removed(self):
        self.file('out', 100, [(0, b'x')])
        ours = self.our('qemu-img', 'convert', '-O', 'qcow2', '-B', 'gone',
                        '-F', 'raw', 'src', 'out')
        self.assertEqual(ours.status, 1)
        self.assertTrue(os.path.exists(self.our_path('out')))

    def test_a_full_disk(self):
        """A file size limit stands for the full disk."""
        for fmt in ('raw', 'qcow2'):
            done = subprocess.run(
                ['sh', '-c', 'ulimit -f 1000; trap "" XFSZ; exec "$0" convert '
                 '-O %s src out' % fmt, OURS['qemu-img']], cwd=self.ours,
                capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1, done)
            self.assertIn('large', done.stderr)
            self.assertFalse(os.path.exists(self.our_path('out')))

    def test_a_source_is_not_its_own_target(self):
        self.target('top.qcow2', '8M', '-f', 'qcow2', '-b', 'src', '-F', 'raw')
        os.link(self.our_path('src'), self.our_path('link'))
        before = os.path.getsize(self.our_path('src'))
        for args in (['src', 'src'], ['src', './src'], ['src', 'link'],
                     ['-n', 'src', 'src'], ['top.qcow2', 'src']):
            ours = self.our('qemu-img', 'convert', *args)
            self.assertEqual(ours.status, 1, args)
            self.assertIn('lock', ours.err)
        self.assertEqual(os.path.getsize(self.our_path('src')), before)
        self.same_bytes('src')

    def test_the_size_is_that_of_the_source(self):
        ours = self.our('qemu-img', 'convert', '-O', 'qcow2', '-o', 'size=4M',
                        'src', 'out')
        self.assertEqual(ours.status, 1)
        self.assertIn('size', ours.err)
        self.convert('-O', 'qcow2', '-o', 'size=8M', 'src', 'out')
        self.same_content('src', 'out', 'raw', 'qcow2')

    # --- progress

    def test_progress(self):
        ours = self.our('qemu-img', 'convert', '-p', '-O', 'qcow2', 'src',
                        'out')
        self.assertEqual(ours.status, 0)
        self.assertTrue(re.fullmatch(
            r'    \(0\.00/100%\)\r(    \(\d+\.\d\d/100%\)\r)+\n', ours.out),
            repr(ours.out))
        self.assertTrue(ours.out.endswith('    (100.00/100%)\r\n'))
        steps = [float(x) for x in re.findall(r'\((.*?)/', ours.out)]
        self.assertEqual(steps, sorted(steps))

    def test_quiet_wins_over_progress(self):
        self.convert('-p', '-q', '-O', 'qcow2', 'src', 'out')

    def test_progress_on_a_signal(self):
        """And the program goes on."""
        process = subprocess.Popen(
            ['qemu-img', 'convert', '-r', '1M', '-f', 'raw', '-O', 'raw',
             'src', 'out'], executable=OURS['qemu-img'], cwd=self.ours,
            stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        process.send_signal(signal.SIGUSR1)
        _, err = process.communicate()
        self.assertEqual(process.returncode, 0)
        self.assertTrue(re.fullmatch(r'    \(\d+\.\d\d/100%\)\n', err), err)


if __name__ == '__main__':
    main()
