/* SPDX-License-Identifier: MIT */
/*
 * Promise: what is written compressed reads back, in every geometry, whatever it
 * replaces and whatever is done to it later, and QEMU finds the image sound and
 * reads the same.
 */
#include <sys/stat.h>

#include "built_with.h"
#include "compressed_data.h"

struct shape {
	uint32_t version;
	uint64_t cluster_size;
	uint32_t refcount_bits;
	uint32_t compression_type;
	uint32_t flags;
};

#define V1_CLUSTER_BITS 32u /* in the header */

#define EXTENDED QCOWFMT_CREATE_EXTENDED_L2

static const struct shape shapes[] = {
	{ 1, 512, 0, 0, 0 },           { 1, 4096, 0, 0, 0 },
	{ 1, 65536, 0, 0, 0 },         { 2, 512, 16, 0, 0 },
	{ 3, 512, 1, 0, 0 },           { 3, 1024, 4, 1, 0 },
	{ 3, 4096, 2, 0, 0 },          { 2, 65536, 16, 0, 0 },
	{ 3, 65536, 1, 0, 0 },         { 3, 65536, 4, 0, 0 },
	{ 3, 65536, 16, 1, EXTENDED }, { 3, 16384, 16, 0, EXTENDED },
	{ 3, 65536, 64, 0, 0 },        { 3, 262144, 8, 1, 0 },
	{ 3, 2u << 20, 16, 0, 0 },     { 3, 2u << 20, 2, 1, 0 },
};

#define SHAPES (int)(sizeof(shapes) / sizeof(shapes[0]))

static struct qcowfmt_image *image;
static struct shape shape;

static bool can_be_made(void)
{
	return shape.compression_type == 0 || built_with_zstd();
}

/* Of any version. */
static void open_image(const char *name, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
	};

	API_OK(qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error));
}

static void create(const char *name, uint64_t virtual_size)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = virtual_size,
		.cluster_size = shape.cluster_size,
		.refcount_bits = shape.refcount_bits,
		.compression_type = shape.compression_type,
		.flags = shape.flags,
	};

	if (shape.version == 1) {
		options.format = QCOWFMT_FORMAT_QCOW;
		options.cluster_size = 0;
	} else {
		options.version = shape.version;
	}
	API_OK(qcowfmt_create_file(scratch_path(name), &options, &api_error));
	/* Other writers have other cluster sizes; the tables are empty. */
	if (shape.version == 1)
		api_put(scratch_path(name), V1_CLUSTER_BITS, 1,
		        (uint64_t)__builtin_ctzll(shape.cluster_size));
	open_image(name, API_RW);
}

/* The image in a file says the same as a raw file of the content. */
static void qemu_compare(const char *name, uint64_t virtual_size)
{
	uint8_t *bytes;

	if (!api_has_qemu())
		return;
	bytes = malloc(virtual_size);
	ck_assert_ptr_nonnull(bytes);
	open_image(name, 0);
	API_OK(qcowfmt_pread(image, bytes, virtual_size, 0, &api_error));
	api_close(image);
	api_write_file(scratch_path("flat"), bytes, virtual_size);
	free(bytes);
	ck_assert_int_eq(api_run(api_qemu_img, "compare", "-f", "raw", "-F",
	                         shape.version == 1 ? "qcow" : "qcow2",
	                         scratch_path("flat"), scratch_path(name),
	                         NULL),
	                 0);
}

/* Version 1 has nothing that could be checked. */
static void finish(const char *name, uint64_t virtual_size)
{
	if (shape.version > 1)
		api_check_clean(image);
	api_close(image);
	if (shape.version > 1)
		api_qemu_check(scratch_path(name));
	qemu_compare(name, virtual_size);
}

/* Number of clusters: enough for several host clusters of packed data. */
static uint64_t cluster_count(void)
{
	return shape.cluster_size > 65536 ? 7 : 40;
}

