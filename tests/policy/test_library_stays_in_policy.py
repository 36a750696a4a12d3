# SPDX-License-Identifier: MIT
"""The library reaches for nothing but what its open options say, whatever an image
names and however it is opened."""

import errno
import os

import forge
from policy_test import POLICY_OPEN, PolicyTest, main

MODES = ['-', 'w', 'n', 'r', 'wrc', 'wi', 'rc']

# Stored name, path that it stands for, what each policy may do with it.
NOTHING, LOOK, OPEN = (), ('path',), ('path', 'read')

BACKING = [
    # name, path, beneath, local
    ('base', 'base', OPEN, OPEN),
    ('near', 'near', OPEN, OPEN),
    ('./directory/../base', 'base', OPEN, OPEN),
    ('/etc/passwd', '/etc/passwd', NOTHING, OPEN),
    ('file:/etc/passwd', '/etc/passwd', NOTHING, OPEN),
    ('../../outside/secret', '../../outside/secret', LOOK, OPEN),
    ('link', 'link', LOOK, OPEN),
    ('../data', '../data', LOOK, OPEN),
    ('fifo', 'fifo', LOOK, LOOK),
    ('socket', 'socket', LOOK, LOOK),
    ('directory', 'directory', LOOK, LOOK),
    ('round', 'round', LOOK, LOOK),
    ('none', 'none', LOOK, LOOK),
    ('x' * 1000, 'x' * 1000, LOOK, LOOK),
    ('\x1b[2J\nname', '\x1b[2J\nname', LOOK, LOOK),
    ('/proc/self/mem', '/proc/self/mem', NOTHING, LOOK),
    ('/dev/null', '/dev/null', NOTHING, LOOK),
    ('base\0/etc/passwd', '', NOTHING, NOTHING),
    ('', '', NOTHING, NOTHING),
    ('json:{"driver":"raw","file":{"driver":"file","filename":"/etc/passwd"}}',
     '', NOTHING, NOTHING),
    ('nbd://127.0.0.1:10809/x', '', NOTHING, NOTHING),
    ('http://127.0.0.1/x', '', NOTHING, NOTHING),
    ('fat:rw:/etc', '', NOTHING, NOTHING),
    ('a', 'a', OPEN, OPEN),
]

DATA_FILES = [
    ('data', 'data', LOOK, OPEN),
    ('base', 'base', OPEN, LOOK),
    ('/etc/passwd', '/etc/passwd', NOTHING, OPEN),
    ('../../outside/secret', '../../outside/secret', LOOK, LOOK),
    ('link', 'link', LOOK, LOOK),
    ('/proc/self/mem', '/proc/self/mem', NOTHING, LOOK),
    ('/dev/null', '/dev/null', NOTHING, LOOK),
    ('json:{"driver":"file","filename":"/etc/passwd"}', '', NOTHING, NOTHING),
    ('nbd://127.0.0.1:10809/x', '', NOTHING, NOTHING),
    ('img/a', 'img/a', LOOK, OPEN),
]


