# SPDX-License-Identifier: MIT
"""inspect --untrusted gives one verdict with exact reasons, opens nothing but the
image, and takes little memory and time for any."""

import json
import os
import resource
import struct
import subprocess

import forge
import policy_test
from policy_test import POLICY_OPEN, QCOW_IMG, PolicyTest, main

SAFE, UNSAFE, UNREADABLE = 0, 3, 4

MIB = 1 << 20
MEMORY = 192 * MIB      # of address space, programs and libraries included
SECONDS = 5

REASONS = ['backing-file', 'data-file', 'unknown-features', 'cannot-open',
           'incomplete', 'polyglot', 'corrupt', 'unchecked', 'large-tables',
           'expensive-keys']

FAR = 1 << 50


def patched(data, *patches):
    data = bytearray(data)
    for at, fmt, value in patches:
        if at + struct.calcsize(fmt) > len(data):
            data.extend(bytes(at + struct.calcsize(fmt) - len(data)))
        struct.pack_into(fmt, data, at, value)
    return bytes(data)


def marked(data, at, mark):
    data = bytearray(data.ljust(at + len(mark), b'\0'))
    data[at:at + len(mark)] = mark
    return bytes(data)


def v3(*patches, **said):
    return patched(forge.qcow2(3, **said), *patches)


def aligned_tail(data, mark, back):
    """The mark so many bytes from the end of the file."""
    tail = bytearray(512)
    tail[512 - back:512 - back + len(mark)] = mark
    return data + bytes(tail)


PLAIN = v3(data=b'x')