START_TEST(every_geometry)
{
	uint64_t cs = shapes[_i].cluster_size;
	uint64_t count;

	shape = shapes[_i];
	if (!can_be_made())
		return;
	count = cluster_count();
	create("g.qcow2", count * cs);
	for (uint64_t i = 0; i < count; i++)
		compressed_write(image, i * cs, cs, i);
	for (uint64_t i = 0; i < count; i++)
		compressed_expect(image, i * cs, cs, i);
	ck_assert_int_eq(compressed_kind(image, 0), QCOWFMT_EXTENT_COMPRESSED);
	/* Every second one again, then parts of every third. */
	for (uint64_t i = 0; i < count; i += 2)
		compressed_write(image, i * cs, cs, 1000 + i);
	for (uint64_t i = 0; i < count; i += 3)
		api_write(image, i * cs + cs / 4, cs / 2, 'p');
	API_OK(qcowfmt_flush(image, &api_error));
	API_OK(qcowfmt_discard(image, cs, cs, &api_error));
	if (shape.version > 1)
		api_expect(image, cs, cs, 0);
	compressed_expect(image, 2 * cs, cs, 1002);
	compressed_expect(image, 5 * cs, cs, 5);
	api_expect(image, 3 * cs + cs / 4, cs / 2, 'p');
	finish("g.qcow2", count * cs);
}

END_TEST

/* Write count clusters that take a few bytes each. */
static void write_tiny(uint64_t count)
{
	uint64_t cs = shape.cluster_size;
	uint8_t *bytes = malloc(cs);

	ck_assert_ptr_nonnull(bytes);
	for (uint64_t i = 0; i < count; i++) {
		memset(bytes, (int)i, cs);
		API_OK(qcowfmt_pwrite_compressed(image, bytes, cs, i * cs,
		                                 &api_error));
	}
	free(bytes);
}

static void expect_tiny(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		api_expect(image, i * shape.cluster_size, shape.cluster_size,
		           (uint8_t)i);
}

/* One byte value: 65536 of it take less than 300 bytes. */
START_TEST(clusters_are_packed_and_counted)
{
	const char *path = scratch_path("p.qcow2");
	struct stat st;

	shape = (struct shape){ 3, 65536, 16, 0, 0 };
	create("p.qcow2", 200 * 65536);
	write_tiny(200);
	api_close(image);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_lt(st.st_size, 6 * 65536);
	/* Header, refcount table, block, L1, L2, and all data in one. */
	ck_assert_uint_eq(api_get(path, api_block_at(path) + 2 * 5, 2), 200);
	ck_assert_uint_eq(api_get(path, api_block_at(path) + 2 * 6, 2), 0);
	image = api_open(path, API_RW);
	expect_tiny(200);
	finish("p.qcow2", 200 * 65536);
}

END_TEST

/* How many host clusters the streams of guest clusters begin in; they follow
 * each other.  64 KiB clusters: the offset has 54 bits. */
static uint64_t host_clusters(const char *path, uint64_t count)
{
	uint64_t table = api_l2_entry_at(path);
	uint64_t last = 0;
	uint64_t found = 0;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t entry = api_get(path, table + 8 * i, 8);
		uint64_t host = (entry & ((UINT64_C(1) << 54) - 1)) / 65536;

		ck_assert_uint_eq(entry >> 62, 1);
		found += host != last;
		last = host;
	}
	return found;
}

/* Where a count is at its maximum a new host cluster begins. */
START_TEST(full_counts_begin_a_cluster)
{
	const uint32_t bits = 1u << _i;
	const uint64_t most = (UINT64_C(1) << bits) - 1;

	shape = (struct shape){ 3, 65536, bits, 0, 0 };
	create("b.qcow2", 64 * 65536);
	write_tiny(64);
	expect_tiny(64);
	finish("b.qcow2", 64 * 65536);
	ck_assert_uint_eq(host_clusters(scratch_path("b.qcow2"), 64),
	                  (64 + most - 1) / most);
}

END_TEST

START_TEST(one_call_takes_many_clusters)
{
	const size_t len = 20 * 65536 + 1536;
	static uint8_t bytes[20 * 65536 + 1536];

	shape = (struct shape){ 3, 65536, 16, 0, 0 };
	create("m.qcow2", len);
	compressed_fill(bytes, len, 1);
	API_OK(qcowfmt_pwrite_compressed(image, bytes, len, 0, &api_error));
	compressed_expect(image, 0, len, 1);
	for (uint64_t i = 0; i <= 20; i++)
		ck_assert_int_eq(compressed_kind(image, i * 65536),
		                 QCOWFMT_EXTENT_COMPRESSED);
	API_OK(qcowfmt_pwrite_compressed(image, bytes, 0, 0, &api_error));
	/* The last cluster alone, from its start. */
	compressed_write(image, 20 * 65536, 1536, 2);
	compressed_expect(image, 20 * 65536, 1536, 2);
	finish("m.qcow2", len);
}

