#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of corruption kinds has each kind of the list, with its words, and says
of each that no repair mends why not.

    test_corruption_kinds.py SOURCE_ROOT
"""

import os
import re
import sys

KIND = re.compile(r'QCF_CHECK\((\d+), \w+, (\w+),\s*((?:"[^"]*"\s*)+)\)')
ROW = re.compile(r'^\| (\d+) \| (.*) \| (.*) \|$', re.MULTILINE)


def read(*names):
    with open(os.path.join(*names), encoding='ascii') as file:
        return file.read()


def main():
    root = sys.argv[1]
    kinds = [(int(number), repair, ''.join(re.findall(r'"([^"]*)"', words)))
             for number, repair, words in
             KIND.findall(read(root, 'lib', 'format', 'checks.def'))]
    rows = [(int(number), words, repaired) for number, words, repaired in
            ROW.findall(read(root, 'doc', 'corruption-kinds.md'))]
    if len(kinds) < 60:
        sys.exit('checks.def: only %d kinds' % len(kinds))
    if [(n, w) for n, _, w in kinds] != [(n, w) for n, w, _ in rows]:
        sys.exit('not the same kinds: %s' % sorted(
            {(n, w) for n, _, w in kinds} ^ {(n, w) for n, w, _ in rows}))
    for (number, repair, _), (_, _, repaired) in zip(kinds, rows):
        if (repair == 'NONE') != repaired.startswith('no'):
            sys.exit('%d: repair class %s, and the table says "%s"' %
                     (number, repair, repaired))


if __name__ == '__main__':
    main()
