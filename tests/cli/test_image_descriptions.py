# SPDX-License-Identifier: MIT
"""Images named by json:{...}, --image-opts and file: are those that qemu-img
and qemu-io find there, on the command line and as stored backing names."""

import json
import os
import sys

from cli_common import (CliTest, EXIT_SKIP, HAS_JSON, KIB, MIB, main, noise,
                        without_times)
from test_info_same import without_children, without_file_node


def without_compressed(text):
    """Version 7.2 does not say."""
    return text.replace(', "compressed": false', '')

OFFSET = 8 * KIB
SIZE = 192 * KIB + 512


def name(**options):
    return 'json:' + json.dumps({key.replace('__', '.').replace('_', '-'):
                                 value for key, value in options.items()})


class ImageDescriptions(CliTest):

    def setUp(self):
        super().setUp()
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '1M')
        self.qemu('qemu-io', '-c', 'write -P 7 64k 64k', 'a')
        self.file('raw', MIB, [(0, noise(1, MIB))])
        self.mkdir('sub')

    def read(self, image, *args, pattern='7 64k 64k'):
        self.same_all('qemu-io', '-r', '-c', 'read -P ' + pattern, '-c',
                      'length', *args, image, normalize=without_times)

    def info(self, *args):
        self.same_all('qemu-img', 'info', *args, normalize=without_file_node)

    def container(self):
        """An image as a part of a file, at an offset."""
        for directory in (self.ours, self.theirs):
            with open(os.path.join(directory, 'a'), 'rb') as f:
                image = f.read()
            with open(os.path.join(directory, 'box'), 'wb') as f:
                f.write(noise(2, OFFSET) + image.ljust(4 * MIB, b'\0'))

    # --- names in JSON

    def test_json_names(self):
        for text in (name(driver='qcow2', file={'driver': 'file',
                                                'filename': 'a'}),
                     name(driver='qcow2', file__filename='a'),
                     name(file__driver='file', file__filename='a'),
                     name(file__filename='a'),
                     name(driver=None, file__filename='a'),
                     "json:{'driver':'qcow2','file.filename':'a'}",
                     "json: { 'file' : { 'filename' : 'a' } } "):
            self.read(text)
            self.info(text)
            self.same_all('qemu-img', 'map', text)
            self.same_all('qemu-img', 'map', '--output=json', text,
                          normalize=without_compressed)
            self.same_all('qemu-img', 'info', '--output=json', text,
                          normalize=without_children)

    def test_quotes(self):
        for file in ("it's", 'a "b"', 'back\\slash', 'ümläut', '{a,b}'):
            self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', file, '1M')
            self.info(name(driver='qcow2', file__filename=file))
        self.info("json:{'file.filename':'it\\'s'}")
        self.info("json:{'file.filename':'a \"b\"'}")
        self.info('json:{"file.filename":"it\\u0027s"}')

    def test_numbers_and_texts_are_the_same(self):
        for size in (65536, '65536', '64k', '64K', '0x10000'):
            self.read(name(driver='raw', size=size, file__filename='raw'),
                      pattern='0 0 0')
        for lazy in (True, False, 'on', 'off'):
            self.read(name(driver='qcow2', lazy_refcounts=lazy,
                           file__filename='a'))
        for size in (-1, 1.5, 'x', True, '', '-1'):
            self.same_all('qemu-img', 'info',
                          name(driver='raw', size=size, file__filename='raw'))

    def test_format_besides_the_name(self):
        for fmt in ('raw', 'qcow2', 'foo'):
            for text in (name(file__filename='a'),
                         name(driver='qcow2', file__filename='a')):
                self.info('-f', fmt, text)

    def test_mistakes(self):
        for text in (name(driver='qcow2', file__filename='a', foo=1),
                     name(driver='qcow2', file__filename='a', file__foo=1),
                     name(driver='qcow2', file__filename='a', size=512),
                     name(driver='raw', file__filename='a',
                          lazy_refcounts=True),
                     name(driver='qcow2', file='a'),
                     name(driver='qcow2'), name(driver='foo'), 'json:{}',
                     name(driver='foo', file__filename='a'),
                     name(driver='qcow2', file__driver='foo',
                          file__filename='a'),
                     name(driver='qcow2', file__filename='none'),
                     'json:[1]'):
            self.same_all('qemu-img', 'info', text)
        for text in ('json:', 'json:{', 'json:x', 'json:"a"', 'json:{"a"}',
                     'json:{"a":1,}', 'json:{"driver":"raw","driver":"raw"}',
                     'json:{"file.filename":"a"}x',
                     'json:{"file":{"filename":["a"]}}',
                     'json:' + '{"a":' * 40 + '1' + '}' * 40,
                     'json:{"file.filename":"a\\u0000b"}'):
            self.same_failure('qemu-img', 'info', text)

    def test_what_is_not_there_is_named(self):
        for driver in ('nbd', 'blkdebug', 'null-co', 'https', 'vmdk'):
            self.refused(driver, 'qemu-img', 'info', name(driver=driver))
            self.refused(driver, 'qemu-img', 'info',
                         name(driver='raw', file__driver=driver))
        for text in ('nbd:unix:/x', 'nbd://x', 'https://x/y', 'fat:sub',
                     'blkdebug::a', 'null-co://', 'ssh://a/b'):
            # As QEMU: vvfat and nbd have several protocols each.
            for args in (('info', text), ('map', text), ('check', text),
                         ('convert', text, 'out')):
                ours = self.our('qemu-img', *args)
                self.assertEqual(ours.status, 1)
                self.assertIn(text.split(':')[0], ours.err)
            ours = self.our('qemu-io', '-c', 'length', text)
            self.assertEqual(ours.status, 1)
            self.assertIn(text.split(':')[0], ours.err)
        self.same_all('qemu-img', 'info', 'foo:a')

    def test_file_protocol(self):
        self.read('file:a')
        self.read(os.path.join('file:sub', '..', 'a'))
        self.same_all('qemu-img', 'info', 'file:none')

    # --- windows

    def test_window(self):
        self.container()
        box = {'driver': 'raw', 'offset': OFFSET,
               'file': {'driver': 'file', 'filename': 'box'}}
        for size in (None, MIB, 2 * MIB):
            if size is not None:
                box['size'] = size
            text = name(driver='qcow2', file=box)
            self.read(text)
            self.same_all('qemu-io', '-c', 'write -P 9 512k 64k', '-c',
                          'read -P 9 512k 64k', text, normalize=without_times)
            self.same_bytes('box')
        self.read('driver=qcow2,file.driver=raw,file.offset=8k,'
                  'file.file.filename=box', '--image-opts')

    def test_raw_window(self):
        for offset, size in ((0, 512), (512, 1024), (7, 512), (MIB - 512, 512),
                             (MIB, 0), (1000, 0)):
            self.read(name(driver='raw', offset=offset, size=size,
                           file__filename='raw'), pattern='0 0 0')
        for offset, size in ((MIB + 1, None), (0, 1), (0, MIB + 512),
                             (512, MIB), (1 << 62, None), (0, 1 << 62)):
            options = {'driver': 'raw', 'offset': offset,
                       'file.filename': 'raw'}
            if size is not None:
                options['size'] = size
            self.same_all('qemu-img', 'info', 'json:' + json.dumps(options))
        text = name(driver='raw', offset=4096, size=8192, file__filename='raw')
        self.same_all('qemu-io', '-c', 'write -P 1 0 8k', '-c',
                      'read -P 1 0 8k', '-c', 'write 8k 1', text,
                      normalize=without_times)
        self.same_bytes('raw')
        self.same_status('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', text,
                         'out')
        self.same_bytes('out')

    def test_info_of_windows(self):
        self.container()
        for text in (name(driver='qcow2', file={
                'driver': 'raw', 'offset': OFFSET,
                'file': {'driver': 'file', 'filename': 'box'}}),
                     name(driver='raw', offset=512, size=1024,
                          file__filename='box'),
                     name(driver='file', filename='a')):
            self.info(text)
            self.same_all('qemu-img', 'info', '--output=json', text,
                          normalize=without_children)

    # --- as stored names

    def overlay(self, backing, *options):
        self.qemu('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-b',
                  backing, *(options or ('-F', 'raw')), 'sub/top', '1M')
        if not options:
            # QEMU makes none without a format: let the record be another.
            with open(self.our_path('sub/top'), 'rb') as f:
                at = f.read(4096).index(b'\xe2\x79\x2a\xca')
            self.patch('sub/top', at, b'\x11\x11\x11\x11')

    def check_overlay(self):
        self.read('sub/top')
        self.same_all('qemu-img', 'map', 'sub/top')
        self.info('sub/top')

    def test_stored_names(self):
        self.container()
        for backing in (name(driver='qcow2', file__filename='a'),
                        name(driver='qcow2', file={'driver': 'file',
                                                   'filename': 'a'}),
                        name(driver='qcow2', file={
                            'driver': 'raw', 'offset': OFFSET,
                            'file': {'filename': 'box'}})):
            for options in ((), ('-F', 'qcow2')):
                self.overlay(backing, *options)
                self.read('sub/top')
        self.overlay(name(file__filename='a'))
        self.check_overlay()
        self.overlay('file:a', '-F', 'qcow2')
        self.check_overlay()

    def test_backing_files_of_new_images(self):
        """create looks at what it is told, for the size."""
        for backing in (name(driver='qcow2', file__filename='a'),
                        name(file__filename='a'), 'file:a', 'file:none',
                        name(driver='qcow2', file__filename='none')):
            self.same_all('qemu-img', 'create', '-f', 'qcow2', '-b', backing,
                          '-F', 'qcow2', 'new')
        self.same_bytes('new')

    def test_stored_names_cannot_move_the_cursor(self):
        self.overlay('x\x1b[2J', '-F', 'raw')
        ours = self.our('qemu-img', 'map', 'sub/top')
        self.assertEqual(ours.status, 1)
        self.assertNotIn('\x1b', ours.err)

    def test_the_record_wins(self):
        self.overlay(name(driver='raw', file__filename='a'), '-F', 'qcow2')
        self.check_overlay()
        self.overlay(name(driver='qcow2', file__filename='a'), '-F', 'raw')
        self.read('sub/top', pattern='0 300k 512')

    def test_stored_chain(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b',
                  'gone', '-F', 'raw', 'mid', '1M')
        self.overlay(name(driver='qcow2', file__filename='mid',
                          backing={'driver': 'qcow2', 'file.filename': 'a'}))
        self.read('sub/top')
        self.overlay(name(driver='qcow2', file__filename='mid', backing=None))
        self.read('sub/top', pattern='0 0 1M')

    def test_bad_stored_names(self):
        for backing in (name(driver='qcow2', file__filename='none'),
                        name(driver='qcow2', file__filename='a', foo='bar'),
                        name(driver='foo', file__filename='a'),
                        name(driver='qcow2')):
            self.overlay(backing)
            self.same_all('qemu-img', 'map', 'sub/top')
        for backing, word in (('nbd:unix:x', 'nbd'),
                              (name(driver='nbd', host='x'), 'nbd'),
                              (name(driver='null-co', size=512), 'null-co')):
            self.overlay(backing)
            ours = self.our('qemu-img', 'map', 'sub/top')
            self.assertEqual(ours.status, 1)
            self.assertIn(word, ours.err)
            self.assertIn('Could not open backing file: ', ours.err)

    # --- what is said of the images below

    def test_described_backing_file(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b',
                  'gone', '-F', 'qcow2', 'top', '1M')
        for text in ('driver=qcow2,file.filename=top,backing.driver=qcow2,'
                     'backing.file.filename=a',
                     'file.filename=top,backing.file.filename=a'):
            self.read(text, '--image-opts')
            self.same_all('qemu-img', 'map', '--image-opts', text)
        self.read(name(driver='qcow2', file__filename='top',
                       backing={'file': {'filename': 'a'}}))
        self.refused('backing.file.filename', 'qemu-img', 'map',
                     '--image-opts',
                     'driver=qcow2,file.filename=a,backing.driver=raw,'
                     'backing.file.filename=raw')

    def test_info_opens_no_backing_file(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b',
                  'gone', '-F', 'qcow2', 'top', '1M')
        for text in ('driver=qcow2,file.filename=top,backing.driver=qcow2,'
                     'backing.file.filename=a',
                     'driver=qcow2,file.filename=top,backing='):
            for args in ([], ['--backing-chain']):
                self.info(*args, '--image-opts', text)

    def test_no_backing_file(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b',
                  'gone', '-F', 'qcow2', 'top', '1M')
        self.qemu('qemu-io', '-c', 'write -P 3 128k 64k', name(
            driver='qcow2', file__filename='top', backing=None))
        for text in (name(driver='qcow2', file__filename='top', backing=None),
                     name(driver='qcow2', file__filename='top', backing='')):
            self.read(text, pattern='0 0 128k')
            self.read(text, pattern='3 128k 64k')
            self.same_all('qemu-img', 'map', '--output=json', text,
                          normalize=without_compressed)
        self.same_all('qemu-img', 'map', '--image-opts',
                      'driver=qcow2,file.filename=top,backing=')
        self.same_all('qemu-img', 'map', '--image-opts',
                      'driver=qcow2,file.filename=top,backing=x')

    # --- options per open

    def io(self, options):
        self.same_all('qemu-io', '-c', 'write -P 5 0 64k', '-c',
                      'read -P 5 0 64k', '-c', 'discard 0 64k', '-c', 'map',
                      '--image-opts', 'driver=qcow2,file.filename=a,' +
                      options, normalize=without_times)

    def test_options(self):
        for options in ('lazy-refcounts=off', 'lazy-refcounts=foo',
                        'pass-discard-request=off', 'pass-discard-request=on',
                        'pass-discard-snapshot=off',
                        'pass-discard-other=off', 'overlap-check=foo',
                        'overlap-check=none', 'overlap-check=constant',
                        'overlap-check=cached',
                        'overlap-check.template=cached,'
                        'overlap-check.active-l2=off',
                        'overlap-check.foo=on', 'cache-size=1M',
                        'cache-size=1', 'cache-size=foo',
                        'cache-size=1M,l2-cache-size=2M',
                        'cache-size=1M,refcount-cache-size=2M',
                        'cache-size=1M,l2-cache-size=1M,'
                        'refcount-cache-size=1M', 'l2-cache-size=64k',
                        'l2-cache-entry-size=4096', 'l2-cache-entry-size=1000',
                        'l2-cache-entry-size=128k', 'refcount-cache-size=65536',
                        'cache-clean-interval=0', 'cache-clean-interval=-1',
                        'cache-clean-interval=99999999999',
                        'encrypt.format=foo', 'encrypt.format=aes', 'backing=x',
                        'data-file=x', 'node-name=x', 'node-name=1x',
                        'read-only=on', 'read-only=off', 'read-only=foo',
                        'discard=foo', 'discard=unmap', 'discard=ignore',
                        'detect-zeroes=off', 'force-share=on',
                        'auto-read-only=off', 'cache.direct=on',
                        'cache.no-flush=on', 'cache.writeback=off',
                        'cache.direct=on,cache.no-flush=on',
                        'copy-on-read=on', 'file.locking=off',
                        'file.locking=on', 'file.locking=foo',
                        'file.aio=threads', 'file.aio=io_uring',
                        'file.aio=foo', 'file.drop-cache=on',
                        'file.aio-max-batch=4', 'file.size=3', 'offset=1',
                        'size=512', 'foo', 'bar=1', 'lazy-refcounts',
                        'nolazy-refcounts', 'file.read-only=on',
                        'file.node-name=q', 'file.discard=unmap',
                        'driver=qcow', 'driver=foo',
                        'data-file.driver=file,data-file.filename=raw'):
            with self.subTest(options=options):
                self.io(options)
        self.is_sound('a')
        self.io('driver=raw')

    def test_native_requests_bypass_the_page_cache(self):
        for more in ('', ',cache.direct=on', ',cache.direct=off',
                     ',file.cache.direct=on'):
            self.same_all('qemu-img', 'map', '--image-opts',
                          'driver=qcow2,file.filename=a,file.aio=native' +
                          more)

    def test_commas_at_the_ends(self):
        for text in ('driver=qcow2,file.filename=a,', 'file.filename=a,',
                     ',', 'a,', '', 'a,driver=qcow2,', 'driver=qcow2,file.filename=a,,',
                     'driver=qcow2,file.filename=a,,,'):
            self.info('--image-opts', text)
            self.same_all('qemu-img', 'map', '--image-opts', text)
        self.same_failure('qemu-img', 'info', '--image-opts',
                          ',driver=qcow2,file.filename=a')

    def test_names_alone(self):
        for text in ('a', 'a,driver=qcow2', 'driver=qcow2', 'driver=raw',
                     'lazy-refcounts=on', ''):
            self.same_all('qemu-img', 'info', '--image-opts', text)
        self.same_all('qemu-img', 'info', '--image-opts', '-f', 'raw',
                      'driver=raw,file.filename=raw')

    def test_lazy_refcounts_act(self):
        """The dirty bit is there while the image is open."""
        dirty = self.our('qemu-io', '-c', 'write 512k 64k', '-c', 'flush',
                         '-c', 'sigraise 9',
                         '--image-opts',
                         'driver=qcow2,file.filename=a,lazy-refcounts=on')
        self.assertEqual(dirty.status, -9)
        facts = self.our('qemu-img', 'info', '--output=json', 'a').out
        self.assertTrue(json.loads(facts)['dirty-flag'])

    def test_pass_discard_acts(self):
        self.qemu('qemu-io', '-c', 'write 0 1M', 'a')
        before = os.stat(self.our_path('a')).st_blocks
        for where in ('pass-discard-request=off', 'file.discard=ignore',
                      'discard=ignore'):
            self.our('qemu-io', '-c', 'discard 0 256k', '--image-opts',
                     'driver=qcow2,file.filename=a,' + where)
            self.assertEqual(os.stat(self.our_path('a')).st_blocks, before)
        self.our('qemu-io', '-c', 'discard 512k 256k', '--image-opts',
                 'driver=qcow2,file.filename=a,discard=unmap')
        self.assertLess(os.stat(self.our_path('a')).st_blocks, before)
        self.is_sound('a')

    def freed_blocks(self, *args):
        """How many KiB a command gives back, ours and theirs."""
        paths = (self.our_path('a'), self.their_path('a'))
        before = [os.stat(path).st_blocks for path in paths]
        self.same_status('qemu-img', *args)
        return [(before[i] - os.stat(path).st_blocks) // 2
                for i, path in enumerate(paths)]

    def test_pass_discard_snapshot_acts(self):
        for options in ('', ',discard=ignore', ',discard=unmap',
                        ',pass-discard-snapshot=on',
                        ',pass-discard-snapshot=off',
                        ',discard=unmap,pass-discard-snapshot=off',
                        ',discard=unmap,pass-discard-request=off'):
            with self.subTest(options=options):
                self.qemu('qemu-img', 'create', '-f', 'qcow2', 'a', '8M')
                self.qemu('qemu-io', '-c', 'write 0 4M', 'a')
                self.qemu('qemu-img', 'snapshot', '-c', 's', 'a')
                self.qemu('qemu-io', '-c', 'write 0 2M', 'a')
                ours, theirs = self.freed_blocks(
                    'snapshot', '-d', 's', '--image-opts',
                    'driver=qcow2,file.filename=a' + options)
                # A table may lie elsewhere.
                self.assertLess(abs(ours - theirs), 200)
                self.assertEqual(theirs > 1900, 'snapshot=off' not in options)
                self.is_sound('a')

    def test_pass_discard_other_acts(self):
        for option in ('off', 'on'):
            text = 'driver=qcow2,file.filename=a,pass-discard-other=' + option
            with self.subTest(option=option):
                self.qemu('qemu-img', 'create', '-f', 'qcow2', '-o',
                          'cluster_size=4k', 'a', '64M')
                self.qemu('qemu-io', '-c', 'write 0 32M', 'a')
                ours, theirs = self.freed_blocks(
                    'amend', '-o', 'refcount_bits=32', '--image-opts', text)
                self.assertLess(abs(ours - theirs), 8)
                kept, _ = self.freed_blocks(
                    'amend', '-o', 'refcount_bits=16', '--image-opts', text)
                self.assertEqual(kept > 0, option == 'on')
                self.is_sound('a')


if __name__ == '__main__':
    if not HAS_JSON:
        print('SKIP: built without JSON', file=sys.stderr)
        sys.exit(EXIT_SKIP)
    main()
