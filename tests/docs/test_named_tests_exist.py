#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each test that tests/api/README.md names is there.

    test_named_tests_exist.py SOURCE_ROOT
"""

import os
import re
import sys

NAME = re.compile(r'`((?:\.\./\w+/(?:\w+/)?)?test_\w+)(\.\w+)?`')


def main():
    folder = os.path.join(sys.argv[1], 'tests', 'api')
    with open(os.path.join(folder, 'README.md'), encoding='ascii') as file:
        names = NAME.findall(file.read())
    if len(names) < 60:
        sys.exit('only %d names' % len(names))
    for name, suffix in names:
        path = os.path.join(folder, name + (suffix or '.c'))
        if not os.path.exists(path):
            sys.exit('there is no %s' % os.path.normpath(path))


if __name__ == '__main__':
    main()
