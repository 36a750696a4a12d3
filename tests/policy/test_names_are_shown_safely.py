# SPDX-License-Identifier: MIT
"""No name that an image stores reaches a terminal or a log as anything but plain
text, nor breaks JSON; plain names come out as they are."""

import json
import os
import re
import subprocess

import forge
from policy_test import QCOW_IMG, QCOW_IO, TIMEOUT, PolicyTest, main

# Cursor movement, line ends, a bell, an 8 bit CSI, right-to-left, bytes that are
# no UTF-8, a surrogate, a line separator, what JSON and shells quote.
HOSTILE = (b'\x1b[2J\x1b]0;x\x07%s%n\r\nqcow-img: fine\t\x7f\xc2\x9b31m'
           b'\xff\xfe\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xe2\x80\xae'
           b'\xe2\x80\xa8"\'\\{}$(x)\xe2')
PLAIN = 'plain näme — 漢字 "q" \\'.encode()

# Names that are cut to fewer bytes in the image.
HOSTILE_SHORT = b'\x1b[2J\n\r\x07\xc2\x9b\xff"\\'
PLAIN_SHORT = b'plain'

COMMANDS = [
    ['info', 'A'], ['info', '--backing-chain', 'A'], ['check', 'A'],
    ['check', '-r', 'all', 'A'], ['inspect', 'A'],
    ['inspect', '--untrusted', 'A'], ['snapshot', '-l', 'A'],
    ['snapshot', '-a', 'none', 'A'], ['bitmap', '--list', 'A'], ['map', 'A'],
    ['measure', '-O', 'qcow2', 'A'], ['compare', 'A', 'A'],
    ['convert', '-O', 'raw', 'A', 'out'],
    ['convert', '-O', 'qcow2', '--bitmaps', 'A', 'out'],
    ['dd', 'if=A', 'of=out', 'count=1'], ['resize', 'A', '+1M'],
    ['commit', 'A'], ['rebase', '-b', '', 'A'],
    ['amend', '-o', 'size=2M', 'A'], ['bench', '-c', '1', 'A'],
    ['compact', 'A'], ['dehydrate', 'A', 'out'],
    ['io', '-c', 'info', '-c', 'map', '-c', 'read 0 512', 'A'],
]

JSON_COMMANDS = [
    ['info'], ['info', '--backing-chain'], ['check'], ['inspect'],
    ['inspect', '--untrusted'], ['bitmap', '--list'], ['map'],
    ['measure', '-O', 'qcow2'],
]

NOT_PLAIN = re.compile('[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f'
                       '\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]')

# What holds the name, and how long it may be.
def holders():
    return {
        'backing file': lambda n: forge.qcow2(
            3, backing=n, backing_format=b'raw', data=b'x'),
        'backing file without format': lambda n: forge.qcow2(
            2, backing=n, data=b'x'),
        'backing file of version 1': lambda n: forge.qcow1(n, data=b'x'),
        'protocol of a backing file': lambda n: forge.qcow2(
            3, backing=n + b':x', backing_format=b'raw', data=b'x'),
        'backing file in JSON': lambda n: forge.qcow2(
            3, backing=b'json:' + n, backing_format=b'raw', data=b'x'),
        'file name in JSON': lambda n: forge.qcow2(
            3, backing=b'json:' + json.dumps(
                {'driver': 'raw', 'file': {
                    'driver': 'file',
                    'filename': n.decode(errors='replace')}}).encode(),
            backing_format=b'raw', data=b'x'),
        'driver in JSON': lambda n: forge.qcow2(
            3, backing=b'json:' + json.dumps(
                {'driver': n.decode(errors='replace'), n.decode(
                    errors='replace'): 1}).encode(),
            backing_format=b'raw', data=b'x'),
        'backing format': lambda n: forge.qcow2(
            3, backing=b'img/base', backing_format=n[:14], data=b'x'),
        'data file': lambda n: forge.qcow2(3, data_file=n, data=b'x'),
        'snapshot': lambda n: forge.qcow2(
            3, snapshots=[(b'1', n), (n, b'name')], data=b'x'),
        'snapshot twice': lambda n: forge.qcow2(
            3, snapshots=[(n, n), (n, n)], data=b'x'),
        'bitmap': lambda n: forge.qcow2(3, bitmaps=[n], data=b'x'),
        'bitmap twice': lambda n: forge.qcow2(3, bitmaps=[n, n], data=b'x'),
        'feature': lambda n: forge.qcow2(
            3, features=[(0, 20, n)], incompatible=1 << 20, data=b'x'),
    }


