/* SPDX-License-Identifier: MIT */
/*
 * Promise: what a short file can claim without end costs little.  L2 tables in a
 * hole are read up to 256 MiB, and what storage says about holes is not asked
 * before, nor of an image that is written to; L2 tables that are named again and
 * again are refused beyond 2^20 entries, by what goes through a whole disk; and of
 * findings 2^18 are told, and all counted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api_test.h"

#define MIB         (UINT64_C(1) << 20)
#define COPIED      (UINT64_C(1) << 63)
#define ASK_FROM    (256 * MIB)
#define REPEATED    (UINT64_C(1) << 20)
#define TOLD        (UINT64_C(1) << 18)
#define L2_TABLES   200u
#define TABLE       (2 * MIB)
#define CLUSTER     512u
#define DISK_512(n) ((n)*CLUSTER * (CLUSTER / 8))

/* A file with bytes at its beginning and its end, and a hole in between. */
static struct sparse {
	uint8_t *bytes; /* [0, head) and [tail_at, size) of the file */
	uint64_t head;
	uint64_t tail_at;
	uint64_t size;
	uint64_t read; /* bytes */
	uint64_t asked;
} file;

static uint8_t *place_of(uint64_t at)
{
	return file.bytes +
	       (at < file.head ? at : file.head + at - file.tail_at);
}

static int64_t sparse_pread(void *opaque, void *buffer, size_t len,
                            uint64_t offset)
{
	struct sparse *f = opaque;
	uint64_t left = offset < f->size ? f->size - offset : 0;
	uint8_t *out = buffer;

	len = len > left ? (size_t)left : len;
	f->read += len;
	memset(buffer, 0, len);
	for (size_t i = 0; i < len && offset + i < f->head; i++)
		out[i] = *place_of(offset + i);
	for (uint64_t at = QCF_MAX(offset, f->tail_at); at < offset + len; at++)
		out[at - offset] = *place_of(at);
	return (int64_t)len;
}

static int sparse_pwrite(void *opaque, const void *buffer, size_t len,
                         uint64_t offset)
{
	(void)opaque;
	(void)buffer;
	(void)len;
	(void)offset;
	return -ENOSPC;
}

static int sparse_truncate(void *opaque, uint64_t size)
{
	(void)opaque;
	(void)size;
	return -ENOSPC;
}

static int sparse_flush(void *opaque)
{
	(void)opaque;
	return 0;
}

static int sparse_get_size(void *opaque, uint64_t *size)
{
	const struct sparse *f = opaque;

	*size = f->size;
	return 0;
}

static int sparse_extent(void *opaque, uint64_t offset, uint64_t len,
                         uint64_t *run)
{
	struct sparse *f = opaque;
	bool hole = offset >= f->head && offset < f->tail_at;
	uint64_t end = hole ? f->tail_at : offset < f->head ? f->head : f->size;

	f->asked++;
	*run = QCF_MIN(len, end - offset);
	return hole ? QCOWFMT_STORAGE_HOLE : QCOWFMT_STORAGE_DATA;
}

static struct qcowfmt_image *open_sparse(uint32_t flags)
{
	const struct qcowfmt_storage_ops ops = {
		.struct_size = sizeof(ops),
		.pread = sparse_pread,
		.pwrite = sparse_pwrite,
		.flush = sparse_flush,
		.get_size = sparse_get_size,
		.truncate = sparse_truncate,
		.extent = sparse_extent,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
	};
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_storage_new_custom(&ops, &file, "sparse", &storage,
	                                  &api_error));
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
	file.read = file.asked = 0;
	return image;
}

static void put(uint64_t at, size_t width, uint64_t value)
{
	for (size_t i = width; i > 0; i--, value >>= 8)
		*place_of(at + i - 1) = (uint8_t)value;
}

/* Header; refcount table in cluster 1 with one block, in cluster 2. */
static void make(uint32_t cluster_bits, uint64_t l1_at, uint64_t l1_size,
                 uint64_t head, uint64_t tail_at, uint64_t tail)
{
	uint64_t cluster = UINT64_C(1) << cluster_bits;

	file = (struct sparse){
		.bytes = calloc(1, head + tail),
		.head = head,
		.tail_at = tail_at,
		.size = tail_at + tail,
	};
	ck_assert_ptr_nonnull(file.bytes);
	put(0, 4, 0x514649fb);
	put(4, 4, 3);
	put(20, 4, cluster_bits);
	put(API_AT_VIRTUAL_SIZE, 8, l1_size * cluster * cluster / 8);
	put(API_AT_L1_SIZE, 4, l1_size);
	put(API_AT_L1, 8, l1_at);
	put(API_AT_REFTABLE, 8, cluster);
	put(API_AT_REFTABLE + 8, 4, 1);
	put(96, 4, 4);
	put(API_AT_HEADER_LENGTH, 4, 104);
	put(cluster, 8, 2 * cluster);
}

