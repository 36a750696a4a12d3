# SPDX-License-Identifier: MIT
"""Images made byte by byte, with names in them that no program would write."""

import struct

CLUSTER_BITS = 12
CLUSTER = 1 << CLUSTER_BITS
SIZE = 1 << 20

EXT_BACKING_FORMAT = 0xe2792aca
EXT_DATA_FILE = 0x44415441
EXT_FEATURES = 0x6803f857
EXT_BITMAPS = 0x23852875

INCOMPAT_DATA_FILE = 4
AUTOCLEAR_BITMAPS = 1

MAGIC = b'QFI\xfb'
COPIED = 1 << 63


def padded(data, unit=8):
    return data + bytes(-len(data) % unit)


def extension(kind, data):
    return struct.pack('>II', kind, len(data)) + padded(data)


class File:
    """Clusters that follow each other, each with a count of 1."""

    def __init__(self):
        self.clusters = [b''] * 3   # header, refcount table, refcount block

    def add(self, data):
        offset = len(self.clusters) * CLUSTER
        data = padded(data, CLUSTER)
        for at in range(0, len(data), CLUSTER):
            self.clusters.append(data[at:at + CLUSTER])
        return offset

    def bytes(self, header):
        count = len(self.clusters)
        self.clusters[0] = header
        self.clusters[1] = struct.pack('>Q', 2 * CLUSTER)
        self.clusters[2] = struct.pack('>%dH' % count, *[1] * count)
        return b''.join(padded(c, CLUSTER) for c in self.clusters)


def add_tables(image, data, is_raw_data):
    """The L1 table; with data, its first cluster."""
    entry = 0
    if data is not None:
        at = 0 if is_raw_data else image.add(data)
        entry = image.add(struct.pack('>Q', at | COPIED)) | COPIED
    return image.add(struct.pack('>Q', entry))


def add_snapshots(image, names):
    """(id, name) of each."""
    table = b''
    for number, name in names:
        l1_table = image.add(bytes(8))
        table += padded(struct.pack(
            '>QIHHIIQIIQQ', l1_table, 1, len(number), len(name), 0, 0, 0, 0,
            16, 0, SIZE) + number + name)
    return image.add(table) if names else 0


def add_bitmaps(image, names):
    directory = b''
    for name in names:
        table = image.add(bytes(8))
        directory += padded(struct.pack('>QIIBBHI', table, 1, 0, 1, 16,
                                        len(name), 0) + name)
    if not names:
        return b''
    return extension(EXT_BITMAPS, struct.pack(
        '>IIQQ', len(names), 0, len(directory), image.add(directory)))


def qcow2(version=3, backing=None, backing_format=None, data_file=None,
          snapshots=(), bitmaps=(), features=(), data=None, incompatible=0,
          size=SIZE):
    """An image of version 2 or 3; all names are bytes."""
    image = File()
    extensions = b''
    if backing_format is not None:
        extensions += extension(EXT_BACKING_FORMAT, backing_format)
    if data_file is not None:
        extensions += extension(EXT_DATA_FILE, data_file)
        incompatible |= INCOMPAT_DATA_FILE
    if features:
        extensions += extension(EXT_FEATURES, b''.join(
            bytes((kind, bit)) + name[:46].ljust(46, b'\0')
            for kind, bit, name in features))
    l1_table = add_tables(image, data, data_file is not None)
    snapshot_table = add_snapshots(image, snapshots)
    extensions += add_bitmaps(image, bitmaps) + extension(0, b'')
    length = 104 if version == 3 else 72
    header = MAGIC + struct.pack(
        '>IQIIQIIQQIIQ', version,
        length + len(extensions) if backing is not None else 0,
        len(backing or b''), CLUSTER_BITS, size, 0, 1, l1_table, CLUSTER, 1,
        len(snapshots), snapshot_table)
    if version == 3:
        header += struct.pack('>QQQII', incompatible, 0,
                              AUTOCLEAR_BITMAPS if bitmaps else 0, 4, length)
    return image.bytes(header + extensions + (backing or b''))


def qcow1(backing=None, data=None):
    """An image of version 1."""
    header = MAGIC + struct.pack(
        '>IQIIQBBHIQ', 1, 48 if backing is not None else 0,
        len(backing or b''), 0, SIZE, CLUSTER_BITS, CLUSTER_BITS - 3, 0, 0,
        CLUSTER)
    header += backing or b''
    table = 2 * CLUSTER if data is not None else 0
    l2_table = struct.pack('>Q', 3 * CLUSTER) if data is not None else b''
    return b''.join(padded(part, CLUSTER) for part in (
        header, struct.pack('>Q', table), l2_table, data or b''))
