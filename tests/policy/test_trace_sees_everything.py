# SPDX-License-Identifier: MIT
"""path_trace itself: what a program does behind threads, children, links and odd
calls is seen, so that its silence means something."""

import os
import sys

from policy_test import PolicyTest, main, run_traced

PROGRAM = """
import ctypes, os, socket, threading
libc = ctypes.CDLL(None)
def in_thread():
    os.open('img/base', os.O_RDONLY)
thread = threading.Thread(target=in_thread)
thread.start()
thread.join()
if os.fork() == 0:
    os.open('img/link', os.O_RDWR)
    os._exit(0)
os.wait()
os.open('data', os.O_PATH)
directory = os.open('img', os.O_RDONLY)
os.stat('fifo', dir_fd=directory)
os.open('near', os.O_RDONLY, dir_fd=directory)
try:
    os.open('no \\n such', os.O_RDONLY)
except OSError:
    pass
s = socket.socket(socket.AF_UNIX)
try:
    s.connect('img/socket')
except OSError:
    pass
open('made', 'w').close()
os.rename('made', 'moved')
os.unlink('moved')
libc.syscall(425, 1, 0)     # io_uring_setup, which could do all of this unseen
os.execv('/bin/true', ['true'])
"""


class Trace(PolicyTest):

    def test_everything_is_seen(self):
        traced = run_traced(sys.executable, ['-I', '-S', '-c', PROGRAM],
                            self.work)
        self.assertEqual(traced.status, 0, traced)
        seen = {(t.kind, t.path, t.real) for t in traced.touches}

        def has(kind, path, real=''):
            path = os.path.join(self.work, path)
            real = os.path.join(self.root, real) if real else ''
            self.assertIn((kind, path, real), seen, traced)

        has('read', 'img/base', 'work/img/base')
        has('write', 'img/link', 'outside/secret')
        has('path', 'data', 'work/data')
        has('look', 'img/fifo')
        has('read', 'img/near', 'work/img/base')
        has('read', 'no \n such')
        has('write', 'made', 'work/made')
        has('change', 'moved')
        has('run', '/bin/true')
        self.assertTrue(any(t.kind == 'peer' for t in traced.touches), traced)
        self.assertTrue(any(t.kind == 'unknown' and t.call == '425'
                            for t in traced.touches), traced)


if __name__ == '__main__':
    main()
