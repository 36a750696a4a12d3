#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two builds of make_images make the same images and say the same of them.

    same_bytes.py MAKE_IMAGES [COMMAND...] OTHER_MAKE_IMAGES

The second one may be of another machine and run by COMMAND.  It also has to say
the same of images that QEMU made, and QEMU has to find nothing wrong with ours.
With a build and itself it shows that nothing depends on chance.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

QEMU_IMG = os.environ.get("QEMU_IMG", "qemu-img")
SKIP = 77

# Commands of qemu-img for one image each; the name takes the place of "@".
QEMU_IMAGES = {
    "q-default": ["create -f qcow2 @ 40M"],
    "q-old": ["create -f qcow2 -o compat=0.10,cluster_size=512 @ 1M"],
    "q-subclusters": ["create -f qcow2 -o extended_l2=on @ 16M"],
    "q-1-bit": ["create -f qcow2 -o refcount_bits=1 @ 16M"],
    "q-full": ["create -f qcow2 -o preallocation=full,cluster_size=4k @ 2M"],
    "q-snapshot": ["create -f qcow2 @ 16M", "snapshot -c one @",
                   "resize @ 20M"],
    "q-bitmap": ["create -f qcow2 @ 16M", "bitmap --add @ changes"],
    "q-version-1": ["create -f qcow @ 16M"],
    "q-zlib": ["convert -c -O qcow2 default @"],
    "q-zstd": ["convert -c -O qcow2 -o compression_type=zstd default @"],
    "q-v1-converted": ["convert -O qcow default @"],
    "q-converted": ["convert -O qcow2 -o cluster_size=2M small-clusters @"],
}


def run(command, directory):
    done = subprocess.run(command, cwd=directory, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with "
                 f"{done.returncode}\n{done.stdout[-2000:]}{done.stderr}")
    return done.stdout


def first_difference(one, other):
    """Where two strings or byte strings differ, for people."""
    at = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b),
              min(len(one), len(other)))
    return (f"at {at:#x}: {one[max(0, at - 16):at + 48]!r}\n"
            f"    and {other[max(0, at - 16):at + 48]!r}")


def compare_files(one, other):
    names = sorted(os.listdir(one))
    if names != sorted(os.listdir(other)):
        sys.exit(f"not the same files: {names}, {sorted(os.listdir(other))}")
    wrong = 0
    for name in names:
        left, right = ((d / name).read_bytes() for d in (one, other))
        if left != right:
            wrong += 1
            print(f"{name} is not the same: {len(left)} and {len(right)} "
                  f"bytes, {first_difference(left, right)}")
    return names, wrong


def has_qemu():
    try:
        subprocess.run([QEMU_IMG, "--version"], stdout=subprocess.DEVNULL,
                       check=True)
    except FileNotFoundError:
        return False
    return True


def make_qemu_images(directory):
    for name, commands in QEMU_IMAGES.items():
        for command in commands:
            run([QEMU_IMG] + command.replace("@", name).split(), directory)
    return list(QEMU_IMAGES)


def check_by_qemu(directory, names):
    for name in names:
        # It wants a secret for one kind, and knows no check of the other.
        if name in ("luks", "aes", "version-1"):
            continue
        print(name, run([QEMU_IMG, "check", "-q", name], directory), end="")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    # They run in other directories.
    words = [os.path.abspath(word) if os.path.exists(word) else word
             for word in sys.argv[1:]]
    makers = [words[:1], words[1:]]
    with tempfile.TemporaryDirectory(prefix="qcow-same-") as temporary:
        directories = [pathlib.Path(temporary) / name for name in "ab"]
        said = []
        for maker, directory in zip(makers, directories):
            directory.mkdir()
            said.append(run(maker + [directory], temporary))
        print(said[0], end="")
        if said[0] != said[1]:
            sys.exit("not the same kinds were made: "
                     + first_difference(*said))
        names, wrong = compare_files(*directories)
        if has_qemu():
            check_by_qemu(directories[0], names)
            names += make_qemu_images(directories[0])
        else:
            print("no qemu-img: its images were not tried")
        said = [run(maker + ["--read"] + names, directories[0])
                for maker in makers]
        if said[0] != said[1]:
            wrong += 1
            print("what is read is not the same, "
                  + first_difference(*said))
        print(f"figure: portable_images {len(names)} images")
        print(f"figure: portable_facts {len(said[0].splitlines())} lines")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