def with_long_l1_table():
    """More than 4 MiB of it, at the end of the file."""
    at = -(-len(PLAIN) // forge.CLUSTER) * forge.CLUSTER
    entries = (4 << 20) // 8 + 1
    return v3((36, '>I', entries), (40, '>Q', at), data=b'x').ljust(
        at + entries * 8, b'\0')


def with_long_snapshots():
    """40 snapshots whose L1 tables have 2^27 entries together, which is more than
    a check looks at; all of them at the end of the file."""
    image = bytearray(v3(snapshots=[(b'%d' % i, b's') for i in range(40)]))
    table, = struct.unpack_from('>Q', image, 64)
    end = -(-len(image) // forge.CLUSTER) * forge.CLUSTER
    for _ in range(40):
        id_len, name_len = struct.unpack_from('>HH', image, table + 12)
        struct.pack_into('>QI', image, table, end, 1 << 22)
        table += -(-(56 + id_len + name_len) // 8) * 8
    return bytes(image).ljust(end + (32 << 20), b'\0')


# name, image, status, reasons
UPLOADS = [
    ('version 3', PLAIN, SAFE, []),
    ('version 2', forge.qcow2(2, data=b'x'), SAFE, []),
    ('version 1', forge.qcow1(data=b'x'), SAFE, []),
    ('all kinds', v3(snapshots=[(b'1', b's')], bitmaps=[b'b'],
                     features=[(0, 60, b'name')], data=b'x'), SAFE, []),
    ('raw', b'data' * 10000, SAFE, []),
    ('empty', b'', SAFE, []),
    ('raw with partitions', marked(b'', 510, b'\x55\xaa'), SAFE, []),
    ('backing file', v3(backing=b'/etc/passwd', backing_format=b'raw'),
     UNSAFE, ['backing-file']),
    ('backing file, version 2', forge.qcow2(2, backing=b'/etc/passwd'),
     UNSAFE, ['backing-file']),
    ('backing file, version 1', forge.qcow1(backing=b'/etc/passwd'),
     UNSAFE, ['backing-file']),
    ('backing in JSON', v3(backing=b'json:{"driver":"nbd"}'), UNSAFE,
     ['backing-file']),
    ('data file', v3(data_file=b'/etc/passwd', data=b'x'), UNSAFE,
     ['data-file']),
    ('data file bit', v3(incompatible=4), UNSAFE, ['data-file']),
    ('both', v3(backing=b'b', data_file=b'd'), UNSAFE,
     ['backing-file', 'data-file']),
    ('unknown feature', v3(incompatible=1 << 20), UNSAFE,
     ['unknown-features', 'cannot-open', 'incomplete']),
    ('marked corrupt', v3(incompatible=2), UNSAFE, ['corrupt']),
    ('L1 table far away', v3((40, '>Q', FAR)), UNSAFE,
     ['cannot-open', 'incomplete', 'corrupt']),
    ('refcount table far away', v3((48, '>Q', FAR)), UNSAFE,
     ['cannot-open', 'incomplete', 'corrupt']),
    ('L1 table large', v3((24, '>Q', 1 << 42), (36, '>I', 1 << 21)), UNSAFE,
     ['cannot-open', 'incomplete', 'corrupt', 'large-tables']),
    ('L1 table long', with_long_l1_table(), UNSAFE,
     ['corrupt', 'large-tables']),
    ('more than is checked', with_long_snapshots(), UNSAFE, ['unchecked']),
    ('GUID partitions', marked(PLAIN, 512, b'EFI PART'), UNSAFE,
     ['polyglot']),
    ('ISO 9660', marked(PLAIN, 32769, b'CD001'), UNSAFE, ['polyglot']),
    ('tar', marked(PLAIN, 257, b'ustar'), UNSAFE, ['polyglot']),
    ('VDI', marked(PLAIN, 64, b'\x7f\x10\xda\xbe'), UNSAFE, None),
    ('VHD', aligned_tail(PLAIN, b'conectix', 512), UNSAFE, ['polyglot']),
    ('VMDK as raw', b'KDMV' + bytes(1020), UNSAFE, ['polyglot']),
    ('VMDK description as raw',
     b'# Disk DescriptorFile\nRW 1 FLAT "/etc/passwd" 0\n', UNSAFE,
     ['polyglot']),
    ('QED as raw', b'QED\0' + bytes(1020), UNSAFE, ['polyglot']),
    ('VHDX as raw', b'vhdxfile' + bytes(1020), UNSAFE, ['polyglot']),
    ('LUKS as raw', b'LUKS\xba\xbe' + bytes(1020), UNSAFE, ['polyglot']),
    ('counts of 0', patched(PLAIN, (2 * forge.CLUSTER, '>H', 0)), UNSAFE,
     ['corrupt']),
    ('cluster bits', v3((20, '>I', 63)), UNREADABLE,
     ['cannot-open', 'incomplete', 'corrupt']),
    ('version 9', v3((4, '>I', 9)), UNREADABLE,
     ['cannot-open', 'incomplete', 'corrupt']),
    ('short', PLAIN[:60], UNREADABLE,
     ['cannot-open', 'incomplete', 'corrupt']),
    ('magic only', forge.MAGIC + b'\0\0\0\3', UNREADABLE,
     ['cannot-open', 'incomplete', 'corrupt']),
    ('backing name with NUL', v3(backing=b'a\0b'), UNREADABLE,
     ['cannot-open', 'incomplete', 'corrupt']),
    ('extension too long', v3((104, '>I', 0x12345678),
                              (108, '>I', 0xfffffff9)), UNREADABLE,
     ['cannot-open', 'incomplete', 'corrupt']),
]


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


class Uploads(PolicyTest):

    def verdict(self, *args):
        """The status and what the JSON output says; nothing else is opened."""
        traced = self.traced(QCOW_IMG, 'inspect', '--untrusted',
                             '--output=json', *args)
        a = os.path.join(self.img, 'a')
        for t in traced.touches:
            self.assertEqual(t.path, a, traced)
            self.assertIn(t.kind, ('path', 'read', 'look'), traced)
        self.assertEqual(traced.err, b'')
        return traced.status, json.loads(traced.out)

    def test_each_upload(self):
        for name, data, status, reasons in UPLOADS:
            with self.subTest(name):
                self.image(data)
                found, said = self.verdict('img/a')
                self.assertEqual((found, said['safe']),
                                 (status, status == SAFE), said)
                if reasons is None:
                    self.assertIn('polyglot', said['reasons'])
                else:
                    self.assertEqual(said['reasons'], reasons, said)
                self.same_as_library(said['reasons'])

    def test_every_reason_has_an_upload(self):
        """The last is made where keys are."""
        shown = {reason for *_, reasons in UPLOADS for reason in reasons or ()}
        self.assertEqual(shown | {'expensive-keys'}, set(REASONS))

    def same_as_library(self, reasons):
        traced = self.traced(POLICY_OPEN, 'inspect', '-', 'img/a')
        unsafe = int(traced.out, 16)
        self.assertEqual([r for bit, r in enumerate(REASONS)
                          if unsafe >> bit & 1], reasons)

    def test_for_people(self):
        self.image(v3(backing=b'/etc/passwd'))
        for args in (['inspect', '--untrusted'], ['--untrusted', 'inspect']):
            traced = self.traced(QCOW_IMG, *args, 'img/a')
            self.assertEqual(traced.status, UNSAFE)
            self.assertIn(b'safe to use: no\n  it names a backing file\n',
                          traced.out)

    def test_largest_disk(self):
        self.image(PLAIN)
        for size, status in (('1M', SAFE), ('2T', SAFE), ('1048575', UNSAFE),
                             ('512', UNSAFE), ('0', UNSAFE)):
            found, said = self.verdict('--max-size', size, 'img/a')
            self.assertEqual(found, status, said)
            self.assertEqual(said['reasons'],
                             ['too-large'] if status else [])
        traced = self.traced(QCOW_IMG, 'inspect', '--max-size', 'x', 'img/a')
        self.assertEqual(traced.status, 1)

    def test_keys_that_cost_much(self):
        secret = ['--object', 'secret,id=s,data=hunter2']
        traced = self.traced(
            QCOW_IMG, 'create', '-q', '-f', 'qcow2', *secret, '-o',
            'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10',
            'img/a', '1M')
        if b'support' in traced.err:
            self.skipTest('no encryption in this build')
        self.assertEqual(traced.status, 0, traced)
        found, said = self.verdict('img/a')
        self.assertEqual((found, said['reasons']), (SAFE, []))
        with open(os.path.join(self.img, 'a'), 'r+b') as f:
            data = f.read()
            f.seek(data.index(b'LUKS\xba\xbe') + 208 + 4)
            f.write(struct.pack('>I', 1 << 24))
        found, said = self.verdict('img/a')
        self.assertEqual((found, said['reasons']),
                         (UNSAFE, ['expensive-keys']))

    def test_ceilings(self):
        """Nothing that an image claims takes memory or time."""
        huge = [
            v3((36, '>I', 0xffffffff)),
            v3((24, '>Q', 1 << 62), (36, '>I', 1 << 22)),
            v3((56, '>I', 0xffffffff)),
            v3((60, '>I', 0xffffffff), (64, '>Q', forge.CLUSTER)),
            v3((60, '>I', 65536), (64, '>Q', forge.CLUSTER)),
            v3((96, '>I', 6), (20, '>I', 21)),
        ]
        # A file that is sparse and long, with tables all over.
        wide = v3((20, '>I', 9), (24, '>Q', 1 << 37), (36, '>I', 1 << 22),
                  (40, '>Q', 1 << 20))
        for data, size in [(data, None) for data in huge] + [
                (wide, 1 << 40), (PLAIN, 1 << 42)]:
            self.image(data)
            if size is not None:
                os.truncate(os.path.join(self.img, 'a'), size)
            done = subprocess.run(
                [QCOW_IMG, 'inspect', '--untrusted', '--output=json',
                 'img/a'], cwd=self.work, capture_output=True, check=False,
                preexec_fn=limited, timeout=policy_test.TIMEOUT)
            self.assertIn(done.returncode, (SAFE, UNSAFE, UNREADABLE), done)
            self.assertEqual(json.loads(done.stdout)['safe'],
                             done.returncode == SAFE)


if __name__ == '__main__':
    main()
