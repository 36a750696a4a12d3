#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure compression and encryption beside QEMU's programs, in processor
seconds of one core.  See README.md."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from run import Config, MIB, make_file_system, run, spread, verdict

SECRET = ["--object", "secret,id=s,data=bench"]
LUKS = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
STEP = 32 * MIB


def processor_seconds(argv):
    """User and system time of a command with all its threads."""
    before = os.times()
    done = subprocess.run(argv, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False)
    after = os.times()
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}: exit {done.returncode}\n"
                 f"{done.stderr.decode()}")
    return (after.children_user - before.children_user +
            after.children_system - before.children_system)


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


class Programs:
    """Ours and QEMU's."""

    def __init__(self, args):
        self.img = {"ours": args.qcow_img, "qemu": "qemu-img"}
        self.io = {"ours": args.qcow_io, "qemu": "qemu-io"}


class Report:
    """Rows that are printed and kept."""

    def __init__(self, smoke):
        self.smoke = smoke
        self.rows = []

    def add(self, name, times, target, sizes=None):
        ratio = (statistics.median(times["qemu"]) /
                 max(statistics.median(times["ours"]), 1e-3))
        judged = [{"what": "to QEMU", "value": ratio, "target": target,
                   "verdict": verdict(ratio >= target)}]
        print(f"\n{name}, processor seconds")
        for column, values in times.items():
            s = spread(values)
            print(f"  {column:8} {s['median']:10.2f}   "
                  f"{s['min']:.2f} .. {s['max']:.2f}")
        print(f"  {'to QEMU':20} {ratio:8.2f}  want {target:<8.1f} "
              f"{'' if self.smoke else judged[0]['verdict']}")
        if sizes:
            part = sizes["ours"] / sizes["qemu"]
            judged.append({"what": "size to QEMU's", "value": part,
                           "target": 1.0, "verdict": verdict(part <= 1.0)})
            print(f"  {'size to QEMU':20} {part:8.3f}  {'want <= 1':13} "
                  f"{'' if self.smoke else judged[1]['verdict']}")
        self.rows.append({"case": name, "judged": judged,
                          "cpu_seconds": {k: spread(v)
                                          for k, v in times.items()}})


def repeated(config, job):
    """Times of both programs, interleaved."""
    times = {"ours": [], "qemu": []}
    for _ in range(config.repeat):
        for who, values in times.items():
            values.append(job(who))
    return times


def measure_deflate(config, programs, report, directory, raw):
    """convert -c with each method; leaves QEMU's images for reading."""
    for method, target in (("zlib", 10.0), ("zstd", 1.0)):
        paths = {who: os.path.join(directory, f"{method}.{who}.qcow2")
                 for who in programs.img}

        def job(who, paths=paths, method=method):
            return processor_seconds([
                programs.img[who], "convert", "-m", "1", "-c", "-f", "raw",
                "-O", "qcow2", "-o", "compression_type=" + method, raw,
                paths[who]])

        times = repeated(config, job)
        run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw,
             paths["ours"]])
        report.add(f"compress {method}", times, target,
                   {who: os.path.getsize(path)
                    for who, path in paths.items()})


def measure_inflate(config, programs, report, directory, size):
    for method, target in (("zlib", 2.0), ("zstd", 1.0)):
        path = os.path.join(directory, f"{method}.qemu.qcow2")

        def job(who, path=path):
            return processor_seconds(
                [programs.io[who], "-r"] + image_arguments(path, False) +
                io_commands("read -q", size))

        report.add(f"decompress {method}", repeated(config, job), target)


def measure_luks(config, programs, report, directory, raw, size):
    """What encryption adds to the same work on an image without it."""
    paths = {False: os.path.join(directory, "plain.qcow2"),
             True: os.path.join(directory, "luks.qcow2")}
    convert = ["qemu-img", "convert"] + SECRET + [
        "-f", "raw", "-O", "qcow2", "-S", "0"]
    run(convert + [raw, paths[False]])
    run(convert + ["-o", LUKS, raw, paths[True]])
    for name, word, extra in (("read LUKS", "read -q", ["-r"]),
                              ("write LUKS", "write -q -P 7", [])):
        def job(who, encrypted, word=word, extra=extra):
            return processor_seconds(
                [programs.io[who]] + extra +
                image_arguments(paths[encrypted], encrypted) +
                io_commands(word, size))

        def added(who, job=job):
            return max(job(who, True) - job(who, False), 0.01)

        report.add(name + ", all of it",
                   repeated(config, lambda who, job=job: job(who, True)), 1.0)
        report.add(name + ", what encryption adds",
                   repeated(config, added), 4.0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", metavar="DIR",
                        help="build directory that has the programs")
    parser.add_argument("--qcow-img", help="the qcow-img program")
    parser.add_argument("--qcow-io", help="the qcow-io program")
    parser.add_argument("--dir", help="where the files go")
    parser.add_argument("--repeat", type=int, default=5, metavar="N",
                        help="repetitions (5)")
    parser.add_argument("--json", metavar="FILE", help="write a report")
    parser.add_argument("--smoke", action="store_true",
                        help="tiny sizes, no judgement")
    args = parser.parse_args()
    args.size = 64
    if args.build:
        for name in ("qcow-img", "qcow-io"):
            key = name.replace("-", "_")
            if getattr(args, key) is None:
                setattr(args, key,
                        os.path.join(args.build, "tools", name, name))
    if not args.qcow_img or not args.qcow_io:
        parser.error("--build, or both --qcow-img and --qcow-io are needed")
    return args


def main():
    args = parse_arguments()
    for name in ("qemu-img", "qemu-io", "mke2fs"):
        if not shutil.which(name):
            print(f"SKIP: {name} is not installed")
            return 77
    config = Config(args)
    if not args.smoke:
        config.file_system = 512 * MIB
        config.file_system_content = 300 * MIB
    report = Report(args.smoke)
    programs = Programs(args)
    directory = tempfile.mkdtemp(prefix="qcowfmt-bench-", dir=args.dir)
    try:
        raw = make_file_system(directory, config)
        measure_deflate(config, programs, report, directory, raw)
        measure_inflate(config, programs, report, directory,
                        config.file_system)
        measure_luks(config, programs, report, directory, raw,
                     config.file_system)
    finally:
        shutil.rmtree(directory)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"repeat": config.repeat, "smoke": args.smoke,
                       "cases": report.rows}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