/* ------------------------------------------------------------------- holes */

/* Tables of 2 MiB, all but the last in a hole; that one maps its first cluster. */
static void make_tables(uint64_t count)
{
	uint64_t l1_at = 3 * TABLE;
	uint64_t first = 4 * TABLE;
	uint64_t last = first + (count - 1) * TABLE;

	make(21, l1_at, count, first, last, 2 * TABLE);
	for (uint64_t i = 0; i < count; i++)
		put(l1_at + 8 * i, 8, (first + i * TABLE) | COPIED);
	put(last, 8, (last + TABLE) | COPIED);
	memset(place_of(last + TABLE), 'd', TABLE);
}

static uint64_t per_table(void)
{
	return TABLE / 8 * TABLE;
}

static void expect_last_table(struct qcowfmt_image *image, uint64_t count)
{
	struct qcowfmt_extent extents[3];
	uint64_t at = (count - 1) * per_table();

	ck_assert_int_eq(qcowfmt_map(image, 0, count * per_table(), 0, extents,
	                             3, &api_error),
	                 3);
	ck_assert_int_eq(extents[0].kind, QCOWFMT_EXTENT_UNALLOCATED);
	ck_assert_uint_eq(extents[0].length, at);
	ck_assert_int_eq(extents[1].kind, QCOWFMT_EXTENT_DATA);
	ck_assert_uint_eq(extents[1].length, TABLE);
	ck_assert_int_eq(extents[2].kind, QCOWFMT_EXTENT_UNALLOCATED);
	api_expect(image, at, 4096, 'd');
	api_expect(image, at - 4096, 4096, 0);
	api_expect(image, per_table() / 2, 4096, 0);
}

START_TEST(few_tables_are_read)
{
	uint64_t count = ASK_FROM / TABLE - 2;
	struct qcowfmt_image *image;

	make_tables(count);
	image = open_sparse(0);
	expect_last_table(image, count);
	ck_assert_uint_eq(file.asked, 0);
	ck_assert_uint_ge(file.read, (count - 1) * TABLE);
	api_close(image);
	free(file.bytes);
}

END_TEST

START_TEST(many_tables_are_not)
{
	struct qcowfmt_image *image;

	make_tables(L2_TABLES);
	image = open_sparse(0);
	expect_last_table(image, L2_TABLES);
	ck_assert_uint_ge(file.asked, 1);
	ck_assert_uint_ge(file.read, ASK_FROM);
	ck_assert_uint_lt(file.read, ASK_FROM + 4 * TABLE);
	api_close(image);
	free(file.bytes);
}

END_TEST

START_TEST(of_a_writable_image_all_are_read)
{
	struct qcowfmt_image *image;

	make_tables(L2_TABLES);
	image = open_sparse(API_RW);
	expect_last_table(image, L2_TABLES);
	ck_assert_uint_eq(file.asked, 0);
	ck_assert_uint_ge(file.read, (L2_TABLES - 1) * TABLE);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	free(file.bytes);
}

END_TEST

START_TEST(a_check_reads_as_little)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_image *image;

	make_tables(L2_TABLES);
	image = open_sparse(0);
	API_OK(qcowfmt_check(image, 0, NULL, NULL, &result, &api_error));
	ck_assert_uint_ge(file.asked, 1);
	ck_assert_uint_lt(file.read, 2 * ASK_FROM + 16 * TABLE);
	ck_assert_uint_eq(result.allocated_clusters, 1);
	ck_assert_uint_gt(result.corruptions, L2_TABLES);
	api_close(image);
	free(file.bytes);
}

END_TEST

/* ------------------------------------------------------------------ repeats */

/* So many tables that count entries name in turn; the first cluster of each is the
 * same. */
