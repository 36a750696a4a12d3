#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests find what they are there to find.

    test_planted_bugs_are_found.py BUILD_ROOT SOURCE_ROOT [WORD]

One mistake of each class (planted.py) is put into a copy of one source file of the
library, one test program is linked with it, and has to fail; without it, it has to
pass.  With a WORD, only classes with this word in their name.
"""

import concurrent.futures
import os
import pathlib
import sys
import tempfile

sys.dont_write_bytecode = True
import mutants  # noqa: E402
import relink  # noqa: E402
from planted import PLANTED  # noqa: E402

# A mistake may make a test loop.
CPU_LIMIT = 20
WALL_LIMIT = 300
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
    "LSAN_OPTIONS": "exitcode=23",
    "TSAN_OPTIONS": "halt_on_error=1:ignore_noninstrumented_modules=1",
}


def edited(text, bug):
    """The file with the mistake in it."""
    count = text.count(bug.old)
    if count != 1:
        raise relink.BuildError(
            f"{bug.path}: the text that '{bug.kind}' changes is there {count} "
            "times: planted.py has to follow the source")
    return text.replace(bug.old, bug.new)


class Planter:
    """Makes test programs with and without mistakes, and runs them."""

    def __init__(self, build_root, source_root, directory):
        self.source_root = pathlib.Path(source_root)
        self.directory = pathlib.Path(directory)
        self.build_root = build_root
        build = relink.Build(build_root, source_root, directory)
        self.tests = {t["name"]: t for t in build.tests()}

    def outcome(self, bug, text, name):
        """Exit status of the test with this text of the file."""
        build = relink.Build(self.build_root, self.source_root,
                             self.directory / name)
        entry = self.tests[bug.test]
        flags = [f"-fsanitize={bug.sanitizer}"] if bug.sanitizer else []
        made = [build.compile(bug.path, text, "planted", flags)]
        target = os.path.relpath(entry["cmd"][0], build.root)
        command = list(entry["cmd"])
        env = dict(os.environ, **entry["env"], **bug.env, **SANITIZER_OPTIONS)
        if build.uses_shared_library(target):
            env["LD_LIBRARY_PATH"] = str(build.link_library(made, flags))
            made = []
        command[0] = str(build.link(target, made, flags))
        if bug.sanitizer == "thread":
            command = ["setarch", "-R", *command]
        status, _ = mutants.outcome(command, env, CPU_LIMIT, WALL_LIMIT,
                                    limit_memory=not bug.sanitizer)
        return status

    def judge(self, number):
        """Why a mistake is not found; None if it is."""
        bug = PLANTED[number]
        try:
            text = (self.source_root / bug.path).read_text("utf-8")
            changed = edited(text, bug)
            before = self.outcome(bug, text, f"{number}-sound")
            after = self.outcome(bug, changed, f"{number}-planted")
        except relink.BuildError as error:
            return str(error)
        if before != 0:
            return f"{bug.test} ends with {before} without any mistake"
        if after in (0, mutants.SKIPPED):
            return f"{bug.test} ends with {after}: it is not found"
        return None


def is_sanitized(planter):
    """Whether the build has a sanitizer already; two do not mix."""
    build = relink.Build(planter.build_root, planter.source_root,
                         planter.directory)
    return any(word.startswith("-fsanitize")
               for command in build.compile_commands.values()
               for word in command)


def main():
    """Plant everything that is asked for."""
    word = sys.argv[3] if len(sys.argv) > 3 else ""
    numbers = [n for n, bug in enumerate(PLANTED) if word in bug.kind]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="planted-") as directory, \
            concurrent.futures.ThreadPoolExecutor(2) as pool:
        planter = Planter(sys.argv[1], sys.argv[2], directory)
        if is_sanitized(planter):
            print("skipped: mistakes are planted in a build without "
                  "sanitizers")
            return mutants.SKIPPED
        for number, why in zip(numbers, pool.map(planter.judge, numbers)):
            print(f"{PLANTED[number].kind}: {why or 'found'}", flush=True)
            missed += why is not None
    print(f"figure: planted_bugs {len(numbers) - missed} of {len(numbers)} "
          "classes found")
    return 1 if missed or not numbers else 0


if __name__ == "__main__":
    sys.exit(main())
