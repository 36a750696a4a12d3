#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The commands that the README shows work, one after the other.

    test_readme_commands.py SOURCE_ROOT QCOW_IMG QCOW_IO
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[1])
PROGRAMS = {'qcow-img': os.path.abspath(sys.argv[2]),
            'qcow-io': os.path.abspath(sys.argv[3])}


def commands():
    text = (SOURCE / 'README.md').read_text(encoding='utf-8')
    section = re.search(r'(?ms)^## At the command line$(.*?)^## ', text)
    return [shlex.split(line) for line in
            re.findall(r'(?m)^    (qcow-.*)$', section.group(1))]


def run(words, directory):
    print('+', *words, flush=True)
    done = subprocess.run(words, executable=PROGRAMS[words[0]], cwd=directory,
                          check=False)
    if done.returncode != 0:
        sys.exit(f'{" ".join(words)}: exit {done.returncode}')


def main():
    lines = commands()
    if len(lines) < 10:
        sys.exit(f'only {len(lines)} commands in README.md')
    with tempfile.TemporaryDirectory(prefix='qcf-readme-') as directory:
        for words in lines:
            run(words, directory)
        # What was written to the overlay is in its backing file.
        run(['qcow-io', '-r', '-f', 'qcow2', '-c', 'read -P 0x5a 1M 64k',
             'base.qcow2'], directory)


if __name__ == '__main__':
    main()
