# SPDX-License-Identifier: MIT
"""Images that e2image -Q writes, which are unlike anything QEMU makes, open,
read, check, mend and take writes; and e2image reads what we wrote."""

import filecmp
import os
import random
import shutil
import subprocess
import sys

from cli_common import EXIT_SKIP, CliTest, KIB, MIB, main, noise

SBIN = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'
MKE2FS = shutil.which('mke2fs', path=SBIN)
E2IMAGE = shutil.which('e2image', path=SBIN)

SIZE = 8 * MIB
EXIT_LEAKS = 3
BLOCK_SIZES = (1024, 2048, 4096)


def run(*args):
    subprocess.run(args, check=True, capture_output=True, timeout=60,
                   stdin=subprocess.DEVNULL)


def make_tree(path):
    """A few files of all sizes, one of them with nothing but zeros."""
    os.makedirs(os.path.join(path, 'a', 'b'))
    for number, size in enumerate((1, 700, 4096, 70 * KIB, 300 * KIB)):
        with open(os.path.join(path, 'a', 'file%d' % number), 'wb') as f:
            f.write(noise(number, size))
    with open(os.path.join(path, 'a', 'b', 'zeros'), 'wb') as f:
        f.truncate(200 * KIB)
    os.symlink('a/file1', os.path.join(path, 'link'))


def random_script(seed):
    """Commands of qemu-io that write all over the disk, except its last block:
    e2image itself loses the end of that."""
    rng = random.Random(seed)
    end = SIZE - BLOCK_SIZES[-1]
    lines = []
    for _ in range(60):
        offset = rng.randrange(end)
        length = min(rng.choice((1, 512, 3000, 4096, 70000)), end - offset)
        form = rng.choice(('-P %d' % rng.randrange(1, 256),
                           '-P %d' % rng.randrange(1, 256), '-z', '-z -u'))
        lines.append('write -q %s %d %d' % (form, offset, length))
    return '\n'.join(lines) + '\n'


class E2imageImages(CliTest):

    def make(self, block_size, *options):
        """The file system "raw" and the image "img" of it."""
        tree = os.path.join(self.root, 'tree')
        make_tree(tree)
        with open(self.our_path('raw'), 'wb') as f:
            f.truncate(SIZE)
        run(MKE2FS, '-q', '-F', '-t', 'ext4', '-b', str(block_size),
            '-d', tree, self.our_path('raw'))
        run(E2IMAGE, '-Q', *options, self.our_path('raw'),
            self.our_path('img'))
        self.share('raw')
        self.share('img')
        shutil.rmtree(tree)

    def convert_both(self, name, result):
        """Each turns its own copy into a raw disk."""
        args = ('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', name,
                result)
        for done in self.both(*args):
            self.assertEqual(done.status, 0, done)

    def same_file(self, a, b):
        self.assertTrue(filecmp.cmp(a, b, shallow=False),
                        '%s and %s differ' % (a, b))

    def for_all(self, test, *options):
        for block_size in BLOCK_SIZES:
            with self.subTest(block_size=block_size):
                self.make(block_size, *options)
                test()
            for directory in (self.ours, self.theirs):
                shutil.rmtree(directory)
                os.mkdir(directory)

    # --- the tests

    def test_reads_as_the_file_system(self):
        def test():
            self.convert_both('img', 'out')
            self.same_file(self.our_path('out'), self.our_path('raw'))
        self.for_all(test, '-a')

    def test_metadata_alone_reads_as_qemu_does(self):
        def test():
            self.convert_both('img', 'out')
            self.same_bytes('out')
        self.for_all(test)

    def check_and_mend(self):
        self.convert_both('img', 'before')
        for args in ((), ('--output=json',)):
            ours, _ = self.same_all('qemu-img', 'check', *args, 'img')
            self.assertEqual(ours.status, EXIT_LEAKS)
        ours, _ = self.same_status('qemu-img', 'check', '-r', 'leaks', 'img')
        self.assertEqual(ours.status, 0, ours)
        self.is_sound('img')
        self.share('img')
        ours, _ = self.same_all('qemu-img', 'check', 'img')
        self.assertEqual(ours.status, 0, ours)
        self.convert_both('img', 'out')
        self.same_bytes('out')
        self.same_file(self.our_path('out'), self.our_path('before'))

    def test_the_leak_is_found_and_mended(self):
        self.for_all(self.check_and_mend, '-a')

    def test_the_leak_of_metadata_alone_is_found_and_mended(self):
        self.for_all(self.check_and_mend)

    def write(self):
        """The same writes to our image and to their raw file."""
        script = random_script(len(self.id()))
        ours = self.our('qemu-io', '-f', 'qcow2', 'img', stdin=script)
        theirs = self.their('qemu-io', '-f', 'raw', 'raw', stdin=script)
        self.assertEqual((ours.status, theirs.status), (0, 0),
                         '%r %r' % (ours, theirs))
        self.share('img')
        self.same_all('qemu-img', 'check', 'img')
        self.convert_both('img', 'out')
        self.same_file(self.our_path('out'), self.their_path('raw'))
        self.same_file(self.their_path('out'), self.their_path('raw'))

    def mend(self):
        ours = self.our('qemu-img', 'check', '-r', 'leaks', 'img')
        self.assertEqual(ours.status, 0, ours)
        self.is_sound('img')

    def test_takes_writes(self):
        def test():
            self.write()
            ours = self.our('qemu-img', 'check', 'img')
            self.assertEqual(ours.status, EXIT_LEAKS, ours)
            self.mend()
        self.for_all(test, '-a')

    def test_takes_writes_when_mended(self):
        """e2image also counts a cluster behind the end of the file, which is
        found when the file has grown that far."""
        def test():
            self.mend()
            self.write()
            self.mend()
        self.for_all(test, '-a')

    def test_e2image_reads_what_we_wrote(self):
        def test():
            self.write()
            run(E2IMAGE, '-r', self.our_path('img'), self.our_path('back'))
            self.same_file(self.our_path('back'), self.their_path('raw'))
        self.for_all(test, '-a')


if __name__ == '__main__':
    if MKE2FS is None or E2IMAGE is None:
        print('SKIP: mke2fs or e2image is missing', file=sys.stderr)
        sys.exit(EXIT_SKIP)
    main()
