#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Say what a run of meson test came to.

    meson_report.py [--again] TESTLOG_JSON COUNTS_FILE

Prints the telling part of each failed test's output and the reason of each
skipped one, and appends "PASSED FAILED SKIPPED" to the counts file.  Exits with 1
if a test failed.

With --again a few tests that drive other programs (QEMU's, file systems, guests)
and failed with all else running are run once more, alone.  One that then passes
counts as passed, but is shown as UNSTABLE, with why it failed at first.
"""

import json
import pathlib
import re
import subprocess
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP", "IGNORED"}
TAIL = 60

# A sanitizer says what is wrong first and then goes on for long.
FINDING = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error:")
FINDING_LINES = 45

# Suites whose tests depend on how fast other programs are.  If many fail, it is not
# for want of time.
UNSTABLE = ("cli", "durability", "guest", "interop")
MOST_UNSTABLE = 3
AGAIN_SECONDS = 600


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


def show(word, test):
    print(f"{word} {test['name']}: {test['result']} after "
          f"{test['duration']:.1f} s\n    {' '.join(test['command'])}\n"
          f"{essence(output(test))}")


def may_be_unstable(test):
    suites = test["name"].split(" / ")[0].split(":")[-1].split("+")
    return not FINDING.search(output(test)) and set(suites) & set(UNSTABLE)


def passes_alone(test):
    try:
        return subprocess.run(
            test["command"], env=test["env"], timeout=AGAIN_SECONDS,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def find_unstable(failed):
    if len(failed) > MOST_UNSTABLE:
        return []
    return [test for test in failed
            if may_be_unstable(test) and passes_alone(test)]


def main():
    again = sys.argv[1] == "--again"
    log, counts = map(pathlib.Path, sys.argv[-2:])
    tests = [json.loads(line) for line in
             log.read_text(encoding="utf-8").splitlines() if line]
    passed = [test for test in tests if test["result"] in PASSED]
    skipped = [test for test in tests if test["result"] in SKIPPED]
    failed = [test for test in tests
              if test not in passed and test not in skipped]
    for test in skipped:
        reason = tail(output(test), 3) or "    (no reason given)"
        print(f"SKIPPED {test['name']}\n{reason}")
    any_failed = bool(failed)
    unstable = find_unstable(failed) if again else []
    for test in unstable:
        show("UNSTABLE, passes alone:", test)
        failed.remove(test)
        passed.append(test)
    for test in failed:
        show("FAILED", test)
    slowest = sorted(tests, key=lambda test: -test["duration"])[:3]
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped"
          " here; slowest: " + ", ".join(
              f"{test['name']} {test['duration']:.0f} s" for test in slowest))
    with counts.open("a", encoding="utf-8") as file:
        print(len(passed), len(failed), len(skipped), file=file)
    return int(any_failed)


if __name__ == "__main__":
    sys.exit(main())
