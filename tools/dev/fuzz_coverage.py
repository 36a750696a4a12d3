# SPDX-License-Identifier: MIT
"""Print how much of each folder of lib/ was reached.

Reads what llvm-cov export -summary-only says, from standard input.
"""
import json
import os
import sys

KINDS = ("lines", "branches", "functions")


def share(counts, kind):
    covered, total = counts[kind]
    return 100 * covered / total if total else 100.0


def main():
    top = os.path.abspath(sys.argv[1])
    folders = {}
    for entry in json.load(sys.stdin)["data"][0]["files"]:
        name = os.path.abspath(entry["filename"])
        if not name.startswith(top + os.sep):
            continue
        folder = os.path.relpath(os.path.dirname(name), os.path.dirname(top))
        for key in (folder, "lib"):
            counts = folders.setdefault(key, {kind: [0, 0] for kind in KINDS})
            for kind in KINDS:
                counts[kind][0] += entry["summary"][kind]["covered"]
                counts[kind][1] += entry["summary"][kind]["count"]
    if not folders:
        sys.exit("fuzz_coverage: nothing of lib/ was reached")
    for folder in sorted(folders):
        shares = "   ".join(f"{kind} {share(folders[folder], kind):5.1f} %"
                            for kind in KINDS)
        print(f"{folder:14s} {shares}")


main()