class Names(PolicyTest):

    def run_on(self, data, words, *flags):
        self.image(data)
        self.write(os.path.join(self.work, 'out'), b'')
        args = [w.replace('A', 'img/a') if w in ('A', 'if=A') else w
                for w in words]
        program = QCOW_IMG
        if args[0] == 'io':
            program, args = QCOW_IO, args[1:]
        return subprocess.run([program, *flags, *args], cwd=self.work,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=TIMEOUT, check=False)

    def is_plain(self, output, where):
        text = output.decode('utf-8')      # raises if it is not
        if where[1] == 'bitmap':
            text = text.replace('Flags\t', '').replace('\t"', '"')
        self.assertIsNone(NOT_PLAIN.search(text), (where, text))
        # An injected line would start like this.
        self.assertNotIn('\nqcow-img: fine', '\n' + text, where)

    def check_images(self, name, images):
        hostile, plain = images
        for words in COMMANDS:
            flags = ['--untrusted'] if words[0] in ('convert', 'map') else []
            for some in ([], flags) if flags else ([],):
                done = self.run_on(hostile, words, *some)
                where = (name, words[0], words[1:], done)
                self.assertGreaterEqual(done.returncode, 0, where)
                self.is_plain(done.stdout, where)
                self.is_plain(done.stderr, where)
                if not words[0] in ('check', 'inspect'):
                    continue
                self.assertEqual(
                    done.stdout.count(b'\n') + done.stderr.count(b'\n'),
                    self.lines(plain, words, some), where)
        for words in JSON_COMMANDS:
            done = self.run_on(hostile, words + ['--output=json', 'A'])
            where = (name, words[0], words, done)
            self.is_plain(done.stderr, where)
            if done.returncode in (0, 2, 3):
                json.loads(done.stdout.decode('ascii'))
            else:
                self.assertTrue(done.stderr, where)

    def lines(self, data, words, flags):
        done = self.run_on(data, words, *flags)
        return done.stdout.count(b'\n') + done.stderr.count(b'\n')

    def test_names(self):
        for name, make in holders().items():
            hostile = HOSTILE
            if name == 'feature':
                hostile = HOSTILE_SHORT
            with self.subTest(name):
                self.check_images(name, (make(hostile), make(PLAIN_SHORT)))

    def test_plain_names_come_out_as_they_are(self):
        for name, words in (('backing file', ['info', 'A']),
                            ('data file', ['info', 'A']),
                            ('snapshot', ['info', 'A']),
                            ('snapshot', ['snapshot', '-l', 'A']),
                            ('bitmap', ['info', 'A']),
                            ('backing file', ['convert', 'A', 'out']),
                            ('data file', ['convert', 'A', 'out'])):
            done = self.run_on(holders()[name](PLAIN), words)
            self.assertIn(PLAIN, done.stdout + done.stderr, (name, done))

    def test_json_keeps_characters(self):
        data = holders()['backing file'](PLAIN)
        done = self.run_on(data, ['info', '--output=json', 'A'])
        self.assertEqual(json.loads(done.stdout)['backing-filename'],
                         PLAIN.decode())

    def test_encryption_names(self):
        created = self.run_on(b'', [
            'create', '-q', '-f', 'qcow2', '--object',
            'secret,id=s,data=hunter2', '-o', 'encrypt.format=luks,'
            'encrypt.key-secret=s,encrypt.iter-time=10', 'A', '1M'])
        if b'support' in created.stderr:
            self.skipTest('no encryption in this build')
        self.assertEqual(created.returncode, 0, created)
        with open(os.path.join(self.img, 'a'), 'rb') as f:
            data = f.read()
        luks = data.index(b'LUKS\xba\xbe')
        for at, size in ((8, 32), (40, 32), (72, 32), (168, 40)):
            hostile = bytearray(data)
            hostile[luks + at:luks + at + size] = \
                HOSTILE_SHORT.ljust(size, b'\0')
            self.check_images('LUKS string at %d' % at,
                              (bytes(hostile), bytes(hostile)))


if __name__ == '__main__':
    main()
