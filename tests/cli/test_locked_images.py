# SPDX-License-Identifier: MIT
"""An image that another program writes to is left alone, and said to be."""

import contextlib
import os
import subprocess

from cli_common import CliTest, OURS, THEIRS, main


@contextlib.contextmanager
def holding(program, args, cwd, prompt):
    """Keep an image open in another program."""
    process = subprocess.Popen(['qemu-io'] + args, executable=program, cwd=cwd,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        # The prompt comes when the image is open.
        if process.stdout.read(len(prompt)) != prompt:
            raise AssertionError('%s did not start' % program)
        yield
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


class LockedImages(CliTest):

    def setUp(self):
        super().setUp()
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '1M')
        self.qemu('qemu-io', '-c', 'write 0 64k', 'a')

    @contextlib.contextmanager
    def held(self, *args, by=THEIRS):
        with contextlib.ExitStack() as stack:
            for directory in (self.ours, self.theirs):
                stack.enter_context(holding(by['qemu-io'], list(args),
                                            directory, b'qemu-io> '))
            yield

    def test_descriptions_of_a_file_in_use(self):
        with self.held('a'):
            text = 'driver=qcow2,file.filename=a'
            for option in ('', ',file.locking=off', ',force-share=on'):
                self.same_all('qemu-img', 'map', '--image-opts', text + option)
            for command in ('read 0 1', 'write 0 1'):
                self.same_all('qemu-io', '-c', command, '--image-opts',
                              text + ',force-share=on')

    def test_readers_give_way_to_a_writer(self):
        for by in (THEIRS, OURS):
            with self.held('a', by=by):
                for args in (['info', 'a'], ['check', 'a'], ['map', 'a'],
                             ['convert', 'a', 'out'],
                             ['check', '-r', 'all', 'a']):
                    self.same_all('qemu-img', *args)
                self.same_all('qemu-io', '-r', '-c', 'read 0 1', 'a')

    def test_writers_give_way(self):
        for by in (THEIRS, OURS):
            for mode in ([], ['-r']):
                with self.held(*mode, 'a', by=by):
                    self.same_all('qemu-io', '-c', 'write 0 1', 'a')
                    self.same_all('qemu-img', 'create', '-f', 'qcow2', 'a',
                                  '1M')
                    ours = self.our('qemu-img', 'convert', '-O', 'qcow2', '-n',
                                    '-U', 'a', 'a')
                    self.assertEqual(ours.status, 1)
                    self.assertIn('write" lock', ours.err)
        self.is_sound('a')

    def test_an_unsafe_target_is_locked_too(self):
        """convert writes with cache mode unsafe unless told otherwise."""
        self.file('src', 1 << 20, [(0, b'x' * 65536)])
        with self.held('a'):
            self.same_all('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2',
                          '-n', 'src', 'a')
        with self.held('-t', 'unsafe', 'a', by=OURS):
            for table in (OURS, THEIRS):
                done = subprocess.run(['qemu-io', '-c', 'read 0 1', 'a'],
                                      executable=table['qemu-io'],
                                      cwd=self.ours, capture_output=True,
                                      check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b'lock', done.stderr)

    def test_an_image_in_use_may_get_an_overlay(self):
        for by in (THEIRS, OURS):
            with self.held('a', by=by):
                for size in ([], ['2M']):
                    ours, _ = self.same_all('qemu-img', 'create', '-f',
                                            'qcow2', '-b', 'a', '-F', 'qcow2',
                                            'new', *size)
                    self.assertEqual(ours.status, 0, ours)

    def test_readers_share(self):
        for by in (THEIRS, OURS):
            with self.held('-r', 'a', by=by):
                for args in (['info', '-f', 'qcow2', 'a'], ['check', 'a'],
                             ['map', 'a'], ['convert', 'a', 'out']):
                    self.assertEqual(self.same_status('qemu-img',
                                                      *args)[0].status, 0)

    def test_force_share(self):
        with self.held('a'):
            for args in (['info', '-U', 'a'], ['check', '-U', 'a'],
                         ['map', '-U', 'a'], ['convert', '-U', 'a', 'out']):
                ours, _ = self.same_status('qemu-img', *args)
                self.assertEqual(ours.status, 0, ours)
            self.same_output('qemu-io', '-rU', '-c', 'length', 'a')
            os.unlink(self.our_path('out'))


if __name__ == '__main__':
    main()
