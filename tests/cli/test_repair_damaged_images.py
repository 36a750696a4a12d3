# SPDX-License-Identifier: MIT
"""A repaired image is one that qemu-img calls clean, holds the same disk and the
same snapshots, and is not changed by a second repair.  A plan says what a repair
does and changes nothing."""

import json
import re

from cli_common import main
from damage import CLUSTER, COPIED, FAR, DamageTest


def whole(test):
    """Damage of which nothing is left, as (name, options, function)."""
    return [
        ('count of zero', {}, lambda: test.put(test.count(8), 0, 2)),
        ('counts of zero', {}, lambda: test.put(test.count(0), 0)),
        ('high count', {}, lambda: test.put(test.count(8), 9, 2)),
        ('low counts', {'snapshots': 2},
         lambda: test.put(test.count(8), 1, 2)),
        ('no block', {}, lambda: test.put(test.reftable(), 0)),
        ('reserved bits of the table', {},
         lambda: test.flip(test.reftable(), 1)),
        ('unaligned block', {'snapshots': 1},
         lambda: test.flip(test.reftable(), 512)),
        ('block beyond the end', {}, lambda: test.put(test.reftable(), FAR)),
        ('another block beyond the end', {},
         lambda: test.put(test.reftable() + 8, FAR)),
        ('block is the L2 table', {},
         lambda: test.put(test.reftable(), test.l2())),
        ('another block is data', {},
         lambda: test.put(test.reftable() + 8, 10 * CLUSTER)),
        ('no table', {}, lambda: test.put(56, 0, 4)),
        ('table beyond the end', {}, lambda: test.put(48, FAR)),
        ('table is data', {'snapshots': 1},
         lambda: test.put(48, 10 * CLUSTER)),
        ('flags', {}, lambda: test.flip(test.l2(16), COPIED)),
        ('two owners', {},
         lambda: test.put(test.l2(16), test.get(test.l2(17)))),
        ('unaligned zeros', {}, lambda: test.flip(test.l2(16), 513)),
        ('empty snapshot', {'snapshots': 2}, lambda: test.put(60, 3, 4)),
        ('bitmap type', {'bitmap': True},
         lambda: test.put(test.directory() + 16, 2, 1)),
        ('bitmap table', {'bitmap': True},
         lambda: test.flip(test.bitmap_table(), 2)),
        ('bitmap directory', {'bitmap': True},
         lambda: test.put(test.directory() + 18, 2000, 2)),
        ('bitmap extension', {'bitmap': True},
         lambda: test.put(test.bitmaps(), 0, 4)),
    ]


