# SPDX-License-Identifier: MIT
"""A disk with a file system whose power can be cut.

The disk is a memfd behind a loop device.  The cut is a seal: from that moment on
every write to the memfd fails, in the middle of whatever is under way.  A copy of
what it holds is the disk of the next machine, and mounting that replays the
journal.  All mounts are in a mount namespace of this process and end with it.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import pathlib
import shutil
import subprocess
import time

MIB = 1 << 20
CLONE_NEWNS = 0x00020000

# Bytes of the disk, how the file system is made on it and mounted: it must not write
# of its own accord in the time that a slow machine takes.
FILE_SYSTEMS = {
    'ext4': (96 * MIB, ['mkfs.ext4', '-q', '-F'], 'loop,commit=300'),
    'xfs': (320 * MIB, ['mkfs.xfs', '-q', '-f'], 'loop'),
}


class Missing(Exception):
    """There can be no such disk here; the text says why."""


def enter_namespace():
    """Mounts of this process are seen by nobody else from here on."""
    if os.geteuid() != 0:
        raise Missing('only root can mount a disk')
    os.environ['PATH'] += ':/usr/sbin:/sbin'
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise Missing('no mount namespace: %s' %
                      os.strerror(ctypes.get_errno()))
    _run('mount', '--make-rprivate', '/')


def available(name):
    """Can a file system of this kind be made and mounted?"""
    if not shutil.which(FILE_SYSTEMS[name][1][0]):
        return False
    try:
        with Disk(name, _scratch()) as disk:
            disk.cut()
    except (Missing, OSError):
        return False
    return True


def _scratch():
    path = pathlib.Path('/tmp/qcow-power-%d' % os.getpid())
    path.mkdir(exist_ok=True)
    return path


def _run(*words):
    done = subprocess.run([str(word) for word in words], text=True,
                          capture_output=True, check=False, timeout=60)
    if done.returncode != 0:
        raise Missing('%s: %s' % (' '.join(map(str, words)),
                                  done.stderr.strip()))


def _copy(source, target):
    """What a file holds, leaving its holes out."""
    os.ftruncate(target, os.fstat(source).st_size)
    offset = 0
    while True:
        try:
            offset = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(source, offset, os.SEEK_HOLE)
        while offset < end:
            piece = os.pread(source, min(MIB, end - offset), offset)
            os.pwrite(target, piece, offset)
            offset += len(piece)


class Disk:
    """A mounted file system."""

    def __init__(self, kind, directory):
        self.directory = directory
        self.kind = kind
        size, make, _ = FILE_SYSTEMS[kind]
        self._memory = os.memfd_create('qcow-disk', os.MFD_CLOEXEC |
                                       os.MFD_ALLOW_SEALING)
        os.ftruncate(self._memory, size)
        _run(*make, self._path())
        self._mount()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Missing):
            _run('umount', '-l', self.directory)
        os.close(self._memory)

    def _path(self):
        return '/proc/%d/fd/%d' % (os.getpid(), self._memory)

    def _mount(self):
        # The loop device goes when nothing uses it any more.
        _run('mount', '-t', self.kind, '-o', FILE_SYSTEMS[self.kind][2],
             self._path(), self.directory)

    def cut(self):
        """From now on nothing reaches the disk."""
        for _ in range(1000):
            try:
                fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS,
                            fcntl.F_SEAL_WRITE)
                return
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.EAGAIN):
                    raise
            time.sleep(0.001)
        raise Missing('the disk cannot be sealed')

    def start_again(self):
        """With all programs gone that used it: the power is back."""
        _run('umount', '-l', self.directory)
        after = os.memfd_create('qcow-disk', os.MFD_CLOEXEC |
                                os.MFD_ALLOW_SEALING)
        _copy(self._memory, after)
        os.close(self._memory)
        self._memory = after
        self._mount()