END_TEST

/* Noise does not get smaller. */
START_TEST(noise_is_stored_as_it_is)
{
	static uint8_t noise[65536];
	static uint8_t have[65536];
	struct unit_random random = unit_random_init();

	shape = (struct shape){ 3, 65536, 16, (uint32_t)_i, 0 };
	if (!can_be_made())
		return;
	create("n.qcow2", 4 * 65536);
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)unit_random_u64(&random);
	compressed_write(image, 0, 65536, 1);
	compressed_write(image, 65536, 65536, 2);
	API_OK(qcowfmt_pwrite_compressed(image, noise, sizeof(noise), 65536,
	                                 &api_error));
	ck_assert_int_eq(compressed_kind(image, 65536), QCOWFMT_EXTENT_DATA);
	API_OK(qcowfmt_pread(image, have, sizeof(have), 65536, &api_error));
	ck_assert(memcmp(noise, have, sizeof(have)) == 0);
	/* And an ordinary cluster becomes a compressed one. */
	compressed_write(image, 65536, 65536, 3);
	ck_assert_int_eq(compressed_kind(image, 65536),
	                 QCOWFMT_EXTENT_COMPRESSED);
	compressed_expect(image, 0, 65536, 1);
	compressed_expect(image, 65536, 65536, 3);
	finish("n.qcow2", 4 * 65536);
}

END_TEST

START_TEST(every_kind_is_replaced)
{
	const uint64_t cs = 4096;

	shape = (struct shape){ 3, cs, 16, 0, 0 };
	create("k.qcow2", 64 * cs);
	api_write(image, cs, cs, 'd');
	API_OK(qcowfmt_write_zeroes(image, 2 * cs, cs, 0, &api_error));
	api_write(image, 3 * cs, cs, 'z');
	API_OK(qcowfmt_write_zeroes(image, 3 * cs, cs, 0, &api_error));
	compressed_write(image, 4 * cs, cs, 99);
	for (uint64_t i = 0; i < 5; i++)
		compressed_write(image, i * cs, cs, i);
	for (uint64_t i = 0; i < 5; i++) {
		ck_assert_int_eq(compressed_kind(image, i * cs),
		                 QCOWFMT_EXTENT_COMPRESSED);
		compressed_expect(image, i * cs, cs, i);
	}
	finish("k.qcow2", 64 * cs);
}

END_TEST

START_TEST(overlays_hide_and_copy)
{
	const uint64_t cs = 65536;

	shape = (struct shape){ 3, cs, 16, 0, 0 };
	create("below.qcow2", 8 * cs);
	compressed_write(image, 0, 8 * cs, 1);
	api_close(image);
	api_create_overlay(scratch_path("above.qcow2"), 8 * cs, "below.qcow2",
	                   "qcow2");
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
	};
	API_OK(qcowfmt_open_file(scratch_path("above.qcow2"), &options, &image,
	                         &api_error));
	compressed_write(image, cs, cs, 2);
	api_write(image, 3 * cs + 100, 50, 'o');
	compressed_expect(image, 0, cs, 1);
	compressed_expect(image, cs, cs, 2);
	api_expect(image, 3 * cs + 100, 50, 'o');
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("above.qcow2"));
}

END_TEST

/*
 * Freed clusters are used again, and what is packed later does not go where
 * something else is by now.  Whether host space is given back makes a
 * difference: that happens before a cluster is free.
 */
