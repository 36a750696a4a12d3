#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Linux guest lives on images that libqcowfmt and QEMU write in turn.

    test_guest_boot.py QCOW_IMG QCOW_IO

The tools make a base image with an ext4 file system and an overlay on it.  A
guest in QEMU boots, fills the overlay and powers off.  Then the library writes
into that overlay in place and converts the chain to one new image, and the
guest boots again with both: every file of the first boot and what the library
wrote must be there.  After each step both checkers must find nothing.
"""

import hashlib
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import initramfs  # noqa: E402
import kernel  # noqa: E402
import machine  # noqa: E402

SKIP = 77
DISK_SIZE = "256M"
BLOCK_SIZE = 4096
PAYLOAD_BLOCKS = 700
SEED = 6122
HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = ("qemu-img", "mke2fs", "e2fsck", "debugfs")
SBIN = "/usr/sbin:/sbin"


def say(text):
    print("--", text, flush=True)


def run(*command):
    done = subprocess.run([str(word) for word in command], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}"
                 f"ended with {done.returncode}")
    return done.stdout


def program(name):
    path = shutil.which(name) or shutil.which(name, path=SBIN)
    if not path:
        raise machine.Missing(f"{name} is not installed")
    return path


class Lab:
    """The files of one run, and the steps of the story told over them."""

    def __init__(self, directory, qcow_img, qcow_io):
        self.directory = directory
        self.qcow_img = qcow_img
        self.qcow_io = qcow_io
        self.tools = {name: program(name) for name in PROGRAMS}
        self.random = random.Random(SEED)
        self.raw = directory / "base.raw"
        self.base = directory / "base.qcow2"
        self.overlay = directory / "overlay.qcow2"
        self.flat = directory / "flat.qcow2"
        self.payload = b""

    def make_base(self):
        """An ext4 file system with some files, and one that waits to be
        overwritten beneath the guest's feet."""
        tree = self.directory / "tree"
        shutil.copytree(HERE, tree / "base",
                        ignore=shutil.ignore_patterns("__pycache__"))
        (tree / "payload").write_bytes(
            self.random.randbytes(PAYLOAD_BLOCKS * BLOCK_SIZE))
        run(self.tools["mke2fs"], "-q", "-t", "ext4", "-b", BLOCK_SIZE,
            "-d", tree, self.raw, DISK_SIZE)
        # Small clusters below large ones: every copy-on-write of the overlay
        # gathers from several clusters of the base.
        run(self.qcow_img, "convert", "-f", "raw", "-O", "qcow2",
            "-o", "cluster_size=4096", self.raw, self.base)
        run(self.qcow_img, "create", "-q", "-f", "qcow2", "-b", self.base,
            "-F", "qcow2", self.overlay)

    def check(self, *images):
        for image in images:
            for checker in (self.qcow_img, self.tools["qemu-img"]):
                run(checker, "check", "-f", "qcow2", image)

    def check_file_system(self, source):
        """Convert to raw and let e2fsprogs judge; returns the raw file."""
        raw = self.directory / "out.raw"
        run(self.qcow_img, "convert", "-f", "qcow2", "-O", "raw", source, raw)
        run(self.tools["e2fsck"], "-fn", raw)
        return raw

    def read_file(self, raw, name):
        """The content of a file in the file system, read without mounting."""
        out = self.directory / "dumped"
        run(self.tools["debugfs"], "-R", f"dump {name} {out}", raw)
        return out.read_bytes()

    def verify_without_guest(self, raw):
        """The files that the guest wrote have the checksums it noted."""
        sums = self.read_file(raw, "/SHA256SUMS").decode().splitlines()
        for line in sums[::10] + [line for line in sums if "large" in line]:
            expected, name = line.split(maxsplit=1)
            content = self.read_file(raw, "/" + name)
            if hashlib.sha256(content).hexdigest() != expected:
                sys.exit(f"{name} differs from what the guest wrote")
        say(f"{len(sums)} files listed, a sample verified with debugfs")

    def write_payload(self, raw):
        """Give /payload new content, in pieces of any size and order through
        the library, in the image that QEMU has been writing."""
        listing = run(self.tools["debugfs"], "-R", "blocks /payload", raw)
        blocks = [int(word) for word in
                  re.findall(r"^[\d ]+$", listing, re.M)[-1].split()]
        if len(blocks) != PAYLOAD_BLOCKS:
            sys.exit(f"debugfs lists {len(blocks)} blocks of /payload")
        self.payload = self.random.randbytes(PAYLOAD_BLOCKS * BLOCK_SIZE)
        commands = []
        pieces = self.cut(blocks)
        for number, (position, length) in enumerate(pieces):
            part = self.directory / f"part{number}"
            part.write_bytes(self.payload[position:position + length])
            offset = (blocks[position // BLOCK_SIZE] * BLOCK_SIZE
                      + position % BLOCK_SIZE)
            commands += ["-c", f"write -s {part} {offset} {length}"]
        run(self.qcow_io, "-f", "qcow2", *commands, "-c", "flush", self.overlay)
        say(f"wrote /payload in {len(pieces)} pieces")

    def cut(self, blocks):
        """Shuffled (position, length) pieces of a file, each contiguous on the
        disk, most of them unaligned."""
        size = len(blocks) * BLOCK_SIZE
        cuts = {0, size, *(self.random.randrange(size) for _ in range(60))}
        cuts |= {i * BLOCK_SIZE for i in range(1, len(blocks))
                 if blocks[i] != blocks[i - 1] + 1}
        edges = sorted(cuts)
        pieces = [(low, high - low) for low, high in zip(edges, edges[1:])]
        self.random.shuffle(pieces)
        return pieces

    def flatten(self):
        run(self.qcow_img, "convert", "-f", "qcow2", "-O", "qcow2",
            self.overlay, self.flat)
        self.raw.unlink()

    def verify_console(self, console, disks):
        digest = hashlib.sha256(self.payload).hexdigest()
        for disk in disks:
            if not re.search(rf"^QCF-GUEST payload {disk} {digest}", console,
                             re.M):
                sys.exit(f"{disk}: the guest does not see the payload\n"
                         f"{console}")


def story(lab, guest):
    say(f"guest runs under {guest.accelerator}")
    lab.make_base()
    lab.check(lab.base, lab.overlay)

    guest.run("write", [lab.overlay])
    say("first boot done")
    lab.check(lab.base, lab.overlay)
    raw = lab.check_file_system(lab.overlay)
    lab.verify_without_guest(raw)

    lab.write_payload(raw)
    lab.check(lab.base, lab.overlay)
    lab.flatten()
    lab.check(lab.flat)

    console = guest.run("verify", [lab.overlay, lab.flat])
    say("second boot done")
    lab.verify_console(console, ["vda", "vdb"])
    lab.check(lab.base, lab.overlay, lab.flat)
    for image in (lab.overlay, lab.flat):
        raw = lab.check_file_system(image)
        if lab.read_file(raw, "/payload") != lab.payload or \
                lab.read_file(raw, "/second-boot") != b"second boot\n":
            sys.exit(f"{image.name}: files differ after the second boot")


def main():
    with tempfile.TemporaryDirectory(prefix="qcf-guest-") as name:
        directory = pathlib.Path(name)
        try:
            linux = kernel.find()
            initrd = directory / "initrd"
            initrd.write_bytes(initramfs.build(
                (HERE / "init.sh").read_bytes(), linux.modules()))
            lab = Lab(directory, sys.argv[1], sys.argv[2])
            guest = machine.Machine(linux, initrd)
        except (kernel.Missing, initramfs.Missing, machine.Missing) as reason:
            print(f"SKIP: {reason}")
            sys.exit(SKIP)
        say(f"kernel {linux.release}")
        try:
            story(lab, guest)
        except machine.Failed as failure:
            sys.exit(str(failure))


if __name__ == "__main__":
    main()