class Library(PolicyTest):

    def open(self, policy, modes, data):
        self.image(data)
        traced = self.traced(POLICY_OPEN, policy, modes, 'img/a')
        self.assertTrue(all(b >= 32 for b in traced.err.rstrip(b'\n')),
                        traced)
        a = os.path.join(self.img, 'a')
        own = [t for t in traced.touches if t.path == a]
        if 'w' not in modes:
            for t in own:
                self.assertNotIn(t.kind, ('write', 'change'), traced)
        traced.others = [t for t in traced.touches
                         if t.path not in (a, self.img)]
        return traced

    def judge(self, policy, modes, data, name, path, kinds):
        traced = self.open(policy, modes, data)
        where = '%r, %s %s: %r' % (name, policy, modes, traced)
        for t in traced.others:
            self.assertEqual(t.path, path, where)
            self.assertIn(t.kind, kinds, where)
            # A descriptor that was opened stays where it should.
            if policy == 'beneath' and t.result >= 0:
                self.assertTrue(t.real.startswith(self.img + '/'), where)
        if traced.status != 0:
            self.assertIn(b'img/a', traced.err, where)
        return traced

    def path(self, path, start):
        return os.path.normpath(os.path.join(start, path)) if path else ''

    def test_nothing_is_opened(self):
        """Three of the policies do not even look."""
        for name, *_ in BACKING[:8] + BACKING[-6:]:
            data = forge.qcow2(3, name.encode(), b'raw', data=b'x')
            for policy in ('refuse', 'callback', 'ignore'):
                for modes in ('-', 'wi', 'wrc'):
                    self.judge(policy, modes, data, name, '', NOTHING)

    def test_nothing_is_opened_for_data(self):
        for name, *_ in DATA_FILES:
            data = forge.qcow2(3, data_file=name.encode(), data=b'x')
            for policy in ('refuse', 'callback', 'ignore'):
                for modes in ('-', 'wi', 'wrc'):
                    self.judge(policy, modes, data, name, '', NOTHING)

    def test_refusals_name_the_file(self):
        data = forge.qcow2(3, b'/etc/pass\x1b[1mwd', b'raw')
        traced = self.open('refuse', '-', data)
        self.assertIn(b"'/etc/pass?[1mwd'", traced.err)
        self.assertIn(b'img/a', traced.err)

    def follow(self, make, table, starts, kinds_of):
        for name, path, *rules in table:
            data = make(name.encode())
            for policy, start, rule in zip(('beneath', 'local'), starts,
                                           rules):
                for modes in MODES[:1] + MODES[4:6]:
                    self.judge(policy, modes, data, name,
                               self.path(path, start), kinds_of(rule, modes))

    def test_backing_files(self):
        """They are never opened for writing."""
        self.follow(lambda name: forge.qcow2(3, name, b'raw', data=b'x'),
                    BACKING, (self.img, self.img),
                    lambda rule, modes: rule)
        self.follow(lambda name: forge.qcow1(name, data=b'x'),
                    BACKING[:8], (self.img, self.img),
                    lambda rule, modes: rule)

    def test_data_files(self):
        """For writing only if the image is."""
        self.follow(lambda name: forge.qcow2(3, data_file=name, data=b'x'),
                    [row for row in DATA_FILES if 'passwd' not in row[0]],
                    (self.img, self.work),
                    lambda rule, modes: rule + (
                        ('write',) if rule == OPEN and 'w' in modes else ()))

    def test_metadata_needs_no_data_file(self):
        data = forge.qcow2(3, data_file=b'/etc/passwd', data=b'x')
        for policy in ('beneath', 'local', 'refuse'):
            for modes in ('n', 'nc', 'nw', 'nr'):
                traced = self.judge(policy, modes, data, '/etc/passwd', '',
                                    NOTHING)
                self.assertEqual(traced.status, 0, traced)

    def test_repair_needs_no_data_file(self):
        """But then there is no guest data to be had."""
        data = forge.qcow2(3, data_file=b'/etc/passwd', data=b'x')
        for modes, status in (('wr', 0), ('wrc', 0), ('wri', errno.EINVAL),
                              ('w', errno.EACCES), ('wi', errno.EACCES)):
            traced = self.judge('ignore', modes, data, '/etc/passwd', '',
                                NOTHING)
            self.assertEqual(traced.status, status, traced)

    def test_every_mode_of_opening(self):
        data = forge.qcow2(3, b'/etc/passwd', b'raw', data=b'x')
        for modes in MODES:
            self.judge('refuse', modes, data, '/etc/passwd', '', NOTHING)
            self.judge('local', modes, data, '/etc/passwd', '/etc/passwd',
                       OPEN)

    def test_chains_beneath(self):
        """A chain that leaves the directory at its second step."""
        b = os.path.join(self.img, 'b')
        for name in (b'/etc/passwd', b'../../outside/secret', b'link'):
            self.write(b, forge.qcow2(3, name, b'raw'))
            traced = self.open('beneath', '-',
                               forge.qcow2(3, b'b', b'qcow2'))
            self.assertNotEqual(traced.status, 0)
            for t in traced.others:
                self.assertTrue(t.path == b or t.kind == 'path', traced)
                self.assertTrue(t.real in ('', b), traced)


if __name__ == '__main__':
    main()
