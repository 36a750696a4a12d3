#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whatever a file system cannot do, images on it are whole.

    test_file_systems.py ext4 | xfs | btrfs | exfat

Makes a small file system of that kind in a file, mounts it in a mount namespace
of its own, so that nothing is left behind, and works there: with holes or without,
with blocks that can be shared or not, and until it is full.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'cli'))

import cli_common  # noqa: E402
from cli_common import (CliTest, KIB, MIB, OURS, THEIRS,  # noqa: E402
                        blocks_used, noise, run_program)

SKIP = 77
MOUNTED = 'QCF_MOUNTED_AT'

# Size, and what makes one and mounts it; "@" is the file, "%" the directory.
# exFAT has neither holes nor anything but reading and writing; where the kernel
# does not know it, FUSE does, which wants a block device.
LOOP = 'mount -o loop @ %'
KINDS = {
    'ext4': (96, 'mkfs.ext4 -q -m 0 -O ^has_journal @', [LOOP]),
    'xfs': (320, 'mkfs.xfs -q -m reflink=1 @', [LOOP]),
    'btrfs': (160, 'mkfs.btrfs -q @', [LOOP]),
    'exfat': (96, 'mkfs.exfat @', [LOOP, 'fuse-loop @ %']),
}
HAS_HOLES = ('ext4', 'xfs', 'btrfs')
SHARES_BLOCKS = ('xfs', 'btrfs')

figures = {'operations': 0}


def skip(why):
    print('SKIP: ' + why, file=sys.stderr)
    sys.exit(SKIP)


# ------------------------------------------------------------------- mounting

def mount(command, image, directory):
    words = [w.replace('@', image).replace('%', directory)
             for w in command.split()]
    if words[0] != 'fuse-loop':
        return subprocess.run(words, capture_output=True,
                              check=False).returncode == 0
    if not shutil.which('mount.exfat-fuse'):
        return False
    device = subprocess.run(['losetup', '-f', '--show', image], text=True,
                            capture_output=True, check=False)
    if device.returncode != 0:
        return False
    device = device.stdout.strip()
    done = subprocess.run(['mount.exfat-fuse', device, directory],
                          capture_output=True, check=False)
    # From now on the mount keeps it.
    subprocess.run(['losetup', '-d', device], check=False)
    return done.returncode == 0


def enter(kind):
    """Run this script again with the file system mounted for it alone."""
    size, maker, mounters = KINDS[kind]
    for program in (maker.split()[0], 'unshare', 'mount', 'losetup'):
        if not shutil.which(program):
            skip('%s is missing' % program)
    if os.geteuid() != 0:
        skip('mounting takes root')
    if MOUNTED + '_PARENT' not in os.environ:
        os.environ[MOUNTED + '_PARENT'] = tempfile.mkdtemp(prefix='qcow-fs-')
        parent = os.environ[MOUNTED + '_PARENT']
        try:
            done = subprocess.run(['unshare', '--mount', '--propagation',
                                   'private', sys.executable] + sys.argv,
                                  check=False)
        finally:
            shutil.rmtree(parent, ignore_errors=True)
        sys.exit(done.returncode)
    parent = os.environ[MOUNTED + '_PARENT']
    image, directory = (os.path.join(parent, n) for n in ('image', 'mount'))
    os.mkdir(directory)
    with open(image, 'wb') as file:
        file.truncate(size * MIB)
    made = subprocess.run(maker.replace('@', image).split(),
                          capture_output=True, text=True, check=False)
    if made.returncode != 0:
        skip('%s: %s' % (maker, made.stderr.strip()))
    if not any(mount(m, image, directory) for m in mounters):
        skip('a file system of this kind cannot be mounted here')
    try:
        os.environ[MOUNTED] = directory
        run_tests(kind, directory)
    finally:
        subprocess.run(['umount', directory], check=False)


# ---------------------------------------------------------------------- tests

