#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure a raw file, this library and QEMU side by side.  See README.md."""

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

MEMORY_LIMIT = 64 * MIB
THREADS_TARGET = 1.7
CLUSTER = 64 * KIB


class Config:
    """Sizes of a run: the real ones, or tiny ones for a smoke test."""

    def __init__(self, args):
        smoke = args.smoke
        self.repeat = 1 if smoke else args.repeat
        self.disk = 8 * MIB if smoke else args.size * MIB
        self.requests = 256 if smoke else 100000
        self.giant = GIB if smoke else 1024 * GIB
        self.file_system = 16 * MIB if smoke else 1024 * MIB
        self.file_system_content = 4 * MIB if smoke else 600 * MIB


def run(argv):
    """Run a command; its standard output, or the end of this program."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def stride(size, block):
    """A step that visits every block once, far from the one before."""
    blocks = size // block
    step = max(1, int(blocks * 0.618))
    while math.gcd(step, blocks) != 1:
        step += 1
    return step * block


class Contender:
    """One column: how to make its file and how to time its requests."""

    def __init__(self, name, bench, threads=1, depth=1):
        self.name = name
        self.bench = bench
        self.threads = threads
        self.depth = depth

    @property
    def format(self):
        return "raw" if self.name.startswith("raw") else "qcow2"

    def measure(self, path, case):
        if self.name.startswith("qemu"):
            return self.measure_qemu(path, case)
        engine = "raw" if self.format == "raw" else "lib"
        return json.loads(run([
            self.bench, engine, "write" if case.writes else "read", path,
            str(case.size), str(case.block), str(case.step),
            str(case.count), str(self.threads)]))

    def measure_qemu(self, path, case):
        argv = ["qemu-img", "bench", "-f", "qcow2", "-t", "writeback",
                "-c", str(case.count), "-d", str(self.depth),
                "-s", str(case.block), "-S", str(case.step)]
        if case.writes:
            argv.append("-w")
        text = run(argv + [path])
        found = re.search(r"completed in ([0-9.]+) seconds", text)
        return {"seconds": max(float(found.group(1)), 0.001)}


class Case:
    """One row: a pattern of requests on a disk."""

    def __init__(self, name, target, config, **pattern):
        self.name = name
        self.target = target
        self.writes = pattern["writes"]
        self.fresh = pattern["fresh"]
        self.block = pattern["block"]
        self.size = config.disk
        self.step = pattern["step"](self)
        self.count = min(pattern.get("count", config.requests),
                         pattern["most"](self))


def cases(config):
    """The rows of the table."""
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
        Case("random 4 KiB reads", 0.7, config, writes=False, fresh=False,
             block=4 * KIB, step=scattered, most=any_number),
        Case("in-place 4 KiB writes", 0.7, config, writes=True, fresh=False,
             block=4 * KIB, step=scattered, most=any_number),
        Case("allocating 64 KiB writes", 0.5, config, writes=True, fresh=True,
             block=64 * KIB, step=sequential, most=one_pass),
        Case("allocating 4 KiB writes", None, config, writes=True, fresh=True,
             block=4 * KIB, step=one_per_cluster, most=one_pass),
    ]


class Disks:
    """The files of one case, one for each format."""

    def __init__(self, directory, size):
        self.directory = directory
        self.size = size
        self.source = os.path.join(directory, "source.raw")
        with open(self.source, "wb") as file:
            for _ in range(size // MIB):
                file.write(os.urandom(MIB))

    def path(self, contender):
        return os.path.join(self.directory, "disk." + contender.name)

    def make(self, contender, fresh):
        """An empty disk, or one that is allocated and in the page cache."""
        path = self.path(contender)
        if os.path.exists(path):
            os.unlink(path)
        if fresh:
            run(["qemu-img", "create", "-q", "-f", contender.format, path,
                 str(self.size)])
            return
        run(["qemu-img", "convert", "-f", "raw", "-O", contender.format,
             "-W", "-S", "0", self.source, path])
        self.warm(path)

    @staticmethod
    def warm(path):
        """
        Bring a file into the page cache in single pages.

        What wrote the file left pages of other sizes for one format than for
        another, and small writes to large pages are many times slower.
        """
        fd = os.open(path, os.O_RDWR)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        while os.read(fd, MIB):
            pass
        os.close(fd)

    @staticmethod
    def settle(path):
        """Wait for the disk, so that it does not slow down the next one."""
        fd = os.open(path, os.O_RDWR)
        os.fsync(fd)
        os.close(fd)

    def remove(self, contender):
        path = self.path(contender)
        if os.path.exists(path):
            os.unlink(path)


def contenders(bench):
    return [
        Contender("raw", bench), Contender("lib", bench),
        Contender("qemu", bench), Contender("raw2", bench, threads=2),
        Contender("lib2", bench, threads=2),
        Contender("qemu64", bench, depth=64),
    ]


def measure_case(case, disks, columns, repeat):
    """Requests per second of every repetition, by column."""
    rates = {column.name: [] for column in columns}
    closing = {column.name: [] for column in columns}
    cpu = {column.name: [] for column in columns}
    checksums = {}
    if not case.fresh:
        for column in columns:
            disks.make(column, False)
    for _ in range(repeat):
        for column in columns:
            if case.fresh:
                disks.make(column, True)
            result = column.measure(disks.path(column), case)
            disks.settle(disks.path(column))
            rates[column.name].append(case.count / result["seconds"])
            closing[column.name].append(result.get("close_seconds", 0))
            cpu[column.name].append(result.get("cpu_seconds", 0))
            if not case.writes and "checksum" in result:
                checksums[column.name] = result["checksum"]
    for column in columns:
        disks.remove(column)
    if len(set(checksums.values())) > 1:
        sys.exit(f"{case.name}: contents differ: {checksums}")
    return rates, closing, cpu


def spread(values):
    return {"median": statistics.median(values), "min": min(values),
            "max": max(values), "all": values}


def verdict(good):
    return "PASS" if good else "short"


def judge_case(case, rates):
    """The row's ratios and whether each target is met."""
    median = {name: statistics.median(values)
              for name, values in rates.items()}
    to_raw = median["lib"] / median["raw"]
    to_qemu = median["lib"] / median["qemu"]
    threads = median["lib2"] / median["lib"]
    judged = [{"what": "to qemu-img bench", "value": to_qemu, "target": 1.0,
               "verdict": verdict(to_qemu >= 1.0)},
              {"what": "two threads to one", "value": threads,
               "target": THREADS_TARGET,
               "verdict": verdict(threads >= THREADS_TARGET),
               "raw": median["raw2"] / median["raw"]}]
    if case.target is not None:
        judged.insert(0, {"what": "to raw", "value": to_raw,
                          "target": case.target,
                          "verdict": verdict(to_raw >= case.target)})
    else:
        judged.insert(0, {"what": "to raw", "value": to_raw, "target": None,
                          "verdict": ""})
    return judged


