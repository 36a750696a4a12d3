/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever the metadata of an image says, opening, reading, writing,
 * checking, repairing and closing it end in success or an error, in bounded
 * time and memory.
 *
 * Every header field gets every nasty value, and tables get random ones; run
 * this under a sanitizer to see what else may go wrong.
 */
#include <sys/resource.h>

#include "api_disk.h"
#include "api_test.h"

#define CLUSTER ((uint64_t)512)
#define SIZE    ((uint64_t)256 << 10)
#define TAIL    4096u

/* Peak memory of this process; a sanitizer takes a multiple of its own. */
#define MAX_RSS_KIB (1024L * 1024)

static struct api_disk original;

/* Small clusters: several L2 tables, data, zeros, and free space. */
static void make_original(void)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.cluster_size = CLUSTER,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
	};
	struct qcowfmt_storage *storage = api_disk_storage(&original);
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
	api_write(image, 0, 20000, 'a');
	api_write(image, 100000, 3000, 'b');
	API_OK(qcowfmt_write_zeroes(image, 5000, 3000, 0, &api_error));
	API_OK(qcowfmt_discard(image, 10240, 2048, &api_error));
	api_close(image);
}

static void drop_original(void)
{
	api_disk_fini(&original);
}

/* All results are allowed; what matters is that they come. */
static void read_all(struct qcowfmt_image *image)
{
	uint8_t bytes[TAIL];
	struct qcowfmt_extent extents[8];
	uint64_t size = qcowfmt_get_size(image);
	uint64_t end = size < SIZE ? size : SIZE;

	for (uint64_t at = 0; at + TAIL <= end; at += TAIL)
		(void)qcowfmt_pread(image, bytes, TAIL, at, NULL);
	if (size >= TAIL)
		(void)qcowfmt_pread(image, bytes, TAIL, size - TAIL, NULL);
	(void)qcowfmt_map(image, 0, size, 0, extents, 8, NULL);
}

static void write_some(struct qcowfmt_image *image)
{
	uint8_t bytes[TAIL];
	uint64_t size = qcowfmt_get_size(image);

	memset(bytes, 'w', sizeof(bytes));
	for (uint64_t at = 700; at + TAIL <= size && at < SIZE; at += 37000)
		(void)qcowfmt_pwrite(image, bytes, TAIL, at, NULL);
	if (size >= TAIL)
		(void)qcowfmt_pwrite(image, bytes, TAIL, size - TAIL, NULL);
	(void)qcowfmt_write_zeroes(image, 0, size < 9000 ? size : 9000, 0,
	                           NULL);
	(void)qcowfmt_discard(image, 0, size < 20000 ? size : 20000, NULL);
	(void)qcowfmt_flush(image, NULL);
}

static int open_copy(struct api_disk *copy, uint32_t flags,
                     struct qcowfmt_image **image)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
		.max_metadata_size = 64 << 20,
	};
	struct qcowfmt_storage *storage = api_disk_storage(copy);
	int ret = qcowfmt_open(storage, &options, image, &api_error);

	if (ret < 0) {
		/* A refusal has a reason. */
		ck_assert_ptr_nonnull(api_error);
		ck_assert_int_eq(ret, -qcowfmt_error_errno(api_error));
		api_error_reset();
		qcowfmt_storage_free(storage);
	}
	return ret;
}

static void try_reading(const struct api_disk *forged)
{
	struct api_disk copy = *forged;
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_image *image = NULL;

	copy.bytes = malloc(forged->size + 1);
	ck_assert_ptr_nonnull(copy.bytes);
	memcpy(copy.bytes, forged->bytes, forged->size);
	if (open_copy(&copy, 0, &image) == 0) {
		read_all(image);
		(void)qcowfmt_check(image, 0, NULL, NULL, &result, NULL);
		ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	}
	/* Reading and checking write nothing. */
	ck_assert_uint_eq(copy.size, forged->size);
	ck_assert(memcmp(copy.bytes, forged->bytes, copy.size) == 0);
	api_disk_fini(&copy);
}