static void make_repeats(uint64_t tables, uint64_t count)
{
	uint64_t l1_at = 3 * CLUSTER;
	uint64_t end = (l1_at + count * 8 + CLUSTER - 1) / CLUSTER * CLUSTER;

	uint64_t data = end + tables * CLUSTER;

	make(9, l1_at, count, data + CLUSTER, data + CLUSTER, 0);
	for (uint64_t i = 0; i < count; i++)
		put(l1_at + 8 * i, 8, end + i % tables * CLUSTER);
	for (uint64_t i = 0; i < tables; i++)
		put(end + i * CLUSTER, 8, data);
	memset(place_of(data), 'r', CLUSTER);
}

static int64_t go_through(struct qcowfmt_image *image, int how)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
	};
	struct qcowfmt_measure_result measured = {
		.struct_size = sizeof(measured),
	};
	struct qcowfmt_extent extents[2];

	switch (how) {
	case 0:
		return qcowfmt_map(image, 0, MIB, 0, extents, 2, &api_error);
	case 1:
		return qcowfmt_measure(image, &options, &measured, &api_error);
	default:
		return qcowfmt_map(image, 0, 1, QCOWFMT_MAP_TOP, extents, 1,
		                   &api_error);
	}
}

START_TEST(repeats)
{
	uint64_t tables = 1 + (uint64_t)_i / 3;
	uint64_t count = REPEATED / (CLUSTER / 8) + tables;
	struct qcowfmt_image *image;

	make_repeats(tables, count);
	image = open_sparse(0);
	API_OK(go_through(image, _i % 3));
	api_close(image);
	free(file.bytes);

	make_repeats(tables, count + 1);
	image = open_sparse(0);
	API_FAILS_KEEP(go_through(image, _i % 3), E2BIG, QCOWFMT_ERR_LIMIT);
	API_ERROR_NAMES("1048576");
	api_error_reset();
	/* What is asked for one place at a time goes on. */
	api_expect(image, DISK_512(count), CLUSTER, 'r');
	api_close(image);
	free(file.bytes);
}

END_TEST

/* ----------------------------------------------------------------- findings */

static uint64_t told;
static bool told_of_more;

static void note(void *opaque, uint32_t id, uint64_t host_offset,
                 const char *message)
{
	(void)opaque;
	(void)id;
	(void)host_offset;
	ck_assert(!told_of_more);
	told++;
	told_of_more = strstr(message, "more findings") != NULL;
}

/* Each count of so many clusters is 1, and three of them are in use. */
static void make_leaks(uint64_t leaks)
{
	uint64_t per_block = CLUSTER / 2;
	uint64_t blocks = (leaks + 10) / per_block + 1;
	uint64_t clusters = blocks * 8 / CLUSTER + 1;
	uint64_t table = 5 * CLUSTER;
	uint64_t used = 5 + clusters;

	make(9, 3 * CLUSTER, 1, used * CLUSTER, (used + leaks) * CLUSTER, 0);
	put(API_AT_REFTABLE, 8, table);
	put(API_AT_REFTABLE + 8, 4, clusters);
	for (uint64_t i = 0; i < blocks; i++)
		put(table + 8 * i, 8, 2 * CLUSTER);
	for (uint64_t i = 0; i < per_block; i++)
		put(2 * CLUSTER + 2 * i, 2, 1);
}

/* Tells how many findings there are beside these leaks: counts of what is used. */
static uint64_t expect_told(uint64_t leaks)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_image *image;
	uint64_t all;

	make_leaks(leaks);
	told = 0;
	told_of_more = false;
	image = open_sparse(0);
	API_OK(qcowfmt_check(image, 0, note, NULL, &result, &api_error));
	api_close(image);
	free(file.bytes);
	ck_assert_uint_eq(result.leaks, leaks + 2);
	all = result.leaks + result.corruptions;
	ck_assert_uint_eq(told, all > TOLD ? TOLD + 1 : all);
	ck_assert_int_eq(told_of_more, all > TOLD);
	return all - leaks;
}

START_TEST(findings)
{
	uint64_t others = expect_told(TOLD - 2000);

	(void)expect_told(1000);
	for (uint64_t i = 0; i < 3; i++)
		(void)expect_told(TOLD - others + 1 - i);
	(void)expect_told(3 * TOLD);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, few_tables_are_read);
	tcase_add_test(tcase, many_tables_are_not);
	tcase_add_test(tcase, of_a_writable_image_all_are_read);
	tcase_add_test(tcase, a_check_reads_as_little);
	tcase_add_loop_test(tcase, repeats, 0, 6);
	tcase_add_test(tcase, findings);
}

int main(int argc, char **argv)
{
	return api_main("claims_without_end_are_cut", add_tests, argc, argv);
}
