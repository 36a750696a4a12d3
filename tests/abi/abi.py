#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Describe the library's binary interface and compare two descriptions.

A description is two files.  libqcowfmt.abi is libabigail's account of the
exported functions and every type they reach.  constants.txt lists the values of
the header's enumerators and macros, which travel as plain integers and so leave
no trace in the library.

    abi.py record LIBRARY INCLUDE_DIR OUTPUT_DIR
    abi.py compare LIBRARY INCLUDE_DIR BASELINE_DIR

compare ends with 0 if both are equal, 1 if they differ and says how.
"""

import difflib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TYPES = "libqcowfmt.abi"
CONSTANTS = "constants.txt"

# Not part of the interface: the include guard, and what changes with releases.
NOT_CONSTANTS = re.compile(r"QCOWFMT_H$|QCOWFMT_VERSION_")

# Bits of abidiff's exit status.
ABIDIFF_ERROR = 1 | 2
ABIDIFF_INCOMPATIBLE = 8

COMPATIBLE_HINT = """\
Members appended to a structure that carries its size, and additions, are
compatible: record them on purpose with tools/dev/abi-update.  Anything else
breaks programs that are already built."""


class Missing(Exception):
    """A needed program is not installed."""


def require():
    for program in ("abidw", "abidiff"):
        if not shutil.which(program):
            raise Missing(f"{program} is not installed (abigail-tools)")


def run(*command):
    done = subprocess.run([str(word) for word in command], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    return done.returncode, done.stdout


def describe_types(library, include):
    """abidw's description, free of anything that depends on the machine."""
    status, text = run(
        "abidw", "--headers-dir", include, "--drop-private-types",
        "--exported-interfaces-only", "--no-comp-dir-path",
        "--no-corpus-path", "--no-show-locs", "--no-elf-needed",
        "--no-parameter-names", "--type-id-style", "hash", library)
    if status != 0 or "<abi-instr" not in text:
        sys.exit(f"abidw {library} ended with {status} (are there debug "
                 f"symbols?)\n{text[:2000]}")
    # How the compiler was told to find a source file depends on where the
    # build directory is.
    return re.sub(r"(<abi-instr [^>]*)path='[^']*?([^/']+)'", r"\1path='\2'",
                  text)


def strip_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def constant_names(header):
    text = strip_comments(header)
    names = re.findall(r"^#define (QCOWFMT_\w+)[ \t]+\S", text, re.M)
    for body in re.findall(r"enum \w+\s*\{(.*?)\}", text, re.S):
        names += re.findall(r"(?:^|,)\s*(QCOWFMT_\w+)", body)
    return sorted(name for name in set(names) if not NOT_CONSTANTS.match(name))


def describe_constants(include):
    """The values, computed by the C compiler and not by reading the text."""
    header = pathlib.Path(include, "qcowfmt.h").read_text(encoding="utf-8")
    lines = [f'\tprintf("%s = %lld\\n", "{name}", (long long)({name}));'
             for name in constant_names(header)]
    source = ("#include <stdio.h>\n#include <qcowfmt.h>\nint main(void)\n{\n"
              + "\n".join(lines) + "\n\treturn 0;\n}\n")
    with tempfile.TemporaryDirectory(prefix="qcf-abi-") as name:
        program = pathlib.Path(name, "constants")
        program.with_suffix(".c").write_text(source, encoding="utf-8")
        status, text = run(os.environ.get("CC", "cc"), "-I", include, "-o",
                           program, program.with_suffix(".c"))
        if status == 0:
            status, text = run(program)
        if status != 0:
            sys.exit(f"the constants of the header do not compile\n{text}")
    return text


def record(library, include, directory):
    directory.joinpath(TYPES).write_text(describe_types(library, include),
                                         encoding="utf-8")
    directory.joinpath(CONSTANTS).write_text(describe_constants(include),
                                             encoding="utf-8")


def compare_types(baseline, current):
    """abidiff's report on two descriptions; empty if they are equal."""
    status, text = run("abidiff", "--no-show-locs", "--no-corpus-path",
                       baseline, current)
    if status & ABIDIFF_ERROR:
        sys.exit(f"abidiff ended with {status}\n{text}")
    if status & ABIDIFF_INCOMPATIBLE:
        return "INCOMPATIBLE change of the interface\n" + text
    return text if status else ""


def compare_constants(baseline, current):
    return "".join(difflib.unified_diff(
        baseline.read_text(encoding="utf-8").splitlines(True),
        current.read_text(encoding="utf-8").splitlines(True),
        "recorded constants", "constants now"))


def compare(library, include, baseline):
    """What differs between a library and a recorded description, as text."""
    for name in (TYPES, CONSTANTS):
        if not baseline.joinpath(name).is_file():
            sys.exit(f"{name} was never recorded: run tools/dev/abi-update")
    with tempfile.TemporaryDirectory(prefix="qcf-abi-") as name:
        current = pathlib.Path(name)
        record(library, include, current)
        return (compare_types(baseline / TYPES, current / TYPES)
                + compare_constants(baseline / CONSTANTS, current / CONSTANTS))


def main():
    if len(sys.argv) != 5 or sys.argv[1] not in ("record", "compare"):
        sys.exit("usage: abi.py record|compare LIBRARY INCLUDE_DIR DIRECTORY")
    library, include, directory = map(pathlib.Path, sys.argv[2:])
    try:
        require()
    except Missing as reason:
        print(f"SKIP: {reason}")
        sys.exit(77)
    if sys.argv[1] == "record":
        record(library, include, directory)
        return
    report = compare(library, include, directory)
    if report:
        print(report)
        print(COMPATIBLE_HINT)
        sys.exit(1)
    print("the interface is the recorded one")


if __name__ == "__main__":
    main()
