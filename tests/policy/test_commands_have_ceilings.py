# SPDX-License-Identifier: MIT
"""Each command on an image with each kind of corruption ends by itself, with an exit
code, within 512 MiB of memory and 10 s."""

import os
import shutil

from ceilings import READING, WRITING, CeilingTest, main

WRITE_DAMAGED_IMAGES = os.environ.get('WRITE_DAMAGED_IMAGES',
                                      'write_damaged_images')

IMAGES = 80     # at least


class Commands(CeilingTest):

    def images(self):
        os.mkdir(self.path('images'))
        self.run_program([WRITE_DAMAGED_IMAGES, 'images'])
        names = sorted(os.listdir(self.path('images')))
        self.assertGreaterEqual(len(names), IMAGES)
        return [os.path.join('images', name) for name in names]

    def test_reading(self):
        for image in self.images():
            with open(self.path(image), 'rb') as file:
                before = file.read()
            for words in READING:
                self.command(words, image)
            with open(self.path(image), 'rb') as file:
                self.assertEqual(file.read(), before, image)

    def test_writing(self):
        for image in self.images():
            for words in WRITING:
                shutil.copy(self.path(image), self.path('copy'))
                self.command(words, 'copy')


if __name__ == '__main__':
    main('damaged')
