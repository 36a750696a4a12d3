#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure operations on metadata beside qemu-img, on a large image that has
all its tables.  See README.md."""

import filecmp
import os
import subprocess
import sys

import benchlib
from benchlib import GIB, measured, run

TARGET = 5.0
# What the aim of a job is, if it is another.
TARGETS = {"resize, growing": 1.0, "resize, shrinking": 1.0,
           "amend, wider refcounts": 1.0, "amend, narrower refcounts": 1.0}
# Those that can do no better than to read all tables once.
READERS = ("check", "map", "check with a snapshot")


class Step:
    """One row: a command on an image."""

    def __init__(self, name, command, *options, operand="", same_output=False):
        self.name = name
        self.command = command
        self.options = list(options)
        self.operand = operand
        self.same_output = same_output

    def argv(self, program, image):
        argv = [program, self.command] + self.options + [image]
        return argv + [self.operand] if self.operand else argv


def groups(size):
    """
    Steps that follow each other on one image.

    The last of a group leaves the image as the first found it, so that it can
    be repeated.
    """
    form = ("-f", "qcow2")
    tables = "preallocation=metadata"
    return [
        [Step("create", "create", "-q", *form, "-o", tables,
              operand=str(size))],
        [Step("check", "check", *form, "--output=json", same_output=True)],
        [Step("map", "map", *form, "--output=json", same_output=True)],
        [Step("snapshot create", "snapshot", "-q", "-c", "one"),
         Step("check with a snapshot", "check", *form, "--output=json",
              same_output=True),
         Step("snapshot delete", "snapshot", "-q", "-d", "one")],
        [Step("resize, growing", "resize", "-q", *form,
              "--preallocation=metadata", operand=str(size + size // 16)),
         Step("resize, shrinking", "resize", "-q", *form, "--shrink",
              operand=str(size))],
        [Step("amend, wider refcounts", "amend", "-q", *form, "-o",
              "refcount_bits=64"),
         Step("amend, narrower refcounts", "amend", "-q", *form, "-o",
              "refcount_bits=16")],
    ]


def missing(program, step):
    """Why our program cannot be measured; empty if it can."""
    done = subprocess.run([program, step.command, "--help"], check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode != 0:
        return f"qcow-img has no {step.command}"
    if step.command == "amend" and "refcount_bits" not in run(
            [program, "amend", "-f", "qcow2", "-o", "help"]):
        return "qcow-img cannot change refcount_bits"
    return ""


class Bench:

    def __init__(self, report, args, directory):
        self.report = report
        self.repeat = args.repeat
        self.size = GIB if args.smoke else args.size * GIB
        self.directory = directory
        self.programs = report.programs("qcow_img", "qemu-img")
        self.made = False

    def path(self, name):
        return os.path.join(self.directory, name)

    def image(self, who):
        return self.path(who + ".qcow2")

    def make_images(self):
        """The same for all: QEMU's."""
        for who in self.programs:
            run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
                 "preallocation=metadata", self.image(who), str(self.size)])
        self.made = True

    def compare_outputs(self, step):
        """But for the name of the image, and a key that is newer than some."""
        if not step.same_output:
            return
        first, second = self.programs
        for who in self.programs:
            with open(self.path(who + ".out"), "rb") as file:
                text = file.read()
            with open(self.path(who + ".out"), "wb") as file:
                file.write(text.replace(self.image(who).encode(), b"IMAGE")
                           .replace(b'"compressed": false, ', b""))
        if not filecmp.cmp(self.path(first + ".out"),
                           self.path(second + ".out"), shallow=False):
            sys.exit(f"{step.name}: the outputs are not the same")

    @staticmethod
    def judge(image):
        run(["qemu-img", "check", "-q", "-f", "qcow2", image])

    def measure(self, step, who):
        if who == "raw":
            return benchlib.read_data(self.image("ours"))
        image = self.image(who)
        if step.command == "create":
            image = self.path(who + ".new.qcow2")
        taken = measured(step.argv(self.programs[who], image),
                         self.path(who + ".out"))
        if step.command == "create":
            self.judge(image)
            os.unlink(image)
        return taken.wall_sample()

    def measure_group(self, steps):
        samples = {step.name: {} for step in steps}
        for turn in range(self.repeat):
            # Step by step, so that all programs meet the same machine.
            for step in steps:
                columns = list(self.programs)
                if step.name in READERS and not self.report.compares:
                    columns.append("raw")
                if turn % 2 == 1:
                    columns.reverse()
                for who in columns:
                    samples[step.name].setdefault(who, []).append(
                        self.measure(step, who))
                self.compare_outputs(step)
        for who in self.programs:
            self.judge(self.image(who))
        for step in steps:
            self.report.add(
                step.name, "seconds", samples[step.name],
                wanted=TARGETS.get(step.name, TARGET),
                raw_is="pread of all tables" if "raw" in samples[step.name]
                else "")

    def measure_all(self):
        for steps in groups(self.size):
            if not self.report.wants(*(step.name for step in steps)):
                continue
            why_not = missing(self.programs["ours"], steps[0])
            if why_not:
                self.report.missing(steps[0].name, why_not)
                continue
            if not self.made:
                self.make_images()
            self.measure_group(steps)


def measure(report, args, directory):
    Bench(report, args, directory).measure_all()


def main():
    parser = benchlib.argument_parser(__doc__, repeat=5)
    parser.add_argument("--size", type=int, default=1024, metavar="GIB",
                        help="size of the disk (1024)")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return benchlib.main("metadata", parser, measure, directory=memory)


if __name__ == "__main__":
    sys.exit(main())
