#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Say what a run of meson test came to.

    meson_report.py TESTLOG_JSON COUNTS_FILE

Prints the telling part of each failed test's output and the reason of each
skipped one, and appends "PASSED FAILED SKIPPED" to the counts file.
"""

import json
import pathlib
import re
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP", "IGNORED"}
TAIL = 60

# A sanitizer says what is wrong first and then goes on for long.
FINDING = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error:")
FINDING_LINES = 45


def indent(lines):
    return "\n".join("    " + line for line in lines)


def tail(text, lines):
    return indent(text.splitlines()[-lines:])


def essence(text):
    """What of a failed test's output is likely to tell why."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if FINDING.search(line):
            return indent(lines[max(0, number - 5):number + FINDING_LINES])
    return tail(text, TAIL)


def output(test):
    return "".join(test.get(stream) or "" for stream in ("stdout", "stderr"))


def main():
    log, counts = map(pathlib.Path, sys.argv[1:3])
    tests = [json.loads(line) for line in
             log.read_text(encoding="utf-8").splitlines() if line]
    passed = [test for test in tests if test["result"] in PASSED]
    skipped = [test for test in tests if test["result"] in SKIPPED]
    failed = [test for test in tests
              if test not in passed and test not in skipped]
    for test in skipped:
        reason = tail(output(test), 3) or "    (no reason given)"
        print(f"SKIPPED {test['name']}\n{reason}")
    for test in failed:
        print(f"FAILED {test['name']}: {test['result']} after "
              f"{test['duration']:.1f} s\n    {' '.join(test['command'])}\n"
              f"{essence(output(test))}")
    slowest = sorted(tests, key=lambda test: -test["duration"])[:3]
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped"
          " here; slowest: " + ", ".join(
              f"{test['name']} {test['duration']:.0f} s" for test in slowest))
    with counts.open("a", encoding="utf-8") as file:
        print(len(passed), len(failed), len(skipped), file=file)


if __name__ == "__main__":
    main()
