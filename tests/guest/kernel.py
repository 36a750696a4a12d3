# SPDX-License-Identifier: MIT
"""Find a Linux kernel for the guest, and the modules its disk needs.

A kernel is a directory tree as a Debian kernel package unpacks: boot/vmlinuz-*
and lib/modules/*.  QCF_GUEST_KERNEL_DIR names one (tools/dev/guest-kernel makes
it); else the kernels installed on this machine are tried.
"""

import lzma
import os
import pathlib
import re

# In the order in which a guest can load them, dependencies not yet resolved.
WANTED = ("virtio_pci", "virtio_blk", "ext4")


class Missing(Exception):
    """There is no usable kernel; the text says what is missing."""


class Kernel:
    def __init__(self, vmlinuz, modules_dir):
        self.vmlinuz = vmlinuz
        self.release = modules_dir.name
        self._paths = {}
        for path in modules_dir.rglob("*.ko*"):
            self._paths[_module_name(path.name.split(".ko")[0])] = path
        builtin = modules_dir / "modules.builtin"
        self._builtin = set()
        if builtin.is_file():
            self._builtin = {
                _module_name(pathlib.PurePath(line).name.split(".ko")[0])
                for line in builtin.read_text().split()}

    def modules(self):
        """(file name, content) of each module to load, dependencies first."""
        loaded = {}
        pending = list(reversed(WANTED))
        while pending:
            name = pending[-1]
            if name in loaded or name in self._builtin:
                pending.pop()
                continue
            content = self._read(name)
            missing = [dep for dep in _depends(content)
                       if dep not in loaded and dep not in self._builtin]
            if missing:
                pending.extend(missing)
                continue
            loaded[name] = content
            pending.pop()
        return [(name + ".ko", content) for name, content in loaded.items()]

    def _read(self, name):
        if name not in self._paths:
            raise Missing(f"kernel {self.release} has no module {name}")
        path = self._paths[name]
        if path.suffix == ".ko":
            return path.read_bytes()
        if path.suffix == ".xz":
            return lzma.decompress(path.read_bytes())
        raise Missing(f"{path.name}: no way to unpack {path.suffix} modules")


def _module_name(name):
    return name.replace("-", "_")


def _depends(content):
    """The modules that a module's own information says it needs."""
    found = re.search(rb"\0depends=([^\0]*)\0", content)
    if not found or not found.group(1):
        return []
    return [_module_name(name) for name in found.group(1).decode().split(",")]


def find():
    """The newest kernel that has an image and modules, or Missing."""
    override = os.environ.get("QCF_GUEST_KERNEL_DIR")
    root = pathlib.Path(override if override else "/")
    for vmlinuz in sorted(root.glob("boot/vmlinuz-*"), reverse=True):
        release = vmlinuz.name[len("vmlinuz-"):]
        modules = root / "lib/modules" / release
        if modules.is_dir() and os.access(vmlinuz, os.R_OK):
            return Kernel(vmlinuz, modules)
    raise Missing(f"no kernel with modules beneath {root} (run "
                  "tools/dev/guest-kernel and set QCF_GUEST_KERNEL_DIR to "
                  "what it prints)")
