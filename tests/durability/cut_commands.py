# SPDX-License-Identifier: MIT
"""Commands that are carried out on a disk whose power is cut, and what there is before."""

import os
import random

import durability as d

MIB = 1 << 20
SIZE = 6 * MIB

# Name; what is done in the directory, as arguments of qcow-img; what is there then:
# files that check clean, and pairs of a raw file and an image that is the same disk.
#
# Before it there are source, a raw file, and base.qcow2 and top.qcow2 over it.  The
# disk of top is late, and early in its snapshot.
STABLE = ['-t', 'writeback']
SCENARIOS = [
    ('create', [['create', '-q', '-f', 'qcow2', 'new', '64M']],
     ['new'], []),
    ('create_preallocated',
     [['create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', 'new',
       '64M']], ['new'], []),
    ('create_with_data_file',
     [['create', '-q', '-f', 'qcow2', '-o', 'data_file=new.data', 'new',
       '8M']], ['new'], []),
    ('create_version_1', [['create', '-q', '-f', 'qcow', 'new', '64M']],
     [], [('new', 'new')]),
    ('create_raw', [['create', '-q', '-f', 'raw', 'new', '64M']],
     [], [('new', 'new')]),
    ('create_in_a_directory',
     [['create', '-q', '-f', 'qcow2', 'empty/new', '64M']], ['empty/new'], []),
    ('convert', [['convert', *STABLE, '-f', 'raw', '-O', 'qcow2', 'source',
                  'new']], ['new'], [('source', 'new')]),
    ('convert_compressed',
     [['convert', *STABLE, '-c', '-f', 'raw', '-O', 'qcow2', 'source', 'new']],
     ['new'], [('source', 'new')]),
    ('convert_to_raw', [['convert', *STABLE, '-f', 'qcow2', '-O', 'raw',
                         'top.qcow2', 'new']], [], [('late', 'new')]),
    ('convert_to_version_1',
     [['convert', *STABLE, '-f', 'raw', '-O', 'qcow', 'source', 'new']],
     [], [('source', 'new')]),
    ('dd', [['dd', '-f', 'raw', '-O', 'qcow2', 'bs=64k', 'if=source',
             'of=new']], ['new'], [('source', 'new')]),
    ('dd_to_raw', [['dd', '-f', 'raw', '-O', 'raw', 'bs=64k', 'if=source',
                    'of=new']], [], [('source', 'new')]),
    ('snapshot_applied', [['snapshot', '-a', 'early', 'top.qcow2']],
     ['top.qcow2'], [('early', 'top.qcow2')]),
    ('snapshot_deleted', [['snapshot', '-d', 'early', 'top.qcow2']],
     ['top.qcow2'], [('late', 'top.qcow2')]),
    ('bitmap', [['bitmap', '--add', 'top.qcow2', 'b']], ['top.qcow2'],
     [('late', 'top.qcow2')]),
    ('resize', [['resize', '-q', '-f', 'qcow2', 'top.qcow2', '+1M']],
     ['top.qcow2'], [('late', 'top.qcow2')]),
    ('amend', [['amend', '-f', 'qcow2', '-o', 'refcount_bits=64',
                'top.qcow2']], ['top.qcow2'], [('late', 'top.qcow2')]),
    ('rebase', [['rebase', '-f', 'qcow2', '-b', '', 'top.qcow2']],
     ['top.qcow2'], [('late', 'top.qcow2')]),
    ('commit', [['commit', '-q', '-f', 'qcow2', 'top.qcow2']],
     ['base.qcow2', 'top.qcow2'],
     [('late', 'base.qcow2'), ('late', 'top.qcow2')]),
    ('compact', [['compact', '-q', '-f', 'qcow2', 'top.qcow2']],
     ['top.qcow2'], [('late', 'top.qcow2')]),
]


def qcow_img(words, directory, preload=None):
    return d.run(d.QCOW_IMG, *words, cwd=directory, env=d.preloaded(preload))


def write_disk(path, chance):
    """Some data in the middle of nothing."""
    with open(path, 'wb') as file:
        file.truncate(SIZE)
        for _ in range(20):
            file.seek(chance.randrange(SIZE - MIB) & ~511)
            file.write(chance.randbytes(chance.randrange(512, 200000, 512)))


def prepare(directory, notes):
    """The images there are before, made stable."""
    chance = random.Random(d.SEED)
    for name in ('source', 'early', 'late'):
        write_disk(notes / name, chance)
    (directory / 'empty').mkdir()
    (directory / 'source').write_bytes((notes / 'source').read_bytes())
    for words in (
            ['create', '-q', '-f', 'qcow2', 'base.qcow2', str(SIZE)],
            ['create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2',
             'top.qcow2']):
        qcow_img(words, directory)
    qcow_img(['convert', '-n', '-t', 'writeback', '-f', 'raw', '-O', 'qcow2',
              notes / 'source', 'base.qcow2'], directory)
    for raw, after in (('early', ['snapshot', '-c', 'early', 'top.qcow2']),
                       ('late', ['info', 'top.qcow2'])):
        qcow_img(['convert', '-n', '-t', 'writeback', '-f', 'raw', '-O',
                  'qcow2', notes / raw, 'top.qcow2'], directory)
        qcow_img(after, directory)
    os.sync()
