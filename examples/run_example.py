#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run an example as a test.

    run_example.py [options] -- COMMAND... [--then COMMAND...]

@DIR@ in an argument stands for a fresh directory, removed afterwards.  Every
command must exit with 0 and the last must print what --expect says; then
qemu-img, if it is there, judges the images they made.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--needs", action="append", default=[],
                        help="a program without which the test is skipped")
    parser.add_argument("--expect", required=True,
                        help="regular expression the output must match")
    parser.add_argument("--check", action="append", default=[],
                        help="qemu-img options that name an image to check")
    parser.add_argument("commands", nargs="+")
    return parser.parse_args()


def split(words):
    """The commands between the --then words."""
    commands = [[]]
    for word in words:
        if word == "--then":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def run(command):
    print("+", *command, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          check=False)
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}")
    return done.stdout


def check(image_opts):
    if not shutil.which("qemu-img"):
        print("qemu-img is not installed: not checked:", image_opts)
        return
    run(["qemu-img", "check", "--image-opts", image_opts])


def main():
    args = parse()
    for program in args.needs:
        if not shutil.which(program):
            print(f"SKIP: {program} is not installed")
            sys.exit(SKIP)
    with tempfile.TemporaryDirectory(prefix="qcf-example-") as directory:
        def fill(word):
            return word.replace("@DIR@", directory)

        for command in split(args.commands):
            output = run([fill(word) for word in command])
        if not re.search(args.expect, output):
            sys.exit(f"the output does not match {args.expect!r}")
        for image_opts in args.check:
            check(fill(image_opts))


if __name__ == "__main__":
    main()