def print_case(case, columns, rates, judged, smoke):
    print(f"\n{case.name}: {case.count} requests of {case.block} bytes on "
          f"{case.size // MIB} MiB, requests per second")
    for column in columns:
        s = spread(rates[column.name])
        print(f"  {column.name:8} {s['median']:12,.0f}   "
              f"{s['min']:,.0f} .. {s['max']:,.0f}")
    for item in judged:
        target = "" if item["target"] is None else f"want {item['target']:.1f}"
        note = f"  (raw {item['raw']:.2f})" if "raw" in item else ""
        print(f"  {item['what']:20} {item['value']:8.2f}  {target:10} "
              f"{'' if smoke else item['verdict']}{note}")


def measure_requests(config, bench, directory, wanted, smoke):
    """All rows that are wanted; a list for the JSON report."""
    report = []
    columns = contenders(bench)
    chosen = [case for case in cases(config) if wanted in case.name]
    if not chosen:
        return report
    disks = Disks(directory, config.disk)
    for case in chosen:
        rates, closing, cpu = measure_case(case, disks, columns, config.repeat)
        judged = judge_case(case, rates)
        print_case(case, columns, rates, judged, smoke)
        ratio = (statistics.median(cpu["raw"]) /
                 max(statistics.median(cpu["lib"]), 1e-6))
        print(f"  {'to raw, CPU time':20} {ratio:8.2f}  for information")
        report.append({
            "case": case.name, "requests": case.count, "block": case.block,
            "rates": {name: spread(v) for name, v in rates.items()},
            "close_seconds": {name: spread(v) for name, v in closing.items()
                              if any(v)},
            "cpu_seconds": {name: spread(v) for name, v in cpu.items()
                            if any(v)},
            "judged": judged})
    os.unlink(disks.source)
    return report


def make_file_system(directory, config):
    """A raw image of an ext4 file system with files of all kinds in it."""
    tree = os.path.join(directory, "tree")
    os.mkdir(tree)
    left = config.file_system_content
    for top, _, names in os.walk("/usr", followlinks=False):
        for name in sorted(names):
            path = os.path.join(top, name)
            if left <= 0:
                break
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            size = os.path.getsize(path)
            if size > left:
                continue
            target = os.path.join(tree, os.path.relpath(top, "/"))
            os.makedirs(target, exist_ok=True)
            shutil.copyfile(path, os.path.join(target, name))
            left -= size
    image = os.path.join(directory, "fs.raw")
    with open(image, "wb") as file:
        file.truncate(config.file_system)
    run(["mke2fs", "-q", "-t", "ext4", "-i", "4096", "-d", tree, image])
    shutil.rmtree(tree)
    return image


def time_convert(program, arguments, target):
    if os.path.exists(target):
        os.unlink(target)
    start = time.monotonic()
    run([program, "convert"] + arguments + [target])
    seconds = time.monotonic() - start
    Disks.settle(target)
    return seconds


