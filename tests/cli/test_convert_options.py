# SPDX-License-Identifier: MIT
"""convert with snapshots, dirty bitmaps, broken sources, shared ranges, reserved
space and machine-readable progress."""

import errno
import filecmp
import json
import os
import pty
import re
import subprocess
import threading

from cli_common import (CliTest, KIB, MIB, OURS, blocks_used, main, noise)


class ConvertOptions(CliTest):

    def same(self, *words):
        return self.same_all('qemu-img', 'convert', *words)

    # --- one snapshot

    def snapshots(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 's', '4M')
        for number, name in enumerate(('one', '1x', 'three')):
            self.qemu('qemu-io', '-c', 'write -P %d %dM 100k' % (number + 1,
                                                                number), 's')
            self.qemu('qemu-img', 'snapshot', '-c', name, 's')
        self.qemu('qemu-io', '-c', 'write -P 9 0 3M', 's')

    def test_one_snapshot(self):
        self.snapshots()
        for choice in ('one', '1', '2', '1x', '3', 'three', 'snapshot.id=1',
                       'snapshot.name=one', 'snapshot.name=1x',
                       'snapshot.id=1,snapshot.name=one'):
            self.same('-l', choice, 's', 'out')
            self.same_bytes('out')
            self.same('-l', choice, '-O', 'qcow2', 's', 'new')
            self.same_content('out', 'new', 'raw', 'qcow2')
        for choice in ('none', '4', 'snapshot.name=1', 'snapshot.id=one',
                       'snapshot.id=1,snapshot.name=1x', 'snapshot.foo=1',
                       'snapshot.name', 'snapshot.id', 'snapshot.',
                       'snapshot.name,snapshot.id=1', 'snapshot.name=',
                       'snapshot.id=1,foo=2'):
            self.same('-l', choice, 's', 'gone')
        self.same('-l', 'one', 's', 's', 'gone')
        self.same('-l', 'one', '-f', 'raw', 's', 'gone')
        self.same('-l', 'one', 'none', 'gone')
        ours = self.our('qemu-img', 'convert', '--snapshot', 'one', 's', 'l')
        self.assertEqual(ours.status, 0)

    # --- all snapshots

    def list_snapshots(self, name):
        return self.their('qemu-img', 'snapshot', '-l',
                          self.our_path(name)).out

    def test_all_snapshots(self):
        self.snapshots()
        for options in ('compat=1.1', 'compat=0.10', 'cluster_size=4k',
                        'extended_l2=on', 'cluster_size=2M'):
            for flags in ([], ['-c']):
                ours = self.our('qemu-img', 'convert', '--snapshots', *flags,
                                '-O', 'qcow2', '-o', options, 's', 'new')
                self.assertEqual((ours.status, ours.err), (0, ''), options)
                self.is_sound('new')
                self.same_content('s', 'new')
                self.assertEqual(self.list_snapshots('new'),
                                 self.list_snapshots('s'))
                for name in ('one', '1x', 'three'):
                    for image in ('s', 'new'):
                        self.their('qemu-img', 'convert', '-l', name,
                                   self.our_path(image), image + '.raw')
                    self.assertTrue(filecmp.cmp(self.their_path('s.raw'),
                                                self.their_path('new.raw'),
                                                False), (options, name))

    def test_snapshots_share_clusters(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 's', '16M')
        self.qemu('qemu-io', '-c', 'write -P 1 0 12M', 's')
        for number in range(4):
            self.qemu('qemu-img', 'snapshot', '-c', 'n%d' % number, 's')
            self.qemu('qemu-io', '-c', 'write -P 2 %dM 64k' % number, 's')
        self.our('qemu-img', 'convert', '--snapshots', '-O', 'qcow2', 's',
                 'new')
        self.is_sound('new')
        self.assertLess(os.path.getsize(self.our_path('new')),
                        os.path.getsize(self.our_path('s')) + MIB)

    def test_snapshots_of_other_sizes_with_vm_state(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 's', '4M')
        self.qemu('qemu-io', '-c', 'write -P 1 0 4M', 's')
        self.qemu('qemu-img', 'snapshot', '-c', 'small', 's')
        self.qemu('qemu-img', 'resize', '-q', 's', '9M')
        self.qemu('qemu-io', '-c', 'write -P 2 8M 1M', 's')
        self.qemu('qemu-img', 'snapshot', '-c', 'large', 's')
        self.qemu('qemu-img', 'resize', '-q', '--shrink', 's', '6M')
        ours = self.our('qemu-img', 'convert', '--snapshots', '-O', 'qcow2',
                        's', 'new')
        self.assertEqual((ours.status, ours.err), (0, ''))
        self.is_sound('new')
        self.same_content('s', 'new')
        self.assertEqual(self.list_snapshots('new'), self.list_snapshots('s'))

    def test_all_snapshots_is_refused(self):
        self.snapshots()
        for words in ('s new', '-O qcow s new', '-O qcow2 s s new',
                      '-l one -O qcow2 s new', '-n -O qcow2 s s',
                      '-O qcow2 -B s -F qcow2 s new'):
            ours = self.our('qemu-img', 'convert', '--snapshots',
                            *words.split())
            self.assertEqual(ours.status, 1, words)
            self.assertTrue(ours.err)
            self.assertFalse(os.path.exists(self.our_path('new')))

    # --- bitmaps

    def bitmaps(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'b', '8M')
        self.qemu('qemu-img', 'bitmap', '--add', '-g', '32k', 'b', 'b0')
        self.qemu('qemu-img', 'bitmap', '--add', 'b', 'b1')
        self.qemu('qemu-io', '-c', 'write -P 1 0 64k', '-c',
                  'write -P 2 3M 100k', 'b')
        self.qemu('qemu-img', 'bitmap', '--disable', 'b', 'b1')
        self.qemu('qemu-io', '-c', 'write -P 1 6M 64k', 'b')

    def facts(self, path):
        result = self.their('qemu-img', 'info', '--output=json', path)
        return json.loads(result.out)['format-specific']['data']['bitmaps']

    def test_bitmaps(self):
        self.bitmaps()
        for flags in ([], ['-c'], ['-o', 'cluster_size=4k'],
                      ['--skip-broken-bitmaps']):
            self.same('--bitmaps', *flags, '-O', 'qcow2', 'b', 'new')
            self.is_sound('new')
            self.same_content('b', 'new')
            self.assertEqual(self.facts(self.our_path('new')),
                             self.facts(self.their_path('new')))
        # What is dirty in ours and in theirs is the same.
        for name in ('b0', 'b1'):
            maps = []
            for path in (self.our_path('new'), self.their_path('new')):
                result = self.their(
                    'qemu-img', 'measure', '-O', 'qcow2', '--output=json',
                    path)
                maps.append(json.loads(result.out)['bitmaps'])
            self.assertEqual(maps[0], maps[1], name)

    def test_bitmaps_that_cannot_be_kept(self):
        self.bitmaps()
        for words in ('b new', '-O qcow2 b b new', '-O qcow b new',
                      '-O qcow2 -o compat=0.10 b new'):
            self.same('--bitmaps', *words.split())
        self.same('--skip-broken-bitmaps', 'b', 'new')
        self.file('raw', MIB)
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'v1', '1M')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'compat=0.10', 'v2', '1M')
        for name in ('raw', 'v1', 'v2'):
            self.same('--bitmaps', '-O', 'qcow2', name, 'new')
            self.assertFalse(os.path.exists(self.our_path('new')))

    def test_inconsistent_bitmaps(self):
        self.bitmaps()
        # The flag "in use" of the first entry of the directory.
        with open(self.our_path('b'), 'rb') as f:
            content = f.read()
        at = content.rindex(b'b0') - 24
        self.patch('b', at + 12, b'\0\0\0\1')
        ours, theirs = self.same_status('qemu-img', 'convert', '--bitmaps',
                                        '-O', 'qcow2', 'b', 'new')
        self.assertEqual(ours.status, 1)
        self.assertEqual(ours.err, theirs.err)
        self.same('--bitmaps', '--skip-broken-bitmaps', '-O', 'qcow2', 'b',
                  'new')
        self.assertEqual([b['name'] for b in self.facts(self.our_path('new'))],
                         ['b1'])

    # --- salvage

    def test_salvage(self):
        self.file('raw', 4 * MIB, [(0, b'words ' * 400000)])
        self.qemu('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2',
                  'raw', 'bad')
        entry = int.from_bytes(self.l2_entry('bad', 5), 'big')
        self.patch('bad', entry & 0xffffffffff, b'\xff' * 8)
        for fmt in ('raw', 'qcow2'):
            ours, _ = self.same_status('qemu-img', 'convert', '-O', fmt,
                                       'bad', 'gone')
            self.assertEqual(ours.status, 1)
            ours, theirs = self.same_status('qemu-img', 'convert', '--salvage',
                                            '-O', fmt, 'bad', 'out')
            self.assertEqual(ours.status, 0)
            self.assertEqual(sorted(ours.err.splitlines()),
                             sorted(theirs.err.splitlines()))
            self.same_content('out', self.their_path('out'))
        self.same('--salvage', '-q', 'bad', 'out')
        self.same('--salvage', '-C', 'bad', 'out')

    def l2_entry(self, name, index):
        with open(self.our_path(name), 'rb') as f:
            f.seek(40)
            f.seek(int.from_bytes(f.read(8), 'big'))
            l2 = int.from_bytes(f.read(8), 'big') & 0xfffffffffffe00
            f.seek(l2 + 8 * index)
            return f.read(8)

    # --- copying ranges

    def test_copy_range(self):
        self.file('src', 8 * MIB + 512, [(0, noise(1, MIB)),
                                         (3 * MIB + 512, noise(2, 100)),
                                         (5 * MIB, bytes(MIB)),
                                         (8 * MIB, noise(3, 512))])
        for flag in ('-C', '--copy-range-offloading'):
            for words in ('-O raw', '-O qcow2', '-O qcow2 -o cluster_size=4k',
                          '-O qcow2 -o extended_l2=on', '-O qcow2 -m 1',
                          '-O qcow2 -t writeback', '-O qcow',
                          '-O qcow2 -W -t none'):
                fmt = words.split()[1]
                ours = self.our('qemu-img', 'convert', flag, '-f', 'raw',
                                *words.split(), 'src', 'new')
                self.assertEqual((ours.status, ours.err), (0, ''), words)
                self.same_content('src', 'new', 'raw', fmt)
                if fmt == 'qcow2':
                    self.is_sound('new')
        self.our('qemu-img', 'convert', '-O', 'qcow2', '-f', 'raw', 'src',
                 'new')
        ours = self.our('qemu-img', 'convert', '-C', 'new', 'back')
        self.assertEqual(ours.status, 0)
        self.same_content('src', 'back', 'raw', 'raw')
        for words in ('-C -c src out', '-C -S 4k src out',
                      '-C --salvage src out', '-C -c', '-C -S 0 src src out'):
            self.same(*words.split())

    # --- space

    def test_space_for_compressed_clusters(self):
        """7.2 refuses this."""
        self.file('src', 8 * MIB, [(0, b'words ' * 1000000)])
        for mode in ('falloc', 'full'):
            ours = self.our('qemu-img', 'convert', '-c', '-f', 'raw', '-O',
                            'qcow2', '-o', 'preallocation=' + mode, 'src',
                            'new')
            self.assertEqual((ours.status, ours.err), (0, ''))
            self.same_content('src', 'new', 'raw', 'qcow2')
            self.is_sound('new')
            self.assertLess(blocks_used(self.our_path('new')), MIB)

    def test_space_that_is_not_there(self):
        """It is refused at once: others on the disk are not harmed."""
        self.file('src', 64 * KIB)
        with open(self.our_path('src'), 'r+b') as f:
            f.truncate(1 << 42)
        convert = ('convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o',
                   'preallocation=falloc', 'src', 'out')
        create = [('create', '-f', fmt, '-o', 'preallocation=falloc', 'out',
                   '4T') for fmt in ('raw', 'qcow2')]
        for command in (convert, *create):
            least = []
            started, ended = threading.Event(), threading.Event()
            watch = threading.Thread(target=self.watch_free_space,
                                     args=(least, started, ended))
            watch.start()
            started.wait()
            ours = self.our('qemu-img', *command)
            ended.set()
            watch.join()
            self.assertEqual(ours.status, 1, ours)
            self.assertIn('No space left on device', ours.err)
            self.assertFalse(os.path.exists(self.our_path('out')), command)
            self.assertGreater(least[-1], least[0] // 2, command)

    def watch_free_space(self, least, started, ended):
        """Keep what was free at first, and each time that less was."""
        while not ended.is_set():
            free = os.statvfs(self.ours).f_bavail
            if not least or free < least[-1]:
                least.append(free)
            started.set()

    # --- progress

    def test_progress_for_machines(self):
        self.file('src', 20 * MIB, [(0, noise(1, 12 * MIB))])
        ours = self.our('qemu-img', 'convert', '--progress=json', '-f', 'raw',
                        '-O', 'qcow2', 'src', 'new')
        self.assertEqual((ours.status, ours.err), (0, ''))
        reports = [json.loads(line) for line in ours.out.splitlines()]
        self.assertGreater(len(reports), 4)
        done = [report['done'] for report in reports]
        self.assertEqual(done, sorted(done))
        self.assertEqual(reports[-1]['finished'], True)
        self.assertEqual(reports[-1]['done'], reports[-1]['total'])
        self.assertGreaterEqual(reports[-1]['total'], 12 * MIB)
        for report in reports[:-1]:
            self.assertEqual(sorted(report), ['done', 'percent', 'total'])
        ours = self.our('qemu-img', 'convert', '--progress=xml', 'src', 'new')
        self.assertEqual(ours.status, 1)
        ours = self.our('qemu-img', 'convert', '--progress', '-f', 'raw',
                        'src', 'new')
        self.assertTrue(ours.out.endswith('    (100.00/100%)\r\n'))

    @staticmethod
    def all_of(controller):
        """What was written to a terminal that is closed now, in many pieces."""
        pieces = []
        try:
            while piece := os.read(controller, 65536):
                pieces.append(piece)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        return b''.join(pieces)

    def test_progress_on_a_terminal(self):
        self.file('src', MIB, [(0, noise(1, MIB))])
        controller, terminal = pty.openpty()
        done = subprocess.run(
            ['qemu-img', 'convert', '-p', '-f', 'raw', 'src', 'new'],
            executable=OURS['qemu-img'], cwd=self.ours, stdout=terminal,
            check=False)
        os.close(terminal)
        text = self.all_of(controller).decode()
        os.close(controller)
        self.assertEqual(done.returncode, 0)
        self.assertTrue(re.search(r'\[#{40}\] \(100\.00/100%\)\r', text),
                        repr(text))


if __name__ == '__main__':
    main()
