#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of corruption kinds has each kind of the list, with its words; the
verdicts that tests/api/damages.def has of images with it; and says of each that no
repair mends why not.

    test_corruption_kinds.py SOURCE_ROOT
"""

import os
import re
import sys

KIND = re.compile(r'QCF_CHECK\((\d+), \w+, (\w+),\s*((?:"[^"]*"\s*)+)\)')
DAMAGE = re.compile(r'^DAMAGE\((\d+), \w+, "[^"]*",\s*(\w+), (\w+), (\w+), '
                    r'(\w+), (\w+),$', re.MULTILINE)
ROW = re.compile(r'^\| (\d+) \| (.*) \| (.*) \| (.*) \| (.*) \| (.*) \|$',
                 re.MULTILINE)

OPENS = {('NO', 'NO'): 'no', ('YES', 'NO'): 'read-only', ('YES', 'YES'): 'yes'}


def read(*names):
    with open(os.path.join(*names), encoding='ascii') as file:
        return file.read()


def verdicts(root):
    """(opens, check, check after a repair) of each id, each a set of words."""
    found = {}
    for number, read_only, read_write, check, _, after in DAMAGE.findall(
            read(root, 'tests', 'api', 'damages.def')):
        columns = found.setdefault(int(number), (set(), set(), set()))
        columns[0].add(OPENS[read_only, read_write])
        columns[1].add(check.lower())
        columns[2].add(after.lower())
    return found


def compare_verdicts(root, rows):
    found = verdicts(root)
    for number, _, *columns, _ in rows:
        want = tuple(set(c.split(' or ')) for c in columns)
        have = found.get(number, ({'-'}, {'-'}, {'-'}))
        if want != have:
            sys.exit('%d: the table says %s, the images %s' %
                     (number, want, have))


def main():
    root = sys.argv[1]
    kinds = [(int(number), repair, ''.join(re.findall(r'"([^"]*)"', words)))
             for number, repair, words in
             KIND.findall(read(root, 'lib', 'format', 'checks.def'))]
    rows = [(int(number), *columns) for number, *columns in
            ROW.findall(read(root, 'doc', 'corruption-kinds.md'))]
    if len(kinds) < 60:
        sys.exit('checks.def: only %d kinds' % len(kinds))
    if [(n, w) for n, _, w in kinds] != [(n, w) for n, w, *_ in rows]:
        sys.exit('not the same kinds: %s' % sorted(
            {(n, w) for n, _, w in kinds} ^ {(n, w) for n, w, *_ in rows}))
    for (number, repair, _), (*_, repaired) in zip(kinds, rows):
        if (repair == 'NONE') != repaired.startswith('no'):
            sys.exit('%d: repair class %s, and the table says "%s"' %
                     (number, repair, repaired))
    compare_verdicts(root, rows)


if __name__ == '__main__':
    main()
