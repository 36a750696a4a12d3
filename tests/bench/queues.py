#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure queues beside plain loops of io_uring on a raw file, and two queues in
two threads beside one.  See README.md."""

import os
import sys

import benchlib
from bench_stats import paired_ratio
from benchlib import MIB, Sample, run, sized

CLUSTER = 64 * 1024
RING = "a loop of io_uring"

# Job, what queues do, what the raw loop does.
DEEP = (("reads, depth 64", "read", "raw-read"),
        ("writes in place, depth 64", "write", "raw-write"))
WANTED_RAW = 0.85

# Job, what the threads do, workers of each queue, how much faster two have to be.
DOUBLE = (("reads by two threads", "read", 0, 1.8),
          ("allocating writes by two threads", "allocate", 1, 1.6))


class Bench:

    def __init__(self, report, args, directory):
        self.report = report
        self.repeat = args.repeat
        self.size = sized(args, 256, 128, 16) * MIB
        self.count = sized(args, 200000, 100000, 1000)
        self.directory = directory
        self.programs = report.programs("bench_queue")
        self.made = False

    def path(self, name):
        return os.path.join(self.directory, name)

    def make_files(self):
        """The same bytes, raw and in images of both sides."""
        if self.made:
            return
        with open(self.path("raw"), "wb") as file:
            for _ in range(self.size // MIB):
                file.write(os.urandom(MIB))
        for who in self.programs:
            run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2",
                 self.path("raw"), self.path(who)])
        for name in ("raw", *self.programs):
            benchlib.warm(self.path(name))
        self.made = True

    def turn(self, who, what, threads=1, workers=0):
        """Requests per second of one turn."""
        name, count = who, self.count
        if what == "allocate":
            # All clusters once, whoever does it.
            name, count = who + ".new", self.size // CLUSTER // threads
        program = self.programs.get(who, self.programs["ours"])
        words = run([program, what, self.path(name), str(self.size),
                     str(count), str(threads), str(workers)]).split()
        return Sample(count * threads / float(words[0]), float(words[1]))

    def measure_deep(self, job, ours, raw):
        self.make_files()
        columns = self.report.columns("raw")
        samples = benchlib.interleave(
            columns, self.repeat,
            lambda who: self.turn(who, raw if who == "raw" else ours))
        self.report.add(job, "requests/s", samples, wanted_raw=WANTED_RAW,
                        raw_is=RING if "raw" in columns else "")

    def measure_double(self, job, what, workers, wanted):
        self.make_files()
        if self.report.compares:
            self.report.add(job, "requests/s", benchlib.interleave(
                self.report.columns(), self.repeat,
                lambda who: self.turn(who, what, 2, workers)))
            return
        sides = {"ours": ("ours", what, 2, workers),
                 "one": ("ours", what, 1, workers)}
        if what == "read":
            sides |= {"raw": ("raw", "raw-read", 2),
                      "one ring": ("raw", "raw-read", 1)}
        samples = benchlib.interleave(list(sides), self.repeat,
                                      lambda side: self.turn(*sides[side]))
        self.report.add(job, "requests/s", samples,
                        raw_is="two such loops" if "raw" in sides else "",
                        also=self.ratios(samples, wanted))

    @staticmethod
    def ratios(samples, wanted):
        values = {who: [s.value for s in held]
                  for who, held in samples.items()}
        also = [("one thread", paired_ratio(values["ours"], values["one"]),
                 wanted)]
        if "raw" in values:
            also.append(("two loops to one of them, raw",
                         paired_ratio(values["raw"], values["one ring"]),
                         None))
        return also

    def measure_all(self):
        for job in DEEP:
            if self.report.wants(job[0]):
                self.measure_deep(*job)
        for job in DOUBLE:
            if self.report.wants(job[0]):
                self.measure_double(*job)


def measure(report, args, directory):
    if not args.list and not os.path.exists(report.programs("bench_queue")
                                            ["ours"]):
        for job in (*DEEP, *DOUBLE):
            if report.wants(job[0]):
                report.missing(job[0], "built without io_uring")
        return
    Bench(report, args, directory).measure_all()


def main():
    parser = benchlib.argument_parser(__doc__, repeat=9)
    return benchlib.main("queues", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
