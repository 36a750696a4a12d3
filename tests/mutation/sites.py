# SPDX-License-Identifier: MIT
"""Where the order of writes is decided, and what to put there instead.

A site is one place in a source file of the library.  Each has an alternative:
text that takes the place of what is there when the site's mutant is switched on.
All sites of a file are compiled together, with a switch at each, so a program is
built once and shows one mutant or another by its environment.

Sites are found by the names that the library gives to such things, never listed:
a flush that is written tomorrow is found tomorrow.
"""

import dataclasses
import re
import zlib

# What a call is to be instead, by the name of what is called.  A name that
# matches several patterns takes the first.
CALLS = [
    # A wrapper that does more than to flush has the flush inside.
    ("", r"\w+_and_flush|\w*settle_size|qcf_writeback_is_due", None),
    ("flush", r"\w*(?:flush|fsync|fdatasync|syncfs|sync_file\w*)(?:_or_poison)?|"
              r"qcf_fd_sync|sync_directory", "0"),
    ("commit", r"qcf_writeback_\w+|\w*drain\w*|qcf_bitmaps_settle|"
               r"copy_stable", "0"),
    ("flag", r"qcf_flags_\w+|set_dirty_bit|begin_use|qcf_bitmaps_write_flags|"
             r"\w*mark_in_use\w*", "0"),
    ("quarantine", r"qcf_quarantine_(?:add|begin|stable|failed)", "(void)0"),
    ("poison", r"qcf_poison_set", "(void)0"),
    ("poison", r"qcf_poison_check", "0"),
    ("epoch", r"qcf_gate_oldest", "UINT64_MAX"),
    ("epoch", r"qcf_gate_advance", "0"),
    ("epoch", r"qcf_gate_(?:close|renew)", "(void)0"),
    ("protect", r"qcf_meta_is_metadata|qcf_meta_is_not_only_l2", "false"),
]

# Facts that ordering depends on, each taken for false and for true.
FACTS = r"dirty_bit_set|flags_uncertain|(?<!_)in_use"

# What reaches storage; who calls one of these writes.
WRITES = re.compile(
    r"qcf_storage_(?:pwritev?|zero|write_zeros|truncate|discard|flush|allocate|"
    r"copy_range)|pwritev?|fsync|fdatasync")

# What makes something stable.  Two writes that no flush parts have no order.
FLUSHES = re.compile(r"qcf_storage_flush|qcf_flush_or_poison|fsync|fdatasync")

# Steps that only look, or that everything else is done inside of.
LOOKS = re.compile(r"(?:.*_)?(?:begin|check|find|look|plan|read|open|is)(?:_.*)?")

WORD_CALL = re.compile(r"(?<![\w.>])((?:\w+(?:->|\.))*)([a-z_]\w*)\(")
KEYWORDS = {"if", "while", "for", "switch", "return", "sizeof", "do", "else"}


@dataclasses.dataclass
class Function:
    """A function in a source file: its body is text[start:end]."""
    name: str
    start: int
    end: int


@dataclasses.dataclass
class Site:
    """A place to change, and what to."""
    path: str
    line: int
    kind: str
    name: str
    start: int
    end: int
    instead: str

    @property
    def number(self):
        """Stands for the site in compiled code."""
        return zlib.crc32(self.name.encode()) or 1


