/* SPDX-License-Identifier: MIT */
/*
 * Promise: who writes all over a disk and never flushes does not fill memory with
 * metadata: what the cache has no room for goes to storage.
 */
#include "api_test.h"
#include "ceiling.h"

#define MIB    ((uint64_t)1 << 20)
#define CACHE  MIB
#define ENOUGH (3 * MIB)
#define PIECES 2048u
#define PIECE  (32 * MIB) /* of the disk; what 4 KiB of an L2 table map */
#define SIZE   (PIECES * PIECE)

START_TEST(of_a_writer)
{
	const char *path = scratch_path("x.qcow2");
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
		.cache_size = CACHE,
	};
	struct qcowfmt_image *image = NULL;

	api_create(path, SIZE, 65536);
	ceiling_begin();
	API_OK(qcowfmt_open_file(path, &options, &image, &api_error));
	for (uint64_t i = 0; i < PIECES; i++)
		API_OK(qcowfmt_pwrite(image, "x", 1, i * PIECE, &api_error));
	api_close(image);
	ceiling_end(path, ENOUGH);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, of_a_writer);
}

int main(int argc, char **argv)
{
	return api_main("dirty_metadata_takes_little_memory", add, argc, argv);
}