def can_convert(program):
    """Whether there is a qcow-img with a convert command; if not, why."""
    if not program or not os.access(program, os.X_OK):
        return "qcow-img is not built"
    done = subprocess.run([program, "convert", "--help"], check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return "" if done.returncode == 0 else "qcow-img has no convert"


def judge_convert(name, times, smoke):
    ratio = statistics.median(times["qemu"]) / statistics.median(times["ours"])
    print(f"\n{name}, seconds")
    for column, values in times.items():
        s = spread(values)
        print(f"  {column:8} {s['median']:10.3f}   "
              f"{s['min']:.3f} .. {s['max']:.3f}")
    print(f"  {'speed to qemu-img':20} {ratio:8.2f}  {'want 1.0':10} "
          f"{'' if smoke else verdict(ratio >= 1.0)}")
    return {"case": name,
            "seconds": {k: spread(v) for k, v in times.items()},
            "judged": [{"what": "speed to qemu-img", "value": ratio,
                        "target": 1.0, "verdict": verdict(ratio >= 1.0)}]}


def measure_convert(config, qcow_img, directory, smoke):
    """Convert a file system image there and back with both programs."""
    why_not = can_convert(qcow_img)
    if not why_not and not shutil.which("mke2fs"):
        why_not = "mke2fs is not installed"
    if why_not:
        print(f"\nconvert: NOT MEASURED: {why_not}")
        return [{"case": "convert", "not_measured": why_not}]
    raw = make_file_system(directory, config)
    programs = {"ours": qcow_img, "qemu": "qemu-img"}
    report = []
    source = raw
    for name, source_format, target_format in (
            ("convert raw to qcow2", "raw", "qcow2"),
            ("convert qcow2 to raw", "qcow2", "raw")):
        times = {"ours": [], "qemu": []}
        for _ in range(config.repeat):
            for column, program in programs.items():
                target = os.path.join(directory,
                                      f"converted.{column}.{target_format}")
                times[column].append(time_convert(
                    program, ["-f", source_format, "-O", target_format,
                              source], target))
                run(["qemu-img", "compare", "-q", "-f", source_format, "-F",
                     target_format, source, target])
        report.append(judge_convert(name, times, smoke))
        source = os.path.join(directory, "converted.qemu.qcow2")
    return report


def measure_memory(config, bench, directory, smoke):
    """Peak memory of opening a full image and reading all over it."""
    path = os.path.join(directory, "giant.qcow2")
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
         "preallocation=metadata", path, str(config.giant)])
    result = json.loads(run([
        bench, "lib", "read", path, str(config.giant), str(4 * KIB),
        str(stride(config.giant, 4 * KIB)), str(config.requests), "1"]))
    os.unlink(path)
    used = result["max_rss_kib"] * KIB
    print(f"\nmemory: {config.requests} random reads of a full image of "
          f"{config.giant // GIB} GiB")
    print(f"  {'peak, MiB':20} {used / MIB:8.1f}  {'want < 64':10} "
          f"{'' if smoke else verdict(used < MEMORY_LIMIT)}")
    return [{"case": "memory", "max_rss": used, "seconds": result["seconds"],
             "judged": [{"what": "peak memory", "value": used,
                         "target": MEMORY_LIMIT,
                         "verdict": verdict(used < MEMORY_LIMIT)}]}]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", metavar="DIR",
                        help="build directory that has bench_disk, qcow-img")
    parser.add_argument("--bench", help="the bench_disk program")
    parser.add_argument("--qcow-img", help="the qcow-img program")
    parser.add_argument("--dir", help="where the files go")
    parser.add_argument("--size", type=int, default=512, metavar="MIB",
                        help="size of the disk (512)")
    parser.add_argument("--repeat", type=int, default=7, metavar="N",
                        help="repetitions (7)")
    parser.add_argument("--only", default="", metavar="WORD",
                        help="cases with this word in their name")
    parser.add_argument("--json", metavar="FILE", help="write a report")
    parser.add_argument("--smoke", action="store_true",
                        help="tiny sizes, no judgement")
    args = parser.parse_args()
    if args.build:
        args.bench = args.bench or os.path.join(
            args.build, "tests", "bench", "bench_disk")
        args.qcow_img = args.qcow_img or os.path.join(
            args.build, "tools", "qcow-img", "qcow-img")
    if not args.bench:
        parser.error("one of --build and --bench is needed")
    return args


def main():
    args = parse_arguments()
    if not shutil.which("qemu-img"):
        print("SKIP: qemu-img is not installed")
        return 77
    config = Config(args)
    directory = tempfile.mkdtemp(prefix="qcowfmt-bench-", dir=args.dir)
    try:
        report = measure_requests(config, args.bench, directory, args.only,
                                  args.smoke)
        if args.only in "convert":
            report += measure_convert(config, args.qcow_img, directory,
                                      args.smoke)
        if args.only in "memory":
            report += measure_memory(config, args.bench, directory,
                                     args.smoke)
    finally:
        shutil.rmtree(directory)
    if not report:
        sys.exit(f"no case has '{args.only}' in its name")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"repeat": config.repeat, "smoke": args.smoke,
                       "cores": os.cpu_count(), "cases": report}, file,
                      indent=1)
    short = [f"{case['case']}: {item['what']}" for case in report
             for item in case.get("judged", ())
             if item["verdict"] == "short"]
    if short and not args.smoke:
        print("\nshort of the target: " + "; ".join(short))
    return 0


if __name__ == "__main__":
    sys.exit(main())
