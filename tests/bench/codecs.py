#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure compression and encryption beside QEMU's programs, in processor
seconds of one core.  See README.md."""

import os
import sys

import benchlib
from bench_stats import paired_ratio
from benchlib import MIB, Sample, measured, run, sized

SECRET = ["--object", "secret,id=s,data=bench"]
LUKS = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
STEP = 32 * MIB


def image_arguments(path, encrypted):
    if not encrypted:
        return ["-f", "qcow2", path]
    return SECRET + ["--image-opts", "driver=qcow2,file.filename=" + path +
                     ",encrypt.key-secret=s"]


def io_commands(word, size):
    """The options that read or write a whole disk in large pieces."""
    commands = []
    for at in range(0, size, STEP):
        commands += ["-c", f"{word} {at} {min(STEP, size - at)}"]
    return commands


class Codecs:
    """One run: the programs, and the disk that is worked on."""

    def __init__(self, report, args, directory):
        self.report = report
        self.repeat = args.repeat
        self.directory = directory
        self.size = sized(args, 512 * MIB, 256 * MIB, 16 * MIB)
        self.content = sized(args, 300 * MIB, 150 * MIB, 4 * MIB)
        self.img = report.programs("qcow_img", "qemu-img")
        self.io = report.programs("qcow_io", "qemu-io")
        self.columns = report.columns("qemu")

    def path(self, name):
        return os.path.join(self.directory, name)

    def raw(self):
        return benchlib.file_system_image(self.directory, self.size,
                                          self.content)

    def image(self, name, *options):
        """An image of the disk that QEMU makes, once."""
        path = self.path(name)
        if not os.path.exists(path):
            run(["qemu-img", "convert", *SECRET, "-f", "raw", "-O", "qcow2",
                 *options, self.raw(), path])
        return path

    def repeated(self, job):
        return benchlib.interleave(self.columns, self.repeat, job)

    def deflate(self, method, target):
        name = f"compress {method}"
        if not self.report.wants(name):
            return
        raw = self.raw()
        sizes = {who: [] for who in self.columns}

        def job(who):
            path = self.path(f"{method}.{who}.qcow2")
            taken = measured([
                self.img[who], "convert", "-m", "1", "-c", "-f", "raw", "-O",
                "qcow2", "-o", "compression_type=" + method, raw, path])
            run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw,
                 path])
            sizes[who].append(os.path.getsize(path))
            os.unlink(path)
            return taken.cpu_sample()

        samples = self.repeated(job)
        also = []
        if not self.report.compares:
            also = [("size of QEMU's to ours",
                     paired_ratio(sizes["qemu"], sizes["ours"]), 1.0)]
        self.report.add(name, "processor seconds", samples, wanted=target,
                        also=also)

    def inflate(self, method, target):
        name = f"decompress {method}"
        if not self.report.wants(name):
            return
        path = self.image(f"{method}.qcow2", "-c", "-o",
                          "compression_type=" + method)
        # Whether it is read as it should be.
        for who in self.columns:
            if who != "qemu":
                run([self.img[who], "compare", "-q", "-f", "raw", "-F",
                     "qcow2", self.raw(), path])

        def job(who):
            return measured(
                [self.io[who], "-r"] + image_arguments(path, False) +
                io_commands("read -q", self.size)).cpu_sample()

        self.report.add(name, "processor seconds", self.repeated(job),
                        wanted=target)

    def luks(self, name, word, *extra):
        """All of the work, and what encryption adds to it."""
        names = (name + ", all of it", name + ", what encryption adds")
        if not self.report.wants(*names):
            return
        paths = {False: self.image("plain.qcow2", "-S", "0"),
                 True: self.image("luks.qcow2", "-S", "0", "-o", LUKS)}

        def once(who, encrypted):
            return measured(
                [self.io[who], *extra] +
                image_arguments(paths[encrypted], encrypted) +
                io_commands(word, self.size)).cpu_sample()

        plain = {who: [] for who in self.columns}

        def job(who):
            plain[who].append(once(who, False))
            return once(who, True)

        whole = self.repeated(job)
        added = {who: [Sample(max(one.value - without.value, 0.01))
                       for one, without in zip(whole[who], plain[who])]
                 for who in self.columns}
        for title, samples, target in zip(names, (whole, added), (5.0, 4.0)):
            self.report.add(title, "processor seconds", samples,
                            wanted=target)


def measure(report, args, directory):
    codecs = Codecs(report, args, directory or "")
    codecs.deflate("zlib", 15.0)
    codecs.deflate("zstd", 1.5)
    codecs.inflate("zlib", 2.0)
    codecs.inflate("zstd", 1.0)
    codecs.luks("read LUKS", "read -q", "-r")
    codecs.luks("write LUKS", "write -q -P 7")


def main():
    parser = benchlib.argument_parser(__doc__, repeat=5)
    return benchlib.main("codecs", parser, measure,
                         needs=("qemu-img", "qemu-io", "mke2fs"))


if __name__ == "__main__":
    sys.exit(main())
