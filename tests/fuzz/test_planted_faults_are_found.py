# SPDX-License-Identifier: MIT
"""Promise: the kept inputs find a fault in the library.

Arguments: pairs of a target with a planted fault and its inputs.
"""
import os
import signal
import subprocess
import sys
import tempfile


def main():
    pairs = list(zip(sys.argv[1::2], sys.argv[2::2]))
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        for program, inputs in pairs:
            run = subprocess.run([os.path.abspath(program), inputs],
                                 cwd=directory,
                                 capture_output=True, check=False)
            name = os.path.basename(program)
            if (run.returncode != -signal.SIGABRT
                    or b"broken promise" not in run.stderr
                    or b"input: " not in run.stderr):
                print(f"{name}: not found: {run.returncode}", run.stderr)
                failed += 1
    print(f"figure: planted_faults_found {len(pairs) - failed} of "
          f"{len(pairs)}")
    return 1 if failed or not pairs else 0


sys.exit(main())
