# SPDX-License-Identifier: MIT
"""A Linux guest writes to disks that programs serve to it, and these programs are
killed at random moments: one with the library in it, and QEMU's server by turns.  The
guest says on a serial line what was flushed.  That is in the image each time, which
opens, and in which a check finds no corruption."""

import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.append(str(HERE.parent / 'guest'))
import durability as d  # noqa: E402
import initramfs  # noqa: E402
import kernel  # noqa: E402

QEMU = 'qemu-system-x86_64'
NBD_SERVER = os.environ.get('DURABILITY_NBD_SERVER')
QEMU_NBD = shutil.which('qemu-nbd')
GUEST_WRITER = os.environ.get('DURABILITY_GUEST_WRITER')

# Emulation is slow, and builders are busy.
PATIENCE = 240
KILLS = 100 if d.LONG else 10
KINDS = [kind for kind in d.KINDS if kind.name in
         ('version_2', 'version_3', 'lazy_refcounts', 'subclusters')]


class Disk:
    """An image that one server after the other serves."""

    def __init__(self, kind, root, name):
        self.name = name
        directory = root / name
        directory.mkdir()
        self.image = d.Image(kind, directory, directory)
        self.image.create()
        self.socket = directory / 'socket'
        self.servings = 0
        self.server = None

    def serve(self, forgetful=False):
        """By turns the library and QEMU do it."""
        self.socket.unlink(missing_ok=True)
        if forgetful:
            command = [NBD_SERVER, self.image.path, self.socket, 'forgetful']
        elif self.servings % 2 == 0 or QEMU_NBD is None:
            command = [NBD_SERVER, self.image.path, self.socket]
        else:
            command = [QEMU_NBD, '-f', 'qcow2', '-t', '--cache=writeback',
                       '--discard=unmap', '-k', self.socket, self.image.path]
        self.servings += 1
        self.server = subprocess.Popen([str(word) for word in command],
                                       cwd=self.image.directory)
        _wait(self.socket.exists, 'no server for %s' % self.name)

    def kill(self):
        self.server.kill()
        self.server.wait(timeout=60)
        if self.server.returncode != -signal.SIGKILL:
            raise d.Broken('a server ended with %d' % self.server.returncode)


