# SPDX-License-Identifier: MIT
"""Images made to cost as much as they can: each command ends by itself within 512 MiB
of memory and 10 s, with an exit code; and chains that lead back are refused."""

import os
import struct
import subprocess
import zlib

import forge
from ceilings import MIB, QCOW_IMG, READING, CeilingTest, main

GIB = 1 << 30
COPIED = 1 << 63
COMPRESSED = 1 << 62

EXT_BITMAPS = 0x23852875

# What goes through the whole disk takes time by the data that is mapped, also where
# many clusters lead to the same data: who takes images from strangers sets a limit
# for that (inspect --max-size).  Tables that repeat or lie in holes cost nothing.
WHOLE_DISK = ('convert', 'compare', 'map', 'measure', 'dehydrate')
WHOLE = [c for c in READING if c[0] in WHOLE_DISK]
METADATA = [c for c in READING if c[0] not in WHOLE_DISK and
            '--output=json' not in c[1:2]]

# Without a long run, these: the others do no more with a file of this kind.
if os.environ.get('QCF_LONG') != '1':
    SOME = [c for c in READING if c[:1] in (['info'], ['convert'], ['map']) and
            '--output=json' not in c or c == ['check', 'A'] or
            '--untrusted' in c]
    FEW = [['info', 'A'], ['inspect', '--untrusted', '--output=json', 'A']]
else:
    SOME = READING
    FEW = METADATA


