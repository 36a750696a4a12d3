# SPDX-License-Identifier: MIT
"""Whatever an image names, a program reaches for nothing but what the rules of the
command allow: plain local files, for reading, if the command needs guest data;
nothing at all with --untrusted."""

import os

import forge
from policy_test import QCOW_IMG, QCOW_IO, PolicyTest, main

NEVER, READ, WRITE = 'never', 'read', 'write'

# Command, what it may do with the image, with backing files, with a data file.
COMMANDS = [
    (['info', 'A'], READ, NEVER, NEVER),
    (['info', '--output=json', 'A'], READ, NEVER, NEVER),
    (['info', '--backing-chain', 'A'], READ, READ, NEVER),
    (['check', 'A'], READ, NEVER, NEVER),
    (['check', '-r', 'all', 'A'], WRITE, NEVER, NEVER),
    (['inspect', 'A'], READ, NEVER, NEVER),
    (['inspect', '--untrusted', 'A'], READ, NEVER, NEVER),
    (['dehydrate', 'A', 'out/d'], READ, NEVER, NEVER),
    (['snapshot', '-l', 'A'], READ, NEVER, NEVER),
    (['snapshot', '-c', 's', 'A'], WRITE, NEVER, NEVER),
    (['snapshot', '-d', 'old', 'A'], WRITE, NEVER, NEVER),
    (['bitmap', '--list', 'A'], READ, NEVER, NEVER),
    (['bitmap', '--add', 'A', 'b'], WRITE, NEVER, NEVER),
    (['bitmap', '--remove', 'A', 'old'], WRITE, NEVER, NEVER),
    (['resize', 'A', '+1M'], WRITE, READ, WRITE),
    (['map', 'A'], READ, READ, READ),
    (['map', '--output=json', 'A'], READ, READ, READ),
    (['measure', '-O', 'qcow2', 'A'], READ, READ, READ),
    (['compare', 'A', 'A'], READ, READ, READ),
    (['convert', '-O', 'raw', 'A', 'out/c'], READ, READ, READ),
    (['dd', '-O', 'raw', 'if=A', 'of=out/dd', 'count=1'], READ, READ, READ),
    (['bench', '-c', '1', '-s', '512', 'A'], READ, READ, READ),
    (['rebase', '-u', '-b', '', 'A'], WRITE, NEVER, NEVER),
    (['rebase', '-b', '', 'A'], WRITE, READ, WRITE),
    (['commit', 'A'], WRITE, WRITE, WRITE),
    (['amend', '-o', 'size=2M', 'A'], WRITE, READ, WRITE),
    (['compact', 'A'], WRITE, READ, WRITE),
    (['io', '-r', '-c', 'read 0 512', 'A'], READ, READ, READ),
    (['io', '-c', 'write 0 512', 'A'], WRITE, READ, WRITE),
]

# Those that show the difference, for long lists of names.
FEW = [c for c in COMMANDS if c[0][0] in ('convert', 'io') or
       c[0][:2] in (['info', '--backing-chain'], ['check', '-r'],
                    ['info', '--output=json'])]

FEWER = [c for c in FEW if c[0][0] == 'io' or c[0][1] in ('-r',
                                                          '--backing-chain')]

JSON = 'json:{"driver":"raw","file":{"driver":%s}}'

# Never reached for.
FOREIGN = [
    'nbd://127.0.0.1:10809/x', 'nbd:unix:/run/s:exportname=x',
    'http://127.0.0.1/x', 'https://127.0.0.1/x', 'ftp://127.0.0.1/x',
    'ssh://127.0.0.1/etc/passwd', 'fat:/etc', 'fat:rw:/etc', 'vvfat:/etc',
    'iscsi://127.0.0.1/t/1', 'rbd:pool/x', 'nfs://127.0.0.1/x',
    'gluster://127.0.0.1/v/x', 'blkdebug:/etc/passwd:/etc/shadow',
    'blkverify:/etc/passwd:/etc/shadow', 'null-co://', 'fd:0',
    'raw:/etc/passwd', 'file\t:/etc/passwd', '',
    'json:{', 'json:{}', 'json:[]', 'json:"/etc/passwd"',
    'json:{"driver":"nbd","host":"127.0.0.1","port":"10809"}',
    JSON % '"nbd","host":"127.0.0.1","port":"10809"',
    JSON % '"nbd","server":{"type":"unix","path":"/run/s"}',
    JSON % '"vvfat","dir":"/etc","rw":true',
    JSON % '"https","url":"https://127.0.0.1/x"',
    JSON % '"blkdebug","config":"/etc/passwd","image":{"driver":"file",'
           '"filename":"/etc/shadow"}',
    JSON % '"io_uring","filename":"/etc/passwd"',
    'json:{"driver":"quorum","vote-threshold":1,"rewrite-corrupted":true,'
    '"children":[{"driver":"file","filename":"/etc/passwd"},{"driver":"nbd",'
    '"host":"127.0.0.1","port":"10809"}]}',
    'json:{"driver":"copy-on-read","file":{"driver":"file",'
    '"filename":"/etc/passwd"}}',
    'json:' + '{"file":' * 100 + '{}' + '}' * 100,
]

