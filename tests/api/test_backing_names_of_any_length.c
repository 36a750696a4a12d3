/* SPDX-License-Identifier: MIT */
/*
 * Promise: a backing file name of any length takes the place of any other, in
 * clusters of any size and of each version, with dirty bitmaps and without: or it
 * is refused for lack of room, and then the old name and the image stand.
 */
#include <stdlib.h>

#include "api_test.h"

#define MIB     ((uint64_t)1 << 20)
#define MAX_LEN 1023u

static char names[2][MAX_LEN + 1];

static const char *name_of(unsigned int which, size_t len)
{
	memset(names[which], 'a' + (int)which, len);
	names[which][len] = '\0';
	return names[which];
}

static struct qcowfmt_image *open_alone(const char *path, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(path, &options, &image, &api_error));
	return image;
}

/* Returns false if the name has no room. */
static bool rebase(const char *path, const char *name)
{
	struct qcowfmt_rebase_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_REBASE_UNSAFE,
		.backing_filename = name,
		.backing_format = name == NULL ? NULL : "qcow2",
	};
	struct qcowfmt_image *image = open_alone(path, QCOWFMT_OPEN_READ_WRITE);
	int ret = qcowfmt_rebase(image, NULL, &options, &api_error);

	if (ret < 0)
		ck_assert_int_eq(ret, -ENOSPC);
	api_error_reset();
	api_close(image);
	return ret == 0;
}

static void expect_name(const char *path, const char *name)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_image *image = open_alone(path, 0);

	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	ck_assert_str_eq(info.backing_filename, name);
	ck_assert_str_eq(info.backing_format, "qcow2");
	api_check_clean(image);
	api_close(image);
}

static void add_bitmap(const char *path)
{
	struct qcowfmt_image *image = open_alone(path, QCOWFMT_OPEN_READ_WRITE);
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.name = "bitmap",
		.kind = QCOWFMT_BITMAP_ADD,
	};

	API_OK(qcowfmt_bitmap_change(&action, 1, NULL, &api_error));
	api_close(image);
}

static void create(const char *path, uint32_t version, uint64_t cluster_size)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = MIB,
		.version = version,
		.cluster_size = cluster_size,
		.backing_filename = "x",
		.backing_format = "qcow2",
	};

	API_OK(qcowfmt_create_file(path, &options, &api_error));
}

/* From each length to each other, many of them refused in small clusters. */
static unsigned int play(const char *path)
{
	static const size_t lens[] = { 1, 300, 380, 390, 700, 850, MAX_LEN };
	const char *present = "x";
	unsigned int which = 0;
	unsigned int done = 0;

	for (size_t i = 0; i < QCF_ARRAY_LEN(lens); i++) {
		for (size_t j = 0; j < QCF_ARRAY_LEN(lens); j++) {
			size_t len = (i + j) % 2 == 0 ? lens[i] : lens[j];
			const char *name = name_of(which, len);

			if (rebase(path, name)) {
				present = name;
				which = !which;
				done++;
			}
			expect_name(path, present);
		}
	}
	return done;
}

START_TEST(lengths)
{
	static const struct {
		uint32_t version;
		uint64_t cluster_size;
		bool bitmaps;
		unsigned int refused; /* at least */
	} kinds[] = {
		{ 2, 512, false, 20 },  { 3, 512, false, 20 },
		{ 3, 512, true, 20 },   { 2, 1024, false, 5 },
		{ 3, 1024, false, 5 },  { 3, 1024, true, 5 },
		{ 3, 2048, false, 0 },  { 3, 2048, true, 0 },
		{ 3, 4096, false, 0 },  { 3, 65536, true, 0 },
		{ 2, 65536, false, 0 },
	};

	const char *path = scratch_path("image");
	unsigned int done;

	create(path, kinds[_i].version, kinds[_i].cluster_size);
	if (kinds[_i].bitmaps)
		add_bitmap(path);
	done = play(path);
	ck_assert_uint_gt(done, 0);
	if (kinds[_i].refused == 0)
		ck_assert_uint_eq(done, 49);
	else
		ck_assert_uint_le(done, 49 - kinds[_i].refused);
	/* QEMU would look for the file. */
	ck_assert(rebase(path, NULL));
	api_qemu_check(path);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, lengths, 0, 11);
}

int main(int argc, char **argv)
{
	return api_main("backing names of any length", add_tests, argc, argv);
}
