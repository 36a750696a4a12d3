/* SPDX-License-Identifier: MIT */
/*
 * write_damaged_images.c - every image of damages.def as a file, for tests of the
 * programs
 *
 *   write_damaged_images DIRECTORY
 *
 * Names are ID-NUMBER.qcow2; those of images of version 1 end in .qcow.
 */
#include <stdio.h>
#include <stdlib.h>

#include "damaged_images.h"

static const char *directory;

static void write_file(size_t number, const struct damage *damage)
{
	struct api_disk disk = damage_make(damage);
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%03u-%02zu.%s", directory,
	               damage->id, number,
	               damage->base == VERSION_1 ? "qcow" : "qcow2");
	api_write_file(path, disk.bytes, disk.size);
	api_disk_fini(&disk);
}

START_TEST(write_all)
{
	damage_make_bases();
	for (size_t i = 0; i < damage_count; i++)
		write_file(i, &damages[i]);
	damage_drop_bases();
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, write_all);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: write_damaged_images DIRECTORY\n", stderr);
		return EXIT_FAILURE;
	}
	directory = argv[1];
	return unit_run("write_damaged_images", add_tests);
}