static void try_writing(const struct api_disk *forged, uint32_t flags)
{
	struct api_disk copy = *forged;
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_image *image = NULL;

	copy.bytes = malloc(forged->size + 1);
	ck_assert_ptr_nonnull(copy.bytes);
	memcpy(copy.bytes, forged->bytes, forged->size);
	/* What an image of this size can need, and no more */
	copy.limit = forged->size + (8 << 20);
	if (open_copy(&copy, API_RW | flags, &image) == 0) {
		if ((flags & QCOWFMT_OPEN_REPAIR) != 0)
			(void)qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL,
			                    NULL, NULL, &result, NULL);
		write_some(image);
		read_all(image);
		(void)qcowfmt_close(image, NULL);
	}
	/* The magic, the version and the cluster size are never overwritten. */
	ck_assert(memcmp(copy.bytes, forged->bytes, 8) == 0);
	ck_assert(memcmp(copy.bytes + 20, forged->bytes + 20, 4) == 0);
	api_disk_fini(&copy);
}

static void try_all(const struct api_disk *forged)
{
	try_reading(forged);
	try_writing(forged, 0);
	try_writing(forged, QCOWFMT_OPEN_REPAIR);
}

static void put(struct api_disk *disk, uint64_t at, size_t width,
                uint64_t value)
{
	for (size_t i = width; i > 0; i--, value >>= 8)
		disk->bytes[at + i - 1] = (uint8_t)value;
}

static struct api_disk forge(void)
{
	struct api_disk forged = original;

	forged.bytes = malloc(original.size + 1);
	ck_assert_ptr_nonnull(forged.bytes);
	memcpy(forged.bytes, original.bytes, original.size);
	return forged;
}

static const uint64_t nasty[] = {
	0,
	1,
	2,
	3,
	0x1ff,
	0x200,
	0x201,
	0x400,
	0x600,
	0x10000,
	0x7fffffff,
	0x80000000,
	0xfffffff9,
	0xffffffff,
	0x100000000,
	UINT64_C(0x00fffffffffffe00),
	UINT64_C(0x0100000000000000),
	UINT64_C(0x7fffffffffffffff),
	UINT64_C(0x7ffffffffffffe00),
	UINT64_C(0x8000000000000000),
	UINT64_C(0x8000000000000200),
	UINT64_C(0xfffffffffffffe00),
	UINT64_C(0xffffffffffffffff),
};

static void check_memory(void)
{
	struct rusage usage;

	ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
	ck_assert_int_lt(usage.ru_maxrss, MAX_RSS_KIB);
}

START_TEST(header_fields)
{
	static const struct {
		uint64_t at;
		size_t width;
	} fields[] = {
		{ 0, 4 },   { 4, 4 },  { 8, 8 },   { 16, 4 },  { 20, 4 },
		{ 24, 8 },  { 32, 4 }, { 36, 4 },  { 40, 8 },  { 48, 8 },
		{ 56, 4 },  { 60, 4 }, { 64, 8 },  { 72, 8 },  { 80, 8 },
		{ 88, 8 },  { 96, 4 }, { 100, 4 }, { 104, 1 }, { 112, 4 },
		{ 116, 4 },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(fields); i++) {
		for (size_t j = 0; j < QCF_ARRAY_LEN(nasty); j++) {
			struct api_disk forged = forge();

			put(&forged, fields[i].at, fields[i].width, nasty[j]);
			try_all(&forged);
			api_disk_fini(&forged);
		}
	}
	check_memory();
}

END_TEST

START_TEST(header_bytes)
{
	static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };

	for (uint64_t at = 0; at < 120; at++) {
		for (size_t j = 0; j < QCF_ARRAY_LEN(values); j++) {
			struct api_disk forged = forge();

			put(&forged, at, 1, values[j]);
			try_reading(&forged);
			try_writing(&forged, 0);
			api_disk_fini(&forged);
		}
	}
	check_memory();
}

END_TEST

