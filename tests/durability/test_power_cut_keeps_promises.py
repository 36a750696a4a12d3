# SPDX-License-Identifier: MIT
"""The power of a disk is cut while a writer is at work on an image in a file system
on it.  Afterwards the file system mounts, the image opens, a check finds no
corruption, and what was acknowledged is there."""

import os
import pathlib
import random
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
import durability as d  # noqa: E402
import power  # noqa: E402

NO_SYNC = os.environ.get('DURABILITY_NO_SYNC')

# The cut makes calls fail: the writer may end by itself.
ENDS = (1, -signal.SIGKILL)

# Kinds of images that lie on the disk of one machine, one after the other.
ROUNDS = 10 if d.LONG else 1
# Without fsync() one of so many cuts has to be noticed.
PLANTED_CUTS = 5


def cut_once(image, disk, chance, preload=None):
    writer = image.write(preload)
    d.start_moment(writer, image, chance)
    disk.cut()
    d.finish(writer, ENDS)
    disk.start_again()
    image.judge()


def cut_again_and_again(kind, file_system, root):
    """Returns how many flushes were acknowledged."""
    chance = random.Random('%d %s %s' % (d.SEED, kind.name, file_system))
    (root / 'disk').mkdir()
    with power.Disk(file_system, root / 'disk') as disk:
        image = d.Image(kind, root / 'disk', root)
        # Nobody says that it has to be made stable first.
        image.create()
        for _ in range(ROUNDS):
            cut_once(image, disk, chance)
    return image.acknowledged


def without_sync(kind, file_system, root):
    """The same with an fsync() that does nothing has to fail."""
    chance = random.Random(d.SEED)
    (root / 'disk').mkdir()
    with power.Disk(file_system, root / 'disk') as disk:
        image = d.Image(kind, root / 'disk', root)
        image.create()
        for _ in range(PLANTED_CUTS):
            try:
                cut_once(image, disk, chance, NO_SYNC)
            except d.Broken:
                return
    raise d.Broken('without fsync() nothing is lost: the test proves nothing')


def in_directory(function, *args):
    with tempfile.TemporaryDirectory(prefix='qcow-cut-') as name:
        return function(*args, pathlib.Path(name))


def plan(file_systems):
    """Each kind of image on some file system; in the long run on each."""
    if d.LONG:
        return [(k, f) for f in file_systems for k in d.KINDS]
    return [(kind, file_systems[number % len(file_systems)])
            for number, kind in enumerate(d.KINDS)]


def main():
    try:
        power.enter_namespace()
    except power.Missing as why:
        d.skip(why)
    file_systems = [name for name in power.FILE_SYSTEMS
                    if power.available(name)]
    if not file_systems:
        d.skip('no loop device with a file system can be cut off here')
    flushes = 0
    cuts = 0
    for kind, file_system in plan(file_systems):
        with d.story('%s on %s' % (kind.name, file_system)):
            flushes += in_directory(cut_again_and_again, kind, file_system)
        cuts += ROUNDS
    if flushes == 0:
        sys.exit('nothing was acknowledged')
    with d.story('no fsync()'):
        in_directory(without_sync, d.KINDS[2], file_systems[0])
    print('figure: power-cuts %d cuts on %s, %d acknowledged flushes' %
          (cuts, ' and '.join(file_systems), flushes))


if __name__ == '__main__':
    print('seed %d (QCF_SEED)' % d.SEED)
    main()