# Looked at and found to be nothing that an image can be in.
UNFIT = [
    ('/dev/null', '/dev/null'), ('/dev/zero', '/dev/zero'),
    ('/dev/fdset/1', '/dev/fdset/1'), ('/proc/self/mem', '/proc/self/mem'),
    ('/proc/kmsg', '/proc/kmsg'), ('/proc/self/environ',
                                   '/proc/self/environ'),
    ('/proc/self/fd/0', '/proc/self/fd/0'),
    ('/sys/kernel/uevent_seqnum', '/sys/kernel/uevent_seqnum'),
    (JSON % '"host_device","filename":"/dev/null"', '/dev/null'),
    ('fifo', 'fifo'), ('socket', 'socket'), ('directory', 'directory'),
    ('round', 'round'), ('none', 'none'), ('./none', 'none'),
    ('x' * 1000, 'x' * 1000), ('a/b', 'a/b'),
    ('\x1b]0;title\x07\nlog line\x7f\u202e', '\x1b]0;title\x07\nlog line\x7f\u202e'),
]

# Opened, by the rules of the programs.
LOCAL = [
    ('/etc/passwd', '/etc/passwd'), ('file:/etc/passwd', '/etc/passwd'),
    ('file:///etc/passwd', '/etc/passwd'),
    ('../../outside/secret', 'OUT/secret'), ('link', 'link'),
    ('near', 'near'), ('base', 'base'), ('raw data', 'raw data'),
]

# Without a parser for JSON the programs refuse such names.
DESCRIBED = [] if os.environ.get('QCOW_HAS_JSON', '1') != '1' else [
    (JSON % '"file","filename":"/etc/passwd"', '/etc/passwd'),
    ('json:{"driver":"raw","file.filename":"/etc/passwd"}', '/etc/passwd'),
]


