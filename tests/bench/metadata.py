#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure operations on metadata beside qemu-img, on a large image that has
all its tables.  See README.md."""

import argparse
import filecmp
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from run import GIB, MIB, run, spread, verdict

TARGET = 1.0
CHECK_TARGET = 5.0


class Sample:
    """What one run of a program took."""

    def __init__(self, seconds, usage):
        self.seconds = seconds
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        self.max_rss = usage.ru_maxrss * 1024


def measured(argv, stdout):
    """Run a command, its output in a file."""
    with open(stdout, "wb") as file, \
            tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        # pylint: disable-next=consider-using-with
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                   stdout=file, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            sys.exit(f"{' '.join(argv)}: exit {process.returncode}\n"
                     f"{errors.read().decode()}")
    return Sample(seconds, usage)


def interpreter_memory():
    """A child counts with at least what this program had when it began."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


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

    def __init__(self, args, directory):
        self.smoke = args.smoke
        self.repeat = 1 if args.smoke else args.repeat
        self.size = GIB if args.smoke else args.size * GIB
        self.directory = directory
        self.programs = {"ours": args.qcow_img, "qemu": "qemu-img"}
        self.rows = []

    def path(self, name):
        return os.path.join(self.directory, name)

    def image(self, who):
        return self.path(who + ".qcow2")

    def make_images(self):
        """The same for both: QEMU's."""
        for who in self.programs:
            run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
                 "preallocation=metadata", self.image(who), str(self.size)])

    def compare_outputs(self, step):
        """But for the name of the image, and a key that is newer than some."""
        if not step.same_output:
            return
        for who in self.programs:
            with open(self.path(who + ".out"), "rb") as file:
                text = file.read()
            with open(self.path(who + ".out"), "wb") as file:
                file.write(text.replace(self.image(who).encode(), b"IMAGE")
                           .replace(b'"compressed": false, ', b""))
        if not filecmp.cmp(self.path("ours.out"), self.path("qemu.out"),
                           shallow=False):
            sys.exit(f"{step.name}: the outputs are not the same")

    @staticmethod
    def judge(image):
        run(["qemu-img", "check", "-q", "-f", "qcow2", image])

    def measure(self, step, who):
        image = self.image(who)
        if step.command == "create":
            image = self.path(who + ".new.qcow2")
        sample = measured(step.argv(self.programs[who], image),
                          self.path(who + ".out"))
        if step.command == "create":
            self.judge(image)
            os.unlink(image)
        return sample

    def measure_group(self, steps):
        samples = {step.name: {who: [] for who in self.programs}
                   for step in steps}
        for _ in range(self.repeat):
            # Step by step, so that both programs meet the same machine.
            for step in steps:
                for who in self.programs:
                    samples[step.name][who].append(self.measure(step, who))
                self.compare_outputs(step)
        for who in self.programs:
            self.judge(self.image(who))
        for step in steps:
            self.add_row(step.name, samples[step.name])

    def add_row(self, name, samples):
        seconds = {who: [s.seconds for s in each]
                   for who, each in samples.items()}
        ratio = (statistics.median(seconds["qemu"]) /
                 max(statistics.median(seconds["ours"]), 1e-4))
        peak = {who: max(s.max_rss for s in each)
                for who, each in samples.items()}
        target = CHECK_TARGET if name.startswith("check") else TARGET
        good = verdict(ratio >= target)
        print(f"{name:26} " + " ".join(
            f"{statistics.median(seconds[who]):9.3f}"
            for who in self.programs) + f" {ratio:7.2f}  " + " ".join(
                f"{peak[who] / MIB:9.1f}" for who in self.programs) +
            ("" if self.smoke else f"  {good}"), flush=True)
        self.rows.append({
            "case": name,
            "seconds": {who: spread(v) for who, v in seconds.items()},
            "cpu_seconds": {who: spread([s.cpu_seconds for s in each])
                            for who, each in samples.items()},
            "max_rss": peak,
            "judged": [{"what": "speed to qemu-img", "value": ratio,
                        "target": target, "verdict": good}]})

    def measure_all(self, wanted):
        print(f"{self.size // GIB} GiB with all metadata: seconds, speed to "
              f"qemu-img, peak memory in MiB\n"
              f"{'':26} {'ours':>9} {'qemu':>9} {'ratio':>7}  {'ours':>9} "
              f"{'qemu':>9}")
        self.make_images()
        for steps in groups(self.size):
            if not any(wanted in step.name for step in steps):
                continue
            why_not = missing(self.programs["ours"], steps[0])
            if why_not:
                print(f"{steps[0].name}: NOT MEASURED: {why_not}")
                self.rows.append({"case": steps[0].name,
                                  "not_measured": why_not})
            else:
                self.measure_group(steps)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", metavar="DIR",
                        help="build directory that has qcow-img")
    parser.add_argument("--qcow-img", help="the qcow-img program")
    parser.add_argument("--dir", help="where the images go (/dev/shm)")
    parser.add_argument("--size", type=int, default=1024, metavar="GIB",
                        help="size of the disk (1024)")
    parser.add_argument("--repeat", type=int, default=5, metavar="N",
                        help="repetitions (5)")
    parser.add_argument("--only", default="", metavar="WORD",
                        help="cases with this word in their name")
    parser.add_argument("--json", metavar="FILE", help="write a report")
    parser.add_argument("--smoke", action="store_true",
                        help="tiny sizes, no judgement")
    args = parser.parse_args()
    if args.build:
        args.qcow_img = args.qcow_img or os.path.join(
            args.build, "tools", "qcow-img", "qcow-img")
    if not args.qcow_img:
        parser.error("one of --build and --qcow-img is needed")
    if not args.dir and not args.smoke and os.access("/dev/shm", os.W_OK):
        args.dir = "/dev/shm"
    return args


def main():
    args = parse_arguments()
    if not shutil.which("qemu-img"):
        print("SKIP: qemu-img is not installed")
        return 77
    floor = interpreter_memory()
    directory = tempfile.mkdtemp(prefix="qcowfmt-bench-", dir=args.dir)
    bench = Bench(args, directory)
    try:
        bench.measure_all(args.only)
    finally:
        shutil.rmtree(directory)
    if not bench.rows:
        sys.exit(f"no case has '{args.only}' in its name")
    print(f"Memory below {floor / MIB:.0f} MiB cannot be told apart.")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"repeat": bench.repeat, "smoke": args.smoke,
                       "size": bench.size, "memory_floor": floor,
                       "cores": os.cpu_count(), "cases": bench.rows}, file,
                      indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
