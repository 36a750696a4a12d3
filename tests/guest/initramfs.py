# SPDX-License-Identifier: MIT
"""Pack the guest's first file system: busybox, kernel modules, one script."""

import pathlib

BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")

# Busybox runs as PID 1 before any file system holds its dynamic loader.
ELF_INTERPRETER = b"/ld-linux"


class Missing(Exception):
    """There is no static busybox."""


def _busybox():
    for name in BUSYBOX:
        path = pathlib.Path(name)
        if path.is_file() and ELF_INTERPRETER not in path.read_bytes()[:4096]:
            return path.read_bytes()
    raise Missing("no static busybox (Debian package busybox-static)")


class Archive:
    """A cpio archive in the "newc" format, which the kernel unpacks."""

    def __init__(self):
        self._parts = []
        self._inode = 0

    def add(self, name, mode, content=b"", device=(0, 0)):
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0,
                  *device, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        self._append(header + encoded)
        self._append(content)

    def directory(self, name):
        self.add(name, 0o040755)

    def _append(self, data):
        self._parts.append(data + b"\0" * (-len(data) % 4))

    def bytes(self):
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)


def build(init, modules, programs=()):
    """init is the script that becomes PID 1, modules a list of (name, content)
    to load in that order, programs the content of others by their paths."""
    archive = Archive()
    for name in ("bin", "dev", "proc", "sys", "mnt", "modules"):
        archive.directory(name)
    # The kernel opens the console before anything is mounted.
    archive.add("dev/console", 0o020600, device=(5, 1))
    archive.add("bin/busybox", 0o100755, _busybox())
    archive.add("init", 0o100755, init)
    for name in programs:
        archive.add(name, 0o100755, programs[name])
    for name, content in modules:
        archive.add("modules/" + name, 0o100644, content)
    order = "".join(name + "\n" for name, _ in modules)
    archive.add("modules/order", 0o100644, order.encode())
    return archive.bytes()