/* Two fields that belong together */
START_TEST(pairs_of_fields)
{
	static const uint64_t pairs[][4] = {
		{ 8, 8, 16, 4 },   { 24, 8, 36, 4 }, { 36, 4, 40, 8 },
		{ 48, 8, 56, 4 },  { 60, 4, 64, 8 }, { 20, 4, 96, 4 },
		{ 72, 8, 104, 1 },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(pairs); i++) {
		for (size_t j = 0; j < QCF_ARRAY_LEN(nasty); j++) {
			for (size_t k = 0; k < QCF_ARRAY_LEN(nasty); k++) {
				struct api_disk forged = forge();

				put(&forged, pairs[i][0], pairs[i][1],
				    nasty[j]);
				put(&forged, pairs[i][2], pairs[i][3],
				    nasty[k]);
				try_reading(&forged);
				try_writing(&forged, 0);
				api_disk_fini(&forged);
			}
		}
	}
	check_memory();
}

END_TEST

START_TEST(truncated_files)
{
	for (uint64_t len = 0; len < original.size;
	     len += len < 600 ? 1 : 193) {
		struct api_disk forged = forge();

		forged.size = len;
		try_reading(&forged);
		if (len >= 24)
			try_writing(&forged, 0);
		api_disk_fini(&forged);
	}
	check_memory();
}

END_TEST

static uint64_t number(uint64_t at, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | original.bytes[at + i];
	return value;
}

/* An entry somewhere in a table; offsets of real clusters are the most fun. */
static uint64_t random_entry(struct unit_random *random)
{
	uint64_t clusters = original.size / CLUSTER + 4;
	uint64_t entry = unit_random_below(random, clusters) * CLUSTER;

	switch (unit_random_below(random, 6)) {
	case 0:
		return entry;
	case 1:
		return entry | UINT64_C(1) << 63;
	case 2:
		return entry | UINT64_C(1) << 63 | 1;
	case 3:
		return entry | UINT64_C(1) << 62 | unit_random_below(random, 9);
	case 4:
		return nasty[unit_random_below(random, QCF_ARRAY_LEN(nasty))];
	default:
		return unit_random_u64(random);
	}
}

static void spoil_tables(struct api_disk *forged, struct unit_random *random)
{
	uint64_t l1 = number(API_AT_L1, 8);
	uint64_t l1_size = number(API_AT_L1_SIZE, 4);
	uint64_t reftable = number(API_AT_REFTABLE, 8);
	uint64_t block = number(reftable, 8);
	uint64_t l2 = number(l1, 8) & UINT64_C(0x00fffffffffffe00);
	uint64_t count = 1 + unit_random_below(random, 4);

	for (uint64_t i = 0; i < count; i++) {
		uint64_t value = random_entry(random);

		switch (unit_random_below(random, 4)) {
		case 0:
			put(forged, l1 + 8 * unit_random_below(random, l1_size),
			    8, value);
			break;
		case 1:
			put(forged, l2 + 8 * unit_random_below(random, 64), 8,
			    value);
			break;
		case 2:
			put(forged, reftable + 8 * unit_random_below(random, 4),
			    8, value);
			break;
		default:
			put(forged, block + 2 * unit_random_below(random, 256),
			    2, value >> unit_random_below(random, 56));
			break;
		}
	}
}

START_TEST(random_tables)
{
	struct unit_random random = unit_random_init();

	for (int i = 0; i < 3000; i++) {
		struct api_disk forged = forge();

		spoil_tables(&forged, &random);
		try_all(&forged);
		api_disk_fini(&forged);
	}
	check_memory();
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, make_original, drop_original);
	tcase_add_test(tcase, header_fields);
	tcase_add_test(tcase, header_bytes);
	tcase_add_test(tcase, pairs_of_fields);
	tcase_add_test(tcase, truncated_files);
	tcase_add_test(tcase, random_tables);
}

int main(int argc, char **argv)
{
	return api_main("hostile_images_are_survived", add_tests, argc, argv);
}
