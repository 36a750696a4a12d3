# SPDX-License-Identifier: MIT
"""Boot a guest in QEMU and wait for what it says on its console."""

import os
import re
import shutil
import subprocess
import tempfile
import time

QEMU = "qemu-system-x86_64"

# Emulation is some twenty times slower than KVM, and builders are busy.
STAGE_TIMEOUT = 240
# A guest that KVM can run at all is up in a second or two.
KVM_PROBE_TIMEOUT = 20

KVM_BROKEN = "KVM internal error"


class Missing(Exception):
    """QEMU is not installed."""


class Failed(Exception):
    """The guest did not do what it was asked; the text holds its console."""


class Machine:
    def __init__(self, kernel, initrd):
        if os.uname().machine != "x86_64":
            raise Missing("the guest is x86_64, this machine is "
                          + os.uname().machine)
        if not shutil.which(QEMU):
            raise Missing(f"{QEMU} is not installed")
        self._kernel = kernel
        self._initrd = initrd
        self.accelerator = "kvm"
        if not self._kvm_works():
            self.accelerator = "tcg"

    def run(self, stage, disks):
        """Run one stage to its end; returns the console text."""
        return self._run(stage, disks, STAGE_TIMEOUT)

    def _kvm_works(self):
        # /dev/kvm may be there and still not run a guest, when this machine
        # is itself a virtual one: only a boot tells.
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return False
        try:
            self._run("probe", [], KVM_PROBE_TIMEOUT)
        except Failed:
            return False
        return True

    def _command(self, stage, disks):
        words = [
            QEMU, "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-serial", "stdio", "-monitor", "none",
            "-machine", "q35", "-accel", self.accelerator, "-cpu", "max",
            "-m", "512", "-kernel", str(self._kernel.vmlinuz),
            "-initrd", str(self._initrd),
            "-append", f"console=ttyS0 quiet panic=-1 qcf_stage={stage}",
        ]
        for number, path in enumerate(disks):
            words += ["-drive", f"if=none,id=disk{number},format=qcow2,"
                                f"discard=unmap,file={path}",
                      "-device", f"virtio-blk-pci,drive=disk{number}"]
        return words

    def _run(self, stage, disks, timeout):
        with tempfile.TemporaryFile() as console:
            end = time.monotonic() + timeout
            with subprocess.Popen(self._command(stage, disks),
                                  stdin=subprocess.DEVNULL, stdout=console,
                                  stderr=subprocess.STDOUT) as qemu:
                try:
                    text = _follow(qemu, console, end)
                finally:
                    qemu.kill()
        if qemu.returncode != 0 or \
                not re.search(rf"^QCF-GUEST done {stage}\r?$", text, re.M):
            raise Failed(f"stage {stage}: QEMU ended with {qemu.returncode} "
                         f"(after at most {timeout} s)\n{text}")
        return text


def _follow(qemu, console, end):
    """Wait until QEMU ends, hangs or gives up; returns the console text."""
    while True:
        ended = qemu.poll() is not None
        text = os.pread(console.fileno(), 1 << 20, 0).decode(errors="replace")
        if ended or KVM_BROKEN in text or time.monotonic() > end:
            return text
        time.sleep(0.1)
