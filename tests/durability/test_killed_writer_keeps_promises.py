# SPDX-License-Identifier: MIT
"""A writer is killed at random moments, with several threads in it.  Afterwards the
image opens, a check finds no corruption, and what was acknowledged is there: data,
snapshots and dirty bitmaps."""

import pathlib
import random
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
import durability as d  # noqa: E402

ROUNDS = 100 if d.LONG else 4
KILLED = (-signal.SIGKILL,)


def kill_again_and_again(kind, directory):
    """Returns how many writers had acknowledged something."""
    chance = random.Random('%d %s' % (d.SEED, kind.name))
    image = d.Image(kind, directory, directory)
    image.create()
    for _ in range(ROUNDS):
        writer = image.write()
        d.start_moment(writer, image, chance)
        said = d.finish(writer, KILLED)
        if said:
            raise d.Broken('the writer said %s' % said)
        image.judge()
    return image.acknowledged


def judge_notices_lost_writes(directory):
    """The same with a file that is set back behind the writer's back."""
    image = d.Image(d.KINDS[2], directory, directory)
    image.create()
    shutil.copy(image.path, image.path.with_name('old'))
    writer = image.write()
    d.start_moment(writer, image, random.Random(1))
    d.finish(writer, KILLED)
    shutil.copy(image.path.with_name('old'), image.path)
    try:
        image.judge()
    except d.Broken:
        return
    raise d.Broken('an image without anything that was written passes')


def in_directory(function, *args):
    with tempfile.TemporaryDirectory(prefix='qcow-kill-') as name:
        return function(*args, pathlib.Path(name))


def main():
    flushes = 0
    for kind in d.KINDS:
        with d.story(kind.name):
            acknowledged = in_directory(kill_again_and_again, kind)
            if acknowledged == 0:
                raise d.Broken('nothing was acknowledged')
            flushes += acknowledged
    with d.story('lost writes'):
        in_directory(judge_notices_lost_writes)
    print('figure: killed-writers %d writers, %d acknowledged flushes' %
          (ROUNDS * len(d.KINDS), flushes))


if __name__ == '__main__':
    print('seed %d (QCF_SEED)' % d.SEED)
    main()