def _wait(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise d.Broken(what)
        time.sleep(0.02)


class Guest:
    """A machine whose console and serial line go to files."""

    def __init__(self, linux, root, disks):
        self._root = root
        self._heard = 0
        self.serial = root / 'serial'
        initrd = root / 'initrd'
        initrd.write_bytes(initramfs.build(
            (HERE / 'guest_init.sh').read_bytes(), linux.modules(),
            {'bin/guest_writer': pathlib.Path(GUEST_WRITER).read_bytes()}))
        self._machine = subprocess.Popen(
            [str(word) for word in self._command(linux, initrd, disks)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def _command(self, linux, initrd, disks):
        # Not by KVM, which may be there and not work: one boot is enough.  On a
        # busy machine the kernel would not trust its timer.
        words = [QEMU, '-nodefaults', '-no-user-config', '-no-reboot',
                 '-display', 'none', '-machine', 'pc', '-accel', 'tcg',
                 '-m', '256', '-kernel', linux.vmlinuz, '-initrd', initrd,
                 '-serial', 'file:%s' % (self._root / 'console'),
                 '-serial', 'file:%s' % self.serial,
                 '-append', 'console=ttyS0 quiet loglevel=1 panic=-1 '
                            'no_timer_check mitigations=off '
                            'qcf_seed=%d' % d.SEED]
        for disk in disks:
            words += ['-blockdev', 'driver=nbd,node-name=%s,server.type=unix,'
                      'server.path=%s' % (disk.name, disk.socket),
                      '-device', 'virtio-blk-pci,drive=%s,write-cache=on,'
                      'werror=report,rerror=report' % disk.name]
        return words

    def kill(self):
        self._machine.kill()
        self._machine.wait(timeout=60)

    def console(self):
        return (self._root / 'console').read_text(errors='replace')

    def hear(self):
        """The lines of this turn, up to the last one that is complete."""
        if self._machine.poll() is not None:
            raise d.Broken('QEMU has ended\n' + self.console())
        if not self.serial.exists():
            return []
        text = self.serial.read_text(encoding='ascii', errors='replace')
        text = text.replace('\r', '')
        return text[self._heard:text.rfind('\n') + 1].splitlines()

    def hear_until(self, pattern):
        """Wait for a line; returns all of the turn up to it."""
        def number():
            return next((number for number, line in enumerate(self.hear())
                         if re.match(pattern, line)), None)
        try:
            _wait(lambda: number() is not None, 'the guest does not say "%s"' % pattern)
        except d.Broken as broken:
            raise d.Broken('%s\n%s' % (broken, self.console())) from broken
        return self.hear()[:number() + 1]

    def next_turn(self, lines):
        self._heard += sum(len(line) + 1 for line in lines)


def take_away(guest, disk, chance):
    """One turn: the disk is taken away while the guest writes to it."""
    begin = guest.hear_until('begin ')[-1]
    word, path, first = begin.split()
    if word != 'begin' or not path.endswith(disk.name):
        raise d.Broken('unexpected turn: %s' % begin)
    if chance.random() > 0.2:
        guest.hear_until('a ')
    time.sleep(chance.random() ** 2 * 0.5)
    disk.kill()
    lines = guest.hear_until('lost ')
    guest.next_turn(lines)
    disk.image.first = int(first)
    with open(disk.image.notes / 'said', 'w', encoding='ascii') as said:
        said.writelines(line + '\n' for line in lines
                        if line.startswith('a '))
    disk.image.judge()


def forgetful_is_noticed(guest, disks, chance):
    for turn in range(KILLS, KILLS + len(disks)):
        try:
            take_away(guest, disks[turn % len(disks)], chance)
        except d.Broken:
            return
    raise d.Broken('nothing is lost: the test proves nothing')


def torment(linux, root):
    chance = random.Random(d.SEED)
    disks = [Disk(kind, root, 'vd' + letter)
             for kind, letter in zip(KINDS, 'abcdefgh')]
    with contextlib.ExitStack() as cleanup:
        for disk in disks:
            disk.serve()
            cleanup.callback(lambda disk=disk: disk.server.kill())
        guest = Guest(linux, root, disks)
        cleanup.callback(guest.kill)
        for turn in range(KILLS):
            disk = disks[turn % len(disks)]
            with d.story('turn %d, %s' % (turn, disk.image.kind.name)):
                take_away(guest, disk, chance)
            disk.serve(forgetful=turn >= KILLS - len(disks))
        with d.story('servers that do not flush'):
            forgetful_is_noticed(guest, disks, chance)
    return sum(disk.image.acknowledged for disk in disks)


def main():
    try:
        linux = kernel.find()
        linux.modules()
    except kernel.Missing as why:
        d.skip(why)
    for path in (NBD_SERVER, GUEST_WRITER):
        if not path or not os.path.exists(path):
            d.skip('no static C library to build the guest\'s program with')
    if os.uname().machine != 'x86_64' or not shutil.which(QEMU):
        d.skip('%s is not installed, or this is no x86-64' % QEMU)
    with tempfile.TemporaryDirectory(prefix='qcow-guest-') as name:
        try:
            flushes = torment(linux, pathlib.Path(name))
        except initramfs.Missing as why:
            d.skip(why)
    if flushes == 0:
        sys.exit('nothing was acknowledged')
    print('figure: guest-disk-kills %d kills, %d acknowledged flushes' %
          (KILLS, flushes))


if __name__ == '__main__':
    print('seed %d (QCF_SEED)' % d.SEED)
    main()
