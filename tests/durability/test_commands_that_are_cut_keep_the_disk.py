# SPDX-License-Identifier: MIT
"""The power is cut while a command is at work on an image.  Afterwards the image opens,
a check finds nothing that a repair does not mend, its disk and its snapshot are
what they were or what they were to become, and what was only read is as it was."""

import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import durability as d  # noqa: E402
from cut_commands import SCENARIOS, prepare, qcow_img  # noqa: E402
import power  # noqa: E402

ROUNDS = 10 if d.LONG else 1


def is_same(directory, raw, name):
    """Is the disk of an image what is in a raw file?"""
    try:
        qcow_img(['compare', '-q', '-f', 'raw', raw, name], directory)
    except d.Broken:
        return False
    return True


def judge_snapshot(name, directory, root):
    """It is there with its content, or was being deleted."""
    said = qcow_img(['snapshot', '-l', 'top.qcow2'], directory)
    if 'early' not in said:
        if name != 'snapshot_deleted':
            raise d.Broken('the snapshot is gone')
        return
    qcow_img(['convert', '-l', 'early', '-O', 'raw', 'top.qcow2',
              root / 'dug-out'], directory)
    if (root / 'dug-out').read_bytes() != (root / 'early').read_bytes():
        raise d.Broken('the snapshot has changed')


def judge(name, directory, root):
    for image in ('base.qcow2', 'top.qcow2'):
        qcow_img(['check', '-q', '-r', 'all', '-f', 'qcow2', image],
                 directory)
        qcow_img(['check', '-q', '-f', 'qcow2', image], directory)
    allowed = ['late', 'early'] if name == 'snapshot_applied' else ['late']
    if not any(is_same(directory, root / raw, 'top.qcow2')
               for raw in allowed):
        raise d.Broken('the disk has changed')
    if name != 'commit' and not is_same(directory, root / 'source',
                                        'base.qcow2'):
        raise d.Broken('the backing file has changed')
    judge_snapshot(name, directory, root)
    if (directory / 'source').read_bytes() != \
            (root / 'source').read_bytes():
        raise d.Broken('a file that was only read has changed')


def judge_new(name, directory):
    """An image that is being created is there as a whole or not at all."""
    path = directory / 'new'
    if not name.startswith('create') or name == 'create_raw' or \
            not path.exists() or path.read_bytes()[:4] != b'QFI\xfb':
        return
    if name != 'create_version_1':
        qcow_img(['check', '-q', '-f', 'qcow2', 'new'], directory)


def duration(words, directory, rehearsal):
    """How long the command takes here when nothing is cut, in seconds."""
    shutil.copytree(directory, rehearsal)
    start = time.monotonic()
    qcow_img(words, rehearsal)
    return time.monotonic() - start


def cut(scenario, root, chance):
    """Returns whether the command was still at work."""
    name, (words,), _, _ = scenario
    directory = root / 'disk'
    directory.mkdir()
    with power.Disk('ext4', directory) as disk:
        prepare(directory, root)
        longest = duration(words, directory, root / 'rehearsal')
        with subprocess.Popen([d.QCOW_IMG, *words], cwd=directory,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as command:
            time.sleep(chance.random() * longest)
            was_busy = command.poll() is None
            disk.cut()
            command.kill()
        disk.start_again()
        judge(name, directory, root)
        judge_new(name, directory)
    return was_busy


def main():
    try:
        power.enter_namespace()
    except power.Missing as why:
        d.skip(why)
    if not power.available('ext4'):
        d.skip('no loop device with ext4 can be cut off here')
    busy = 0
    for scenario in SCENARIOS:
        chance = random.Random('%d %s' % (d.SEED, scenario[0]))
        for _ in range(ROUNDS):
            with d.story(scenario[0]), tempfile.TemporaryDirectory(
                    prefix='qcow-cut-') as name:
                busy += cut(scenario, pathlib.Path(name), chance)
    if busy == 0:
        sys.exit('no command was still at work')
    print('figure: commands-cut %d cuts, %d of them in time' %
          (ROUNDS * len(SCENARIOS), busy))


if __name__ == '__main__':
    print('seed %d (QCF_SEED)' % d.SEED)
    main()
