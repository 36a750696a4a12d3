#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The comparison of interfaces notices a break when there is one.

    test_planted_abi_break.py BUILD_ROOT SOURCE_ROOT

Builds the library a second time from a header with a member put in front of a
structure and a constant renumbered, and from a symbol list with one function
missing.  Each must be reported against the library as it is.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import sys
import tempfile

sys.dont_write_bytecode = True
import abi  # noqa: E402

STRUCTURE = "qcowfmt_extent"
MEMBER = "planted_member"
CONSTANT = "QCOWFMT_DISCARD_KEEP"
FUNCTION = "qcowfmt_version"

# Each needle must occur in the report for the plant to count as found.
NEEDLES = {
    "an inserted member": rf"{MEMBER}",
    "the structure that holds it": rf"struct {STRUCTURE}",
    "a renumbered constant": rf"-{CONSTANT} = 2\n\+{CONSTANT} = 7\n",
    "a removed function": rf"\[D\] .*{FUNCTION}",
    "the verdict": r"INCOMPATIBLE",
}


def replace_once(text, pattern, replacement):
    changed, count = re.subn(pattern, replacement, text, flags=re.S)
    if count != 1:
        sys.exit(f"cannot plant: {pattern!r} matches {count} times")
    return changed


def plant(source_root, directory):
    """Write the header and the symbol list with their breaks."""
    header = (source_root / "include/qcowfmt.h").read_text(encoding="utf-8")
    header = replace_once(header, rf"(struct {STRUCTURE} \{{)",
                          rf"\1 uint64_t {MEMBER};")
    header = replace_once(header, rf"({CONSTANT} =) 2", r"\1 7")
    (directory / "qcowfmt.h").write_text(header, encoding="utf-8")
    symbols = (source_root / "lib/libqcowfmt.map").read_text(encoding="utf-8")
    symbols = replace_once(symbols, rf"\t{FUNCTION};\n", "")
    (directory / "symbols.map").write_text(symbols, encoding="utf-8")


def library_commands(build_root, source_root):
    """How the build compiled each source file of the library."""
    text = (build_root / "compile_commands.json").read_text(encoding="utf-8")
    for entry in json.loads(text):
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        # Tests compile the library once more, in ways of their own.
        if source_root / "lib" in path.parents and \
                entry["output"].startswith("lib/"):
            yield shlex.split(entry["command"]), path


def recompile(command, path, directory, number):
    """Compile one file as the build did, but with the planted header."""
    words = [command[0], f"-I{directory}"]
    words += [word for word in command[1:]
              if word.startswith(("-I", "-D", "-std", "-f"))]
    words += ["-O0", "-g", "-w", "-fPIC", "-c", str(path),
              "-o", str(directory / f"{number}.o")]
    status, text = abi.run(*words)
    if status != 0:
        sys.exit(f"{shlex.join(words)}\n{text}")
    return words[-1]


def rebuild(build_root, source_root, directory):
    commands = list(library_commands(build_root, source_root))
    if not commands:
        sys.exit("the build has no record of how it compiled the library")
    os.chdir(build_root)  # the recorded commands are relative to it
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(
            lambda job: recompile(*job[1], directory, job[0]),
            enumerate(commands)))
    library = directory / "libqcowfmt.so"
    status, text = abi.run(
        commands[0][0][0], "-shared", "-pthread", "-o", library,
        f"-Wl,--version-script={directory / 'symbols.map'}",
        "-Wl,-soname,libqcowfmt.so.0", *objects)
    if status != 0:
        sys.exit(f"linking the planted library failed\n{text}")
    return library


def main():
    build_root, source_root = (pathlib.Path(word).resolve()
                               for word in sys.argv[1:3])
    try:
        abi.require()
    except abi.Missing as reason:
        print(f"SKIP: {reason}")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="qcf-planted-") as name:
        directory = pathlib.Path(name)
        recorded = directory / "recorded"
        recorded.mkdir()
        abi.record(build_root / "lib/libqcowfmt.so", source_root / "include",
                   recorded)
        unchanged = abi.compare(build_root / "lib/libqcowfmt.so",
                                source_root / "include", recorded)
        if unchanged:
            sys.exit(f"the library differs from itself\n{unchanged}")
        plant(source_root, directory)
        report = abi.compare(rebuild(build_root, source_root, directory),
                             directory, recorded)
    print(report)
    missed = [what for what, needle in NEEDLES.items()
              if not re.search(needle, report)]
    if missed:
        sys.exit("not reported: " + ", ".join(missed))


if __name__ == "__main__":
    main()
