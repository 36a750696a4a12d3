#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run all programs of this folder and print one table; or compare two commits.

    bench.py [--build DIR] [--json FILE] [ARGUMENT...]
    bench.py compare REVISION REVISION [--json FILE] [ARGUMENT...]

Without --build a release build is made in build-bench.  Other arguments go to each
program: --only WORD, --quick, --smoke, --dir DIR, --repeat N, --list.  With
--json what is measured is also written to a file.  See README.md.

compare builds both revisions (a build directory is taken as it is), lets them take turns with the programs of this
folder, and says which jobs the second does faster or slower, if that is no
accident; it ends with 1 if one is slower.
"""

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile

from bench_rows import HEADER, UNITS, faults_of, row_text
from bench_stats import holm, runs_needed, signed_rank_p, walsh_interval
from benchlib import INPUTS

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build-bench")
PROGRAMS = ("run", "queues", "jobs", "codecs", "metadata", "scale")

# Chance of one false alarm in a whole comparison.
ERROR = 0.05


def configure(source, build):
    """A release build of all that is measured."""
    if not os.path.isdir(build):
        subprocess.run(["meson", "setup", "--buildtype=release",
                        "-Dtests=enabled", build, source], check=True,
                       stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "--quiet", "-C", build], check=True,
                   stdout=subprocess.DEVNULL)
    return build


# -------------------------------------------------------------- running programs


def run_program(name, arguments, report):
    """The report of one program; None if it has nothing to measure."""
    argv = [sys.executable, os.path.join(HERE, name + ".py"), *arguments]
    status = subprocess.run(argv + ["--json", report],
                            check=False).returncode
    if status == 77 or (status == 0 and not os.path.exists(report)):
        return None
    if status != 0:
        sys.exit(f"{name}.py ended with {status}")
    with open(report, encoding="utf-8") as file:
        return json.load(file)


def jobs_of(name, arguments):
    """The names of the jobs that a program would measure."""
    argv = [sys.executable, os.path.join(HERE, name + ".py"), "--list"]
    return subprocess.run(argv + arguments, check=True, text=True,
                          stdout=subprocess.PIPE).stdout.splitlines()


def run_all(arguments):
    """The reports of all programs, which share their input."""
    chosen = [name for name in PROGRAMS if jobs_of(name, arguments)]
    if not chosen:
        sys.exit("no job has one of these words in its name")
    with tempfile.TemporaryDirectory(prefix="qcowfmt-bench-") as directory:
        os.environ.setdefault(INPUTS, directory)
        reports = []
        for name in chosen:
            print(f"\n==> {name}", flush=True)
            report = run_program(name, arguments,
                                 os.path.join(directory, name + ".json"))
            if report is None:
                print(f"{name} is not measured here")
            else:
                reports.append(report)
    return reports


def rows_of(reports):
    return [row for report in reports for row in report["rows"]]


def write(path, content):
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)


# --------------------------------------------------------------------- the table


def print_table(rows, judge):
    """All rows, and how many of them are as they are wanted."""
    print(f"\n==> all\n{HEADER}")
    for row in rows:
        print(row_text(row, judge))
    measured = [row for row in rows if "not_measured" not in row]
    wanted = [row for row in measured if row["reached"] is not None]
    reached = sum(row["reached"] for row in wanted)
    heavier = sum(row["memory_kept"] is False for row in measured)
    if judge:
        print(f"\n{len(rows)} jobs, {len(rows) - len(measured)} of them not "
              f"measured; {reached} of {len(wanted)} reach what is wanted; "
              f"{heavier} need more memory than QEMU")


def table(args, arguments):
    build = args.build or configure(ROOT, BUILD)
    reports = run_all(["--build", build, *arguments])
    rows = rows_of(reports)
    for report in reports:
        faults = faults_of(report["rows"])
        if faults:
            sys.exit(f"{report['program']}: " + "\n".join(faults))
    print_table(rows, not any(report["smoke"] for report in reports))
    write(args.json, {"programs": reports})
    return 0


# -------------------------------------------------------------- comparing commits


class Difference:
    """What two builds took for a job, as logarithms of the ratios of neighbours:
    above zero the second is faster."""

    def __init__(self, row):
        self.name = f"{row['program']}: {row['job']}"
        first, second = row["samples"]["ours"], row["samples"]["other"]
        sign = 1 if UNITS[row["unit"]][0] == "more" else -1
        self.logs = [sign * math.log(b / a) for a, b in zip(first, second)]
        self.chance = signed_rank_p(self.logs)
        self.is_shown = False

    def is_slower(self):
        return self.is_shown and walsh_interval(self.logs)[0] < 0

    def text(self):
        middle, low, high = (math.exp(x) for x in walsh_interval(self.logs))
        verdict = "no difference shown"
        if self.is_shown:
            verdict = "slower" if middle < 1 else "faster"
        return (f"{self.name:56} {middle:7.3f}  [{low:.3f}, {high:.3f}]  "
                f"{verdict}")


def differences(rows):
    """One for each job; those are shown that chance hardly makes, all in all."""
    found = [Difference(row) for row in rows if "not_measured" not in row]
    for difference, is_shown in zip(found, holm([d.chance for d in found],
                                                ERROR)):
        difference.is_shown = is_shown
    return found


def build_of(revision, directory):
    """A build of a revision."""
    if os.path.isdir(os.path.join(revision, "meson-info")):
        return revision
    source = os.path.join(directory, "source")
    os.makedirs(source)
    archive = subprocess.run(["git", "-C", ROOT, "archive", revision, "--"],
                             stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
    print(f"building {revision}", flush=True)
    return configure(source, os.path.join(directory, "build"))


@contextlib.contextmanager
def builds_of(revisions):
    """Builds of revisions, which go with their sources at the end."""
    with tempfile.TemporaryDirectory(prefix="qcowfmt-compare-") as directory:
        yield [build_of(revision, os.path.join(directory, str(number)))
               for number, revision in enumerate(revisions)]


def repetitions(arguments):
    """As many as are needed to tell for one of so many jobs."""
    jobs = sum(len(jobs_of(name, arguments)) for name in PROGRAMS)
    if any(word.startswith("--repeat") or word == "--smoke"
           for word in arguments):
        return []
    return ["--repeat", str(runs_needed(max(jobs, 1), ERROR))]


def compare(args, arguments):
    with builds_of(args.revisions) as (first, second):
        arguments = arguments + repetitions(arguments)
        reports = run_all(["--build", first, "--against", second, *arguments])
    rows = rows_of(reports)
    found = differences(rows)
    print(f"\nhow many times faster {args.revisions[1]} is than "
          f"{args.revisions[0]}, and where the true value is in 95 of 100")
    for difference in found:
        print(difference.text())
    for row in rows:
        if "not_measured" in row:
            print(row_text(row))
    write(args.json, {"revisions": args.revisions, "programs": reports})
    return int(any(difference.is_slower() for difference in found))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help=argparse.SUPPRESS)
    argv = sys.argv[1:]
    if argv[:1] == ["compare"]:
        parser.add_argument("revisions", nargs=2)
        args, arguments = parser.parse_known_args(argv[1:])
        return compare(args, arguments)
    args, arguments = parser.parse_known_args(argv)
    if "--list" in arguments:
        for name in PROGRAMS:
            for job in jobs_of(name, [w for w in arguments if w != "--list"]):
                print(f"{name}: {job}")
        return 0
    return table(args, arguments)


if __name__ == "__main__":
    sys.exit(main())