class RepairDamagedImages(DamageTest):

    def convert(self, name, *args):
        """The disk, or a snapshot, as we read it; None if that cannot be."""
        ours = self.our('qemu-img', 'convert', *args, 'a', name)
        return name if ours.status == 0 else None

    def content(self):
        with open(self.our_path('a'), 'rb') as f:
            return f.read()

    def plan(self, mode='all'):
        """The text of a plan, which changes nothing."""
        before = self.content()
        ours = self.our('qemu-img', 'check', '-r', mode, '--plan', 'a')
        self.assertEqual(self.content(), before)
        self.assertIn('Nothing has been changed.', ours.out)
        self.assertIn(ours.status, (2, 3))
        return ours

    def repaired(self, mode='all'):
        ours = self.our('qemu-img', 'check', '-r', mode, '--output=json', 'a')
        self.assertEqual(ours.status, 0, ours)
        return ours, json.loads(ours.out)

    def test_nothing_is_left(self):
        for name, options, damage in whole(self):
            with self.subTest(name):
                self.make(**options)
                damage()
                disk = self.convert('before')
                plan = self.plan()
                ours, result = self.repaired()
                self.assertNotIn('corruptions', result)
                self.assertNotIn('leaks', result)
                self.is_sound('a')
                planned = re.findall(r'(\d+) (leaked|corruptions)', plan.out)
                self.assertEqual(int(planned[0][0]),
                                 result.get('leaks-fixed', 0))
                self.assertEqual(int(planned[1][0]),
                                 result.get('corruptions-fixed', 0))
                self.assertEqual([int(n) for n, _ in planned[2:]], [0, 0])
                # The second check of a repair has nothing to add.
                self.assertEqual(plan.err, ours.err)
                if disk is not None:
                    self.same_content('a', 'before', 'qcow2', 'raw')

    def test_a_second_repair_changes_nothing(self):
        for name, options, damage in whole(self):
            with self.subTest(name):
                self.make(**options)
                damage()
                self.repaired()
                before = self.content()
                ours = self.our('qemu-img', 'check', '-r', 'all', 'a')
                self.assertEqual((ours.status, ours.err), (0, ''))
                self.assertEqual(self.content(), before)

    def test_snapshots_stay(self):
        for damage in (lambda: self.put(56, 0, 4), lambda: self.put(60, 3, 4),
                       lambda: self.flip(self.reftable(), 1)):
            self.make(snapshots=2)
            self.qemu('qemu-img', 'convert', '-l', 's0', 'a', 's0')
            self.qemu('qemu-img', 'convert', '-l', 's1', 'a', 's1')
            damage()
            self.repaired()
            for name in ('s0', 's1'):
                self.share('a')
                self.their('qemu-img', 'convert', '-l', name, 'a', 'after')
                with open(self.their_path('after'), 'rb') as f:
                    after = f.read()
                with open(self.our_path(name), 'rb') as f:
                    self.assertEqual(f.read(), after)

    def test_other_bitmaps_stay(self):
        self.make(bitmap=True)
        self.qemu('qemu-img', 'bitmap', '--add', 'a', 'bm1')
        self.share('a')
        self.put(self.directory() + 17, 40, 1)
        self.repaired()
        self.share('a')
        theirs = self.their('qemu-img', 'info', '--output=json', 'a')
        info = json.loads(theirs.out)['format-specific']['data']
        self.assertEqual([b['name'] for b in info['bitmaps']], ['bm1'])

    def test_leaks_alone(self):
        """Counts that are too low are for the other mode."""
        self.make()
        self.put(self.count(10), 5, 2)
        _, result = self.repaired('leaks')
        self.assertEqual(result['leaks-fixed'], 1)
        self.is_sound('a')
        for damage in (lambda: self.put(self.count(8), 0, 2),
                       lambda: self.flip(self.reftable(), 1)):
            self.make()
            self.put(self.count(10), 5, 2)
            damage()
            before = self.content()
            ours = self.our('qemu-img', 'check', '-r', 'leaks', 'a')
            self.assertEqual(ours.status, 1)
            self.assertIn('need to rebuild refcount structures', ours.err)
            self.assertEqual(self.content(), before)

    def test_nothing_is_freed_that_a_lost_snapshot_may_use(self):
        self.make(snapshots=2)
        self.put(self.snapshot_table(), 512)
        for mode in ('leaks', 'all'):
            ours = self.our('qemu-img', 'check', '-r', mode, 'a')
            self.assertEqual(ours.status, 2)
            self.assertIn('leaked clusters were found', ours.out)
            self.assertNotIn('Repairing cluster', ours.err)

    def test_marks_are_cleared(self):
        self.make()
        self.put(72, 3)
        self.put(self.count(8), 0, 2)
        self.assertEqual(self.our('qemu-io', '-c', 'write 0 512',
                                  'a').status, 1)
        self.repaired()
        self.assertEqual(self.get(72), 0)
        self.is_sound('a')

    def test_a_plan_for_programs(self):
        self.make()
        self.put(self.count(8), 0, 2)
        ours = self.our('qemu-img', 'check', '-r', 'all', '--plan',
                        '--output=json', 'a')
        self.assertEqual(json.loads(ours.out)['corruptions-fixed'], 1)

    def test_a_plan_needs_a_repair(self):
        self.make()
        ours = self.our('qemu-img', 'check', '--plan', 'a')
        self.assertEqual(ours.status, 1)
        self.assertIn('--plan needs -r', ours.err)
        ours = self.our('qemu-img', 'check', '-q', '--plan', '-r', 'all', 'a')
        self.assertEqual((ours.status, ours.out, ours.err), (0, '', ''))

    def test_far_offsets(self):
        """Clusters that lie far apart, in a file that is nearly all hole."""
        self.make()
        far = 1 << 43
        for i in range(16, 20):
            self.put(self.l2(i), COPIED | (far + i * (1 << 36)))
        for directory in (self.ours, self.theirs):
            with open(directory + '/a', 'r+b') as f:
                f.truncate(far + 20 * (1 << 36) + CLUSTER)
        ours, result = self.repaired()
        self.assertEqual(ours.status, 0)
        self.assertEqual(result['leaks-fixed'], 4)
        self.is_sound('a')


if __name__ == '__main__':
    main()
