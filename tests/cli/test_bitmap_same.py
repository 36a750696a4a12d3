#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Dirty bitmaps are changed, kept up to date and shown as QEMU's programs do it,
and each side reads what the other has stored."""

import json
import os
import random
import re
import shutil
import subprocess

from cli_common import CliTest, KIB, MIB, QEMU_IMG, QCOW_IMG, main

QEMU_NBD = shutil.which(os.environ.get('QEMU_NBD', 'qemu-nbd'))


def without_nodes(text):
    """QEMU names a node that it has made up, we name the file."""
    return re.sub(r"(persistent in|persistent bitmaps to) '?[^':]*'?:",
                  r'\1 NODE:', text)


def merged(extents):
    """Extents that touch, as one."""
    result = []
    for start, length in extents:
        if result and sum(result[-1]) == start:
            result[-1][1] += length
        else:
            result.append([start, length])
    return [tuple(e) for e in result]


class BitmapSame(CliTest):

    def new(self, *options, name='a.qcow2', size='10M'):
        self.qemu('qemu-img', 'create', '-f', 'qcow2', *options, name, size)

    def same_failing(self, *args):
        ours, theirs = self.same_status('qemu-img', 'bitmap', *args)
        self.assertEqual(without_nodes(ours.err), without_nodes(theirs.err),
                         ' '.join(args))
        self.assertNotEqual(ours.status, 0)
        self.assertEqual(ours.out, '')

    def same_info(self, name='a.qcow2'):
        for form in ('human', 'json'):
            ours, theirs = self.same_status('qemu-img', 'info', '--output',
                                            form, name)
            pick = r'(bitmaps"?:.*?)"?refcount.bits'
            self.assertEqual(re.findall(pick, ours.out, re.S),
                             re.findall(pick, theirs.out, re.S))

    def our_extents(self, name, bitmap, directory):
        """What we say is dirty."""
        done = subprocess.run(
            [QCOW_IMG, 'bitmap', '--extents', '--output=json', name, bitmap],
            cwd=directory, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [(e['start'], e['length']) for e in json.loads(done.stdout)]

    def their_extents(self, name, bitmap, directory):
        """What QEMU says is dirty."""
        if QEMU_NBD is None:
            self.skipTest('qemu-nbd is missing')
        # What the server inherits is closed when it ends.
        end, held = os.pipe()
        # The path of a socket is short.
        subprocess.run([QEMU_NBD, '-r', '-f', 'qcow2', '-B', bitmap, '-k',
                        os.path.join(directory, 's'), '--fork', name],
                       cwd=directory, check=True, pass_fds=[held])
        os.close(held)
        done = subprocess.run(
            [QEMU_IMG, 'map', '--output=json', '--image-opts',
             'driver=nbd,server.type=unix,server.path=s,'
             'x-dirty-bitmap=qemu:dirty-bitmap:' + bitmap],
            cwd=directory, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        # The server ends with its last client, and locks the image till then.
        os.read(end, 1)
        os.close(end)
        return merged((e['start'], e['length'])
                      for e in json.loads(done.stdout) if not e['data'])

    def agree(self, bitmap, name='a.qcow2', directories=None):
        """Both read the same in an image; returns what."""
        for directory in directories or (self.ours, self.theirs):
            ours = self.our_extents(name, bitmap, directory)
            self.assertEqual(ours, self.their_extents(name, bitmap, directory))
            checked = subprocess.run([QEMU_IMG, 'check', name], cwd=directory,
                                     capture_output=True, check=False)
            self.assertEqual(checked.returncode, 0, checked.stdout)
        return ours

    # --- actions

    def test_actions_leave_the_same(self):
        self.new()
        for args in (['--add', 'a.qcow2', 'b0'],
                     ['--add', '-g', '4k', '--disable', 'a.qcow2', 'b1'],
                     ['--add', '--granularity=1M', 'a.qcow2', 'b2'],
                     ['--disable', 'a.qcow2', 'b0'],
                     ['--enable', '--clear', 'a.qcow2', 'b0'],
                     ['--merge', 'b0', '--merge', 'b2', 'a.qcow2', 'b1'],
                     ['--remove', '--add', '-g', '512', 'a.qcow2', 'b2'],
                     ['--dis', '--e', '--cl', 'a.qcow2', 'b2'],
                     ['--add', '-f', 'qcow2', 'a.qcow2', 'ä ö'],
                     ['--remove', 'a.qcow2', 'b0']):
            self.same_all('qemu-img', 'bitmap', *args)
            self.same_info()
            if args[-1] != 'b0' or args[0] != '--remove':
                self.agree(args[-1])
        for name in ('b1', 'b2', 'ä ö'):
            self.same_all('qemu-img', 'bitmap', '--remove', 'a.qcow2', name)
        self.same_info()
        self.same_bytes_of_header()

    def same_bytes_of_header(self):
        """No trace is left in the header."""
        for directory in (self.ours, self.theirs):
            with open(os.path.join(directory, 'a.qcow2'), 'rb') as f:
                header = f.read(4096)
            self.assertEqual(header[88:96], bytes(8))
            types = []
            at = int.from_bytes(header[100:104], 'big')
            while header[at:at + 4] != bytes(4):
                types.append(header[at:at + 4])
                length = int.from_bytes(header[at + 4:at + 8], 'big')
                at += 8 + (length + 7) // 8 * 8
            self.assertEqual(types, [b'\x68\x03\xf8\x57'])

    def test_failures_sound_the_same(self):
        self.new()
        self.new('-o', 'compat=0.10', name='v2.qcow2')
        self.new(name='large.qcow2', size='1P')
        self.new(name='other.qcow2', size='20M')
        self.file('raw', 1 * MIB)
        for name in ('a.qcow2', 'other.qcow2'):
            self.qemu('qemu-img', 'bitmap', '--add', name, 'b0')
        for args in (['a.qcow2'], ['a.qcow2', 'b0'], ['--add', 'a.qcow2'],
                     ['--add'], ['--add', 'a.qcow2', 'b0', 'c'],
                     ['--add', 'a.qcow2', 'b0'],
                     ['--add', 'a.qcow2', ''],
                     ['--add', 'a.qcow2', 'x' * 1024],
                     ['--add', '-g', '100', 'a.qcow2', 'b1'],
                     ['--add', '-g', '256', 'a.qcow2', 'b1'],
                     ['--add', '-g', '4G', 'a.qcow2', 'b1'],
                     ['--add', '-g', 'x', 'a.qcow2', 'b1'],
                     ['--remove', '-g', '4k', 'a.qcow2', 'b0'],
                     ['--add', '-b', 'other.qcow2', 'a.qcow2', 'b1'],
                     ['--add', '-F', 'qcow2', 'a.qcow2', 'b1'],
                     ['-F', 'qcow2', '-g', '4k', 'a.qcow2'],
                     ['--add', '-F', 'qcow2', 'a.qcow2'],
                     ['--remove', '-g', '4k', 'a.qcow2'],
                     ['--remove', 'a.qcow2', 'none'],
                     ['--clear', 'a.qcow2', 'none'],
                     ['--enable', 'a.qcow2', 'none'],
                     ['--disable', 'a.qcow2', 'none'],
                     ['--merge', 'none', 'a.qcow2', 'b0'],
                     ['--merge', 'b0', 'a.qcow2', 'none'],
                     ['--merge', 'b0', '-b', 'other.qcow2', 'a.qcow2', 'b0'],
                     ['--merge', 'b1', '-b', 'other.qcow2', 'a.qcow2', 'b0'],
                     ['--merge', 'b0', '-b', 'a.qcow2', 'a.qcow2', 'b0'],
                     ['--merge', 'b0', '-b', 'missing', 'a.qcow2', 'b0'],
                     ['--add', 'missing', 'b0'],
                     ['--add', '-g', '512', 'large.qcow2', 'b0'],
                     ['--add', 'v2.qcow2', 'b0'],
                     ['--remove', 'v2.qcow2', 'b0'],
                     ['--add', '-f', 'raw', 'raw', 'b0'],
                     ['--add', '-f', 'qcow2', '--image-opts',
                      'driver=qcow2,file.filename=a.qcow2', 'b1']):
            self.same_failing(*args)
            self.same_info()

    def test_what_comes_before_a_failure_stays(self):
        self.new()
        self.same_failing('--add', '--disable', '--merge', 'none', '--enable',
                          'a.qcow2', 'b0')
        self.same_info()
        self.agree('b0')

    def test_inconsistent_bitmaps(self):
        self.new()
        for name in ('b0', 'b1'):
            self.qemu('qemu-img', 'bitmap', '--add', 'a.qcow2', name)
        with open(os.path.join(self.ours, 'a.qcow2'), 'rb') as f:
            image = f.read()
        at = image.index(b'\x23\x85\x28\x75\0\0\0\x18')
        directory = int.from_bytes(image[at + 24:at + 32], 'big')
        self.share('a.qcow2')
        self.patch('a.qcow2', directory + 12, b'\0\0\0\3')
        self.same_info()
        for action in (['--clear'], ['--enable'], ['--disable'],
                       ['--merge', 'b1'], ['--add']):
            self.same_failing(*action, 'a.qcow2', 'b0')
        self.same_failing('--merge', 'b0', 'a.qcow2', 'b1')
        for args in (['resize', 'a.qcow2', '20M'],
                     ['resize', '--shrink', 'a.qcow2', '5M']):
            self.same_failure('qemu-img', *args)
        self.same_all('qemu-img', 'bitmap', '--clear', 'a.qcow2', 'b1')
        self.same_info()
        self.same_all('qemu-img', 'bitmap', '--remove', 'a.qcow2', 'b0')
        self.same_info()
        self.agree('b1')

    # --- content

    def test_both_keep_them_up_to_date(self):
        rng = random.Random(4711)
        for options in ([], ['-o', 'cluster_size=512'],
                        ['-o', 'cluster_size=2M'],
                        ['-o', 'extended_l2=on'],
                        ['-o', 'lazy_refcounts=on,refcount_bits=1'],
                        ['-o', 'data_file=d.raw']):
            shutil.rmtree(self.ours)
            shutil.rmtree(self.theirs)
            os.mkdir(self.ours)
            os.mkdir(self.theirs)
            self.new(*options, size='10000384')
            for name, granularity in (('fine', '512'), ('some', '64k'),
                                      ('coarse', '4M')):
                self.qemu('qemu-img', 'bitmap', '--add', '-g', granularity,
                          'a.qcow2', name)
            for turn in range(3):
                commands = []
                for _ in range(8):
                    verb = rng.choice(['write', 'write -z', 'write -z -u',
                                       'discard'])
                    at = rng.randrange(10000384 // 512) * 512
                    length = 512 * rng.randrange(
                        1, min(2000, (10000384 - at) // 512) + 1)
                    commands += ['-c', '%s %d %d' % (verb, at, length)]
                ours, theirs = self.both('qemu-io', '-f', 'qcow2', '-d',
                                         'unmap', *commands, 'a.qcow2')
                self.assertEqual((ours.status, theirs.status), (0, 0),
                                 '%s %r %r' % (commands, ours, theirs))
                for name in ('fine', 'some', 'coarse'):
                    dirty = self.our_extents('a.qcow2', name, self.ours)
                    self.assertEqual(
                        dirty, self.our_extents('a.qcow2', name, self.theirs),
                        '%s %s %d' % (options, commands, turn))
            for name in ('fine', 'some', 'coarse'):
                self.agree(name)

    def test_images_change_hands(self):
        self.new()
        self.qemu('qemu-img', 'bitmap', '--add', '-g', '4k', 'a.qcow2', 'b0')
        want = []
        for i, run in enumerate((self.our, self.their, self.our, self.their)):
            at = (2 * i + 1) * MIB
            result = run('qemu-io', '-c', 'write %d 6k' % at, 'a.qcow2')
            self.assertEqual(result.status, 0)
            want.append((at, 8 * KIB))
            source = self.ours if run == self.our else self.theirs
            target = self.theirs if run == self.our else self.ours
            self.assertEqual(
                self.agree('b0', directories=[source]), want)
            shutil.copy(os.path.join(source, 'a.qcow2'), target)

    def test_compressed_writes_are_recorded(self):
        self.new()
        self.qemu('qemu-img', 'bitmap', '--add', 'a.qcow2', 'b0')
        self.same_output('qemu-io', '-c', 'write -c 1M 64k', 'a.qcow2',
                         normalize=lambda text: '')
        self.assertEqual(self.agree('b0'), [(MIB, 64 * KIB)])

    def test_merging_between_granularities_and_images(self):
        self.new()
        self.new(name='b.qcow2')
        for name, size in (('small', '512'), ('large', '256k')):
            self.qemu('qemu-img', 'bitmap', '--add', '-g', size, 'a.qcow2',
                      name)
        self.qemu('qemu-io', '-c', 'write 1000k 3k', '-c', 'write 9M 1M',
                  'a.qcow2')
        for granularity, source in (('4k', 'small'), ('4k', 'large'),
                                    ('1M', 'small'), ('512', 'large')):
            bitmap = granularity + source
            self.same_all('qemu-img', 'bitmap', '--add', '--disable', '-g',
                          granularity, '--merge', source, 'a.qcow2', bitmap)
            self.agree(bitmap)
            self.same_all('qemu-img', 'bitmap', '--add', '-g', granularity,
                          '--merge', source, '-b', 'a.qcow2', '-F', 'qcow2',
                          'b.qcow2', bitmap)
            dirty = self.agree(bitmap, 'b.qcow2')
            self.assertEqual(dirty,
                             self.our_extents('a.qcow2', bitmap, self.ours))

    def test_resize_takes_them_along(self):
        self.new('-o', 'cluster_size=512')
        self.qemu('qemu-img', 'bitmap', '--add', '-g', '512', 'a.qcow2', 'b0')
        self.qemu('qemu-io', '-c', 'write 0 1k', '-c', 'write 6M 4M',
                  'a.qcow2')
        for args in (['30M'], ['--shrink', '7340544'], ['12M'],
                     ['--shrink', '1M'], ['8M']):
            self.same_output('qemu-img', 'resize', '-f', 'qcow2', *args[:-1],
                             'a.qcow2', args[-1])
            self.agree('b0')
        self.assertEqual(self.agree('b0'), [(0, KIB)])

    # --- what only we have

    def test_list_and_extents(self):
        self.new()
        ours = self.our('qemu-img', 'bitmap', '--list', 'a.qcow2')
        self.assertEqual((ours.status, ours.out), (0, ''))
        self.qemu('qemu-img', 'bitmap', '--add', 'a.qcow2', 'b0')
        self.qemu('qemu-img', 'bitmap', '--add', '--disable', '-g', '4k',
                  'a.qcow2', 'ü"\n')
        ours = self.our('qemu-img', 'bitmap', '--list', 'a.qcow2')
        self.assertEqual(ours.out, 'Granularity     Flags\tName\n'
                         '65536           auto\t"b0"\n'
                         '4096            -\t"\\u00FC\\"\\n"\n')
        ours = self.our('qemu-img', 'bitmap', '--list', '--output=json',
                        'a.qcow2')
        self.assertEqual(json.loads(ours.out), [
            {'name': 'b0', 'granularity': 65536, 'auto': True,
             'in-use': False, 'inconsistent': False},
            {'name': 'ü"\n', 'granularity': 4096, 'auto': False,
             'in-use': False, 'inconsistent': False}])
        self.qemu('qemu-io', '-c', 'write 1M 1', 'a.qcow2')
        ours = self.our('qemu-img', 'bitmap', '--extents', 'a.qcow2', 'b0')
        self.assertEqual(ours.out.split(),
                         ['Offset', 'Length', '0x100000', '0x10000'])
        ours = self.our('qemu-img', 'bitmap', '--extents', '--output', 'json',
                        'a.qcow2', 'ü"\n')
        self.assertEqual(json.loads(ours.out), [])
        for args, words in (
                (['--list', '--extents', 'a.qcow2', 'b0'], 'exclusive'),
                (['--list', '--add', 'a.qcow2'], 'take no actions'),
                (['--list', 'a.qcow2', 'b0'], 'Expecting filename'),
                (['--extents', 'a.qcow2'], 'bitmap name'),
                (['--extents', 'a.qcow2', 'none'], "no bitmap 'none'"),
                (['--add', '--output=json', 'a.qcow2', 'b1'], '--output')):
            ours = self.our('qemu-img', 'bitmap', *args)
            self.assertEqual(ours.status, 1, args)
            self.assertIn(words, ours.err)

    def test_references_are_not_opened(self):
        self.file('base', 1 * MIB)
        self.new('-b', 'base', '-F', 'raw', '-o', 'data_file=d')
        for directory in (self.ours, self.theirs):
            os.remove(os.path.join(directory, 'base'))
        self.same_all('qemu-img', 'bitmap', '--add', 'a.qcow2', 'b0')
        self.same_all('qemu-img', 'bitmap', '--add', '--image-opts',
                      'driver=qcow2,file.filename=a.qcow2', 'b1')
        self.file('base', 1 * MIB)
        self.agree('b1')


if __name__ == '__main__':
    main()