START_TEST(the_cursor_leaves_a_freed_cluster)
{
	const uint64_t cs = 65536;
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.discard_mode =
			_i == 0 ? QCOWFMT_DISCARD_UNMAP : QCOWFMT_DISCARD_KEEP,
	};

	shape = (struct shape){ 3, cs, 16, 0, 0 };
	create("c.qcow2", 64 * cs);
	api_close(image);
	API_OK(qcowfmt_open_file(scratch_path("c.qcow2"), &options, &image,
	                         &api_error));
	for (uint64_t round = 0; round < 8; round++) {
		compressed_write(image, 0, cs, round);
		compressed_write(image, cs, cs, round + 100);
		API_OK(qcowfmt_discard(image, 0, 2 * cs, &api_error));
		API_OK(qcowfmt_flush(image, &api_error));
		/* Takes the cluster that has just become free. */
		api_write(image, (8 + round) * cs, cs, (uint8_t)('0' + round));
		compressed_write(image, (32 + round) * cs, cs, round + 200);
	}
	for (uint64_t round = 0; round < 8; round++) {
		api_expect(image, (8 + round) * cs, cs, (uint8_t)('0' + round));
		compressed_expect(image, (32 + round) * cs, cs, round + 200);
	}
	finish("c.qcow2", 64 * cs);
}

END_TEST

/* Random operations against a flat copy. */
START_TEST(random_operations)
{
	static const struct shape kinds[] = {
		{ 3, 4096, 2, 0, 0 },          { 3, 4096, 4, 1, 0 },
		{ 3, 4096, 16, 0, 0 },         { 3, 16384, 2, 0, EXTENDED },
		{ 3, 16384, 16, 1, EXTENDED }, { 1, 4096, 0, 0, 0 },
	};
	const uint64_t cs = kinds[_i].cluster_size;
	const uint64_t count = 64;
	struct unit_random random = unit_random_init();
	static uint8_t flat[64 * 16384];
	static uint8_t have[64 * 16384];

	memset(flat, 0, sizeof(flat));
	shape = kinds[_i];
	if (!can_be_made())
		return;
	random.state += (uint64_t)_i;
	create("r.qcow2", count * cs);
	for (int i = 0; i < 1500; i++) {
		uint64_t at = unit_random_below(&random, count) * cs;
		uint64_t len = cs * (1 + unit_random_below(&random, 3));

		len = QCF_MIN(len, count * cs - at);
		switch (unit_random_below(&random, 8)) {
		case 0:
			len = unit_random_below(&random, len) + 1;
			memset(flat + at, i, len);
			API_OK(qcowfmt_pwrite(image, flat + at, len, at,
			                      &api_error));
			break;
		case 1:
			/* Version 1 ignores it. */
			if (shape.version > 1)
				memset(flat + at, 0, len);
			API_OK(qcowfmt_discard(image, at, len, &api_error));
			break;
		case 2:
			memset(flat + at, 0, len);
			API_OK(qcowfmt_write_zeroes(
				image, at, len, (uint32_t)i % 2, &api_error));
			break;
		case 3:
			if (i % 4 == 0)
				API_OK(qcowfmt_flush(image, &api_error));
			break;
		default:
			compressed_fill(flat + at, len, (uint64_t)i);
			API_OK(qcowfmt_pwrite_compressed(image, flat + at, len,
			                                 at, &api_error));
		}
	}
	API_OK(qcowfmt_pread(image, have, count * cs, 0, &api_error));
	ck_assert(memcmp(flat, have, count * cs) == 0);
	api_close(image);
	open_image("r.qcow2", API_RW);
	API_OK(qcowfmt_pread(image, have, count * cs, 0, &api_error));
	ck_assert(memcmp(flat, have, count * cs) == 0);
	finish("r.qcow2", count * cs);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, every_geometry, 0, SHAPES);
	tcase_add_test(tcase, clusters_are_packed_and_counted);
	tcase_add_loop_test(tcase, full_counts_begin_a_cluster, 0, 5);
	tcase_add_test(tcase, one_call_takes_many_clusters);
	tcase_add_loop_test(tcase, noise_is_stored_as_it_is, 0, 2);
	tcase_add_test(tcase, every_kind_is_replaced);
	tcase_add_test(tcase, overlays_hide_and_copy);
	tcase_add_loop_test(tcase, the_cursor_leaves_a_freed_cluster, 0, 2);
	tcase_add_loop_test(tcase, random_operations, 0, 6);
}

int main(int argc, char **argv)
{
	return api_main("compressed_writes", add_tests, argc, argv);
}
