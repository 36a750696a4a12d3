# SPDX-License-Identifier: MIT
"""inspect shows what an image is and what is wrong with it, also if it cannot be
opened; opens and changes nothing else; and says whether a stranger's image is safe
to use."""

import json
import os

from cli_common import LUKS, MIB, SECRETS, main, noise
from damage import COPIED, FAR, DamageTest

EXIT_CORRUPT = 2
EXIT_UNSAFE = 3
FIRST_V1_ID = 100


class Inspect(DamageTest):

    def inspect(self, *args, status=0):
        ours = self.our('qemu-img', 'inspect', '--output=json', *args)
        self.assertEqual(ours.status, status, ours)
        self.assertEqual(ours.err, '')
        people = self.our('qemu-img', 'inspect', *args)
        self.assertEqual(people.status, status)
        self.assertTrue(people.out.isprintable() or
                        people.out.replace('\n', '').isprintable())
        return json.loads(ours.out)

    def ids(self, found):
        return [finding['id'] for finding in found['findings']]

    def test_sound_images(self):
        self.make(snapshots=2)
        found = self.inspect('a')
        self.assertEqual(found['format'], 'qcow2')
        self.assertEqual(found['virtual-size'], 10 * MIB)
        self.assertEqual(found['snapshots'], 2)
        self.assertEqual(found['findings'], [])
        self.assertTrue(found['can-open'] and found['complete'])
        self.make(bitmap=True)
        self.assertEqual(self.inspect('a')['bitmaps'], 1)
        self.assertTrue(self.inspect('--untrusted', 'a')['safe'])

    def test_raw_files(self):
        self.file('raw', MIB, [(0, b'anything')])
        found = self.inspect('--untrusted', 'raw')
        self.assertEqual((found['format'], found['safe']), ('raw', True))

    def test_findings_are_those_of_check(self):
        for damage in (lambda: self.put(self.count(8), 0, 2),
                       lambda: self.flip(self.l2(16), COPIED),
                       lambda: self.flip(self.l1(), 512),
                       lambda: self.put(self.reftable(), FAR)):
            self.make()
            damage()
            found = self.inspect('a', status=EXIT_CORRUPT)
            check = self.our('qemu-img', 'check', 'a')
            self.assertEqual([f['message'] for f in found['findings']],
                             check.err.splitlines())

    def test_leaks_are_no_corruption(self):
        self.make()
        self.put(self.count(8), 3, 2)
        self.flip(self.l2(7 + 12), COPIED)
        found = self.inspect('a')
        self.assertEqual(found['leaks'], 1)

    def test_images_that_cannot_be_opened(self):
        for at, width, value in ((20, 4, 40), (96, 4, 9), (40, 8, 77),
                                 (36, 4, 0xffffffff), (100, 4, 3),
                                 (40, 8, FAR)):
            self.make()
            self.put(at, value, width)
            found = self.inspect('a', status=EXIT_CORRUPT)
            self.assertFalse(found['can-open'])
            self.assertNotIn(0, self.ids(found))
            self.assertEqual(self.our('qemu-img', 'info', 'a').status, 1)

    def test_short_files(self):
        self.make()
        for size in (100, 60, 30, 8):
            os.truncate(self.our_path('a'), size)
            found = self.inspect('a', status=EXIT_CORRUPT)
            self.assertFalse(found['can-open'])
        os.truncate(self.our_path('a'), 0)
        self.assertEqual(self.inspect('a')['format'], 'raw')

    def original(self):
        with open(self.our_path('a'), 'rb') as f:
            return f.read()

    def outcome(self, data):
        """Whatever a file holds, it is told, soon and without a crash."""
        with open(self.our_path('cut'), 'wb') as f:
            f.write(data)
        ours = self.our('qemu-img', 'inspect', '--output=json', 'cut')
        self.assertIn(ours.status, (0, EXIT_CORRUPT), ours)
        self.assertEqual(ours.err, '')
        return json.loads(ours.out)

    def test_files_cut_anywhere_and_garbage(self):
        whole = []
        self.make(snapshots=1, bitmap=True)
        whole.append(self.original())
        self.make('-o', 'compat=0.10')
        whole.append(self.original())
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'a', '10M')
        self.qemu('qemu-io', '-c', 'write 1M 64k', 'a')
        whole.append(self.original())
        self.our_image('a', 'qemu-img', 'create', *SECRETS[:2], '-f', 'qcow2',
                       '-o', LUKS, 'a', '1M')
        whole.append(self.original())
        for data in whole:
            for size in (0, 1, 4, 47, 48, 72, 103, 104, 112, 200, 4096, 65536,
                         65537, 3 * 65536 + 8, len(data) - 1):
                self.outcome(data[:size])
            for seed in range(6):
                self.outcome(data[:72] + noise(seed, len(data) // 8))
                self.outcome(data[:4] + noise(seed, 100000))
        self.assertEqual(self.outcome(b'')['format'], 'raw')
        self.assertEqual(self.outcome(noise(7, 100000))['format'], 'raw')

    def test_what_is_no_regular_file(self):
        os.mkfifo(self.our_path('fifo'))
        self.mkdir('directory')
        for name in ('fifo', 'directory', '/dev/null', '/dev/zero',
                     '/dev/tty', 'nothing'):
            ours = self.our('qemu-img', 'inspect', name)
            self.assertEqual((ours.status, ours.out), (1, ''), name)
            self.assertIn(name, ours.err)

    def test_unknown_features(self):
        self.make()
        self.put(72, 1 << 40)
        found = self.inspect('a')
        self.assertEqual(found['unknown-features'], 1 << 40)
        self.assertFalse(found['can-open'])

    def test_version_1(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'a', '1M')
        self.qemu('qemu-io', '-f', 'qcow', '-c', 'write 0 64k', 'a')
        self.assertEqual(self.inspect('a')['findings'], [])
        at = self.get(self.get(40))
        self.put(at, self.get(at + 8))
        found = self.inspect('a', status=EXIT_CORRUPT)
        self.assertGreaterEqual(self.ids(found)[0], FIRST_V1_ID)
        self.assertEqual(self.our('qemu-img', 'check', 'a').status, 63)

    # --- verdicts

    def unsafe(self, *reasons):
        found = self.inspect('--untrusted', 'a', status=EXIT_UNSAFE)
        self.assertEqual(found['reasons'], list(reasons))
        whole = self.our('qemu-img', '--untrusted', 'inspect', 'a')
        self.assertEqual(whole.status, EXIT_UNSAFE)
        self.assertIn('safe to use: no', whole.out)

    def test_names_of_other_files(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b',
                  '/etc/shadow', '-F', 'raw', 'a', '1M')
        self.unsafe('backing-file')
        self.assertEqual(self.inspect('a')['backing-filename'], '/etc/shadow')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                  'data_file=d', 'a', '1M')
        os.unlink(self.our_path('d'))
        self.unsafe('data-file')

    def test_other_reasons(self):
        self.make()
        self.put(72, 1 << 9)
        self.unsafe('unknown-features', 'cannot-open', 'incomplete')
        self.make()
        self.put(48, FAR)
        self.unsafe('cannot-open', 'incomplete', 'corrupt')
        self.make()
        self.put(72, 2)
        self.unsafe('corrupt')

    def test_what_else_a_file_looks_like(self):
        for at, mark in ((0x8001, b'CD001'), (510, b'\x55\xaa'),
                         (512, b'EFI PART')):
            self.make()
            self.patch('a', at, mark)
            self.unsafe('polyglot')

    def test_names_are_escaped(self):
        name = b'\x1b[2J"\\\xff\n'
        self.make()
        self.put(8, 4096)
        self.put(16, len(name), 4)
        self.patch('a', 4096, name)
        found = self.inspect('a')
        self.assertIn('\x1b[2J"\\', found['backing-filename'])

    # --- usage

    def test_nothing_is_changed_or_locked(self):
        self.make()
        self.put(self.count(8), 0, 2)
        with open(self.our_path('a'), 'rb') as f:
            before = f.read()
        self.inspect('a', status=EXIT_CORRUPT)
        with open(self.our_path('a'), 'rb') as f:
            self.assertEqual(f.read(), before)

    def test_usage(self):
        for args in ([], ['a', 'b'], ['--output=xml', 'a'], ['none']):
            ours = self.our('qemu-img', 'inspect', *args)
            self.assertEqual((ours.status, ours.out), (1, ''))
            self.assertNotEqual(ours.err, '')


if __name__ == '__main__':
    main()
