# SPDX-License-Identifier: MIT
"""What include/qcowfmt.h declares, with the comments that belong to it.

Not a C parser: it understands the few shapes that the header is written in,
and stops with the line of whatever else it meets, so that nothing is left out
silently.
"""

import re


class Malformed(Exception):
    """The header has something that is not understood."""


class Item:
    """Something with a name and a comment."""

    def __init__(self, name, comment):
        self.name = name
        self.comment = comment


class Define(Item):

    def __init__(self, name, comment, value):
        super().__init__(name, comment)
        self.value = value


class Member(Item):
    """Of a structure.  type holds %s where the name was."""

    def __init__(self, name, comment, declaration):
        super().__init__(name, comment)
        self.declaration = declaration
        self.intro = ''       # a comment above it and others
        self.joined = False   # the comment of the member before is its own


class Enumerator(Item):
    pass


class Type(Item):
    """A structure, an enumeration, or a type of a callback."""

    def __init__(self, kind, name, comment, members=(), declaration=''):
        super().__init__(name, comment)
        self.kind = kind
        self.members = members
        self.declaration = declaration
        self.defines = []    # flags whose prefix a member names


class Function(Item):
    """One exported function."""

    def __init__(self, name, returns, params):
        super().__init__(name, '')
        self.returns = returns
        self.params = params

    @property
    def can_fail(self):
        """By the convention of the header: it has an errp."""
        return any(p.endswith('**errp') for p in self.params)


class Page:
    """Functions that share a comment."""

    def __init__(self, section, names, text, comment):
        self.section = section
        self.names = names
        self.summary = text
        self.comment = comment   # without the summary and "Since"
        self.since = ''
        self.functions = []
        self.defines = []        # of its flags argument

    @property
    def name(self):
        return self.names[0]


def comment_text(raw):
    """The words of a comment; lines keep their breaks."""
    lines = raw.strip()[2:-2].split('\n')
    lines = [re.sub(r'^\s*\*? ?', '', line, count=1).rstrip()
             for line in lines[1:]]
    first = raw.strip()[2:-2].split('\n')[0].strip()
    return '\n'.join([first] + lines).strip()


def joined(text):
    """A paragraph on one line, with two spaces between sentences."""
    text = re.sub(r'(?<=[a-z0-9)"\]])\.\n', '.  ', text)
    return re.sub(r'\n', ' ', text)


def split_top(text, separator):
    """Split where no bracket is open."""
    parts = ['']
    depth = 0
    for char in text:
        depth += char in '([{'
        depth -= char in ')]}'
        if char == separator and depth == 0:
            parts.append('')
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


class Scanner:
    """Comments, directives and declarations of C text, one by one."""

    def __init__(self, text, end=';'):
        self.text = text
        self.end = end
        self.at = 0

    def line(self):
        return self.text.count('\n', 0, self.at) + 1

    def skip_blank(self):
        """Skip white space; whether an empty line was part of it."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text.count('\n', start, self.at) > 1

    def comment(self):
        """The comment that starts here."""
        start = self.at
        self.at = self.text.index('*/', start) + 2
        return self.text[start:self.at]

    def trailing(self):
        """The comment on the rest of the line; empty if there is none."""
        rest = re.compile(r'[ \t]*/\*').match(self.text, self.at)
        if not rest:
            return ''
        self.at = rest.end() - 2
        return joined(comment_text(self.comment()))

    def directive(self):
        """Up to the end of the line, or a comment."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] != '\n':
            if self.text.startswith('/*', self.at):
                break
            self.at += 2 if self.text[self.at] == '\\' else 1
        return self.text[start:self.at].strip()

    def declaration(self):
        """Up to the terminator outside of brackets, with its comments."""
        start = self.at
        depth = 0
        while self.at < len(self.text):
            if self.text.startswith('/*', self.at):
                self.comment()
                continue
            char = self.text[self.at]
            if char == self.end and depth == 0:
                break
            depth += char in '({'
            depth -= char in ')}'
            self.at += 1
        text = self.text[start:self.at].strip()
        self.at += 1
        return text


def parse_enumerators(body):
    scanner = Scanner(body, end=',')
    found = []
    above = ''
    while True:
        scanner.skip_blank()
        if scanner.at >= len(body):
            return found
        if body.startswith('/*', scanner.at):
            above = joined(comment_text(scanner.comment()))
            continue
        raw = scanner.declaration()
        # The last one has no comma and takes in what is behind it.
        own = scanner.trailing() or ' '.join(
            joined(comment_text(c)) for c in
            re.findall(r'/\*.*?\*/', raw, re.S))
        raw = re.sub(r'/\*.*?\*/', '', raw, flags=re.S)
        found.append(Enumerator(raw.split('=')[0].strip(),
                                '  '.join(filter(None, (above, own)))))
        above = ''


def member_name(declaration):
    function = re.search(r'\(\*(\w+)\)\(', declaration)
    plain = re.search(r'(\w+)(\[\w+\])?$', declaration)
    return function.group(1) if function else plain.group(1)


def parse_members(body):
    scanner = Scanner(body)
    found = []
    above = ''
    join = False
    while True:
        scanner.skip_blank()
        if scanner.at >= len(body):
            return found
        if body.startswith('/*', scanner.at):
            above = joined(comment_text(scanner.comment()))
            join = False
            continue
        declaration = ' '.join(scanner.declaration().split())
        own = scanner.trailing()
        member = Member(member_name(declaration), own or above, declaration)
        if own:
            member.intro = above
        member.joined = join and not own
        join = not own and (member.joined or bool(above))
        found.append(member)
        above = ''


