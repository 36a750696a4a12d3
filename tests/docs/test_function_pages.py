#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every exported function has a manual page without faults.

    test_function_pages.py SOURCE_ROOT DIRECTORY

DIRECTORY has the pages that were made from the public header.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
SOURCE, PAGES = (pathlib.Path(arg).resolve() for arg in sys.argv[1:3])
sys.path.insert(0, str(SOURCE / 'tools/dev'))
import public_header  # noqa: E402

SECTIONS = ('NAME', 'SYNOPSIS', 'DESCRIPTION', 'SEE ALSO', 'HISTORY')
SKIP = 77
faults = []


def expect(condition, text):
    if not condition:
        faults.append(text)


def exported():
    text = (SOURCE / 'lib/libqcowfmt.map').read_text(encoding='utf-8')
    return re.findall(r'^\t(qcowfmt_\w+);', text, re.M)


def resolved(name):
    """A page, or the one that it refers to."""
    text = (PAGES / (name + '.3')).read_text(encoding='utf-8')
    other = re.fullmatch(r'\.so man3/(\w+)\.3\n', text)
    return resolved(other.group(1)) if other else text


def check_refused(text, planted):
    """A header with a fault in it makes no pages."""
    found, replacement = planted
    if found not in text:
        sys.exit(f'{found!r} is not in the header any more')
    try:
        public_header.Header(text.replace(found, replacement, 1)).check()
        faults.append(f'{found!r} made {replacement!r} goes unnoticed')
    except public_header.Malformed:
        pass


# What it does, since when, and which functions it is about.
PLANTED = (
    ('qcowfmt_flush - make all completed writes stable', 'qcowfmt_flush - '),
    ('the virtual size in bytes.  Since 0.1.', 'the virtual size.'),
    ('/* qcowfmt_get_size - the virtual size in bytes.  Since 0.1. */', ''),
    ('qcowfmt_pread, qcowfmt_preadv - ', 'qcowfmt_pread - '),
    ('qcowfmt_pread, qcowfmt_preadv - ',
     'qcowfmt_pread, qcowfmt_preadv, qcowfmt_x - '),
)


def check_page(function, page):
    text = resolved(function.name)
    headings = re.findall(r'^\.Sh (.+)$', text, re.M)
    wanted = list(SECTIONS)
    if function.can_fail:
        wanted.append('ERRORS')
    if function.returns != 'void':
        wanted.append('RETURN VALUES')
    for heading in wanted:
        expect(heading in headings, f'{function.name}: no {heading}')
    prototype = '.Fo %s\n%s\n.Fc' % (function.name, '\n'.join(
        '.Fa "%s"' % p if ' ' in p else '.Fa ' + p
        for p in function.params))
    expect(prototype in text, f'{function.name}: the synopsis is not right')
    expect(f'Since libqcowfmt {page.since}.' in text,
           f'{function.name}: not since when')


def words_of(page, header):
    """Every word of the comments that a page is made from."""
    texts = [page.summary] + page.comment
    texts += [d.comment for d in page.defines]
    for param in (p for f in page.functions for p in f.params):
        for name in re.findall(r'struct (qcowfmt_\w+)', param):
            if name in header.types:
                texts += [m.comment for m in header.types[name].members]
    return re.findall(r'[A-Za-z0-9_]+', ' '.join(texts))


def check_nothing_is_lost(page, header):
    text = set(re.findall(r'[A-Za-z0-9_]+', resolved(page.name).lower()))
    lost = {word for word in words_of(page, header)
            if word.lower() not in text} - {'Errors'}
    expect(not lost, f'{page.name}: the page lacks {sorted(lost)}')


def formatter():
    """A command that complains about a page, and what it says when fine."""
    if shutil.which('groff'):
        return ['groff', '-mandoc', '-ww', '-z', '-Tutf8']
    if shutil.which('man'):
        return ['man', '--warnings', '-E', 'UTF-8', '-l']
    return None


def check_layout(command):
    """No warnings, from the place where pages refer to each other."""
    with tempfile.TemporaryDirectory(prefix='qcf-man-') as name:
        root = pathlib.Path(name)
        shutil.copytree(PAGES, root / 'man3',
                        ignore=lambda _, names: [n for n in names if
                                                 not n.endswith('.3')])
        pages = sorted((root / 'man3').iterdir())
        pages += sorted((SOURCE / 'doc/man').glob('*.1'))
        for page in pages:
            done = subprocess.run(command + [str(page)], cwd=root, text=True,
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, check=False)
            expect(done.returncode == 0 and not done.stderr,
                   f'{page.name}: {done.stderr}')
        return len(pages)


def check_lint():
    """mandoc is stricter about what belongs where."""
    done = subprocess.run(['mandoc', '-T', 'lint', '-W', 'warning'] +
                          [str(p) for p in sorted(PAGES.glob('*.3')) if not
                           p.read_text(encoding='utf-8').startswith('.so')] +
                          [str(p) for p in
                           sorted((SOURCE / 'doc/man').glob('*.1'))],
                          text=True, stdout=subprocess.PIPE, check=False)
    expect(not done.stdout, done.stdout)


def main():
    header = public_header.read(SOURCE / 'include/qcowfmt.h')
    pages = {f.name: (f, p) for p in header.pages for f in p.functions}
    text = (SOURCE / 'include/qcowfmt.h').read_text(encoding='utf-8')
    for planted in PLANTED:
        check_refused(text, planted)
    names = exported()
    expect(len(names) > 30, 'the list of exported functions is not read')
    for name in names:
        expect(name in pages and (PAGES / (name + '.3')).exists(),
               f'{name} has no page')
    for function, page in pages.values():
        check_page(function, page)
        check_nothing_is_lost(page, header)
        expect(re.search(r'^\.It .*\bXr %s 3' % function.name,
                         resolved('libqcowfmt'), re.M),
               f'{function.name} is not in the overview')
    command = formatter()
    count = check_layout(command) if command else 0
    if shutil.which('mandoc'):
        check_lint()
    if faults:
        sys.exit('\n'.join(faults))
    print(f'{len(pages)} functions have pages, {count} pages are laid out')
    if not command:
        print('SKIP: neither groff nor man is installed: layout not checked')
        sys.exit(SKIP)


if __name__ == '__main__':
    main()
