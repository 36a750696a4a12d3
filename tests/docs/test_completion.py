#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the completion of a shell offers, line by line; of zsh, whether it can be
read at all.

    test_completion.py bash|zsh FOR_QCOW_IMG FOR_QCOW_IO QCOW_IMG
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SHELL = sys.argv[1]
FOR_IMG, FOR_IO, QCOW_IMG = map(os.path.abspath, sys.argv[2:5])
SKIP = 77
CACHE = {'none', 'writeback', 'unsafe', 'directsync', 'writethrough'}
FORMATS = {'raw', 'qcow', 'qcow2'}

# Prints what there is to choose from at the end of a line.
SCRIPT = '''
source "$1"
COMP_LINE=$2
COMP_POINT=${#COMP_LINE}
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
"$3"
printf '%s\\n' "${COMPREPLY[@]}"
'''

faults = []


def expect(condition, text):
    if not condition:
        faults.append(text)


def choices(line, directory):
    file, function = ((FOR_IO, '_qcow_io') if line.startswith('qcow-io')
                      else (FOR_IMG, '_qcow_img'))
    done = subprocess.run(['bash', '-uc', SCRIPT, 'bash', file, line,
                           function], cwd=directory, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expect(done.returncode == 0 and not done.stderr,
           f'{line!r}: {done.returncode}, {done.stderr}')
    return set(done.stdout.split('\n')) - {''}


# Line: exactly what is offered.
EXACT = {
    'qcow-img ch': {'check'},
    'qcow-img c': None,
    'qcow-img --v': {'--version'},
    'qcow-img check -r ': {'leaks', 'all'},
    'qcow-img check --repair l': {'leaks'},
    'qcow-img check --repair=': {'leaks', 'all'},
    'qcow-img check --output ': {'human', 'json'},
    'qcow-img info --output=j': {'json'},
    'qcow-img check -f ': FORMATS,
    'qcow-img check -f q': {'qcow', 'qcow2'},
    'qcow-img check -T ': CACHE,
    'qcow-img convert --target-cache wr': {'writeback', 'writethrough'},
    'qcow-img convert -S ': set(),
    'qcow-img resize --preallocation ': {'off', 'metadata', 'falloc', 'full'},
    'qcow-img create -b ': {'base.qcow2', 'sub', 'with space'},
    'qcow-img info ': {'base.qcow2', 'sub', 'with space'},
    'qcow-img info s': {'sub'},
    'qcow-img info sub/': {'sub/deep.raw'},
    'qcow-img create -f qcow2 -o clu': {'cluster_size='},
    'qcow-img create -f qcow2 -o compat=': {'v2', 'v3', '0.10', '1.1'},
    'qcow-img create -f qcow2 -o compat=v3,lazy_r':
        {'v3,lazy_refcounts='},
    'qcow-img create -f qcow2 -o compat=v3,lazy_refcounts=o':
        {'on', 'off'},
    'qcow-img create -f qcow2 -o encrypt.format=': {'aes', 'luks'},
    'qcow-img create -f qcow -o encrypt.format=': {'aes'},
    'qcow-img create --format=qcow2 -o prealloc': {'preallocation='},
    'qcow-img create -f qcow2 -o preallocation=':
        {'off', 'metadata', 'falloc', 'full'},
    'qcow-img create -o preallocation=': {'off', 'falloc', 'full'},
    'qcow-img create -o ':
        {'extent_size_hint=', 'nocow=', 'preallocation=', 'size='},
    'qcow-img create -f qcow2 -o backing_file=b': {'base.qcow2'},
    'qcow-img convert -O qcow2 -o comp':
        {'compat=', 'compression_type='},
    'qcow-img convert -f raw --target-format qcow -o enc':
        {'encrypt.format=', 'encrypt.key-secret=', 'encryption='},
    'qcow-img amend -o encrypt.state=': {'active', 'inactive'},
    'qcow-img convert --progress=': {'human', 'json'},
    'qcow-img convert --progress ': {'base.qcow2', 'sub', 'with space'},
    'qcow-img bench -i ': {'threads', 'native', 'io_uring'},
    'qcow-img dd ': {'bs=', 'count=', 'skip=', 'if=', 'of='},
    'qcow-img dd bs=1M if=b': {'base.qcow2'},
    'qcow-img bitmap --output=': {'human', 'json'},
    'qcow-img rebase -b ': {'base.qcow2', 'sub', 'with space'},
    'qcow-io -t d': {'directsync'},
    'qcow-io -d ': {'ignore', 'unmap'},
    'qcow-io -i ': {'threads', 'native', 'io_uring'},
    'qcow-io -c wr': {'write', 'writev'},
    'qcow-io --r': {'--read-only'},
    'qcow-io ba': {'base.qcow2'},
}


def check_lines(directory):
    for line, wanted in EXACT.items():
        offered = choices(line, directory)
        expect(wanted is None or offered == wanted,
               f'{line!r} offers {sorted(offered)}')


def output(*command):
    return subprocess.run(command, text=True, check=True,
                          stdout=subprocess.PIPE).stdout


def check_everything(directory):
    """All commands, and all options of each, as --help has them."""
    text = output(QCOW_IMG, '--help').split('\nCommands:\n', 1)[1]
    commands = set(re.findall(r'(?m)^  (\w+) +\S', text))
    offered = choices('qcow-img ', directory)
    expect(offered == commands, f'of commands, {sorted(offered)} are offered')
    for command in commands:
        lines = output(QCOW_IMG, command, '--help').split('\nOptions:\n')[1]
        listed = set(re.findall(r'--?[\w-]+', ' '.join(
            re.findall(r'(?m)^  (?:    )?(-[^ ]+(?: --[^ [=]+)?)', lines))))
        offered = choices(f'qcow-img {command} -', directory)
        expect(offered == listed, f'{command}: {sorted(offered ^ listed)}')
        expect(len(offered) >= 3, f'{command}: only {sorted(offered)}')


def check_values_are_taken(directory):
    """Values that -o help does not list are ones the program knows."""
    for key in ('compat', 'compression_type', 'refcount_bits'):
        values = choices(f'qcow-img create -f qcow2 -o {key}=', directory)
        expect(len(values) > 1, f'{key}: {values}')
        for value in values:
            done = subprocess.run([QCOW_IMG, 'create', '-q', '-f', 'qcow2',
                                   '-o', f'{key}={value}', 'disk', '1M'],
                                  cwd=directory, stderr=subprocess.PIPE,
                                  text=True, check=False)
            # It may not be built in, and is then refused by name.
            expect(done.returncode == 0 or
                   value == 'zstd' and 'zstd' in done.stderr,
                   f'{key}={value}: {done.stderr}')
    for value in choices('qcow-img convert --progress=', directory):
        done = subprocess.run([QCOW_IMG, 'convert', '--progress=' + value,
                               '-f', 'raw', '-O', 'raw', 'base.qcow2', 'new'],
                              cwd=directory, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, check=False)
        expect(done.returncode == 0, f'--progress={value}: {done.stderr}')


def check_zsh():
    for path in (FOR_IMG, FOR_IO):
        done = subprocess.run(['zsh', '-fn', path], text=True, check=False,
                              stderr=subprocess.PIPE)
        expect(done.returncode == 0 and not done.stderr,
               f'{path}: {done.stderr}')
        with open(path, encoding='utf-8') as file:
            expect(file.readline().startswith('#compdef qcow-'),
                   f'{path} does not say what it completes')


def check_bash():
    with tempfile.TemporaryDirectory(prefix='qcf-completion-') as directory:
        os.mkdir(os.path.join(directory, 'sub'))
        for name in ('base.qcow2', 'with space', 'sub/deep.raw'):
            with open(os.path.join(directory, name), 'w', encoding='utf-8'):
                pass
        check_lines(directory)
        check_everything(directory)
        check_values_are_taken(directory)


def main():
    if not shutil.which(SHELL):
        print(f'SKIP: {SHELL} is not installed')
        sys.exit(SKIP)
    {'bash': check_bash, 'zsh': check_zsh}[SHELL]()
    if faults:
        sys.exit('\n'.join(faults))


if __name__ == '__main__':
    main()