def parse_function(declaration, line):
    found = re.fullmatch(r'(.+?[\s*])(qcowfmt_\w+)\((.*)\)', declaration,
                         re.S)
    if not found:
        raise Malformed(f'line {line}: not understood: {declaration}')
    params = [' '.join(p.split()) for p in split_top(found.group(3), ',')]
    return Function(found.group(2), ' '.join(found.group(1).split()), params)


def parse_type(declaration, comment):
    """The type a declaration defines, or None."""
    body = re.fullmatch(r'(struct|enum)\s+(\w+)\s*\{(.*)\}', declaration,
                        re.S)
    if body:
        kind, name, text = body.groups()
        members = (parse_members if kind == 'struct'
                   else parse_enumerators)(text)
        return Type(kind, name, comment, members)
    callback = re.match(r'typedef\b.*\(\*(\w+)\)\(', declaration, re.S)
    if callback:
        return Type('typedef', callback.group(1), comment,
                    declaration=' '.join(declaration.split()))
    return None


SINCE = re.compile(r'\s*\bSince (\d+\.\d+)\.\s*$')


def parse_page(section, comment, line):
    """A comment of the form "name[, name] - what it does"."""
    head = re.match(r'(qcowfmt_\w+(?:,\s+qcowfmt_\w+)*) - ', comment)
    if not head:
        raise Malformed(f'line {line}: a function needs a comment that starts '
                        f'with its name and a dash')
    since = SINCE.search(comment)
    if not since:
        raise Malformed(f'line {line}: {head.group(1)}: the comment does not '
                        f'end with "Since MAJOR.MINOR."')
    paragraphs = comment[head.end():since.start()].split('\n\n')
    paragraphs = [joined(p.strip()) for p in paragraphs if p.strip()]
    if not paragraphs or not re.search(r'\w+ \w+', paragraphs[0]):
        raise Malformed(f'line {line}: {head.group(1)}: nothing behind the '
                        f'dash says what it does')
    sentences = re.split(r'(?<=\.)  ', paragraphs[0], maxsplit=1)
    page = Page(section, re.split(r',\s+', head.group(1)),
                sentences[0].rstrip('.'), sentences[1:] + paragraphs[1:])
    page.since = since.group(1)
    return page


class Header:
    """Everything, in the order of the file."""

    def __init__(self, text):
        self.overview = ''
        self.sections = []
        self.pages = []
        self.types = {}
        self.defines = []
        self.parse(self.without_guards(text))
        self.assign_flags()

    @staticmethod
    def without_guards(text):
        """Blank out what is for compilers only; lines keep their numbers."""
        def blank(found):
            return re.sub(r'[^\n]', '', found.group(0))
        text = re.sub(r'^#ifdef __cplusplus\n.*?^#endif\n', blank, text,
                      flags=re.M | re.S)
        text = re.sub(r'^#if defined\(__GNUC__\)\n.*?^#endif\n', blank, text,
                      flags=re.M | re.S)
        return re.sub(r'^#(include|ifndef|endif)\b.*$', '', text, flags=re.M)

    def parse(self, text):
        scanner = Scanner(text)
        above = ''
        page = None
        section = 'version'
        while True:
            if scanner.skip_blank():
                above = ''
                page = None
            if scanner.at >= len(text):
                break
            line = scanner.line()
            if text.startswith('/*', scanner.at):
                above = comment_text(scanner.comment())
                page = None
                banner = re.fullmatch(r'-{10,} (.+)', above)
                if banner:
                    section = banner.group(1)
                elif not self.overview and ' - ' in above:
                    self.overview = above
            elif text[scanner.at] == '#':
                self.add_define(scanner.directive(), above,
                                scanner.trailing(), line)
                above = ''
            else:
                page = self.add_declaration(scanner.declaration(), above,
                                            page, section, line)
                above = ''

    def add_define(self, directive, above, own, line):
        words = directive.split(None, 2)
        if words[0] != '#define':
            raise Malformed(f'line {line}: not understood: {directive}')
        if len(words) == 3:
            text = '  '.join(filter(None, (joined(above), own)))
            self.defines.append((line, Define(words[1], text, words[2])))

    def add_declaration(self, declaration, above, page, section, line):
        """Returns the page that a function which follows may belong to."""
        if re.fullmatch(r'struct \w+', declaration):
            return None
        new_type = parse_type(declaration, above)
        if new_type:
            self.types[new_type.name] = new_type
            return None
        function = parse_function(declaration, line)
        if page is None or function.name not in page.names:
            page = parse_page(section, above, line)
            page.line = line
            self.pages.append(page)
            if section not in self.sections:
                self.sections.append(section)
        if function.name not in page.names:
            raise Malformed(f'line {line}: the comment above is not about '
                            f'{function.name}')
        page.functions.append(function)
        return page

    def assign_flags(self):
        """Give each define to the structure or the function it is for."""
        claimed = set()
        for each in self.types.values():
            for member in each.members:
                prefix = re.match(r'QCOWFMT_\w+_\*',
                                  member.comment.replace('\n', ' '))
                if prefix:
                    each.defines = [d for _, d in self.defines if
                                    d.name.startswith(prefix.group(0)[:-1])]
                    claimed.update(d.name for d in each.defines)
        start = 0
        for page in self.pages:
            if any(p == 'uint32_t flags' for f in page.functions
                   for p in f.params):
                page.defines = [d for line, d in self.defines
                                if start < line < page.line and
                                d.name not in claimed]
            start = page.line

    def check(self):
        """Each page has all functions that its comment names."""
        for page in self.pages:
            names = [f.name for f in page.functions]
            if names != page.names:
                raise Malformed(f'the comment names {page.names}, and what '
                                f'follows is {names}')


def read(path):
    with open(path, encoding='utf-8') as file:
        header = Header(file.read())
    header.check()
    return header
