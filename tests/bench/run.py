#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure requests to a raw file, this library and QEMU side by side, and
copies of whole images.  See README.md."""

import json
import math
import os
import re
import statistics
import sys

import benchlib
from bench_stats import paired_ratio
from benchlib import CLUSTER, GIB, KIB, MIB, Sample, measured, run, sized

MEMORY_LIMIT_MIB = 64
# A column of its own, and what its rows are to reach of standard ones.
EXTENDED = "extended"
WITH_EXTENDED = ", extended L2"
EXTENDED_TARGET = 0.9
TWO_THREADS = {False: 1.8, True: 1.6}  # by whether clusters are allocated


def stride(size, block):
    """A step that visits every block once, far from the one before."""
    blocks = size // block
    step = max(1, int(blocks * 0.618))
    while math.gcd(step, blocks) != 1:
        step += 1
    return step * block


class Contender:
    """One column: how to make its file and how to time its requests."""

    def __init__(self, column, program, threads=1, depth=1, options=()):
        self.column = column
        self.options = list(options)
        self.program = program
        self.threads = threads
        self.depth = depth
        self.name = f"{column}.{threads}.{depth}"

    @property
    def format(self):
        return "raw" if self.column == "raw" else "qcow2"

    def measure(self, path, case):
        """A sample in requests per second, and what was read."""
        if self.column == "qemu":
            return self.measure_qemu(path, case), None
        engine = "raw" if self.format == "raw" else "lib"
        taken = measured([
            self.program, engine, "write" if case.writes else "read", path,
            str(case.size), str(case.block), str(case.step),
            str(case.count), str(self.threads)])
        result = json.loads(taken.output)
        return Sample(case.count / result["seconds"], result["cpu_seconds"],
                      taken.peak), result["checksum"]

    def measure_qemu(self, path, case):
        argv = [self.program, "bench", "-f", "qcow2", "-t", "writeback",
                "-c", str(case.count), "-d", str(self.depth),
                "-s", str(case.block), "-S", str(case.step)]
        if case.writes:
            argv.append("-w")
        taken = measured(argv + [path])
        found = re.search(r"completed in ([0-9.]+) seconds", taken.output)
        return Sample(case.count / max(float(found.group(1)), 0.001),
                      taken.cpu, taken.peak)


class Case:
    """One row: a pattern of requests on a disk."""

    def __init__(self, name, target, size, requests, **pattern):
        self.name = name
        self.target = target
        self.writes = pattern["writes"]
        self.fresh = pattern["fresh"]
        self.block = pattern["block"]
        self.size = size
        self.step = pattern["step"](self)
        self.count = min(requests, pattern["most"](self))


def cases(args):
    """The rows of the table."""
    size = sized(args, args.size * MIB, 256 * MIB, 8 * MIB)
    requests = sized(args, 100000, 50000, 256)

    def scattered(case):
        return stride(case.size, case.block)

    def sequential(case):
        return case.block

    def one_per_cluster(case):
        return CLUSTER

    def any_number(case):
        return sys.maxsize

    def one_pass(case):
        return case.size // case.step

    return [
        Case("random 4 KiB reads", 0.85, size, requests, writes=False,
             fresh=False, block=4 * KIB, step=scattered, most=any_number),
        Case("in-place 4 KiB writes", 0.85, size, requests, writes=True,
             fresh=False, block=4 * KIB, step=scattered, most=any_number),
        Case("allocating 64 KiB writes", 0.8, size, requests, writes=True,
             fresh=True, block=64 * KIB, step=sequential, most=one_pass),
        Case("allocating 4 KiB writes", 0.6, size, requests, writes=True,
             fresh=True, block=4 * KIB, step=one_per_cluster, most=one_pass),
    ]


class Disks:
    """The files of one case, one for each contender."""

    def __init__(self, directory, size):
        self.directory = directory
        self.size = size
        self.source = os.path.join(directory, "source.raw")
        if not os.path.exists(self.source):
            with open(self.source, "wb") as file:
                for _ in range(size // MIB):
                    file.write(os.urandom(MIB))

    def path(self, contender):
        return os.path.join(self.directory, "disk." + contender.name)

    def make(self, contender, fresh):
        """An empty disk, or one that is allocated and in the page cache."""
        path = self.path(contender)
        benchlib.unlink(path)
        if fresh:
            run(["qemu-img", "create", "-q", "-f", contender.format,
                 *contender.options, path, str(self.size)])
            return
        run(["qemu-img", "convert", "-f", "raw", "-O", contender.format,
             *contender.options, "-W", "-S", "0", self.source, path])
        benchlib.warm(path)


def contenders(report):
    """By name: what takes turns, one thread and two."""
    found = [Contender(column, program, threads)
             for threads in (1, 2)
             for column, program in report.programs("bench_disk").items()]
    if not report.compares:
        raw = benchlib.built(report.args.build, "bench_disk")
        found += [Contender(EXTENDED, raw,
                            options=["-o", "extended_l2=on"]),
                  Contender("raw", raw), Contender("raw", raw, 2),
                  Contender("qemu", "qemu-img"),
                  Contender("qemu", "qemu-img", depth=64)]
    return {contender.name: contender for contender in found}


def measure_case(case, disks, columns, repeat):
    """Samples by name of the contender; all have to read the same."""
    checksums = {}

    def job(name):
        contender = columns[name]
        if case.fresh:
            disks.make(contender, True)
        sample, checksum = contender.measure(disks.path(contender), case)
        benchlib.settle(disks.path(contender))
        if not case.writes and checksum is not None:
            checksums[name] = checksum
        return sample

    if not case.fresh:
        for column in columns.values():
            disks.make(column, False)
    samples = benchlib.interleave(list(columns), repeat, job)
    for column in columns.values():
        benchlib.unlink(disks.path(column))
    if len(set(checksums.values())) > 1:
        sys.exit(f"{case.name}: contents differ: {checksums}")
    return samples


def picked(samples, threads, qemu_depth):
    """The columns of a row, by their plain names."""
    found = {}
    for name, held in samples.items():
        column, of_threads, depth = name.split(".")
        if column == "qemu":
            if int(depth) == qemu_depth:
                found[column] = held
        elif int(of_threads) == threads:
            found[column] = held
    return found


def add_extended(report, case, extended, standard):
    """A row for the same with subclusters."""
    ratio = paired_ratio([s.value for s in extended],
                         [s.value for s in standard])
    report.add(case.name + WITH_EXTENDED, "requests/s", {"ours": extended},
               also=[("standard L2 entries", ratio, EXTENDED_TARGET)])


def add_case(report, case, samples):
    one = picked(samples, 1, 1)
    extended = one.pop(EXTENDED, None)
    two = picked(samples, 2, 64)
    limit = "a loop of " + ("pwrite" if case.writes else "pread")
    report.add(case.name, "requests/s", one, wanted=1.0,
               wanted_raw=case.target, raw_is=limit)
    to_one = paired_ratio([s.value for s in two["ours"]],
                          [s.value for s in one["ours"]])
    report.add(case.name + ", two threads", "requests/s", two,
               raw_is=limit + ", two threads",
               also=[("one thread", to_one, TWO_THREADS[case.fresh])],
               note="QEMU: one thread, depth 64")
    if extended:
        add_extended(report, case, extended, one["ours"])


def measure_requests(report, args, directory):
    for case in cases(args):
        names = [case.name, case.name + ", two threads"]
        if not report.compares:
            names.append(case.name + WITH_EXTENDED)
        if not report.wants(*names):
            continue
        disks = Disks(directory, case.size)
        add_case(report, case, measure_case(case, disks, contenders(report),
                                            args.repeat))
    if not args.list:
        benchlib.unlink(os.path.join(directory, "source.raw"))


def measure_memory(report, args, directory):
    """Peak memory of opening a full image and reading all over it."""
    name = "memory of random reads of a full 1 TiB image"
    if not report.wants(name):
        return
    size = sized(args, 1024 * GIB, 1024 * GIB, GIB)
    path = os.path.join(directory, "giant.qcow2")
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
         "preallocation=metadata", path, str(size)])
    case = Case(name, None, size, sized(args, 100000, 50000, 256),
                writes=False, fresh=False, block=4 * KIB,
                # A longer one qemu-img does not take.
                step=lambda case: stride(min(case.size, 2 * GIB), case.block),
                most=lambda case: sys.maxsize)
    columns = {column: Contender(column, program) for column, program in
               report.programs("bench_disk", "qemu-img").items()}

    def job(who):
        sample, _ = columns[who].measure(path, case)
        return Sample(sample.peak / KIB, sample.cpu, sample.peak)

    samples = benchlib.interleave(list(columns), 1 if args.smoke else 2, job)
    benchlib.unlink(path)
    used = statistics.median([s.value for s in samples["ours"]])
    report.add(name, "MiB", samples,
               also=[("64 MiB", MEMORY_LIMIT_MIB / used, 1.0)])


def measure(report, args, directory):
    measure_requests(report, args, directory)
    measure_memory(report, args, directory)


def main():
    parser = benchlib.argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=512, metavar="MIB",
                        help="size of the disk (512)")
    return benchlib.main("requests", parser, measure,
                         needs=("qemu-img",))


if __name__ == "__main__":
    sys.exit(main())
