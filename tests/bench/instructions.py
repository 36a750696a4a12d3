#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Count the instructions of each hot path and compare with what is expected.

Counts move with the compiler, so the library is built here, in a directory of
its own and always with the same flags, and is judged only where the compiler
is the one that the expected counts come from.  See README.md.
"""

import argparse
import collections
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
EXPECTED = os.path.join(HERE, "instructions.json")
TOLERANCE = 0.03
SKIP = 77

SETUP = ["meson", "setup", "--buildtype=plain", "-Dc_args=-O2 -g",
         "-Ddebug_locks=false", "-Dtests=disabled", "-Dtools=false",
         "-Dexamples=false", "-Djson=disabled", "-During=disabled"]
# What the C library's string functions do depends on the processor, unless
# they are told that it can do nothing special.
TUNABLES = "glibc.cpu.hwcaps=-AVX2,-AVX,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load"


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(SKIP)


def run(argv, **options):
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def circumstances():
    """What counts depend on, beside the library."""
    return {
        "compiler": "gcc " + run(["gcc", "-dumpversion"]).split(".")[0].strip(),
        "machine": platform.machine(),
    }


def build(directory):
    """The library and the program, built as always; the program's path."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("CFLAGS", "CPPFLAGS", "LDFLAGS", "DESTDIR")}
    environment["CC"] = "gcc"
    if not os.path.exists(os.path.join(directory, "build.ninja")):
        run(SETUP + [directory, SOURCE], env=environment)
    run(["ninja", "-C", directory, "-j2"], env=environment)
    library = os.path.join(directory, "lib")
    program = os.path.join(directory, "bench_paths")
    run(["gcc", "-O2", "-g", "-I" + os.path.join(SOURCE, "include"),
         "-o", program, os.path.join(HERE, "bench_paths.c"), "-L" + library,
         "-lqcowfmt", "-Wl,-z,now", "-Wl,-rpath," + library])
    return program


class Counts:
    """Instructions by function, of one dump."""

    def __init__(self, path):
        self.functions = collections.Counter()
        self.library = 0
        self.all = 0
        self.names = {}
        self.read(path)

    def name(self, kind, text):
        """Names are written out once and have a number from then on."""
        number, name = re.fullmatch(r"\((\d+)\)(?: (.*))?", text).groups()
        if name is not None:
            self.names[kind, number] = name
        return self.names[kind, number]

    def read(self, path):
        place = {"ob": "", "fn": ""}
        is_call = False
        with open(path, encoding="utf-8") as file:
            for line in file:
                named = re.match(r"(c?)(ob|fl|fi|fe|fn|file)=(.*)", line)
                cost = re.match(r"[+\-*\d]\S* (\d+)$", line)
                if named:
                    called, kind, text = named.groups()
                    name = self.name(kind if kind in place else "fl", text)
                    if kind in place and not called:
                        place[kind] = name
                elif line.startswith("calls="):
                    is_call = True  # the next line has the callee's cost
                elif cost:
                    if not is_call:
                        self.add(place, int(cost.group(1)))
                    is_call = False

    def add(self, place, instructions):
        self.functions[place["fn"]] += instructions
        self.all += instructions
        if "libqcowfmt" in os.path.basename(place["ob"]):
            self.library += instructions


def count(program):
    """For each path its counts, and how many requests they are for."""
    directory = tempfile.mkdtemp(prefix="qcowfmt-paths-")
    dumps = os.path.join(directory, "dump")
    environment = dict(os.environ, GLIBC_TUNABLES=TUNABLES)
    try:
        text = run(["valgrind", "--quiet", "--tool=callgrind",
                    "--log-file=" + os.path.join(directory, "log"),
                    "--callgrind-out-file=" + dumps, "--collect-atstart=no",
                    "--toggle-collect=measured_requests",
                    "--dump-after=measured_requests", program, directory],
                   env=environment)
        return {line.split("\t")[0]: (Counts(f"{dumps}.{number}"),
                                      int(line.split("\t")[1]))
                for number, line in enumerate(text.splitlines(), 1)}
    finally:
        shutil.rmtree(directory)


def show(paths, wanted):
    """Where the instructions of some paths are spent."""
    for name, (counts, requests) in paths.items():
        if wanted not in name:
            continue
        print(f"\n{name}: {counts.all / requests:.0f} for a request")
        for function, instructions in counts.functions.most_common(30):
            print(f"  {instructions / requests:8.1f}  {function}")


def per_request(paths):
    return {name: {"library": round(counts.library / requests),
                   "all": round(counts.all / requests)}
            for name, (counts, requests) in paths.items()}


def update(found):
    with open(EXPECTED, "w", encoding="utf-8") as file:
        json.dump(dict(circumstances(), paths=found), file, indent="\t")
        file.write("\n")
    print(f"wrote {EXPECTED}")


def judge(expected, found):
    """What is wrong, in words.  The C library is the machine's own affair."""
    wrong = [f"{name}: is not measured any more"
             for name in expected if name not in found]
    for name, counts in found.items():
        if name not in expected:
            wrong.append(f"{name}: nothing is expected, see --update")
            continue
        want, have = expected[name]["library"], counts["library"]
        if have > want * (1 + TOLERANCE) + 1:
            wrong.append(f"{name}: {have} instructions of the library for a "
                         f"request, expected {want}, {have / want - 1:+.1%}")
    return wrong


def report(expected, found):
    print(f"{'instructions for a request':36} {'library':>8} {'expected':>8} "
          f"{'all':>8} {'expected':>8}")
    for name, counts in found.items():
        want = expected.get(name, {"library": 0, "all": 0})
        print(f"{name:36} {counts['library']:8} {want['library']:8} "
              f"{counts['all']:8} {want['all']:8}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", metavar="DIR", required=True,
                        help="where to build; kept for the next time")
    parser.add_argument("--update", action="store_true",
                        help="expect from now on what is found")
    parser.add_argument("--show", metavar="WORD",
                        help="functions of the paths with this in their name")
    return parser.parse_args()


def check_programs():
    for program in ("valgrind", "gcc", "meson", "ninja"):
        if not shutil.which(program):
            skip(f"{program} is not installed")
    if not os.access(EXPECTED, os.R_OK):
        return {"paths": {}}
    with open(EXPECTED, encoding="utf-8") as file:
        return json.load(file)


def main():
    args = parse_arguments()
    expected = check_programs()
    here = circumstances()
    if not args.update and args.show is None:
        for what, have in here.items():
            if expected.get(what) != have:
                skip(f"counts are expected for {what} {expected.get(what)}, "
                     f"this is {have}")
    paths = count(build(args.build))
    found = per_request(paths)
    if args.show is not None:
        show(paths, args.show)
        return 0
    if args.update:
        update(found)
        return 0
    report(expected["paths"], found)
    wrong = judge(expected["paths"], found)
    slower = {name: {"library": counts["library"] / 1.05}
              for name, counts in found.items()}
    if len(judge(slower, found)) != len(found):
        wrong.append("a twentieth more would not be noticed")
    for line in wrong:
        print("WORSE: " + line)
    print(f"figure: paths {len(found)} hot paths whose instructions are "
          "counted")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
