#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every planted mistake in the handling of threads is found by the scheduler.

usage: test_planted_races_are_found.py NINJA BUILDDIR SOURCEDIR PROGRAM

Each one is planted in a copy of its source file, which is compiled as the build
does and linked in front of the library; the scenario that is meant to notice is
then played until it does.  tests/race/schedule/plants.py has the list.
"""
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from plants import PLANTS

EPISODES = 20000  # after so many it counts as not found
SECONDS = 120    # an endless loop is a finding, too


def fail(text):
    print(text)
    sys.exit(1)


class Build:
    def __init__(self, ninja, builddir, sourcedir, program):
        self.builddir = builddir
        self.sourcedir = sourcedir
        with open(os.path.join(builddir, 'compile_commands.json')) as f:
            self.commands = json.load(f)
        target = os.path.relpath(program, builddir)
        out = subprocess.run([ninja, '-C', builddir, '-t', 'commands', target],
                             check=True, capture_output=True, text=True)
        self.link = shlex.split(out.stdout.strip().splitlines()[-1])

    def compile_command(self, source):
        for c in self.commands:
            path = os.path.normpath(os.path.join(c['directory'], c['file']))
            if ('scheduled_' in c.get('output', c['command']) and
                    path == os.path.join(self.sourcedir, source)):
                return shlex.split(c['command'])
        fail(f'{source} is not compiled for the scheduler')

    def compile(self, source, copy, obj):
        args = self.compile_command(source)
        out = args.index('-o')
        args[out + 1] = obj
        args[-1] = copy
        for option in ('-MF', '-MQ'):
            if option in args:
                args[args.index(option) + 1] = obj + '.d'
        args.append('-w')
        subprocess.run(args, cwd=self.builddir, check=True)

    def link_with(self, obj, program):
        args = list(self.link)
        args[args.index('-o') + 1] = program
        first = next(i for i, a in enumerate(args) if a.endswith('.o'))
        args.insert(first + 1, obj)
        subprocess.run(args, cwd=self.builddir, check=True)


def plant(build, directory, number):
    name, source, old, new, _ = PLANTS[number]
    with open(os.path.join(build.sourcedir, source)) as f:
        text = f.read()
    if text.count(old) != 1:
        fail(f'"{name}": its place in {source} is not there once, but '
             f'{text.count(old)} times')
    copy = os.path.join(directory, os.path.basename(source))
    with open(copy, 'w') as f:
        f.write(text.replace(old, new))
    obj = os.path.join(directory, f'planted-{number}.o')
    program = os.path.join(directory, f'planted-{number}')
    build.compile(source, copy, obj)
    build.link_with(obj, program)
    return program


def play(program, scenario):
    """Return how many episodes it took and what was said, or None."""
    try:
        run = subprocess.run(
            [program, '--scenario', scenario, '--seed', '1000',
             '--episodes', str(EPISODES)],
            capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return 0, 'it does not end'
    if run.returncode == 0:
        return None
    said = (run.stdout + run.stderr).strip()
    match = re.search(r'seed (\d+)', said)
    if run.returncode not in (1, 3) or not match:
        fail(f'{program} ended with {run.returncode}: {said}')
    seed = int(match.group(1))
    line = next(l for l in said.splitlines() if f'seed {seed}' in l)
    return (seed if seed < 1000 else seed - 1000 + 7), line


def main():
    build = Build(*sys.argv[1:5])
    found = 0
    with tempfile.TemporaryDirectory() as directory:
        for number, (name, _, _, _, scenario) in enumerate(PLANTS):
            result = play(plant(build, directory, number), scenario)
            if result is None:
                print(f'NOT FOUND in {EPISODES} episodes: {name}')
                continue
            found += 1
            print(f'found in episode {result[0]}: {name}: {result[1][:150]}')
    print(f'figure: planted_races_found {found} of {len(PLANTS)}')
    sys.exit(0 if found == len(PLANTS) else 1)


if __name__ == '__main__':
    main()
