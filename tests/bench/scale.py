#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure what opening and requests cost, by virtual size, by number of
snapshots and by depth of the backing chain.  See README.md."""

import json
import math
import os
import statistics
import sys

import benchlib
from benchlib import GIB, Sample, measured, run

TIB = 1024 * GIB
SIZES = (GIB, TIB, 64 * TIB)
KINDS = ("open", "read", "write in place", "allocating write")
# How much of the speed on the smallest image has to be left on any other.
TARGET = 0.67
# And of reads through a chain, of those without one.
CHAIN_TARGET = 1 / 1.1


class Image:
    """What is varied."""

    def __init__(self, size, snapshots, depth):
        self.size = size
        self.snapshots = snapshots
        self.depth = depth

    def key(self):
        return self.size, self.snapshots, self.depth

    def __str__(self):
        return (f"{size_text(self.size)}, snapshots {self.snapshots}, "
                f"chain {self.depth}")


def size_text(size):
    return f"{size // TIB} TiB" if size >= TIB else f"{size // GIB} GiB"


def rivals(kind, image):
    """Images on which it should not be much faster."""
    yield "1 GiB without snapshots", (SIZES[0], 0, image.depth), TARGET
    if image.depth > 1 and kind in ("read", "write in place"):
        wanted = CHAIN_TARGET if kind == "read" else TARGET
        yield "no chain", (image.size, image.snapshots, 1), wanted


class Bench:

    def __init__(self, report, args, directory):
        self.report = report
        self.directory = directory
        self.repeat = min(args.repeat, 4)
        self.count = 128 if args.smoke else 1536
        self.snapshots = (0, 2) if args.smoke else (0, 10, 1000)
        self.depths = (1, 3) if args.smoke else (1, 10, 100, 500)
        self.programs = report.programs("bench_scale")
        self.maker = benchlib.built(args.build, "bench_scale")
        self.qcow_img = benchlib.built(args.build, "qcow_img")
        self.values = {}

    def path(self, number):
        return os.path.join(self.directory, f"{number}.qcow2")

    def create(self, number, size):
        """An image above the one with the number before."""
        backing = ["-F", "qcow2", "-b", f"{number - 1}.qcow2"]
        run([self.qcow_img, "create", "-q", "-f", "qcow2"] +
            (backing if number > 1 else []) + [self.path(number), str(size)])

    def make_chain(self, size, depth):
        """The lowest image has the data that is read."""
        for number in range(1, depth + 1):
            if not os.path.exists(self.path(number)):
                self.create(number, size)
            if number == 1:
                run([self.maker, "fill", self.path(1), str(size)])

    def remove(self, *numbers):
        for number in numbers:
            benchlib.unlink(self.path(number))

    def measure_image(self, image):
        """Turns of one image; all that is above its base is made anew."""
        top = self.path(image.depth)
        self.remove(image.depth)
        self.create(image.depth, image.size)
        if image.depth == 1:
            run([self.maker, "fill", top, str(image.size)])
        run([self.maker, "snapshots", top, str(image.size),
             str(image.snapshots)])

        def turn(who):
            taken = measured([self.programs[who], "time", top,
                              str(image.size), str(self.count),
                              str(turns.pop(0))])
            return {kind: Sample(value, peak=taken.peak)
                    for kind, value in json.loads(taken.output).items()}

        columns = list(self.programs)
        repeat = self.repeat if len(columns) == 1 else 2
        turns = list(range(repeat * len(columns)))
        return benchlib.interleave(columns, repeat, turn)

    def add_rows(self, image, found):
        for kind in KINDS:
            samples = {who: [each[kind] for each in values]
                       for who, values in found.items()}
            value = statistics.median(s.value for s in samples["ours"])
            self.values[kind, image.key()] = value
            also = [(to, self.values[kind, key] / value, wanted)
                    for to, key, wanted in rivals(kind, image)
                    if (kind, key) in self.values]
            self.report.add(f"{kind}, {image}", "microseconds", samples,
                            also=also)

    def measure_all(self):
        for depth in self.depths:
            for size in SIZES:
                images = [Image(size, number, depth)
                          for number in self.snapshots]
                if not self.report.wants(*(f"{kind}, {image}"
                                           for image in images
                                           for kind in KINDS)):
                    continue
                self.make_chain(size, depth - 1)
                for image in images:
                    self.add_rows(image, self.measure_image(image))
                self.remove(*range(1, depth + 1))


# -------------------------------------------------------------------- the plot

PANEL = 250
HEIGHT = 240
LEFT = 70
TOP = 60
GAP = 36
COLORS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7")
LOWEST, HIGHEST = -1, 5  # powers of ten of a microsecond


def text(x, y, words, anchor="middle", size=12):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'font-size="{size}">{words}</text>')


def line(x1, y1, x2, y2, color="#ccc"):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{color}"/>')


def height_of(value):
    part = (math.log10(value) - LOWEST) / (HIGHEST - LOWEST)
    return TOP + HEIGHT * (1 - min(max(part, 0), 1))


def panel(number, title, points):
    """points: x, its label, and the value of each kind; x on a log scale."""
    left = LEFT + number * (PANEL + GAP)
    low, high = math.log(points[0][0]), math.log(points[-1][0])
    xs = [left + 20 + (PANEL - 40) * (math.log(x) - low) / (high - low)
          for x, _, _ in points]
    parts = [text(left + PANEL / 2, TOP + HEIGHT + 40, title)]
    for power in range(LOWEST, HIGHEST + 1):
        y = height_of(10 ** power)
        parts.append(line(left, y, left + PANEL, y))
    for x, (_, label, _) in zip(xs, points):
        parts.append(line(x, TOP, x, TOP + HEIGHT, "#eee"))
        parts.append(text(x, TOP + HEIGHT + 18, label))
    for color, kind in zip(COLORS, KINDS):
        spots = [(x, height_of(values[kind]))
                 for x, (_, _, values) in zip(xs, points)]
        parts.append(
            f'<polyline fill="none" stroke="{color}" stroke-width="2" '
            'points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in spots) +
            '"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>'
                  for x, y in spots]
    return parts


def frame():
    """The axis and what the colours are."""
    names = ("0.1 µs", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms")
    parts = [text(LEFT - 8, height_of(10 ** power) + 4, name, "end")
             for power, name in zip(range(LOWEST, HIGHEST + 1), names)]
    for number, (color, kind) in enumerate(zip(COLORS, KINDS)):
        x = LEFT + number * 180
        parts.append(line(x, 34, x + 24, 34, color))
        parts.append(text(x + 30, 38, kind, "start"))
    return parts


def plot(values, snapshots, depths):
    """SVG of three panels, in each of which one thing is varied."""
    def point(x, label, key):
        return x, label, {kind: values[kind, key] for kind in KINDS}

    panels = [
        ("virtual size", [point(size, size_text(size), (size, 0, 1))
                          for size in SIZES]),
        ("snapshots (1 TiB)", [point(max(n, 1), str(n), (TIB, n, 1))
                               for n in snapshots]),
        ("images in the chain (1 TiB)", [point(n, str(n), (TIB, 0, n))
                                         for n in depths])]
    width = LEFT + 3 * PANEL + 2 * GAP + 20
    height = TOP + HEIGHT + 56
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
             f'height="{height}" viewBox="0 0 {width} {height}" '
             'font-family="sans-serif" fill="#222">',
             f'<rect width="{width}" height="{height}" fill="#fff"/>',
             text(LEFT, 18, "Opening, and requests of 4 KiB", "start", 14)]
    parts += frame()
    for number, (title, points) in enumerate(panels):
        parts += panel(number, title, points)
    return "\n".join(parts + ["</svg>"]) + "\n"


# ------------------------------------------------------------------------ main


def measure(report, args, directory):
    bench = Bench(report, args, directory)
    if args.only and args.plot:
        sys.exit("a plot needs all jobs")
    bench.measure_all()
    if args.list or not (args.plot or args.smoke):
        return
    drawn = plot(bench.values, bench.snapshots, bench.depths)
    with open(args.plot or os.path.join(directory, "plot.svg"), "w",
              encoding="utf-8") as file:
        file.write(drawn)


def main():
    parser = benchlib.argument_parser(__doc__, repeat=3)
    parser.add_argument("--plot", metavar="FILE", help="write an SVG plot")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return benchlib.main("scale", parser, measure, needs=(),
                         directory=memory)


if __name__ == "__main__":
    sys.exit(main())