def blanked(text):
    """The text with comments and strings overwritten, at its old length."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|'
                  r"^#[^\n]*(?:\\\n[^\n]*)*",
                  blank, text, flags=re.S | re.M)


def functions(text):
    """The functions of a file as clang-format lays them out."""
    found = []
    for match in re.finditer(r"^\w[^;{}()=]*?\b(\w+)\(([^;{}]*)\)\n\{\n", text,
                             flags=re.M):
        end = text.index("\n}", match.end() - 1)
        found.append(Function(match.group(1), match.end(), end))
    return found


def closing(text, opening):
    """Where the parenthesis that opens at a position ends."""
    depth = 0
    for at in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    raise ValueError("unbalanced parentheses")


def calls(text, function):
    """(start, end, callee, written as) of each call in a function."""
    for match in WORD_CALL.finditer(text, function.start, function.end):
        if match.group(2) not in KEYWORDS:
            yield (match.start(), closing(text, match.end() - 1),
                   match.group(2), match.group(1))


def reaching(sources, leaves):
    """(path, name) of all functions that call a leaf, also by way of others.

    A static function is known in its own file only; the others have no path.
    """
    called = {}
    for path, source in sources.items():
        text = blanked(source)
        for function in functions(text):
            names = {call[2] for call in calls(text, function)}
            head = text[:function.start].rsplit("\n}\n", 1)[-1]
            where = path if re.search(r"^static ", head, re.M) else None
            called.setdefault((where, function.name), (path, set()))
            called[where, function.name][1].update(names)
    found = {key for key, (_, names) in called.items()
             if any(leaves.fullmatch(n) for n in names)}
    while True:
        more = {key for key, (path, names) in called.items()
                if key not in found and
                any((path, n) in found or
                    ((path, n) not in called and (None, n) in found)
                    for n in names)}
        if not more:
            return found
        found |= more


class Library:
    """What the whole library says about its functions."""

    def __init__(self, sources):
        self.sources = sources
        self.writing = reaching(sources, WRITES)
        self.flushing = reaching(sources, FLUSHES)

    def writes(self, path, name):
        """Whether a function writes, or copies what is to be written."""
        return bool(WRITES.fullmatch(name) or name.startswith("collect_") or
                    {(path, name), (None, name)} & self.writing)

    def flushes(self, path, name):
        """Whether a function makes something stable."""
        return bool(FLUSHES.fullmatch(name) or name.startswith("collect_") or
                    {(path, name), (None, name)} & self.flushing)

    def sites(self, path):
        """The sites of a file; those with the same number are one mutant."""
        return Finder(path, self.sources[path], self).find()


class Finder:
    """Finds the sites of one file."""

    def __init__(self, path, source, library):
        self.path = path
        self.source = source
        self.text = blanked(source)
        self.library = library
        self.sites = []
        self.seen = {}

    def add(self, function, kind, what, start, end, instead):
        """Add a site; alike ones in a function are numbered."""
        label = f"{self.path}:{function.name}:{kind}:{what}"
        self.seen[label] = self.seen.get(label, 0) + 1
        line = self.source.count("\n", 0, start) + 1
        self.sites.append(Site(self.path, line, kind,
                               f"{label}:{self.seen[label]}", start, end,
                               instead))

    def find_calls(self, function):
        """Calls that are left out."""
        for start, end, callee, _ in calls(self.text, function):
            for kind, pattern, instead in CALLS:
                if re.fullmatch(pattern, callee):
                    if instead is not None:
                        self.add(function, kind, callee, start, end, instead)
                    break

    def find_waits(self, function):
        """Loops around a wait, which end at once."""
        for match in re.finditer(r"\bwhile \(", self.text[:function.end]):
            if match.start() < function.start:
                continue
            end = closing(self.text, match.end() - 1)
            body = re.match(r"\s*(?:\{[^{}]*\}|[^{};]*;)", self.text[end:])
            if body and re.search(r"_cond_wait\(|sched_yield|_oldest\(",
                                  body.group() + self.text[match.end():end]):
                self.add(function, "wait", "while", match.end(), end - 1,
                         "false")

    def find_facts(self, function):
        """Conditions that are taken for one thing or the other."""
        pattern = (rf"atomic_load\(&[\w>.-]*\b(?:{FACTS})\)|"
                   rf"(?<![\w&>.-])[\w>.-]*\b(?:{FACTS})\b(?!\s*(?:=[^=]|\())|"
                   r"[\w>.-]*\bepoch\b (?:<|>|<=|>=) [\w>.-]+")
        for match in re.finditer(pattern, self.text[:function.end]):
            if match.start() < function.start:
                continue
            before = self.text[:match.start()].rstrip()
            if before.endswith(("&", "bool")) and not before.endswith("&&"):
                continue
            for value in "false", "true":
                self.add(function, "fact",
                         re.sub(r"\s+", "", match.group()) + "=" + value,
                         match.start(), match.end(), value)

    def find_remembered(self, function):
        """Facts that are not remembered."""
        pattern = (rf"(?<![\w>.-])([\w>.-]*(?:->|\.)(?:{FACTS})) = [^;{{}}]*|"
                   rf"atomic_store\(&([\w>.-]*(?:->|\.)(?:{FACTS})),[^;]*\)")
        for match in re.finditer(pattern, self.text[:function.end]):
            if match.start() >= function.start and \
               self.text[match.end()] == ";":
                self.add(function, "forget", match.group(1) or match.group(2),
                         match.start(), match.end(), "(void)0")

    def find_swaps(self, function):
        """Two steps that write, one after the other, change places."""
        steps = []
        pattern = (r"\bret = (?=[a-z_]\w*\()|"
                   r"\breturn (?:ret < 0 \? ret\s*: )?(?=[a-z_]\w*\()")
        for match in re.finditer(pattern, self.text[:function.end]):
            if match.start() < function.start:
                continue
            name = re.match(r"\w+", self.text[match.end():]).group()
            end = closing(self.text, match.end() + len(name))
            if self.text[end] == ";":
                steps.append((match.start(), match.end(), end, name))
        for one, two in zip(steps, steps[1:]):
            if self.text.startswith("return", one[0]):
                continue
            between = self.text[one[2] + 1:two[0]]
            between = re.sub(r"if \(ret < 0\)\s*return [^;]*;|"
                             r"if \(ret == 0[^;{}]*\)\s*$", "", between)
            if not between.strip() and self.are_in_order(one, two):
                self.add_swap(function, one, two)

    def are_in_order(self, one, two):
        """Whether both steps write and neither needs what the other yields."""
        names = [one[3], two[3]]
        if names[0] == names[1] or any(LOOKS.fullmatch(n) for n in names) or \
           not all(self.library.writes(self.path, n) for n in names) or \
           not any(self.library.flushes(self.path, n) for n in names):
            return False
        for step in one, two:
            if any(kind and re.fullmatch(pattern, step[3])
                   for kind, pattern, _ in CALLS):
                return False
        first, second = (self.text[s[1]:s[2]] for s in (one, two))
        if names[0].startswith("collect_"):
            return True
        made = set(re.findall(r"&(\w+)\b(?!->|\.)", first))
        return not made & set(re.findall(r"\w+", second))

    def add_swap(self, function, one, two):
        """Both places have the same number: one switch changes both."""
        what = f"{one[3]}<>{two[3]}"
        first, second = (re.sub(r"\s+", " ", self.source[s[1]:s[2]])
                         for s in (one, two))
        self.add(function, "order", what, one[1], one[2], second)
        twin = dataclasses.replace(self.sites[-1], start=two[1], end=two[2],
                                   instead=first)
        self.sites.append(twin)

    def find(self):
        """All sites of the file."""
        for function in functions(self.text):
            self.find_calls(function)
            self.find_waits(function)
            self.find_facts(function)
            self.find_remembered(function)
            self.find_swaps(function)
        return self.sites


def with_switches(source, sites):
    """The source with a switch at each site.

    What is put in belongs to a line that is there, so that line numbers stay.
    """
    spans = sorted({(s.start, s.end) for s in sites},
                   key=lambda span: (span[0], -span[1]))
    before = {}
    after = {}
    for start, end in spans:
        head = "".join(f"qcf_mutant({s.number}u) ? {s.instead} : "
                       for s in sites if (s.start, s.end) == (start, end))
        before[start] = before.get(start, "") + "(" + head + "("
        after[end] = after.get(end, "") + "))"
    parts = []
    for at in range(len(source) + 1):
        parts.append(after.get(at, ""))
        parts.append(before.get(at, ""))
        parts.append(source[at:at + 1])
    return "".join(parts)