class Sparse:
    """A file in pieces: offset -> bytes."""

    def __init__(self, bits=16, l1_size=1, size=0):
        """The disk is as large as the L1 table can map."""
        self.bits = bits
        self.cluster = 1 << bits
        self.size = size or l1_size * (self.cluster // 8) * self.cluster
        self.l1_size = l1_size
        self.pieces = {}
        self.fields = {}
        self.extensions = b''
        self.length = 0
        # Header, refcount table, refcount block, L1 table from cluster 3 on.
        self.reftable_clusters = 1
        self.l1 = 3 * self.cluster

    def put(self, offset, data):
        self.pieces[offset] = data

    def header(self):
        said = dict(
            incompatible=0, reftable=self.cluster, snapshots=0,
            snapshots_offset=0, order=4, autoclear=0)
        said.update(self.fields)
        header = forge.MAGIC + struct.pack(
            '>IQIIQIIQQIIQ', 3, 0, 0, self.bits, self.size, 0, self.l1_size,
            self.l1, said['reftable'], self.reftable_clusters,
            said['snapshots'], said['snapshots_offset'])
        header += struct.pack('>QQQII', said['incompatible'], 0,
                              said['autoclear'], said['order'], 112)
        return header + struct.pack('>B7x', said.get('compression', 0)) + \
            self.extensions

    def write(self, path):
        if self.cluster not in self.pieces:
            self.put(self.cluster, struct.pack('>Q', 2 * self.cluster))
        if 2 * self.cluster not in self.pieces:
            self.put(2 * self.cluster, struct.pack('>H', 1) *
                     min(4096, self.cluster // 2))
        with open(path, 'wb') as file:
            file.write(self.header())
            for offset, data in self.pieces.items():
                file.seek(offset)
                file.write(data)
            end = max(file.seek(0, os.SEEK_END), self.length,
                      self.l1 + 8 * self.l1_size)
            file.truncate(-(-end // self.cluster) * self.cluster)


def words(values):
    values = list(values)
    return struct.pack('>%dQ' % len(values), *values)


def descriptor(offset, sectors, bits):
    """A compressed cluster: the count of sectors is above the offset."""
    return COMPRESSED | sectors << (62 - (bits - 8)) | offset


# --- tables

def one_l2_for_all():
    """An L1 table of 32 MiB, and one L2 table that each entry names."""
    s = Sparse(bits=9, l1_size=4 << 20)
    l2 = s.l1 + 32 * MIB
    s.put(s.l1, words([l2 | COPIED]) * s.l1_size)
    s.put(l2, words([(l2 + 512) | COPIED]) * 64)
    s.put(l2 + 512, bytes(512))
    return s


def l2_tables_in_a_hole():
    """As many L2 tables as there can be, all in holes of the file."""
    s = Sparse(bits=16, l1_size=4 << 20)
    first = s.l1 + 32 * MIB
    s.put(s.l1, words((first + i * 65536) | COPIED
                      for i in range(s.l1_size)))
    s.length = first + s.l1_size * 65536
    return s


def l2_tables_here_and_there():
    """The same, not one behind the other."""
    s = Sparse(bits=16, l1_size=1 << 20)
    first = s.l1 + 32 * MIB
    s.put(s.l1, words((first + (i * 0x9E375 & 0xfffff) * 131072) | COPIED
                      for i in range(s.l1_size)))
    s.length = first + s.l1_size * 131072
    return s


def l2_tables_of_2_mib():
    """Larger ones: 2 TiB of holes to be looked through."""
    s = Sparse(bits=21, l1_size=1 << 20)
    s.put(s.l1, words(((8 + i) << 21) | COPIED for i in range(s.l1_size)))
    s.length = (8 + s.l1_size) << 21
    return s


def l1_is_its_own_l2():
    s = Sparse(bits=16, l1_size=8192)
    s.put(s.l1, words([s.l1 | COPIED]) * 8192)
    return s


def refcount_blocks_in_a_hole():
    """A refcount table of 8 MiB, each block of it somewhere else."""
    s = Sparse()
    s.reftable_clusters = 128
    s.fields['reftable'] = 16 * s.cluster
    s.put(16 * s.cluster, words((1024 + i) * s.cluster
                                for i in range(1 << 20)))
    s.length = (1024 + (1 << 20)) * s.cluster
    return s


def one_refcount_block_for_all():
    s = Sparse()
    s.reftable_clusters = 128
    s.fields['reftable'] = 16 * s.cluster
    s.put(16 * s.cluster, words([2 * s.cluster]) * (1 << 20))
    return s


def refcounts_everywhere():
    """All counts of the largest refcount table are 1, and nothing is used."""
    s = Sparse(bits=9)
    s.reftable_clusters = 16384
    s.fields['reftable'] = MIB
    s.put(MIB, words([2 * s.cluster]) * (1 << 20))
    s.put(2 * s.cluster, struct.pack('>H', 1) * 256)
    s.length = 1 << 37
    return s


def counts_of_one_bit():
    """A refcount block of 2 MiB counts 16 million clusters of 2 MiB."""
    s = Sparse(bits=21)
    s.fields['order'] = 0
    s.put(2 * s.cluster, b'\xff' * s.cluster)
    s.length = 1 << 43
    return s


def as_long_as_a_file_can_be():
    s = Sparse()
    s.length = (1 << 63) - s.cluster
    return s


# --- snapshots

def snapshot(l1, l1_size, number):
    name = b'%d' % number
    return forge.padded(struct.pack(
        '>QIHHIIQIIQQ', l1, l1_size, len(name), len(name), 0, 0, 0, 0, 16, 0,
        GIB) + name + name)


def many_snapshots(count, l1_size=1):
    s = Sparse()
    s.put(s.l1, words([4 * s.cluster]))
    s.put(4 * s.cluster, words([5 * s.cluster]) * 8192)
    s.put(5 * s.cluster, b'x')
    table = b''.join(snapshot(s.l1, l1_size, i) for i in range(count))
    s.put(MIB, table)
    s.fields.update(snapshots=count, snapshots_offset=MIB)
    return s


def snapshots_with_the_largest_tables():
    s = many_snapshots(4096, 4 << 20)
    s.length = 64 * MIB
    return s


def more_snapshots_than_allowed():
    s = many_snapshots(1)
    s.fields['snapshots'] = 65537
    return s


def snapshots_without_end():
    s = many_snapshots(1)
    s.fields['snapshots'] = 0xffffffff
    return s


# --- bitmaps

def many_bitmaps(entries, granularity=16, bits=16, l1_size=1):
    s = Sparse(bits=bits, l1_size=l1_size)
    count = 65535
    table = 64 * MIB
    directory = b''.join(
        forge.padded(struct.pack('>QIIBBHI', table, entries, 0, 1,
                                 granularity, 5, 0) + b'%05d' % i)
        for i in range(count))
    s.put(16 * MIB, directory)
    s.length = table + entries * 8
    s.extensions = forge.extension(EXT_BITMAPS, struct.pack(
        '>IIQQ', count, 0, len(directory), 16 * MIB)) + \
        forge.extension(0, b'')
    s.fields['autoclear'] = 1
    return s


def bitmaps_with_one_table():
    return many_bitmaps(1)


def bitmaps_with_long_tables():
    """Each has a table of 1 MiB, which is right for the disk."""
    return many_bitmaps(131072, granularity=9, bits=9, l1_size=4 << 20)


def bitmaps_with_impossible_tables():
    return many_bitmaps(1 << 27, granularity=9)


def bitmap_names_all_the_same():
    s = many_bitmaps(1)
    at = 16 * MIB
    entry = s.pieces[at][:32]
    s.put(at, entry * 65535)
    return s


# --- header

def extensions_without_content():
    s = Sparse(bits=21)
    s.extensions = struct.pack('>II', 0x12345678, 0) * ((s.cluster - 200) // 8)
    return s


def extension_as_long_as_can_be():
    s = Sparse(bits=21)
    s.extensions = struct.pack('>II', 0x12345678, s.cluster - 200)
    return s


def feature_names_all_over():
    s = Sparse(bits=21)
    s.extensions = forge.extension(forge.EXT_FEATURES, b''.join(
        bytes((i % 3, i % 64)) + b'n' * 46 for i in range(40000)))
    return s


# --- compressed clusters

def compressed(data, sectors, bits=16, zstd=False, tail=0):
    """All entries of an L2 table name one compressed cluster."""
    s = Sparse(bits=bits, size=(1 << bits) * 64)
    at = 16 << bits
    s.put(s.l1, words([(8 << bits) | COPIED]))
    s.put(8 << bits, words([descriptor(at, sectors, bits)]) * 64)
    s.put(at, data + bytes(tail))
    s.length = at + (sectors + 2) * 512
    if zstd:
        s.fields.update(incompatible=8, compression=1)
    return s


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return packer.compress(data) + packer.flush()


def deflate_of_zeros():
    return compressed(deflated(bytes(2 * MIB)), 8191, bits=21)


def deflate_of_more_than_a_cluster():
    return compressed(deflated(bytes(256 * MIB)), 8191, bits=21)


def deflate_of_nothing():
    """Stored blocks of no length, without end."""
    return compressed(b'\x00\x00\x00\xff\xff' * 800000, 8191, bits=21)


def deflate_of_empty_trees():
    """Fixed trees with nothing but their end, 10 bits each."""
    return compressed(b'\x02\x08\x20\x80\x00' * 800000, 8191, bits=21)


def zstd_frame(window, *blocks, descriptor_byte=0):
    return b'\x28\xb5\x2f\xfd' + bytes((descriptor_byte, window)) + \
        b''.join(blocks)


def zstd_run(size, last=False):
    """A block that repeats one byte."""
    return struct.pack('<I', size << 3 | 1 << 1 | last)[:3] + b'\0'


def zstd_of_zeros():
    runs = [zstd_run(131072)] * 15 + [zstd_run(131072, last=True)]
    return compressed(zstd_frame(0x58, *runs), 8191, bits=21, zstd=True)


def zstd_of_more_than_a_cluster():
    runs = [zstd_run(131072)] * 100000
    return compressed(zstd_frame(0x58, *runs), 8191, bits=21, zstd=True)


def zstd_with_a_huge_window():
    return compressed(zstd_frame(0xf8, zstd_run(65536, last=True)), 255,
                      zstd=True)


def zstd_of_nothing():
    """Frames to be skipped, and empty blocks."""
    skip = b'\x50\x2a\x4d\x18' + struct.pack('<I', 0)
    empty = struct.pack('<I', 0)[:3]
    return compressed(skip * 100000 + zstd_frame(0x58, empty * 1000000), 8191,
                      bits=21, zstd=True)


def zstd_with_a_dictionary():
    return compressed(zstd_frame(0x58, b'\x07\0\0\0', zstd_run(65536, True),
                                 descriptor_byte=3), 255, zstd=True)


# Also those that go through the whole disk, which is not large.
SMALL = [
    l1_is_its_own_l2, deflate_of_zeros, deflate_of_more_than_a_cluster,
    deflate_of_nothing, deflate_of_empty_trees, zstd_of_zeros,
    zstd_of_more_than_a_cluster, zstd_with_a_huge_window, zstd_of_nothing,
    zstd_with_a_dictionary, extensions_without_content,
    extension_as_long_as_can_be, feature_names_all_over,
    bitmaps_with_one_table, bitmap_names_all_the_same,
    one_refcount_block_for_all, snapshots_without_end,
    more_snapshots_than_allowed,
]

LARGE = [
    one_l2_for_all, l2_tables_in_a_hole, l2_tables_here_and_there,
    l2_tables_of_2_mib, refcount_blocks_in_a_hole, refcounts_everywhere,
    counts_of_one_bit, as_long_as_a_file_can_be,
    snapshots_with_the_largest_tables, bitmaps_with_long_tables,
    bitmaps_with_impossible_tables,
]


class Bombs(CeilingTest):

    def write(self, bomb):
        """False if the file system has no files of that length."""
        try:
            bomb().write(self.path('bomb'))
        except OSError as error:
            print('%s: not on this file system: %s' % (bomb.__name__, error))
            return False
        return True

    def explode(self, bombs, commands):
        for bomb in bombs:
            with self.subTest(bomb.__name__):
                if not self.write(bomb):
                    continue
                for command in commands:
                    with self.subTest(command=' '.join(command)):
                        self.command(command, 'bomb')

    def test_small(self):
        self.explode([b for b in SMALL if b is not l1_is_its_own_l2], SOME)
        self.explode([l1_is_its_own_l2], METADATA)

    def test_large(self):
        self.explode(LARGE, FEW)

    def test_whole_disks(self):
        """Tables that claim to be more than anybody can go through."""
        self.explode([one_l2_for_all, l2_tables_in_a_hole,
                      l2_tables_here_and_there, l2_tables_of_2_mib,
                      l1_is_its_own_l2], WHOLE)

    def test_repeats_are_refused_by_name(self):
        one_l2_for_all().write(self.path('bomb'))
        for command in (['map'], ['measure', '-O', 'qcow2']):
            done = subprocess.run([QCOW_IMG, *command, 'bomb'], cwd=self.dir,
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(b'1048576 guest clusters', done.stderr)

    def test_large_is_not_hostile(self):
        """64 TiB of nothing; 1 TiB and 128 MiB of tables; a table of data behind
        more zeros than are read."""
        self.run_program([QCOW_IMG, 'create', '-q', '-f', 'qcow2', 'empty',
                          '64T'])
        self.run_program([QCOW_IMG, 'create', '-q', '-f', 'qcow2', '-o',
                          'preallocation=metadata', 'tables', '1T'])
        for image in ('empty', 'tables'):
            for command in (['map', 'A'], ['compare', 'A', 'A'],
                            ['convert', '-O', 'qcow2', 'A', 'OUT'],
                            ['measure', '-O', 'qcow2', 'A']):
                self.assertEqual(self.command(command, image), 0, command)
        self.assertEqual(self.command(['dehydrate', 'A', 'OUT'], 'empty'), 0)
        s = l2_tables_in_a_hole()
        at = s.length
        s.pieces[s.l1] = s.pieces[s.l1][:-8] + words([at | COPIED])
        s.put(at, words([(at + s.cluster) | COPIED]))
        s.put(at + s.cluster, b'there it is' * 5000)
        s.length += 2 * s.cluster
        s.write(self.path('behind'))
        found = self.run_program([QCOW_IMG, 'map', 'behind'])
        self.assertEqual(len(found.splitlines()), 2, found)

    def test_snapshots(self):
        self.explode([lambda: many_snapshots(65536)],
                     FEW + [['snapshot', '-l', 'A']])

    def test_repair(self):
        """Of those that do not make a repair write gigabytes."""
        self.explode([l1_is_its_own_l2, one_refcount_block_for_all,
                      extensions_without_content, bitmaps_with_one_table,
                      bitmap_names_all_the_same,
                      lambda: many_snapshots(65536)],
                     [['check', '-r', 'all', 'A']])

    # --- chains

    def chain_names(self):
        self.run_program([QCOW_IMG, 'create', '-q', '-f', 'qcow2', 'loop',
                          '1M'])
        os.symlink('loop', self.path('soft'))
        os.link(self.path('loop'), self.path('hard'))
        os.symlink('.', self.path('here'))
        yield from ('loop', './loop', 'soft', 'hard', 'here/here/loop',
                    'file:loop', self.path('hard'))
        if os.environ.get('QCOW_HAS_JSON', '1') == '1':
            yield '{"driver":"qcow2","file":{"driver":"file",' \
                '"filename":"hard"}}'.join(('json:', ''))

    def test_chains_that_lead_back(self):
        for name in self.chain_names():
            data = forge.qcow2(3, name.encode(), b'qcow2')
            # In place, so that the hard link goes on being one.
            with open(self.path('loop'), 'r+b') as file:
                file.write(data)
                file.truncate()
            for command in (['map', 'A'], ['info', '--backing-chain', 'A'],
                            ['convert', '-O', 'raw', 'A', 'OUT'],
                            ['measure', '-O', 'raw', 'A'],
                            ['rebase', '-b', '', 'A']):
                self.assertEqual(self.command(command, 'loop'), 1,
                                 (name, command))

    def test_long_chains(self):
        for i in range(500):
            with open(self.path('%d' % i), 'wb') as file:
                file.write(forge.qcow2(3, b'%d' % (i + 1), b'qcow2'))
        for command in (['map', 'A'], ['info', '--backing-chain', 'A'],
                        ['convert', '-O', 'raw', 'A', 'OUT'],
                        ['compare', 'A', 'B']):
            self.assertIn(self.command(command, '0'), (1, 2), command)

    # --- what a check may take

    def test_a_million_clusters(self):
        """2 s for a million clusters in use; and 64 MiB, and 4 bytes each."""
        self.run_program([QCOW_IMG, 'create', '-q', '-f', 'qcow2', '-o',
                          'cluster_size=4k,preallocation=metadata', 'bomb',
                          '4G'])
        before = CeilingTest.most_memory, CeilingTest.most_seconds
        CeilingTest.most_memory, CeilingTest.most_seconds = 0, 0
        self.assertEqual(self.command(['check', 'A'], 'bomb'), 0)
        memory, seconds = CeilingTest.most_memory, CeilingTest.most_seconds
        self.assertLess(memory * 1024, 64 * MIB + 4 * (1 << 20))
        self.assertLess(seconds, 2)
        print('figure: check-million-clusters-memory %d KiB' % memory)
        print('figure: check-million-clusters-time %.2f s' % seconds)
        CeilingTest.most_memory = max(before[0], memory)
        CeilingTest.most_seconds = max(before[1], seconds)


if __name__ == '__main__':
    main('bombs')
