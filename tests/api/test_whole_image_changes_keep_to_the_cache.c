/* SPDX-License-Identifier: MIT */
/*
 * Promise: compacting and repairing write metadata back while they go on: what they
 * keep in memory is not much more than the cache that the image was opened with,
 * however much of the metadata changes.
 */
#include <endian.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "api_test.h"

#define CLUSTER   ((uint64_t)512)
#define SIZE      ((uint64_t)8 << 20)
#define CACHE     ((uint64_t)32 << 10)
#define PER_TABLE (CLUSTER / 8)

/* What there would be if nothing were written back: L2 tables, or refcount blocks. */
#define EVERYTHING (SIZE / CLUSTER * 8)

void *__real_malloc(size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void __wrap_free(void *memory);

/* Blocks of the size of a cluster: nearly all of them are of the cache. */
static atomic_long blocks;
static atomic_long most_blocks;

static bool is_block(void *memory)
{
	return memory != NULL && malloc_usable_size(memory) >= CLUSTER &&
	       malloc_usable_size(memory) < CLUSTER + 16;
}

void *__wrap_malloc(size_t size)
{
	void *memory = __real_malloc(size);

	if (is_block(memory) &&
	    atomic_fetch_add(&blocks, 1) >= atomic_load(&most_blocks))
		atomic_store(&most_blocks, atomic_load(&blocks));
	return memory;
}

void __wrap_free(void *memory)
{
	if (is_block(memory))
		atomic_fetch_sub(&blocks, 1);
	__real_free(memory);
}

/* ------------------------------------------------------------------- the image */

static const char *path(void)
{
	return scratch_path("image");
}

static struct qcowfmt_image *open_small(void)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.cache_size = CACHE,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(path(), &options, &image, &api_error));
	return image;
}

static void make_image(uint32_t refcount_bits)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.cluster_size = CLUSTER,
		.refcount_bits = refcount_bits,
	};
	struct qcowfmt_image *image;

	API_OK(qcowfmt_create_file(path(), &create, &api_error));
	image = api_open(path(), API_RW);
	for (uint64_t at = 0; at < SIZE; at += SIZE / 8)
		api_write(image, at, SIZE / 8, 7);
	api_close(image);
}

/* Change each of the words that the tables in a table point to. */
static void change_words(uint64_t table, uint64_t tables,
                         uint64_t (*change)(uint64_t))
{
	struct api_bytes file = api_read_file(path());

	for (uint64_t i = 0; i < tables; i++) {
		uint64_t at;

		memcpy(&at, file.bytes + table + 8 * i, 8);
		at = be64toh(at) & UINT64_C(0x00fffffffffffe00);
		for (uint64_t k = 0; at != 0 && k < PER_TABLE; k++) {
			uint8_t *word = file.bytes + at + 8 * k;
			uint64_t value;

			memcpy(&value, word, 8);
			value = htobe64(change(be64toh(value)));
			memcpy(word, &value, 8);
		}
	}
	api_write_file(path(), file.bytes, file.len);
	api_bytes_free(&file);
}

/* ------------------------------------------------------------------- the changes */

static void expect_little_memory(long before)
{
	uint64_t most =
		(uint64_t)(atomic_load(&most_blocks) - before) * CLUSTER;

	printf("%" PRIu64 " KiB of %" PRIu64 " at a time\n", most / 1024,
	       EVERYTHING / 1024);
	ck_assert_uint_gt(most, CACHE / 4);
	ck_assert_uint_lt(most, 2 * CACHE);
}

static void repair(void)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_image *image = open_small();
	long before = atomic_load(&blocks);

	atomic_store(&most_blocks, before);
	API_OK(qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL,
	                     &result, &api_error));
	expect_little_memory(before);
	ck_assert_uint_eq(result.corruptions, 0);
	ck_assert_uint_gt(result.corruptions_fixed + result.leaks_fixed,
	                  SIZE / CLUSTER / 2);
	api_check_clean(image);
	api_close(image);
}

static uint64_t without_flag(uint64_t entry)
{
	return entry & ~(UINT64_C(1) << 63);
}

START_TEST(flags_are_corrected)
{
	make_image(64);
	change_words(api_get(path(), API_AT_L1, 8), SIZE / CLUSTER / PER_TABLE,
	             without_flag);
	repair();
}

END_TEST

static uint64_t one_more(uint64_t count)
{
	return count == 0 ? 0 : count + 1;
}

START_TEST(counts_are_lowered)
{
	make_image(64);
	change_words(api_get(path(), API_AT_REFTABLE, 8),
	             SIZE / CLUSTER / PER_TABLE, one_more);
	repair();
}

END_TEST

/* Counts of a whole window are kept; they are small here. */
START_TEST(clusters_are_moved)
{
	struct qcowfmt_image *image;
	long before;

	make_image(8);
	image = open_small();
	/* Half of each table, so that all tables have something that moves. */
	for (uint64_t at = 0; at < SIZE; at += PER_TABLE * CLUSTER)
		API_OK(qcowfmt_discard(image, at, PER_TABLE / 2 * CLUSTER,
		                       &api_error));
	API_OK(qcowfmt_flush(image, &api_error));
	api_close(image);
	image = open_small();
	before = atomic_load(&blocks);
	atomic_store(&most_blocks, before);
	API_OK(qcowfmt_compact(image, NULL, NULL, &api_error));
	expect_little_memory(before);
	api_check_clean(image);
	api_close(image);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, flags_are_corrected);
	tcase_add_test(tcase, counts_are_lowered);
	tcase_add_test(tcase, clusters_are_moved);
}

int main(int argc, char **argv)
{
	return api_main("whole_image_changes_keep_to_the_cache", add, argc,
	                argv);
}
