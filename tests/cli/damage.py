# SPDX-License-Identifier: MIT
"""Images that are damaged in known places, for the tests of check, repair,
inspect and dehydrate."""

from cli_common import CliTest

CLUSTER = 65536
COPIED = 1 << 63
COMPRESSED = 1 << 62
FAR = 1 << 30
OFFSET = 0x00fffffffffffe00

BITMAPS = 0x23852875


class DamageTest(CliTest):
    """Image 'a', the same in both directories, and changes to both."""

    def make(self, *options, snapshots=0, bitmap=False):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', *options, 'a',
                  '10M')
        self.qemu('qemu-io', '-c', 'write 1M 2M', '-c', 'write -z 4M 1M', 'a')
        for i in range(snapshots):
            self.qemu('qemu-img', 'snapshot', '-c', 's%d' % i, 'a')
            self.qemu('qemu-io', '-c', 'write %dk 64k' % (1024 + 64 * i), 'a')
        if bitmap:
            self.qemu('qemu-img', 'bitmap', '--add', 'a', 'bm0')
            self.qemu('qemu-io', '-c', 'write 2M 128k', 'a')
        self.share('a')

    def get(self, at, width=8):
        with open(self.our_path('a'), 'rb') as f:
            f.seek(at)
            return int.from_bytes(f.read(width), 'big')

    def put(self, at, value, width=8):
        self.patch('a', at, value.to_bytes(width, 'big'))

    def flip(self, at, bits):
        self.put(at, self.get(at) ^ bits)

    # --- places

    def l1(self):
        return self.get(40)

    def l2(self, guest_cluster=0):
        return (self.get(self.l1()) & OFFSET) + 8 * guest_cluster

    def reftable(self):
        return self.get(48)

    def count(self, cluster):
        return self.get(self.reftable()) + 2 * cluster

    def snapshot_table(self):
        return self.get(64)

    def bitmaps(self):
        at = self.get(100, 4)
        while self.get(at, 4) != BITMAPS:
            at += 8 + (self.get(at + 4, 4) + 7) // 8 * 8
        return at + 8

    def directory(self):
        return self.get(self.bitmaps() + 16)

    def bitmap_table(self):
        return self.get(self.directory())
