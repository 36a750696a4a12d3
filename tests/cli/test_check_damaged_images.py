# SPDX-License-Identifier: MIT
"""check says the same as qemu-img about damaged images: every line, every
counter, the exit code.

Where it does not, on purpose:
- a refcount block at an unaligned offset is corruption, not an internal error
  for each cluster that it would describe;
- damaged snapshot tables and bitmaps are corruption and do not end the check,
  or keep the image from being opened.
"""

import json

from cli_common import main
from damage import CLUSTER, COMPRESSED, COPIED, FAR, DamageTest

EXIT_CORRUPT = 2


class CheckDamagedImages(DamageTest):

    def same(self, repairs=()):
        """Finding is the same, and so is repairing as far as asked for."""
        status = self.same_all('qemu-img', 'check', 'a')[0].status
        self.same_all('qemu-img', 'check', '-q', 'a')
        self.same_all('qemu-img', 'check', '--output=json', 'a')
        for repair in repairs:
            self.same_all('qemu-img', 'check', '-r', repair, 'a')
        return status

    def differs(self, corruptions):
        """Corruption where qemu-img gives up."""
        ours = self.our('qemu-img', 'check', '--output=json', 'a')
        self.assertEqual(ours.status, EXIT_CORRUPT)
        self.assertEqual(json.loads(ours.out)['corruptions'], corruptions)
        self.assertEqual(self.their('qemu-img', 'check', 'a').status, 1)

    # --- counts

    def test_counts(self):
        for value in (0, 2, 5, 65535):
            self.make()
            self.put(self.count(8), value, 2)
            self.same(['leaks'])
        self.make()
        self.put(self.count(10), 5, 2)
        self.same(['all'])

    def test_counts_of_zero_and_leaks(self):
        self.make()
        self.put(self.count(20), 0, 2)
        self.put(self.count(10), 5, 2)
        self.same(['leaks'])

    def test_a_leak_beyond_the_end_is_none(self):
        self.make()
        self.put(self.count(100), 3, 2)
        self.assertEqual(self.same(['all']), 0)

    def test_shared_clusters(self):
        self.make()
        self.put(self.l2(16), self.get(self.l2(17)))
        self.assertEqual(self.same(['leaks', 'all']), EXIT_CORRUPT)

    def test_snapshots(self):
        self.make(snapshots=2)
        self.assertEqual(self.same(['all']), 0)
        for cluster, count in ((8, 1), (30, 7), (4, 2), (38, 0)):
            self.make(snapshots=2)
            self.put(self.count(cluster), count, 2)
            self.same(['leaks'])

    def test_refcount_table(self):
        self.make()
        self.flip(self.reftable(), 1)
        self.assertEqual(self.same(['leaks']), EXIT_CORRUPT)
        for offset in (FAR, 0):
            self.make()
            self.put(self.reftable(), offset)
            self.same(['leaks'])
        self.make()
        self.put(self.reftable() + 8, FAR)
        self.same(['leaks'])
        for index in (0, 1):
            self.make()
            self.put(self.reftable() + 8 * index, self.l2())
            self.same(['leaks'])

    def test_refcount_table_that_is_not_there(self):
        self.make()
        self.put(56, 0, 4)
        self.same(['leaks'])
        self.make()
        self.put(48, FAR)
        self.same(['leaks'])

    def test_unaligned_refcount_block(self):
        self.make()
        self.flip(self.reftable(), 512)
        # The entry, 36 clusters without counts, and the flags of 33 entries.
        self.differs(1 + 36 + 33)

    # --- mapping

    def test_flags(self):
        for at in ('l1', 'l2'):
            self.make()
            self.flip(self.l1() if at == 'l1' else self.l2(16), COPIED)
            self.assertEqual(self.same(['leaks']), EXIT_CORRUPT)
            self.make()
            self.flip(self.l1() if at == 'l1' else self.l2(16), COPIED)
            self.same(['all'])

    def test_reserved_bits(self):
        for at in ('l1', 'l2'):
            self.make()
            self.flip(self.l1() if at == 'l1' else self.l2(16), 1 << 60)
            self.assertEqual(self.same(['leaks', 'all']), EXIT_CORRUPT)

    def test_unaligned_offsets(self):
        self.make()
        self.flip(self.l2(16), 512)
        self.assertEqual(self.same(['leaks', 'all']), EXIT_CORRUPT)
        self.make()
        self.flip(self.l1(), 512)
        self.assertEqual(self.same(), EXIT_CORRUPT)

    def test_unaligned_zeros(self):
        self.make()
        self.flip(self.l2(16), 513)
        self.assertEqual(self.same(['leaks', 'all']), EXIT_CORRUPT)

    def test_beyond_the_end(self):
        self.make()
        self.put(self.l2(16), COPIED | FAR)
        self.assertEqual(self.same(['leaks', 'all']), EXIT_CORRUPT)
        self.make()
        self.put(self.l1(), COPIED | FAR)
        self.assertEqual(self.same(['leaks', 'all']), EXIT_CORRUPT)

    def test_compressed(self):
        self.make()
        self.put(self.l2(16), COPIED | COMPRESSED | 5 * CLUSTER)
        self.assertEqual(self.same(['leaks', 'all']), EXIT_CORRUPT)
        self.make()
        self.put(self.l2(16), COMPRESSED | 0xdcdcdcdcdcdcd)
        self.same()

    def test_mapping_of_snapshots(self):
        """An L2 table of several snapshots counts for each of them."""
        self.make()
        for name in ('one', 'two', 'three'):
            self.qemu('qemu-img', 'snapshot', '-c', name, 'a')
        self.share('a')
        self.flip(self.l2(16), 1 << 60)
        ours = self.our('qemu-img', 'check', '--output=json', 'a')
        theirs = self.their('qemu-img', 'check', '--output=json', 'a')
        self.assertEqual(json.loads(ours.out)['corruptions'],
                         json.loads(theirs.out)['corruptions'])
        self.make(snapshots=1)
        table = self.get(self.snapshot_table())
        self.flip(table, 1 << 60)
        self.assertEqual(self.same(['all']), EXIT_CORRUPT)

    # --- snapshots and bitmaps

    def test_snapshot_table(self):
        self.make(snapshots=2)
        self.put(60, 3, 4)
        self.assertEqual(self.same(['all']), EXIT_CORRUPT)
        for at, width, value in ((0, 8, FAR), (8, 4, 0x7fffffff), (0, 8, 512)):
            self.make(snapshots=2)
            self.put(self.snapshot_table() + at, value, width)
            self.assertEqual(self.same(), EXIT_CORRUPT)
        self.make(snapshots=2)
        self.put(64, FAR)
        self.assertEqual(self.same(), EXIT_CORRUPT)

    def test_fewer_snapshots_than_there_are(self):
        self.make(snapshots=2)
        self.put(60, 1, 4)
        self.same(['leaks'])

    def test_too_much_extra_data(self):
        self.make(snapshots=2)
        self.put(self.snapshot_table() + 36, 2000, 4)
        ours = self.our('qemu-img', 'check', 'a')
        self.assertEqual(ours.status, EXIT_CORRUPT)
        self.assertIn('extra data', ours.err)
        self.assertEqual(self.their('qemu-img', 'check', 'a').status, 1)

    def test_bitmaps(self):
        self.make(bitmap=True)
        self.assertEqual(self.same(['all']), 0)
        self.make(bitmap=True)
        self.put(self.directory() + 12, 3, 4)
        self.assertEqual(self.same(['all']), 0)

    def test_broken_bitmaps(self):
        for at, width, value in ((16, 1, 2), (17, 1, 40), (12, 4, 0x12),
                                 (8, 4, 0), (0, 8, 512)):
            self.make(bitmap=True)
            self.put(self.directory() + at, value, width)
            self.differs(1)
        self.make(bitmap=True)
        self.flip(self.bitmap_table(), 2)
        self.differs(1)
        self.make(bitmap=True)
        self.put(self.bitmaps(), 2, 4)
        self.differs(1)

    # --- version 1

    def test_version_1_has_nothing_to_check(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'v1', '1M')
        ours, _ = self.same_all('qemu-img', 'check', 'v1')
        self.assertEqual(ours.status, 63)


if __name__ == '__main__':
    main()
