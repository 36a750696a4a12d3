# SPDX-License-Identifier: MIT
"""Names, versions, help and exit codes of the programs themselves."""

import os
import re
import subprocess
import sys

from cli_common import CliTest, OURS, QCOW_IMG, QCOW_IO, THEIRS, main

COMMANDS = ['amend', 'bench', 'bitmap', 'check', 'commit', 'compare',
            'convert', 'create', 'dd', 'info', 'map', 'measure', 'rebase',
            'resize', 'snapshot']


class Programs(CliTest):

    def test_usage_errors(self):
        for args in ([], ['foo'], ['--foo'], ['-x']):
            self.same_all('qemu-img', *args)

    def test_version(self):
        for option in ('-V', '--version'):
            ours = self.our('qemu-img', option)
            self.assertEqual(ours.status, 0)
            self.assertRegex(ours.out, r'^qemu-img version \d+\.\d+\.\d+\n$')

    def test_help_lists_commands(self):
        for option in ('-h', '--help'):
            ours = self.our('qemu-img', option)
            self.assertEqual((ours.status, ours.err), (0, ''))
            for command in COMMANDS:
                self.assertRegex(ours.out, r'(?m)^  %s  ' % command)

    def test_help_of_commands(self):
        for command in COMMANDS:
            for option in ('-h', '--help'):
                ours = self.our('qemu-img', command, option)
                self.assertEqual((ours.status, ours.err), (0, ''))
                self.assertTrue(ours.out.startswith(
                    'Usage: qemu-img %s [OPTION]... ' % command))

    def test_every_option_of_the_help_is_taken(self):
        """Not as unknown, that is; most need more than themselves."""
        for command in COMMANDS:
            text = self.our('qemu-img', command, '--help').out
            options = re.findall(r'(?m)^ +((?:-\w)?(?:, )?(?:--[a-z-]+)?)( \S+)?',
                                 text)
            names = [(name, arg) for both, arg in options
                     for name in both.split(', ') if name.startswith('-')]
            self.assertGreater(len(names), 5)
            for name, arg in names:
                if name in ('-h', '--help'):
                    continue
                ours = self.our('qemu-img', command, name,
                                *(['1'] if arg else []))
                self.assertNotIn('unrecognized', ours.err, name)
                self.assertNotIn('not supported', ours.err, name)

    def test_long_options_may_be_cut(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '1M')
        for args in (['map', '--out', 'json'], ['map', '--output=foo'],
                     ['info', '--o', 'json'], ['info', '--image', 'x'],
                     ['map', '--force'], ['resize', '--shr'],
                     ['info', '--backing']):
            ours, theirs = self.both('qemu-img', *args, 'a')
            self.assertEqual((ours.status, ours.err),
                             (theirs.status, theirs.err), args)

    def test_errors_carry_the_name_of_the_program(self):
        for path, args in ((QCOW_IMG, ['info', 'none']), (QCOW_IO, ['none'])):
            for name in ('abc', '/usr/bin/xyz'):
                done = subprocess.run([name] + args, executable=path,
                                      cwd=self.ours, capture_output=True,
                                      text=True, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertTrue(done.stderr.startswith(
                    os.path.basename(name) + ': '), done.stderr)

    def end_of(self, table, args, cwd, **how):
        return subprocess.run(args, executable=table[args[0]], cwd=cwd,
                              stdin=subprocess.DEVNULL, check=False,
                              stderr=subprocess.PIPE, timeout=60,
                              **how).returncode

    def test_a_reader_may_leave_early(self):
        """As in "qemu-img info a | grep -q", in a shell with pipefail."""
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '4M')
        self.file('raw', 4 << 20, [(0, b'x' * (4 << 20))])
        for args in (['qemu-img', 'info', 'a'],
                     ['qemu-img', 'map', '--output=json', 'a'],
                     ['qemu-img', 'check', 'a'],
                     ['qemu-img', 'create', '-f', 'qcow2', 'b', '1M'],
                     ['qemu-img', 'convert', '-p', '-f', 'raw', '-O', 'qcow2',
                      'raw', 'c'],
                     ['qemu-img', 'compare', '-p', '-f', 'raw', '-F', 'qcow2',
                      'raw', 'c'],
                     ['qemu-img', '--help'],
                     ['qemu-io', '-c', 'write 0 1M', '-c', 'help', 'a']):
            for table, cwd in ((OURS, self.ours), (THEIRS, self.theirs)):
                reader, writer = os.pipe()
                os.close(reader)
                status = self.end_of(table, args, cwd, stdout=writer)
                os.close(writer)
                self.assertEqual(status, 0, args)
        self.same_bytes('b')
        self.same_content('c', 'raw', 'qcow2', 'raw')

    def test_standard_streams_may_be_closed(self):
        """What is printed does not end up in an image."""
        self.file('raw', 4 << 20, [(0, b'x' * (4 << 20))])
        for closed in ([1], [2], [0, 1, 2]):
            for args in (['qemu-img', 'convert', '-p', '-f', 'raw', '-O',
                          'qcow2', 'raw', 'a'],
                         ['qemu-img', 'resize', '-f', 'raw', 'raw', '4M'],
                         ['qemu-img', 'amend', '-p', '-f', 'qcow2', '-o',
                          'compat=v3', 'a'],
                         ['qemu-img', 'compare', '-p', '-f', 'raw', '-F',
                          'qcow2', 'raw', 'a']):
                for table, cwd in ((OURS, self.ours), (THEIRS, self.theirs)):
                    code = 'import os, sys\n' + ''.join(
                        'os.close(%d)\n' % fd for fd in closed)
                    code += 'os.execv(sys.argv[1], sys.argv[2:])'
                    done = subprocess.run(
                        [sys.executable, '-c', code, table['qemu-img'], *args],
                        cwd=cwd, check=False, capture_output=True, timeout=60)
                    self.assertEqual(done.returncode, 0, (closed, args, done))
            self.same_bytes('raw')
            self.same_content('a', 'raw', 'qcow2', 'raw')
            self.is_sound('a')

    def test_lost_output_is_an_error(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '1M')
        for path, args in ((QCOW_IMG, ['info', 'a']),
                           (QCOW_IMG, ['map', '--output=json', 'a']),
                           (QCOW_IO, ['-c', 'help'])):
            with open('/dev/full', 'w') as full:
                done = subprocess.run([path] + args, cwd=self.ours,
                                      stdout=full, stderr=subprocess.PIPE,
                                      text=True, check=False)
            self.assertEqual(done.returncode, 1, args)
            self.assertIn('No space left', done.stderr)


if __name__ == '__main__':
    main()
