# SPDX-License-Identifier: MIT
"""What a program can be told, read from what it prints about itself."""

import re
import subprocess

# Keys of -o with values that "help" does not list.  A key that it does not
# list either is an error, so that this cannot outlive it.
KEY_VALUES = {
    'backing_file': 'file',
    'backing_fmt': 'words qcow2 qcow raw',
    'compat': 'words v3 v2 1.1 0.10',
    'compression_type': 'words zlib zstd',
    'data_file': 'file',
    'refcount_bits': 'words 1 2 4 8 16 32 64',
}

# Options with the name of an image, which --help calls otherwise.
FILES = ('--backing', '--base', '--source-file')

FORMATS = ('raw', 'qcow', 'qcow2')


class Option:
    """names: the letter first, if there is one.  argument: as --help names
    it, or ''.  optional: only the long name may have it, behind "=".  values:
    "file", "keys", "any" or "words A B ..."."""

    def __init__(self, names, argument, optional, text):
        self.names = names
        self.argument = argument
        self.optional = optional
        self.text = text
        self.values = ''


class Command:

    def __init__(self, name, summary, options, operands):
        self.name = name
        self.summary = summary
        self.options = options
        self.operands = operands  # names of those of the form NAME=VALUE


class Key:
    """One of the keys that -o takes."""

    def __init__(self, name, text, values):
        self.name = name
        self.text = text
        self.values = values


def output(*command):
    return subprocess.run(command, check=True, text=True,
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE).stdout


def listed_words(text):
    """The words of the first "(a, b, ...)" or "a, b or c" of a text."""
    found = re.search(r'\((?:[a-z ]+: )?(\w+(?:(?:, |/)\w+)+)\)', text)
    if not found:
        found = re.search(r'(?:^|\bas )(\w+(?:, \w+)* or \w+)(?:$|:)', text)
    if not found:
        found = re.search(r"choices: ('\w+'(?:, '\w+')*)", text)
    if not found:
        found = re.search(r'\(allowed value: (\w+)\)', text)
    return re.findall(r'\w+', found.group(1).replace(' or ', ' ')) if found \
        else []


def argument_values(option, cache_modes, io_commands):
    """What the argument of an option can be."""
    if not option.argument:
        return ''
    name = option.names[-1]
    if option.argument == 'FMT':
        return 'words ' + ' '.join(FORMATS)
    if '|' in option.argument and option.argument.islower():
        return 'words ' + option.argument.replace('|', ' ')
    if option.argument == 'OPTS':
        return 'keys'
    if name.endswith('cache'):
        return 'words ' + ' '.join(cache_modes)
    if option.argument == 'COMMAND':
        return 'words ' + ' '.join(io_commands)
    words = listed_words(option.text)
    if words and option.argument in ('MODE', 'FORMAT'):
        return 'words ' + ' '.join(words)
    return 'file' if option.argument == 'FILE' or name in FILES else 'any'


def parse_options(text):
    """The lines behind "Options:"."""
    options = []
    for line in text.split('\nOptions:\n', 1)[1].split('\n\n')[0].split('\n'):
        if not re.match(r'  (    )?-', line):
            # The text of an option whose names take too much room.
            if options and line.strip():
                options[-1].text = line.strip()
            continue
        left, _, help_text = re.sub(r' {2,}', '\n',
                                    line.strip()).partition('\n')
        words = left.split(' ')
        names = [word.rstrip(',') for word in words if word[0] == '-']
        optional = re.fullmatch(r'(.*)\[=(.*)\]', names[-1])
        if optional:
            names[-1] = optional.group(1)
        options.append(Option(names, optional.group(2) if optional else
                              ' '.join(words[len(names):]), bool(optional),
                              help_text))
    return options


def parse_keys(text):
    keys = []
    for name, kind, help_text in re.findall(
            r'(?m)^  ([\w.-]+)=<(.*?)> *- (.*)$', text):
        words = listed_words(help_text)
        if kind.startswith('bool'):
            words = words or ['on', 'off']
        values = 'words ' + ' '.join(words) if words else 'any'
        keys.append(Key(name, help_text, KEY_VALUES.get(name, values)))
    return keys


class Program:
    """One of qcow-img and qcow-io.  For a program that has no commands there
    is one without a name."""

    def __init__(self, name, path):
        self.name = name
        self.path = path
        text = output(path, '--help')
        commands = re.findall(r'(?m)^  (\w+) +(\S.*)$',
                              text.partition('\nCommands:\n')[2])
        self.options = parse_options(text)
        self.commands = [self.read_command(*each) for each in commands]
        self.keys = self.read_keys() if commands else {}
        io_commands = [] if commands else re.findall(
            r'(?m)^(\w+) .*-- ', output(path, '-c', 'help'))
        everything = self.options + [option for command in self.commands
                                     for option in command.options]
        modes = next(listed_words(option.text) for option in everything
                     if option.text.startswith('cache mode ('))
        for option in everything:
            option.values = argument_values(option, modes, io_commands)

    def read_command(self, name, summary):
        text = output(self.path, name, '--help')
        usage = text.partition('\n')[0].partition('[OPTION]...')[2]
        return Command(name, summary, parse_options(text),
                       re.findall(r'\b([a-z]+)=', usage))

    def read_keys(self):
        """By format; those of "amend" by that."""
        keys = {name: parse_keys(output(self.path, 'create', '-f', name, '-o',
                                        'help', 'disk'))
                for name in FORMATS}
        keys['amend'] = parse_keys(output(self.path, 'amend', '-f', 'qcow2',
                                          '-o', 'help'))
        gone = set(KEY_VALUES) - {key.name for key in keys['qcow2']}
        if gone:
            raise SystemExit(f'{self.name} does not have {sorted(gone)}')
        return keys

    @staticmethod
    def format_options(command):
        """The names of the option that says which keys there are."""
        by_letter = {option.names[0]: option for option in command.options}
        return (by_letter.get('-O') or by_letter['-f']).names
