#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""doc/reliability.md names tests that exist: each promise has one, each folder of
tests is named, and each figure is printed by some test.

    test_reliability_page.py SOURCE_ROOT
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
PAGE = 'doc/reliability.md'

# Where tests are that show nothing by themselves, or not about reliability.
NOT_NAMED = {'bench'}

TEST = re.compile(r'`((?:tests|tools/dev)/[^`* ]+)`')
# In cells of numbers: names of figures, not of environment variables or options.
FIGURE = re.compile(r'`([a-z][a-z0-9]*(?:[-_][a-z0-9]+)+)`')


def rows_of_promises(text):
    """The cells of each row below a heading with "Shown by" or "Found by"."""
    cells = None
    for line in text.splitlines():
        if not line.startswith('|'):
            cells = None
            continue
        row = [cell.strip() for cell in line.strip('|').split('|')]
        if cells is None:
            cells = row
        elif cells[1] in ('Shown by', 'Found by') and row[0] != '---':
            yield row


def sources():
    """All that tests and the developer's programs print."""
    for folder in ('tests', 'tools/dev'):
        for path in (ROOT / folder).rglob('*'):
            if path.is_file() and path.suffix in ('', '.c', '.h', '.py', '.sh'):
                yield path.read_text(encoding='utf-8', errors='replace')


def problems(text):
    rows = list(rows_of_promises(text))
    if len(rows) < 30:
        yield 'only %d promises' % len(rows)
    for row in rows:
        if not TEST.search(row[1]):
            yield 'no test shows: %s' % row[0]
    named = set(TEST.findall(text))
    for path in sorted(named):
        if not (ROOT / path).exists():
            yield 'there is no %s' % path
    folders = {path.name for path in (ROOT / 'tests').iterdir()
               if (path / 'meson.build').is_file()}
    for folder in sorted(folders - NOT_NAMED):
        if not any(path.split('/')[:2] == ['tests', folder] for path in named):
            yield 'tests/%s is not named' % folder
    printed = '\n'.join(sources())
    for figure in sorted({name for row in rows for cell in row[2:]
                          for name in FIGURE.findall(cell)}):
        if 'figure: ' + figure not in printed and \
                'figure_add("%s"' % figure not in printed:
            yield 'no test prints the figure %s' % figure


def main():
    found = list(problems((ROOT / PAGE).read_text(encoding='utf-8')))
    for problem in found:
        print('%s: %s' % (PAGE, problem))
    sys.exit(bool(found))


if __name__ == '__main__':
    main()