class Programs(PolicyTest):

    def resolve(self, path, start):
        if path.startswith('OUT/'):
            return os.path.join(self.outside, path[4:])
        return os.path.normpath(os.path.join(start, path))

    def run_on(self, data, command, untrusted):
        """The touches of a command that are not of the image itself, nor of
        what it makes."""
        words, use = command[0], command[1]
        out = os.path.join(self.work, 'out')
        os.makedirs(out, exist_ok=True)
        for name in os.listdir(out):
            os.unlink(os.path.join(out, name))
        self.image(data)
        args = [w.replace('A', 'img/a') if w in ('A', 'if=A') else w
                for w in words]
        flags = ['--untrusted'] if untrusted else []
        if words[0] == 'io':
            traced = self.traced(QCOW_IO, *flags, *args[1:])
        else:
            traced = self.traced(QCOW_IMG, *flags, *args)
        a = os.path.join(self.img, 'a')
        for t in traced.touches:
            if t.path == a and use == READ:
                self.assertIn(t.kind, ('path', 'look', 'read'), traced)
        traced.others = [
            t for t in traced.touches if t.path != a and
            not t.path.startswith(out + '/') and
            t.path not in (out, self.img, self.work)]
        return traced

    def judge(self, data, command, use, path, name, untrusted=False,
              must=False):
        """Nothing but the one path is touched, and in no other way."""
        traced = self.run_on(data, command, untrusted)
        where = '%r, %s%s: %r' % (name, '--untrusted ' * untrusted,
                                  ' '.join(command[0]), traced)
        kinds = {NEVER: (), READ: ('path', 'look', 'read'),
                 WRITE: ('path', 'look', 'read', 'write'),
                 'look': ('path', 'look')}[use]
        opened = False
        for t in traced.others:
            self.assertEqual(t.path, path, where)
            self.assertIn(t.kind, kinds, where)
            opened = opened or t.kind in ('read', 'write')
        if must:
            self.assertTrue(opened, where)
        if traced.status not in (0, 2, 3) and not traced.err:
            self.fail(where)
        self.assertTrue(all(b >= 32 or b == 10 for b in
                            traced.err + traced.out.replace(b'\t', b'')),
                        where)
        return traced

    def follow(self, make, commands, role, names, start, use=None):
        """role: which column of a command is about this kind of name."""
        for name, path in names:
            data = make(name.encode())
            path = self.resolve(path, start) if path else ''
            for command in commands:
                may = command[role]
                if use is not None and may != NEVER:
                    may = use
                self.judge(data, command, may, path, name,
                           must=use is None and may != NEVER)

    def untrusted(self, make, commands, names):
        for name in names:
            data = make(name.encode())
            for command in commands:
                self.judge(data, command, NEVER, '', name, untrusted=True)

    # --- each command, an image of each kind

    def kinds(self):
        extras = {'snapshots': [(b'1', b'old')], 'data': b'guest data'}
        yield 'v3', 2, lambda n: forge.qcow2(
            3, n, b'raw', bitmaps=[b'old'], **extras)
        yield 'v2', 2, lambda n: forge.qcow2(2, n, b'raw', **extras)
        yield 'v1', 2, lambda n: forge.qcow1(n, data=b'guest data')
        yield 'data file', 3, lambda n: forge.qcow2(
            3, data_file=n, data=b'guest data')

    def every_command(self, kind):
        _, role, make = next(k for k in self.kinds() if k[0] == kind)
        secret = os.path.join(self.outside, 'secret')
        data = make(secret.encode())
        for command in COMMANDS:
            self.judge(data, command, NEVER, '', secret, untrusted=True)
            self.judge(data, command, command[role], secret, secret)
            self.write(secret, b'secret' * 1000)

    def test_every_command_version_3(self):
        self.every_command('v3')

    def test_every_command_version_2(self):
        self.every_command('v2')

    def test_every_command_version_1(self):
        self.every_command('v1')

    def test_every_command_data_file(self):
        self.every_command('data file')

    # --- each name

    @staticmethod
    def backing(name):
        return forge.qcow2(3, name, b'raw', data=b'x')

    @staticmethod
    def data_file(name):
        return forge.qcow2(3, data_file=name, data=b'x')

    def test_foreign_backing_names(self):
        names = [(name, '') for name in FOREIGN + ['base\0/etc/passwd']]
        self.follow(self.backing, FEWER, 2, names, self.img, use=NEVER)

    def test_foreign_data_file_names(self):
        names = [(name, '') for name in FOREIGN] + [
            (name, '') for name, _ in DESCRIBED]
        self.follow(self.data_file, FEWER, 3, names, self.work, use=NEVER)

    def test_backing_files_that_are_no_images(self):
        self.follow(self.backing, FEW, 2, UNFIT, self.img, use='look')

    def test_data_files_that_are_no_images(self):
        os.mkfifo(os.path.join(self.work, 'fifo'))
        self.addCleanup(os.unlink, os.path.join(self.work, 'fifo'))
        self.follow(self.data_file, FEW, 3, UNFIT, self.work, use='look')

    def test_local_backing_files(self):
        self.follow(self.backing, FEW, 2, LOCAL + DESCRIBED, self.img)

    def test_nothing_is_opened_with_untrusted(self):
        names = [name for name, _ in UNFIT + LOCAL + DESCRIBED] + FOREIGN[::4]
        commands = [c for c in FEW if c[0][0] in ('convert', 'io')]
        self.untrusted(self.backing, commands, names)
        self.untrusted(self.data_file, commands, names[::2])

    def test_declared_formats(self):
        base = os.path.join(self.img, 'base')
        for form in (b'nbd', b'quorum', b'luks', b'vmdk', b'\x1b[31m', b'',
                     b'x' * 200, b'raw\0', None):
            data = forge.qcow2(3, b'base', form, data=b'x')
            for command in FEW:
                self.judge(data, command, command[2], base, form)

    # --- references that lead back, or on and on

    def test_images_that_name_themselves(self):
        a = os.path.join(self.img, 'a')
        for data in (forge.qcow2(3, b'a', b'qcow2'), forge.qcow2(2, b'a'),
                     forge.qcow1(b'a'), forge.qcow2(3, b'./../img/a'),
                     forge.qcow2(3, data_file=b'img/a', data=b'x'),
                     forge.qcow2(3, data_file=a.encode(), data=b'x')):
            for command in FEW:
                traced = self.run_on(data, command, False)
                self.assertEqual(traced.others, [], traced)

    def test_chains_that_lead_back(self):
        b = os.path.join(self.img, 'b')
        self.write(b, forge.qcow2(3, b'a', b'qcow2'))
        for command in FEW:
            traced = self.judge(forge.qcow2(3, b'b', b'qcow2'), command,
                                command[2], b, 'b')
            if command[2] != NEVER:
                self.assertNotEqual(traced.status, 0, traced)

    def test_long_chains(self):
        directory = os.path.join(self.img, 'chain')
        os.mkdir(directory)
        for i in range(500):
            self.write(os.path.join(directory, '%d' % i), forge.qcow2(
                3, b'%d' % (i + 1), b'qcow2'))
        top = forge.qcow2(3, b'chain/0', b'qcow2', data=b'x')
        for command in FEW:
            traced = self.run_on(top, command, False)
            opened = {t.path for t in traced.others}
            self.assertLessEqual(len(opened),
                                 501 if command[2] != NEVER else 0)
            for path in opened:
                self.assertEqual(os.path.dirname(path), directory)
            if command[2] != NEVER:
                self.assertNotEqual(traced.status, 0, traced)


if __name__ == '__main__':
    main()
