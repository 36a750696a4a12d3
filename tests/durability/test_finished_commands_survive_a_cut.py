# SPDX-License-Identifier: MIT
"""The power is cut when a command has just ended: what it made is there, its name in
the directory as well as its content."""

import os
import pathlib
import random
import sys
import tempfile

sys.dont_write_bytecode = True
import durability as d  # noqa: E402
import power  # noqa: E402

NO_SYNC = os.environ.get('DURABILITY_NO_SYNC')
MIB = 1 << 20
SIZE = 6 * MIB

# Name; what is done in the directory, as arguments of qcow-img; what has to be there:
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


# What "info" has to say of top.qcow2, or not to say.
FACTS = {
    'snapshot_deleted': (None, 'early'),
    'bitmap': ('name: b', None),
    'resize': ('virtual size: 7 MiB', None),
    'amend': ('refcount bits: 64', None),
    'rebase': (None, 'backing file'),
}


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
    for raw, after in (('early', ['snapshot', '-c', 'early', 'top.qcow2']),
                       ('late', ['info', 'top.qcow2'])):
        qcow_img(['convert', '-n', '-t', 'writeback', '-f', 'raw', '-O',
                  'qcow2', notes / raw, 'top.qcow2'], directory)
        qcow_img(after, directory)
    os.sync()


def judge(directory, notes, checked, same):
    for name in checked:
        qcow_img(['check', '-q', '-f', 'qcow2', name], directory)
    for expected, name in same:
        if (notes / expected).exists():
            qcow_img(['compare', '-q', '-f', 'raw', notes / expected, name],
                     directory)
        else:
            qcow_img(['info', name], directory)


def judge_facts(name, directory):
    wanted, unwanted = FACTS.get(name, (None, None))
    said = qcow_img(['info', 'top.qcow2'], directory)
    if (wanted and wanted not in said) or (unwanted and unwanted in said):
        raise d.Broken('the change is not there: %s' % said)


def run_scenario(scenario, root, preload=None):
    name, commands, checked, same = scenario
    directory = root / 'disk'
    directory.mkdir()
    with power.Disk('ext4', directory) as disk:
        prepare(directory, root)
        for words in commands:
            qcow_img(words, directory, preload)
        disk.cut()
        disk.start_again()
        judge(directory, root, checked, same)
        judge_facts(name, directory)


def in_directory(function, *args):
    with tempfile.TemporaryDirectory(prefix='qcow-cut-') as name:
        return function(*args[:1], pathlib.Path(name), *args[1:])


def without_sync(scenario):
    try:
        in_directory(run_scenario, scenario, NO_SYNC)
    except d.Broken:
        return
    raise d.Broken('nothing is lost without fsync(): this proves nothing')


def main():
    try:
        power.enter_namespace()
    except power.Missing as why:
        d.skip(why)
    if not power.available('ext4'):
        d.skip('no loop device with ext4 can be cut off here')
    for scenario in SCENARIOS:
        with d.story(scenario[0]):
            in_directory(run_scenario, scenario)
    planted = SCENARIOS if d.LONG else SCENARIOS[::4]
    for scenario in planted:
        with d.story('%s without fsync()' % scenario[0]):
            without_sync(scenario)
    print('figure: cuts-after-success %d commands' % len(SCENARIOS))


if __name__ == '__main__':
    print('seed %d (QCF_SEED)' % d.SEED)
    main()
