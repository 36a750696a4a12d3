# SPDX-License-Identifier: MIT
"""Secrets are defined as for qemu-img, and never shown or kept."""

import base64
import os
import subprocess
import unittest

from cli_common import (AES, CliTest, HAS_JSON, LUKS, OURS, SECRETS,
                        image_opts, main)

BAD = ['foo', 'foo,id=a', 'secret', 'secret,', 'secret,id=a', 'secret,data=x',
       'secret,id=a,data=x,file=y', 'secret,id=a,file=/nonexistent',
       'secret,id=a,data=x,format=foo', 'secret,id=a,data=x,foo=1',
       'secret,id=1a,data=x', 'secret,id=,data=x', 'secret,id=a b,data=x',
       '', ',', 'secret,id=a,data', 'secret,id,data=x', 'secret,id=a,foo',
       'secret,id=a,data=a!b,format=base64', 'id=a,data=x']

GOOD = ['secret,id=a,data=x', 'secret,id=a,data=', 'secret,id=a,data=x,,y',
        'secret,qom-type=secret,id=a,data=x', 'qom-type=secret,id=a,data=x',
        'secret,id=a.b-c_d,data=x', 'secret,id=a,format=raw,data=x',
        'secret,id=a,data=x,data=y', 'secret,id=a,data=eHh4,format=base64',
        'secret,id=a,data=eHh,format=base64',
        'secret,id=a,data=eH\nh4,format=base64', 'secret,id=a,data=x,']

GOOD_JSON = ['{"qom-type":"secret","id":"a","data":"x"}',
             "{'qom-type':'secret','id':'a','data':'x'}",
             '{"qom-type":"secret","id":"a","data":"x,y=z"}',
             '{"qom-type":"secret","id":"a","data":"eHh4","format":"base64"}']

BAD_JSON = ['{"id":"a","data":"x"}', '{"qom-type":"secret","data":"x"}',
            '{"qom-type":"foo","id":"a"}',
            '{"qom-type":"secret","id":"1","data":"x"}',
            '{"qom-type":"secret","id":"a","foo":"x"}',
            '{"qom-type":"secret","id":"a"}',
            '{"qom-type":"secret","id":"a","data":null}']


class Secrets(CliTest):

    def setUp(self):
        super().setUp()
        self.our_image('a.qcow2', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                       *SECRETS, '-o', AES, 'a.qcow2', '1M')

    def test_bad_definitions(self):
        for text in BAD:
            self.same_all('qemu-img', 'map', '--object', text, 'a.qcow2')
            self.same_all('qemu-img', 'create', '--object', text, 'b', '1M')
        self.same_all('qemu-img', 'map', '--object', GOOD[0], '--object',
                      GOOD[0], 'a.qcow2')
        self.same_all('qemu-img', 'map', '--object')

    def test_good_definitions(self):
        for text in GOOD:
            self.same_all('qemu-img', 'create', '--object', text, 'b', '1M')

    @unittest.skipUnless(HAS_JSON, 'built without JSON')
    def test_definitions_in_json(self):
        for text in GOOD_JSON:
            self.same_all('qemu-img', 'create', '--object', text, 'b', '1M')
        for text in BAD_JSON:
            self.same_all('qemu-img', 'map', '--object', text, 'a.qcow2')
        for text in ('{', '{}x', '{"qom-type":"secret","id":"a","id":"b"}'):
            self.same_failure('qemu-img', 'map', '--object', text, 'a.qcow2')
        self.our_image('luks', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                       *SECRETS, '-o', LUKS, 'luks', '1M')
        self.same_all('qemu-io', '-r', '-c', 'read -q 0 512', '--object',
                      '{"qom-type":"secret","id":"s","data":"hunter2"}',
                      '--image-opts', image_opts('luks', secret='s'))

    def opens(self, *definition):
        """Whether data written with the secret hunter2 can be read."""
        self.our_image('luks', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                       *SECRETS, '-o', LUKS, 'luks', '1M')
        ours, _ = self.same_all('qemu-io', '-r', '-c', 'read -q 0 512',
                                '--object', 'secret,id=s,' +
                                ','.join(definition), '--image-opts',
                                image_opts('luks', secret='s'))
        return ours.status == 0

    def test_encodings(self):
        text = base64.b64encode(b'hunter2').decode()
        self.assertTrue(self.opens('data=hunter2'))
        self.assertFalse(self.opens('data=hunter2 '))
        self.assertTrue(self.opens('format=base64', 'data=' + text))
        self.assertTrue(self.opens('format=base64', 'data=%s\n%s' %
                                   (text[:4], text[4:])))
        self.assertFalse(self.opens('format=base64', 'data=' + text[:-2]))

    def test_files(self):
        for directory in (self.ours, self.theirs):
            for name, data in (('plain', b'hunter2'), ('line', b'hunter2\n'),
                               ('base64', b'aHVudGVyMg==\n'), ('empty', b''),
                               ('latin1', b'hunt\xe9r2')):
                with open(os.path.join(directory, name), 'wb') as f:
                    f.write(data)
        self.assertTrue(self.opens('file=plain'))
        self.assertFalse(self.opens('file=line'))
        self.assertTrue(self.opens('file=base64', 'format=base64'))
        self.assertFalse(self.opens('file=empty'))
        self.assertFalse(self.opens('file=latin1'))

    def test_the_longest_secret(self):
        for length, status in ((4096, 0), (4097, 1)):
            with open(self.our_path('long'), 'wb') as f:
                f.write(b'x' * length)
            ours = self.our('qemu-img', 'create', '-q', '--object',
                            'secret,id=s0,file=long', '-f', 'qcow2', '-o', AES,
                            'new', '1M')
            self.assertEqual(ours.status, status, ours)
        self.assertIn("'s0' is longer than 4096 bytes", ours.err)

    def test_the_command_line_is_wiped(self):
        process = subprocess.Popen(
            ['qemu-io', '--object', 'secret,id=s0,data=verysecret'],
            executable=OURS['qemu-io'], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.ours)
        # It waits for commands behind its prompt.
        self.assertEqual(process.stdout.read(9), b'qemu-io> ')
        with open('/proc/%d/cmdline' % process.pid, 'rb') as f:
            line = f.read()
        process.communicate(b'quit\n', timeout=20)
        self.assertIn(b'--object', line)
        self.assertNotIn(b'verysecret', line)

    def test_a_secret_that_nothing_needs_may_be_missing(self):
        self.file('plain.raw', 1 << 20)
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'plain.qcow2',
                  '1M')
        self.same_all('qemu-io', '-c', 'read -q 0 512', '--image-opts',
                      image_opts('plain.qcow2', secret='none'))
        self.same_all('qemu-io', '-c', 'read -q 0 512', '--image-opts',
                      image_opts('a.qcow2', secret='none'))


if __name__ == '__main__':
    main()
