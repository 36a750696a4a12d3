#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Say what a run of tests covered.

    coverage_report.py [--branches] GCOVR_JSON EXCEPTIONS

EXCEPTIONS has a line for each line of the source that is not counted:

    lib/path/file.c: text of the source line: reason

The text has to be in the file, or the report fails: no exception outlives what
it was made for.
"""

import collections
import json
import os
import re
import sys

# Least percentages of lines and branches.
BARS = {"lib/format": (95, 85), "lib/meta": (95, 85)}
OTHER_BAR = (90, 0)
TOTAL = "lib"

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


class Count:
    def __init__(self):
        self.lines = [0, 0]
        self.branches = [0, 0]
        self.missed_lines = []
        self.missed_branches = []

    def add(self, other):
        for total, part in ((self.lines, other.lines),
                            (self.branches, other.branches)):
            total[0] += part[0]
            total[1] += part[1]

    @staticmethod
    def _percent(pair):
        return 100 * pair[0] / pair[1] if pair[1] else 100.0

    def percents(self):
        return self._percent(self.lines), self._percent(self.branches)

    def below(self, bar):
        return any(have < want for have, want in zip(self.percents(), bar))


def read_exceptions(path):
    """Which lines of which file are not counted."""
    exceptions = collections.defaultdict(set)
    with open(path, encoding="utf-8") as file:
        entries = [line.strip() for line in file
                   if line.strip() and not line.startswith("#")]
    for entry in entries:
        name, text, reason = (re.split(r": ", entry, maxsplit=2) +
                              [None] * 3)[:3]
        if not reason:
            sys.exit(f"an exception without a reason: {entry}")
        with open(os.path.join(ROOT, name), encoding="utf-8") as source:
            found = {number for number, line in enumerate(source, 1)
                     if text in line}
        if not found:
            sys.exit(f"an exception for what is not there: {entry}")
        exceptions[name] |= found
    return exceptions, len(entries)


def count_file(entry, excepted):
    count = Count()
    for line in entry["lines"]:
        number = line["line_number"]
        if line.get("gcovr/noncode") or number in excepted:
            continue
        count.lines[1] += 1
        if line["count"]:
            count.lines[0] += 1
        else:
            count.missed_lines.append(number)
        taken = [branch["count"] > 0 for branch in line["branches"]]
        count.branches[1] += len(taken)
        count.branches[0] += sum(taken)
        if line["count"] and not all(taken):
            count.missed_branches.append(number)
    return count


def bar_of(name):
    return BARS.get("/".join(name.split("/")[:2]), OTHER_BAR)


def ranges(numbers):
    """1 2 3 7 as 1-3 7."""
    found = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return " ".join(str(low) if low == high else f"{low}-{high}"
                    for low, high in found)


def print_row(name, count, bar):
    lines, branches = count.percents()
    mark = " below the bar" if count.below(bar) else ""
    print(f"{name:34} {lines:6.1f} %  of {count.lines[1]:5} lines"
          f" {branches:6.1f} %  of {count.branches[1]:5} branches{mark}")


def print_files(files, with_branches):
    for name, count in sorted(files.items()):
        if not count.below(bar_of(name)):
            continue
        print_row(name, count, bar_of(name))
        if count.missed_lines:
            print("    lines", ranges(count.missed_lines))
        if with_branches and count.missed_branches:
            print("    branches in", ranges(count.missed_branches))


def main():
    arguments = sys.argv[1:]
    with_branches = "--branches" in arguments
    report, exceptions_path = [a for a in arguments if a != "--branches"]
    exceptions, exception_count = read_exceptions(exceptions_path)
    with open(report, encoding="utf-8") as file:
        entries = json.load(file)["files"]
    files = {entry["file"]: count_file(entry, exceptions[entry["file"]])
             for entry in entries if entry["file"].startswith(TOTAL + "/")}
    folders = collections.defaultdict(Count)
    for name, count in files.items():
        folders["/".join(name.split("/")[:2])].add(count)
        folders[TOTAL].add(count)

    print("Files below the bar of their folder:")
    print_files(files, with_branches)
    print("\nFolders:")
    for name, count in sorted(folders.items()):
        print_row(name, count, bar_of(name))
    print(f"{exception_count} exceptions in {os.path.basename(exceptions_path)}")
    for name, count in sorted(folders.items()):
        for what, percent in zip(("line", "branch"), count.percents()):
            label = name.replace("/", "-")
            print(f"figure: coverage-{label}-{what} {percent:.1f} percent")
    sys.exit(any(count.below(bar_of(name)) for name, count in folders.items()))


if __name__ == "__main__":
    main()
