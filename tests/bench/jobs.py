#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure what is done with whole images beside qemu-img and plain copies, on the
content of a real file system.  See README.md."""

import contextlib
import filecmp
import os
import random
import shutil
import subprocess
import sys

import benchlib
from benchlib import GIB, KIB, MIB, measured, run, sized

TARGET = 1.5
# A copy may take 15 % longer than cp.
TARGET_RAW = 1 / 1.15
COPY = "cp --sparse=always"
FORM = ["-f", "qcow2"]
TERABYTE = 10 ** 12


def convert_rows():
    """Job, format of the source, its file, format of the target."""
    return (("convert raw to qcow2", "raw", "raw", "qcow2"),
            ("convert qcow2 to raw", "qcow2", "source", "raw"),
            ("convert qcow2 to qcow2", "qcow2", "source", "qcow2"),
            ("convert an overlay to qcow2", "qcow2", "overlay", "qcow2"))


class Bench:
    """Files of one run: raw, what a file system holds; source, the same as qcow2;
    overlay, on source, with other bytes all over it; other, a copy of source with
    other bytes elsewhere."""

    def __init__(self, report, args, directory):
        self.report = report
        self.repeat = args.repeat
        self.size = sized(args, 2 * GIB, 512 * MIB, 16 * MIB)
        self.content = sized(args, 1200 * MIB, 300 * MIB, 4 * MIB)
        self.changes = sized(args, 1000, 300, 20)
        self.directory = directory
        self.programs = report.programs("qcow_img", "qemu-img")
        self.made = False

    def path(self, name):
        return os.path.join(self.directory, name)

    def change(self, name, seed):
        """Write 64 KiB here and there with QEMU's program."""
        chance = random.Random(seed)
        commands = []
        for _ in range(self.changes):
            block = chance.randrange(self.size // (64 * KIB))
            commands += ["-c", f"write -q -P {1 + chance.randrange(255)} "
                         f"{block * 64}k 64k"]
        run(["qemu-io", *FORM, self.path(name)] + commands)

    def make_files(self):
        if self.made:
            return
        raw = benchlib.file_system_image(self.directory, self.size,
                                         self.content)
        os.symlink(raw, self.path("raw"))
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw,
             self.path("source")])
        shutil.copyfile(self.path("source"), self.path("other"))
        self.change("other", 1)
        self.overlay("overlay")
        self.made = True

    def overlay(self, name, base="source"):
        run(["qemu-img", "create", "-q", *FORM, "-b", self.path(base), "-F",
             "qcow2", self.path(name)])
        self.change(name, 2)

    def columns(self, with_raw):
        return self.report.columns("qemu", *(["raw"] if with_raw else []))

    # ---------------------------------------------------------------- converting

    def converted(self, argv, target, source, formats):
        """Make a target in a fresh file, see what it reads as, and remove it."""
        benchlib.unlink(target)
        sample = measured(argv + [source, target]).wall_sample()
        run(["qemu-img", "compare", "-q", "-f", formats[0], "-F", formats[1],
             source, target])
        benchlib.settle(target)
        benchlib.unlink(target)
        return sample

    def convert(self, name, form, source, to):
        self.make_files()
        target = self.path("target")

        def job(who):
            if who == "raw":
                sample = benchlib.copy_sparse(self.path("raw"), target)
                benchlib.settle(target)
                benchlib.unlink(target)
                return sample
            argv = [self.programs[who], "convert", "-f", form, "-O", to]
            return self.converted(argv, target, self.path(source), (form, to))

        columns = self.columns(True)
        self.report.add(name, "seconds", benchlib.interleave(
            columns, self.repeat, job), wanted=TARGET, wanted_raw=TARGET_RAW,
            raw_is=COPY if "raw" in columns else "")

    def copy(self, name):
        """dd, which reads and writes in blocks of its own."""
        self.make_files()
        target = self.path("target")

        def job(who):
            benchlib.unlink(target)
            sample = measured([self.programs[who], "dd", *FORM, "-O", "raw",
                               "bs=1M", "if=" + self.path("source"),
                               "of=" + target]).wall_sample()
            if not filecmp.cmp(self.path("raw"), target, shallow=False):
                sys.exit(f"{name}: {who} made another file")
            benchlib.settle(target)
            benchlib.unlink(target)
            return sample

        self.report.add(name, "seconds", benchlib.interleave(
            self.columns(False), self.repeat, job), wanted=TARGET)

    # ---------------------------------------------------------------- two images

    def compare(self, name, first, second):
        self.make_files()

        def job(who):
            if who == "raw":
                return measured(["cmp", self.path("raw"), self.path("raw.2")]
                                ).wall_sample()
            argv = [self.programs[who], "compare", "-q"]
            argv += ["-f", first[1], "-F", second[1]]
            return measured(argv + [self.path(first[0]),
                                    self.path(second[0])]).wall_sample()

        columns = self.columns(True)
        if "raw" in columns:
            shutil.copyfile(self.path("raw"), self.path("raw.2"))
        self.report.add(name, "seconds", benchlib.interleave(
            columns, self.repeat, job), wanted=TARGET,
            raw_is="cmp of raw files" if "raw" in columns else "")
        benchlib.unlink(self.path("raw.2"))

    def commit(self, name):
        """Into a copy of the base, which QEMU then finds to read like before."""
        self.make_files()

        def job(who):
            shutil.copyfile(self.path("source"), self.path("base"))
            self.overlay("top", "base")
            benchlib.settle(self.path("base"))
            sample = measured([self.programs[who], "commit", "-q", "-d", *FORM,
                               self.path("top")]).wall_sample()
            run(["qemu-img", "compare", "-q", *FORM, "-F", "qcow2",
                 self.path("base"), self.path("overlay")])
            return sample

        self.report.add(name, "seconds", benchlib.interleave(
            self.columns(False), self.repeat, job), wanted=TARGET)

    def rebase(self, name):
        """To a base that differs in as many places as the overlay has."""
        self.make_files()

        def job(who):
            shutil.copyfile(self.path("overlay"), self.path("top"))
            sample = measured([self.programs[who], "rebase", "-q", *FORM, "-b",
                               self.path("other"), "-F", "qcow2",
                               self.path("top")]).wall_sample()
            run(["qemu-img", "compare", "-q", *FORM, "-F", "qcow2",
                 self.path("top"), self.path("overlay")])
            return sample

        self.report.add(name, "seconds", benchlib.interleave(
            self.columns(False), self.repeat, job), wanted=TARGET)

    # ------------------------------------------------------------------- cloning

    def clone(self, name, disk):
        """What a terabyte takes where the file system shares ranges."""
        self.make_files()
        source = os.path.join(disk, "source.raw")
        shutil.copyfile(self.path("raw"), source)
        benchlib.settle(source)
        scale = TERABYTE / self.content

        def job(who):
            target = os.path.join(disk, "target")
            if who == "raw":
                sample = measured(["cp", "--reflink=always", source, target]
                                  ).wall_sample()
            else:
                sample = self.converted(
                    [self.programs[who], "convert", "-C", "-f", "raw", "-O", "raw"],
                    target, source, ("raw", "raw"))
            benchlib.unlink(target)
            sample.value *= scale
            return sample

        columns = self.columns(True)
        self.report.add(name, "seconds", benchlib.interleave(
            columns, self.repeat, job), wanted=TARGET,
            raw_is="cp --reflink=always" if "raw" in columns else "")

    def clone_if_possible(self, name):
        with cloning_disk(self.directory, 2 * self.size + 400 * MIB) as disk:
            if isinstance(disk, str):
                self.clone(name, disk)
            else:
                self.report.missing(name, "no file system that shares ranges")

    def measure_all(self):
        for name, *row in convert_rows():
            if self.report.wants(name):
                self.convert(name, *row)
        for name, job in (("dd qcow2 to raw", self.copy),
                          ("commit", self.commit), ("rebase", self.rebase),
                          ("a terabyte by cloning", self.clone_if_possible)):
            if self.report.wants(name):
                job(name)
        for name, first, second in (
                ("compare raw with qcow2", ("raw", "raw"),
                 ("source", "qcow2")),
                ("compare an overlay with itself", ("overlay", "qcow2"),
                 ("overlay", "qcow2"))):
            if self.report.wants(name):
                self.compare(name, first, second)


@contextlib.contextmanager
def cloning_disk(directory, size):
    """A directory where ranges can be shared, on a disk in a file; None without."""
    disk, mounted = os.path.join(directory, "disk"), False
    point = disk + ".d"
    os.mkdir(point)
    with open(disk, "wb") as file:
        file.truncate(size)
    try:
        with contextlib.suppress(FileNotFoundError):
            mounted = all(subprocess.run(
                argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                check=False).returncode == 0 for argv in (
                    ["mkfs.xfs", "-q", "-m", "reflink=1", disk],
                    ["mount", "-o", "loop", disk, point]))
        yield point if mounted else None
    finally:
        if mounted:
            run(["umount", point])
        os.unlink(disk)


def measure(report, args, directory):
    Bench(report, args, directory).measure_all()


def main():
    parser = benchlib.argument_parser(__doc__, repeat=5)
    return benchlib.main("jobs", parser, measure,
                         needs=("qemu-img", "qemu-io", "mke2fs"))


if __name__ == "__main__":
    sys.exit(main())
