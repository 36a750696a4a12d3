# SPDX-License-Identifier: MIT
"""The power is cut when a command has just ended: what it made is there, its name in
the directory as well as its content."""

import os
import pathlib
import sys
import tempfile

sys.dont_write_bytecode = True
import durability as d  # noqa: E402
from cut_commands import SCENARIOS, prepare, qcow_img  # noqa: E402
import power  # noqa: E402

NO_SYNC = os.environ.get('DURABILITY_NO_SYNC')

# What "info" has to say of top.qcow2, or not to say.
FACTS = {
    'snapshot_deleted': (None, 'early'),
    'bitmap': ('name: b', None),
    'resize': ('virtual size: 7 MiB', None),
    'amend': ('refcount bits: 64', None),
    'rebase': (None, 'backing file'),
}


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
    for _ in range(3):
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
    for scenario in SCENARIOS[::1 if d.LONG else 4]:
        # What it does cannot be seen from outside.
        if scenario[0] == 'compact':
            continue
        with d.story('%s without fsync()' % scenario[0]):
            without_sync(scenario)
    print('figure: cuts-after-success %d commands' % len(SCENARIOS))


if __name__ == '__main__':
    print('seed %d (QCF_SEED)' % d.SEED)
    main()
