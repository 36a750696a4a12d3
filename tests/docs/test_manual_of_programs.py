#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The manual pages of the programs have what --help has, and nothing else.

    test_manual_of_programs.py SOURCE_ROOT QCOW_IMG QCOW_IO
"""

import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(sys.argv[1])
QCOW_IMG, QCOW_IO = sys.argv[2:4]

# Every command has them, and the page says so once.
HELP = {'-h', '--help'}
faults = []


def expect(condition, text):
    if not condition:
        faults.append(text)


def output(*command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        sys.exit(f'{" ".join(command)} ended with {done.returncode}')
    return done.stdout


class Option:
    """What a line of --help says."""

    def __init__(self, names, has_argument):
        self.names = names
        self.has_argument = has_argument

    def __repr__(self):
        return '/'.join(sorted(self.names))


def options_of_help(text):
    options = []
    for line in text.split('\nOptions:\n', 1)[1].splitlines():
        # Two spaces, and four more for a letter that is not there.
        if re.match(r'  (    )?-', line):
            words = re.split(r' {2,}', line.strip())[0].split(' ', 2)
            # An argument that is optional follows behind "=".
            names = {re.sub(r',$|\[=.*', '', word) for word in words
                     if word.startswith('-')}
            options.append(Option(names, len(words) > len(names)))
    return options


class Manual:
    """A page, by its sections."""

    def __init__(self, path):
        text = path.read_text(encoding='utf-8')
        self.text = re.sub(r'(?m)^\.\\".*\n', '', text)
        self.name = path.name

    def section(self, heading):
        found = re.search(r'(?ms)^\.Sh %s\n(.*?)(?=^\.Sh |\Z)' % heading,
                          self.text)
        return found.group(1) if found else ''

    def subsections(self):
        """Names, in order, and what they say."""
        return {name: text for name, text in re.findall(
            r'(?ms)^\.Ss (\S+)\n(.*?)(?=^\.S[sh] |\Z)', self.text)}

    def synopses(self):
        """By command; '' is that of the program itself."""
        found = {}
        for part in re.split(r'(?m)^\.Nm.*\n', self.section('SYNOPSIS'))[1:]:
            name = re.match(r'\.Cm (\S+)\n', part)
            found[name.group(1) if name else ''] = part
        return found


def options_of_synopsis(text):
    """Pairs: a name and whether it has an argument."""
    found = []
    for line in text.splitlines():
        for flags, argument in re.findall(r'\bFl (\S+)( Ar | Cm )?', line):
            names = (['-' + flags] if flags.startswith('-')
                     else ['-' + letter for letter in flags])
            found += [(name, bool(argument)) for name in names]
    return found


def options_of_list(text):
    """The items of lists: names that belong together, with an argument?"""
    items = []
    for line in re.findall(r'(?m)^\.It (Fl .*)$', text):
        names = re.findall(r'\bFl (\S+)', line)
        items.append(Option({'-' + name for name in names},
                            bool(re.search(r'Fl \S+ (Ar|Cm) ', line))))
    return items


def compare_synopsis(where, helped, text):
    named = options_of_synopsis(text)
    for option in helped:
        count = [name for name, _ in named if name in option.names]
        expect(len(count) == 1,
               f'{where}: {option} is {len(count)} times in the synopsis')
        for name, has_argument in named:
            expect(name not in option.names or
                   has_argument == option.has_argument,
                   f'{where}: the synopsis is wrong about the argument of '
                   f'{name}')
    known = set().union(*(option.names for option in helped))
    for name, _ in named:
        expect(name in known, f'{where}: {name} is in the synopsis, but not '
                              f'in --help')


def compare_list(where, helped, own, common):
    """Each option is described, and no others."""
    for option in helped:
        items = [item for item in own if item.names & option.names]
        items = items or [item for item in common
                          if option.names <= item.names]
        expect(len(items) == 1 and option.names <= items[0].names,
               f'{where}: {option} is not described with both names')
        for item in items:
            expect(item.has_argument == option.has_argument,
                   f'{where}: the argument of {option} is not the same')
    known = set().union(*(option.names for option in helped))
    for item in own:
        expect(item.names <= known, f'{where}: {item} is described, but '
                                    f'--help does not have it')


def compare_keys(where, text, keys):
    """The keys of -o that "help" lists are those of the section."""
    described = set()
    for line in re.findall(r'(?m)^\.It Cm (.*)$', text):
        described |= set(re.findall(r'[\w.-]+', line))
    listed = set(re.findall(r'(?m)^  ([\w.-]+)=<', keys))
    expect(len(listed) > 3, f'{where}: "-o help" lists nothing')
    # Two that take only one value are told in a sentence.
    expect(listed - described <= {'extent_size_hint', 'nocow'},
           f'{where}: keys that are not described: '
           f'{sorted(listed - described)}')
    return described - listed


def commands_of_help():
    text = output(QCOW_IMG, '--help').split('\nCommands:\n', 1)[1]
    return re.findall(r'(?m)^  (\w+) +\S', text)


def check_qcow_img():
    manual = Manual(SOURCE / 'doc/man/qcow-img.1')
    commands = commands_of_help()
    sections = manual.subsections()
    synopses = manual.synopses()
    expect(len(commands) >= 7, 'qcow-img --help lists no commands')
    expect(list(sections) == commands,
           f'qcow-img has {commands}, and sections for {list(sections)}')
    expect(list(synopses) == [''] + commands,
           f'qcow-img has {commands}, synopses for {list(synopses)}')
    start = manual.section('DESCRIPTION').split('\n.Ss ', 1)[0]
    own, common = (options_of_list(text) for text in
                   start.split('common to several commands', 1))
    helped = options_of_help(output(QCOW_IMG, '--help'))
    compare_list('qcow-img', helped, own, [])
    compare_synopsis('qcow-img', helped, synopses[''])
    for command in commands:
        helped = [option for option in options_of_help(
            output(QCOW_IMG, command, '--help')) if option.names != HELP]
        where = 'qcow-img ' + command
        compare_synopsis(where, helped, synopses.get(command, ''))
        compare_list(where, helped,
                     options_of_list(sections.get(command, '')), common)
        expect('.Bd -literal' in sections.get(command, ''),
               f'{where}: there is no example')
    for command, *arguments in (('create', 'disk'), ('amend',)):
        unknown = compare_keys(
            'qcow-img ' + command, sections[command],
            output(QCOW_IMG, command, '-f', 'qcow2', '-o', 'help',
                   *arguments))
        expect(command == 'create' or not unknown,
               f'qcow-img {command}: no such keys: {sorted(unknown)}')


def io_commands():
    """Usage of each command, by its name."""
    text = output(QCOW_IO, '-c', 'help').split('\n\n', 1)[0]
    return {line.split(' ', 1)[0]: line.split(' -- ')[0]
            for line in text.splitlines()}


def letters_of_usage(usage):
    return {letter for word in re.findall(r'-(\w+)', usage)
            for letter in word}


def check_qcow_io():
    manual = Manual(SOURCE / 'doc/man/qcow-io.1')
    helped = options_of_help(output(QCOW_IO, '--help'))
    compare_list('qcow-io', helped,
                 options_of_list(manual.section('DESCRIPTION')), [])
    usages = io_commands()
    expect(len(usages) >= 20, 'qcow-io -c help lists no commands')
    items = {}
    for line in re.findall(r'(?m)^\.It Cm (.*)$',
                           manual.section('COMMANDS')):
        name, *rest = line.split(' ')
        items[name] = line
        if rest[:1] == [',']:
            alias = output(QCOW_IO, '-c', 'help ' + rest[1])
            expect(alias.startswith(name),
                   f'qcow-io: {rest[1]} does not stand for {name}')
    expect(list(items) == list(usages),
           f'qcow-io has {list(usages)}, and describes {list(items)}')
    for name, usage in usages.items():
        described = {flag[1:] for flag, _ in options_of_synopsis(
            items.get(name, '').replace('Fl r | w', 'Fl rw'))}
        helped = letters_of_usage(usage)
        # It is in the usage line of qemu-io, too, and is no option there.
        if name == 'read':
            helped -= {'a'}
        expect(described == helped,
               f'qcow-io {name}: {sorted(described)} in the manual, '
               f'{sorted(helped)} in its help')


def check_the_comparison():
    """It notices an option too few and one too many."""
    helped = options_of_help('\nOptions:\n  -a, --all FMT  text\n'
                             '      --only         text\n  -z  text\n')
    expect([(sorted(o.names), o.has_argument) for o in helped] ==
           [(['--all', '-a'], True), (['--only'], False), (['-z'], False)],
           f'--help is read as {helped}')
    before = len(faults)
    compare_synopsis('', helped, '.Op Fl ayz\n')
    compare_list('', helped, options_of_list(
        '.It Fl a Ar fmt\n.It Fl -only\n.It Fl q\n'), [])
    expected = 3 + 3
    if len(faults) != before + expected:
        sys.exit(f'{expected} planted faults, {faults[before:]} found')
    del faults[before:]


def main():
    check_the_comparison()
    check_qcow_img()
    check_qcow_io()
    if faults:
        sys.exit('\n'.join(faults))
    print('the manual pages say what the programs say')


if __name__ == '__main__':
    main()
