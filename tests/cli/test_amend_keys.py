# SPDX-License-Identifier: MIT
"""amend adds and erases keys of LUKS images as qemu-img does."""

import json

from cli_common import AES, CliTest, LUKS, SECRETS, image_opts, main

THIRD = ['--object', 'secret,id=s2,data=third']
ADD = 'encrypt.state=active,encrypt.iter-time=10,encrypt.new-secret='
ERASE = 'encrypt.state=inactive,'

USELESS = ['encrypt.state=active', 'encrypt.state=active,encrypt.new-secret=no',
           'encrypt.state=active,encrypt.old-secret=s0,encrypt.new-secret=s1',
           'encrypt.state=foo', 'encrypt.new-secret=s1',
           'encrypt.state=inactive', ERASE + 'encrypt.new-secret=s1',
           ERASE + 'encrypt.new-secret=s1,encrypt.keyslot=1',
           ERASE + 'encrypt.iter-time=10',
           ERASE + 'encrypt.iter-time=10,encrypt.old-secret=s1',
           ERASE + 'encrypt.keyslot=9', ERASE + 'encrypt.keyslot=7',
           ERASE + 'encrypt.old-secret=bad', ERASE + 'encrypt.old-secret=no',
           ERASE + 'encrypt.keyslot=0', ERASE + 'encrypt.old-secret=s0',
           ERASE + 'encrypt.old-secret=s0,encrypt.keyslot=5',
           ERASE + 'encrypt.old-secret=bad,encrypt.keyslot=0',
           ADD + 's1,encrypt.keyslot=8', ADD + 's1,encrypt.keyslot=-1',
           ADD + 's1,encrypt.keyslot=foo', ADD + 's1,encrypt.keyslot=0',
           'encrypt.iter-time=foo', 'foo=1', 'encrypt.foo=1',
           'cluster_size=64k', 'encrypt.cipher-alg=aes-128', 'encryption=on']


class AmendKeys(CliTest):

    def setUp(self):
        super().setUp()
        self.our_image('k', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                       *SECRETS, '-o', LUKS, 'k', '1M')

    def amend(self, options, *flags, secret='s0'):
        return self.same_all('qemu-img', 'amend', *SECRETS, *THIRD,
                             '--image-opts', '-o', options, *flags,
                             image_opts('k', secret=secret))

    def change(self, options, *flags):
        """Only ours, which has to succeed."""
        ours = self.our('qemu-img', 'amend', *SECRETS, *THIRD, '--image-opts',
                        '-o', options, *flags, image_opts('k'))
        self.assertEqual((ours.status, ours.out, ours.err), (0, '', ''))

    def active_slots(self):
        info = json.loads(self.our('qemu-img', 'info', '--output=json',
                                   'k').out)
        slots = info['format-specific']['data']['encrypt']['slots']
        return [i for i, slot in enumerate(slots) if slot['active']]

    def opens(self, secret):
        """Whether QEMU can read what we made of the image."""
        self.share('k')
        ours, _ = self.same_all('qemu-io', '-c', 'read -q 0 512', *SECRETS,
                                *THIRD, '--image-opts',
                                image_opts('k', secret=secret))
        return ours.status == 0

    def test_what_changes_nothing(self):
        for options in USELESS:
            ours, _ = self.amend(options)
            self.assertEqual(ours.status, 1, options)
        self.same_bytes('k')

    def test_add_and_erase(self):
        self.change(ADD + 's1')
        self.assertEqual(self.active_slots(), [0, 1])
        self.change(ADD + 's2,encrypt.keyslot=5')
        self.assertEqual(self.active_slots(), [0, 1, 5])
        for secret in ('s0', 's1', 's2'):
            self.assertTrue(self.opens(secret))
        self.change(ERASE + 'encrypt.old-secret=s1')
        self.assertEqual(self.active_slots(), [0, 5])
        self.assertFalse(self.opens('s1'))
        ours, _ = self.amend(ERASE + 'encrypt.old-secret=s1,'
                             'encrypt.keyslot=1')
        self.assertEqual(ours.status, 1)
        self.change(ERASE + 'encrypt.keyslot=0')
        self.assertEqual(self.active_slots(), [5])
        self.assertTrue(self.opens('s2'))
        self.assertFalse(self.opens('s0'))

    def test_slots_in_use(self):
        for slot in range(1, 8):
            self.change(ADD + 's1')
        self.assertEqual(self.active_slots(), list(range(8)))
        self.share('k')
        self.amend(ADD + 's2')
        self.amend(ADD + 's2', '--force')
        self.amend(ADD + 's2,encrypt.keyslot=3')
        self.same_bytes('k')
        self.change(ADD + 's2,encrypt.keyslot=3', '--force')
        self.assertTrue(self.opens('s2'))
        self.change(ERASE + 'encrypt.old-secret=s1')
        self.assertEqual(self.active_slots(), [0, 3])

    def test_the_last_key_goes_only_by_force(self):
        self.change(ERASE + 'encrypt.keyslot=0', '--force')
        self.assertEqual(self.active_slots(), [])
        self.assertFalse(self.opens('s0'))
        self.amend(ADD + 's1')

    def test_images_without_such_keys(self):
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'x', '1M')
        self.qemu('qemu-img', 'create', '-q', '-f', 'qcow', 'v1', '1M')
        self.our_image('aes', 'qemu-img', 'create', '-q', '-f', 'qcow2',
                       *SECRETS, '-o', AES, 'aes', '1M')
        for name, driver in (('x', 'qcow2'), ('aes', 'qcow2'), ('v1', 'qcow'),
                             ('x', 'raw')):
            opts = 'driver=%s,file.filename=%s' % (driver, name)
            if driver != 'raw':
                opts += ',encrypt.key-secret=s0'
            self.same_all('qemu-img', 'amend', *SECRETS, '--image-opts', '-o',
                          ADD + 's1', opts)

    def test_usage(self):
        for words in ('', 'k', '-o encrypt.state=active', '-o help',
                      '-f qcow -o help', '-f raw -o help', '-f foo -o help',
                      '-o encrypt.state=active k k', '-o , k', '-o foo=1 none',
                      '-t foo -o foo=1 k', '-f foo -o foo=1 k', '--foo',
                      '-f raw -o foo=1 k', '-o foo=1 k',
                      '-o foo=1 -f qcow2 --image-opts k'):
            self.same_all('qemu-img', 'amend', *words.split())

    def test_the_option_table_is_part_of_theirs(self):
        ours, theirs = self.same_status('qemu-img', 'amend', '-f', 'qcow2',
                                        '-o', 'help')
        theirs = theirs.out.split('\n')
        ours = ours.out.split('\n')
        self.assertEqual([line for line in theirs if line in ours], ours)
        self.assertEqual(len([line for line in ours if 'encrypt.' in line]), 5)

    def test_progress(self):
        ours = self.our('qemu-img', 'amend', '-p', *SECRETS, '--image-opts',
                        '-o', ADD + 's1', image_opts('k'))
        self.assertEqual((ours.status, ours.out, ours.err),
                         (0, '    (0.00/100%)\r    (100.00/100%)\r\n', ''))


if __name__ == '__main__':
    main()
