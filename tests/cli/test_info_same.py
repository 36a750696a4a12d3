# SPDX-License-Identifier: MIT
"""info prints what qemu-img prints, and the file below as newer versions do."""

import json
import os
import re

from cli_common import CliTest, KIB, MIB, main


def without_file_node(text):
    """Version 7.2 does not show the file that an image lies in."""
    return re.sub(r"Child node '/file':\n(    .*\n)*", '', text)


def without_children(text):
    if not text:
        return text
    value = json.loads(text)
    for image in value if isinstance(value, list) else [value]:
        image.pop('children', None)
    return json.dumps(value, indent=4)


class InfoSame(CliTest):

    def check(self, *args):
        self.same_all('qemu-img', 'info', *args, normalize=without_file_node)
        self.same_all('qemu-img', 'info', '--output=json', *args,
                      normalize=without_children)

    def test_versions_and_options(self):
        for options in ('compat=0.10', 'compat=1.1', 'lazy_refcounts=on',
                        'refcount_bits=1', 'refcount_bits=64',
                        'cluster_size=512', 'cluster_size=2M'):
            self.qemu('qemu-img', 'create', '-f', 'qcow2', '-o', options,
                      'a.qcow2', '10M')
            self.check('a.qcow2')
            self.check('-f', 'qcow2', 'a.qcow2')

    def test_sizes(self):
        for size in (0, 1, 999, 1000, 1023, 1024, 1025, 1536, 10000, 102400,
                     1023000, 1023487, 1023488, 1024000, 1047552, 1048064,
                     MIB, 999999999, 1073741312, 1 << 40):
            self.file('a.raw', size)
            self.check('-f', 'raw', 'a.raw')

    def test_disk_sizes(self):
        for blocks in (1, 2, 5, 249, 250, 251):
            self.file('a.raw', 10 * MIB, [(0, b'x' * (4 * KIB * blocks))])
            self.check('a.raw')

    def test_names_that_could_be_protocols(self):
        self.file('x:y', MIB)
        self.file('file:z', MIB)
        for name in ('./x:y', 'file:x:y', 'file:./x:y', 'file:file:z',
                     'file:z', './file:z'):
            self.same_output('qemu-img', 'info', '-f', 'raw', name,
                             normalize=without_file_node)
            self.same_output('qemu-img', 'info', '-f', 'raw',
                             '--output=json', name,
                             normalize=without_children)

    def test_limits(self):
        """An option that is newer than version 7.2."""
        for options, zero_unit in (('cluster_size=4k', 4096),
                                   ('extended_l2=on', 2048)):
            self.qemu('qemu-img', 'create', '-f', 'qcow2', '-o', options,
                      'a.qcow2', '10M')
            out = self.our('qemu-img', 'info', '--limits', '--output=json',
                           'a.qcow2').out
            limits = json.loads(out)['limits']
            self.assertEqual(list(limits), [
                'request-alignment', 'discard-alignment',
                'write-zeroes-alignment', 'max-iov', 'min-mem-alignment',
                'opt-mem-alignment'])
            self.assertEqual(limits['write-zeroes-alignment'], zero_unit)
            out = self.our('qemu-img', 'info', '--limits', 'a.qcow2').out
            self.assertIn('    write zeroes alignment: %d\n' % zero_unit, out)
        out = self.our('qemu-img', 'info', 'a.qcow2').out
        self.assertNotIn('limits', out)

    def test_backing_files(self):
        self.mkdir('sub')
        self.file('base.raw', MIB)
        self.qemu('qemu-img', 'create', '-f', 'qcow2', '-b', 'base.raw', '-F',
                  'raw', 'mid.qcow2', '2M')
        self.qemu('qemu-img', 'create', '-f', 'qcow2', '-o', 'compat=0.10',
                  '-b', '../mid.qcow2', '-F', 'qcow2', 'sub/top.qcow2')
        for name in ('mid.qcow2', 'sub/top.qcow2'):
            self.check(name)
            self.check('--backing-chain', name)
        os.unlink(self.our_path('base.raw'))
        os.unlink(self.their_path('base.raw'))
        self.check('mid.qcow2')
        self.check('--backing-chain', 'mid.qcow2')

    def test_absolute_backing_name(self):
        self.file('base.raw', MIB)
        path = self.our_path('base.raw')
        self.qemu('qemu-img', 'create', '-f', 'qcow2', '-b', path, '-F', 'raw',
                  'a.qcow2')
        self.check('a.qcow2')
        self.check('--backing-chain', 'a.qcow2')

    def test_backing_format_that_is_not_stated(self):
        self.file('base.raw', MIB)
        self.qemu('qemu-img', 'create', '-f', 'qcow2', '-o', 'compat=0.10',
                  '-b', 'base.raw', '-F', 'raw', 'a.qcow2')
        # The extension that states it starts behind the header: unknown now.
        self.patch('a.qcow2', 72, b'\xde\xad\xbe\xef')
        self.check('a.qcow2')
        self.check('--backing-chain', 'a.qcow2')

    def test_loops_end(self):
        for name, below in (('a', 'b'), ('b', 'a'),
                            ('self', './self')):
            self.qemu('qemu-img', 'create', '-f', 'qcow2', '-u', '-b', below,
                      '-F', 'qcow2', name, '1M')
        self.check('a')
        self.check('--backing-chain', 'a')
        # Under an ever longer name qemu-img goes on until names are too long.
        self.check('self')
        ours = self.our('qemu-img', 'info', '--backing-chain', 'self')
        self.assertEqual(ours.status, 1)
        self.assertIn('creates an infinite loop', ours.err)

    def test_unclean_and_corrupt(self):
        self.qemu('qemu-img', 'create', '-f', 'qcow2', 'a.qcow2', '1M')
        self.patch('a.qcow2', 79, b'\1')
        self.check('a.qcow2')
        self.patch('a.qcow2', 79, b'\2')
        self.check('a.qcow2')

    def test_nothing_that_an_image_names_is_opened(self):
        os.mkfifo(self.our_path('pipe'))
        os.mkfifo(self.their_path('pipe'))
        for below in ('pipe', 'gone', '/dev/zero', 'nbd://host/x'):
            self.qemu('qemu-img', 'create', '-f', 'qcow2', '-u', '-b', below,
                      '-F', 'raw', 'a.qcow2', '1M')
            self.check('a.qcow2')

    def test_names_that_need_escaping(self):
        for name in ('a"b\\c\td', 'caf\u00e9', 'clef \U0001d11e'):
            self.qemu('qemu-img', 'create', '-f', 'qcow2', name, '1M')
            self.check(name)

    def test_protocols_in_names(self):
        self.qemu('qemu-img', 'create', '-f', 'qcow2', 'a.qcow2', '1M')
        self.check('file:a.qcow2')
        self.check('xx:a.qcow2')

    def test_errors(self):
        self.file('a.raw', MIB)
        for args in (['none'], ['-f', 'qcow2', 'a.raw'],
                     ['-f', 'foo', 'a.raw'], ['-f', 'raw', 'a.raw', 'b'],
                     [], ['--foo'], ['-f']):
            self.same_all('qemu-img', 'info', *args,
                          normalize=without_file_node)
        self.same_all('qemu-img', 'info', '--output=xx', 'a.raw')

    def test_damaged_headers(self):
        self.qemu('qemu-img', 'create', '-f', 'qcow2', 'good.qcow2', '1M')
        for offset, data in ((4, b'\0\0\0\7'), (20, b'\0\0\0\1'),
                             (20, b'\0\0\0\77'), (72, b'\0\0\0\1'),
                             (40, b'\0\0\0\0\0\0\0\1'), (96, b'\0\0\0\7')):
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a.qcow2',
                      '1M')
            self.patch('a.qcow2', offset, data)
            self.same_failure('qemu-img', 'info', 'a.qcow2')

    def test_file_node(self):
        self.qemu('qemu-img', 'create', '-f', 'qcow2', 'a.qcow2', '10M')
        length = -(-os.path.getsize(self.our_path('a.qcow2')) // 512) * 512
        text = self.our('qemu-img', 'info', 'a.qcow2').out
        self.assertTrue(text.endswith(
            "Child node '/file':\n"
            "    filename: a.qcow2\n"
            "    protocol type: file\n"
            "    file length: 192 KiB (%d bytes)\n"
            "    disk size: 196 KiB\n" % length), text)
        text = self.our('qemu-img', 'info', '--output=json', 'a.qcow2').out
        value = json.loads(text)
        self.assertEqual(list(value)[0], 'children')
        self.assertEqual(value['children'], [{
            'name': 'file',
            'info': {
                'children': [],
                'virtual-size': length,
                'filename': 'a.qcow2',
                'format': 'file',
                'actual-size': value['actual-size'],
                'format-specific': {'type': 'file', 'data': {}},
                'dirty-flag': False,
            },
        }])
        # Layout, empty lists included.
        self.assertEqual(text, re.sub(
            r'( *)("children": |"data": )(\[\]|\{\})',
            lambda m: '%s%s%s\n%s%s' % (m[1], m[2], m[3][0], m[1], m[3][1]),
            json.dumps(value, indent=4)) + '\n')

    def test_cache_modes_and_sharing_act(self):
        self.qemu('qemu-img', 'create', '-f', 'qcow2', 'a.qcow2', '1M')
        for args in (['-t', 'none'], ['--cache', 'writeback'], ['-U'],
                     ['--force-share'], ['--format', 'qcow2']):
            ours = self.our('qemu-img', 'info', *args, 'a.qcow2')
            self.assertEqual((ours.status, ours.err), (0, ''), args)
        ours = self.our('qemu-img', 'info', '-t', 'foo', 'a.qcow2')
        self.assertEqual(ours.status, 1)
        self.assertIn('Invalid cache option: foo', ours.err)


if __name__ == '__main__':
    main()