class FileSystem(CliTest):
    kind = ''
    directory = ''

    def setUp(self):
        tempfile.tempdir = self.directory
        super().setUp()
        tempfile.tempdir = None

    # All that our programs are asked to do here has to work.
    def ok(self, *args):
        figures['operations'] += 1
        result = self.our(*args)
        self.assertEqual(result.status, 0, '%s: %r' % (args, result))
        return result.out

    def io(self, name, *commands, options=()):
        args = ['qemu-io', *options]
        for command in commands:
            args += ['-c', command]
        return self.ok(*args, name)

    def same_as_raw(self, name, raw):
        self.is_sound(name)
        self.same_content(name, raw, 'qcow2', 'raw')
        self.ok('qemu-img', 'compare', '-F', 'raw', name, raw)

    def sparse_raw(self, name='raw'):
        """Holes, zeros that are written, and data, in pieces of all sizes."""
        path = self.our_path(name)
        with open(path, 'wb') as file:
            for at, data in ((0, noise(1, 5000)), (1 * MIB, bytes(300 * KIB)),
                             (2 * MIB + 512, noise(2, 700 * KIB)),
                             (5 * MIB - 4096, noise(3, 4096))):
                file.seek(at)
                file.write(data)
            file.truncate(6 * MIB)
        return name

    def test_preallocation(self):
        for form in ('raw', 'qcow2'):
            modes = ['off', 'falloc', 'full']
            if form == 'qcow2':
                modes.append('metadata')
            for mode in modes:
                args = ['qemu-img', 'create', '-q', '-f', form, '-o',
                        'preallocation=' + mode, 'p', '3M']
                ours, theirs = self.both(*args)
                figures['operations'] += 1
                # QEMU gives up where nothing can be reserved; so may we,
                # but by saying so.
                if ours.status != 0:
                    self.assertNotEqual(theirs.status, 0, (args, ours))
                    self.assertIn('qemu-img: ', ours.err)
                    continue
                self.io('p', 'read -P 0 0 3M', 'write -P 7 1M 64k',
                        'read -P 7 1M 64k', options=('-f', form))
                self.ok('qemu-img', 'resize', '-q', '-f', form,
                        '--preallocation=' + mode, 'p', '4M')
                self.io('p', 'read -P 0 3M 1M', options=('-f', form))
                if form == 'qcow2':
                    self.is_sound('p')
                if mode == 'full':
                    self.assertGreaterEqual(
                        blocks_used(self.our_path('p')), 4 * MIB)

    def test_conversions(self):
        self.sparse_raw()
        for name, options in (('plain', ()), ('small', ('-o',
                              'cluster_size=512')), ('packed', ('-c',)),
                              ('direct', ('-t', 'none', '-T', 'none')),
                              ('unsparse', ('-S', '0'))):
            self.ok('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2',
                    *options, 'raw', name)
            self.same_as_raw(name, 'raw')
            self.ok('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', name,
                    'back')
            self.assertEqual(self.bytes_of('back'), self.bytes_of('raw'))
        if self.kind in HAS_HOLES:
            self.assertLess(blocks_used(self.our_path('back')), 2 * MIB)
        os.remove(self.our_path('unsparse'))
        # A target that exists and holds something else.
        shutil.copy(self.our_path('packed'), self.our_path('target'))
        with open(self.our_path('target'), 'r+b') as file:
            file.write(noise(9, 6 * MIB))
        self.ok('qemu-img', 'convert', '-n', '-f', 'qcow2', '-O', 'raw',
                'plain', 'target')
        self.assertEqual(self.bytes_of('target'), self.bytes_of('raw'))

    def bytes_of(self, name):
        with open(self.our_path(name), 'rb') as file:
            return file.read()

    def test_ranges_are_shared_or_copied(self):
        self.sparse_raw()
        self.ok('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', 'raw', 'a')
        for source, form in (('raw', 'raw'), ('a', 'qcow2')):
            for target in ('raw', 'qcow2'):
                self.ok('qemu-img', 'convert', '-C', '-f', form, '-O', target,
                        source, 'copy')
                self.same_content('copy', 'raw', target, 'raw')
        # What is shared must not change with the copy.
        self.io('copy', 'write -P 9 2M 1M', options=('-f', 'qcow2'))
        self.same_as_raw('a', 'raw')

    def free_space(self):
        subprocess.run(['sync', '-f', self.directory], check=True)
        stat = os.statvfs(self.directory)
        return stat.f_bavail * stat.f_frsize

    def test_shared_ranges_take_no_space(self):
        if self.kind not in SHARES_BLOCKS:
            self.skipTest('not here')
        with open(self.our_path('raw'), 'wb') as file:
            file.write(noise(1, 16 * MIB))
        self.ok('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', 'raw', 'a')
        for source, form in (('raw', 'raw'), ('a', 'qcow2')):
            for target in ('raw', 'qcow2'):
                before = self.free_space()
                self.ok('qemu-img', 'convert', '-C', '-f', form, '-O', target,
                        source, 'copy')
                self.assertLess(before - self.free_space(), 4 * MIB,
                                (form, target))
                self.same_content('copy', 'raw', target, 'raw')
                os.remove(self.our_path('copy'))

    def test_zeros_and_discards(self):
        self.ok('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '8M')
        self.io('a', 'write -P 1 0 8M', 'discard 1M 2M', 'write -z 4M 1M',
                'write -z -u 5M 1M', 'write -P 2 1500k 100k', 'flush',
                'read -P 0 1M 476k', 'read -P 2 1500k 100k',
                'read -P 0 1600k 1400k', 'read -P 1 3M 1M',
                'read -P 0 4M 2M', 'read -P 1 6M 2M',
                options=('-d', 'unmap', '-f', 'qcow2'))
        self.is_sound('a')
        if self.kind in HAS_HOLES:
            self.assertLess(blocks_used(self.our_path('a')), 6.5 * MIB)
        self.ok('qemu-img', 'create', '-q', '-f', 'raw', 'r', '4M')
        self.io('r', 'write -P 1 0 4M', 'discard 1M 1M', 'write -z -u 2M 1M',
                'read -P 1 0 1M', 'read -P 0 2M 1M', 'read -P 1 3M 1M',
                options=('-d', 'unmap', '-f', 'raw'))

    def test_direct_io(self):
        self.ok('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                'cluster_size=512', 'a', '1025k')
        self.io('a', 'write -P 3 511 1025', 'write -P 4 700000 123456',
                'write -P 5 1025k 0', 'read -P 3 511 1025',
                'read -P 4 700000 123456', 'flush',
                options=('-t', 'none', '-f', 'qcow2'))
        self.io('a', 'read -P 3 511 1025', 'read -P 4 700000 123456',
                'read -P 0 0 511', options=('-f', 'qcow2'))
        self.is_sound('a')

    def test_whole_image_operations(self):
        self.ok('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                'cluster_size=4k', 'a', '6M')
        self.io('a', 'write -P 1 0 4M', options=('-f', 'qcow2'))
        self.ok('qemu-img', 'snapshot', '-c', 's', 'a')
        self.io('a', 'write -P 2 1M 4M', options=('-f', 'qcow2'))
        self.ok('qemu-img', 'snapshot', '-d', 's', 'a')
        self.ok('qemu-img', 'compact', '-q', 'a')
        self.is_sound('a')
        self.ok('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'a', '-F',
                'qcow2', 'top')
        self.io('top', 'write -P 3 2M 1M', options=('-f', 'qcow2'))
        self.ok('qemu-img', 'commit', '-q', 'top')
        self.ok('qemu-img', 'resize', '-q', '--shrink', 'a', '4M')
        self.io('a', 'read -P 1 0 1M', 'read -P 2 1M 1M', 'read -P 3 2M 1M',
                'read -P 2 3M 1M', options=('-f', 'qcow2'))
        self.ok('qemu-img', 'amend', '-o', 'compat=0.10', 'a')
        self.ok('qemu-img', 'check', '-q', 'a')
        self.is_sound('a')

    def test_locks(self):
        self.ok('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '1M')
        holder = subprocess.Popen(
            ['qemu-io', 'a'], executable=OURS['qemu-io'], cwd=self.ours,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            # The prompt, or what it answers, says that the image is open.
            holder.stdin.write(b'read 0 512\n')
            holder.stdin.flush()
            while b'read 512' not in holder.stdout.readline():
                self.assertIsNone(holder.poll())
            for table in (OURS, THEIRS):
                result = run_program(table, ['qemu-io', '-c', 'write 0 512',
                                             'a'], self.ours)
                self.assertEqual(result.status, 1, result)
                self.assertIn('lock', result.err)
        finally:
            holder.communicate(b'quit\n')
        self.io('a', 'write 0 512')

    # --------------------------------------------------------- no space left

    def fill(self, leave):
        """Take all space of the file system but so many bytes."""
        path = self.our_path('filler')
        with open(path, 'wb') as file:
            piece = noise(5, MIB)
            try:
                while self.free() > leave:
                    file.write(piece[:max(1, min(MIB, self.free() - leave))])
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                pass
        return path

    def free(self):
        status = os.statvfs(self.directory)
        return status.f_bavail * status.f_frsize

    def give_back(self, filler):
        os.remove(filler)
        # On btrfs removed files hold their space until then, and at times
        # somewhat longer.
        subprocess.run(['sync', '-f', self.directory], check=True)

    def test_full_while_converting(self):
        # The source is somewhere else, and not touched.
        outside = os.path.join(os.environ[MOUNTED + '_PARENT'], 'source')
        self.addCleanup(os.remove, outside)
        with open(outside, 'wb') as file:
            for seed in range(24):
                file.write(noise(seed, MIB))
        filler = self.fill(4 * MIB)
        for form in ('qcow2', 'raw'):
            figures['operations'] += 1
            result = self.our('qemu-img', 'convert', '-f', 'raw', '-O', form,
                              outside, 'copy')
            self.assertEqual(result.status, 1, result)
            self.assertIn('No space left', result.err)
            if os.path.exists(self.our_path('copy')):
                os.remove(self.our_path('copy'))
        self.give_back(filler)
        self.ok('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', outside,
                'copy')
        self.is_sound('copy')
        self.same_content('copy', outside, 'qcow2', 'raw')

    def test_full_while_writing(self):
        """A session goes on once there is space again."""
        self.ok('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                'cluster_size=16k', 'a', '64M')
        self.io('a', 'write -P 1 0 1M', options=('-f', 'qcow2'))
        filler = self.fill(3 * MIB)
        session = subprocess.Popen(
            ['qemu-io', '-f', 'qcow2', 'a'], executable=OURS['qemu-io'],
            cwd=self.ours, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        killer = threading.Timer(120, session.kill)
        killer.start()
        try:
            refused, wrote = [], []
            for i in range(1, 25):
                self.ask(session, 'write -P %d %dM 1M' % (i + 1, i))
                answer = self.answer(session)
                (wrote if 'wrote 1048576' in answer else refused).append(i)
            self.ask(session, 'flush')
            self.give_back(filler)
            self.assertTrue(refused, 'everything fitted')
            again = [i for i in refused if self.write_again(session, i)]
        finally:
            session.communicate('quit\n')
            killer.cancel()
        self.assertEqual(again, refused)
        for i in wrote + again:
            self.io('a', 'read -P %d %dM 1M' % (i + 1, i),
                    options=('-f', 'qcow2'))
        self.io('a', 'read -P 1 0 1M', options=('-f', 'qcow2'))
        self.is_sound('a')

    @staticmethod
    def ask(session, command):
        session.stdin.write(command + '\n')
        session.stdin.flush()

    def answer(self, session):
        """What a write came to: its first line of output says that."""
        while True:
            line = session.stdout.readline()
            if line == '':
                self.fail('the session ended')
            if 'wrote' in line or 'failed' in line:
                return line

    def write_again(self, session, i):
        for _ in range(20):
            self.ask(session, 'write -P %d %dM 1M' % (i + 1, i))
            if 'wrote 1048576' in self.answer(session):
                return True
            time.sleep(0.5)
        return False


def run_tests(kind, directory):
    FileSystem.kind = kind
    FileSystem.directory = directory
    result = unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=1,
                           exit=False).result
    print('figure: file_system_%s %d operations' %
          (kind, figures['operations']))
    if not result.wasSuccessful():
        sys.exit(1)


if __name__ == '__main__':
    if len(sys.argv) < 2 or sys.argv[1] not in KINDS:
        sys.exit(__doc__)
    if cli_common.QEMU_IMG is None or cli_common.QEMU_IO is None:
        skip('qemu-img or qemu-io is missing')
    enter(sys.argv[1])
