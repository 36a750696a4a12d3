/* SPDX-License-Identifier: MIT */
/*
 * Promise: bytes for compressed data are handed out once, each behind the one
 * before where that is possible, and every host cluster counts the reservations
 * that touch it.
 */
#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "image.h"
#include "refcount.h"
#include "unit.h"

#define CS    ((uint64_t)4096)
#define HOSTS 4096 /* host clusters looked at */

static struct qcowfmt_image *image;
static struct qcf_meta *meta;

static void open_in(struct qcowfmt_storage *storage, uint64_t cluster_size,
                    uint32_t refcount_bits)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = UINT64_C(64) << 20,
		.cluster_size = cluster_size,
		.refcount_bits = refcount_bits,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};

	ck_assert_int_eq(qcowfmt_create(storage, &create, NULL), 0);
	ck_assert_int_eq(qcowfmt_open(storage, &options, &image, NULL), 0);
	meta = qcf_image_top(image)->meta;
}

static void open_memory(uint32_t refcount_bits)
{
	struct qcowfmt_storage *storage = NULL;

	ck_assert_int_eq(qcowfmt_storage_new_memory(0, &storage, NULL), 0);
	open_in(storage, CS, refcount_bits);
}

/* What was reserved is not mapped: there is nothing to write. */
static void drop_image(void)
{
	struct qcowfmt_storage *storage = qcf_image_top(image)->storage;

	qcf_image_abandon(image);
	qcowfmt_storage_free(storage);
}

static uint64_t reserve(uint64_t len)
{
	uint64_t host_offset = 0;

	ck_assert_int_eq(qcf_alloc_reserve_bytes(meta, len, &host_offset, NULL),
	                 0);
	return host_offset;
}

static uint64_t reserve_cluster(void)
{
	struct qcf_reservation reservation;

	ck_assert_int_eq(qcf_alloc_reserve(meta, 1, &reservation, NULL), 0);
	ck_assert_uint_eq(reservation.count, 1);
	return reservation.host_cluster;
}

static uint64_t count_of(uint64_t host_cluster)
{
	QCF_GUARD(&meta->refcounts.lock);
	uint64_t count = 0;

	ck_assert_int_eq(qcf_refcount_read(meta, host_cluster, &count, NULL),
	                 0);
	return count;
}

START_TEST(test_one_behind_the_other)
{
	uint64_t first;

	open_memory(16);
	first = reserve(1000);
	ck_assert_uint_eq(first % CS, 0);
	for (uint64_t i = 1; i < 4; i++)
		ck_assert_uint_eq(reserve(1000), first + i * 1000);
	ck_assert_uint_eq(count_of(first / CS), 4);
	/* 96 bytes are left: on into the next cluster. */
	ck_assert_uint_eq(reserve(1000), first + 4000);
	ck_assert_uint_eq(count_of(first / CS), 5);
	ck_assert_uint_eq(count_of(first / CS + 1), 1);
	ck_assert_uint_eq(reserve(10), first + 5000);
	ck_assert_uint_eq(count_of(first / CS + 1), 2);
	drop_image();
}

END_TEST

START_TEST(test_gap_where_the_next_cluster_is_taken)
{
	uint64_t first;
	uint64_t taken;

	open_memory(16);
	first = reserve(4000);
	taken = reserve_cluster();
	ck_assert_uint_eq(taken, first / CS + 1);
	ck_assert_uint_eq(reserve(96 + 1), (taken + 1) * CS);
	ck_assert_uint_eq(count_of(first / CS), 1);
	ck_assert_uint_eq(count_of(taken), 1);
	ck_assert_uint_eq(count_of(taken + 1), 1);
	drop_image();
}

END_TEST

START_TEST(test_full_cluster_ends)
{
	uint64_t first;

	open_memory(16);
	first = reserve(4000);
	ck_assert_uint_eq(reserve(96), first + 4000);
	ck_assert_uint_eq(count_of(first / CS), 2);
	ck_assert_uint_eq(reserve(4095), first + CS);
	ck_assert_uint_eq(count_of(first / CS), 2);
	ck_assert_uint_eq(count_of(first / CS + 1), 1);
	drop_image();
}

END_TEST

/* With counts of 2 bits a cluster takes three. */
START_TEST(test_full_count_ends)
{
	uint64_t first;

	open_memory(2);
	first = reserve(10);
	ck_assert_uint_eq(reserve(10), first + 10);
	ck_assert_uint_eq(reserve(10), first + 20);
	ck_assert_uint_eq(reserve(10), first + CS);
	ck_assert_uint_eq(count_of(first / CS), 3);
	drop_image();
}

END_TEST

START_TEST(test_given_back)
{
	uint64_t first;

	open_memory(16);
	first = reserve(3000);
	ck_assert_uint_eq(reserve(3000), first + 3000);
	qcf_alloc_abandon_bytes(meta, first + 3000, 3000);
	ck_assert_uint_eq(count_of(first / CS), 1);
	ck_assert_uint_eq(count_of(first / CS + 1), 0);
	/* Not behind the first: what failed there may fail again. */
	ck_assert_uint_eq(reserve(100), first + CS);
	qcf_alloc_abandon_bytes(meta, first, 3000);
	ck_assert_uint_eq(count_of(first / CS), 0);
	ck_assert_uint_eq(reserve_cluster(), first / CS);
	drop_image();
}

END_TEST

START_TEST(test_lengths)
{
	uint64_t host_offset = 0;

	open_memory(16);
	ck_assert_int_eq(qcf_alloc_reserve_bytes(meta, 0, &host_offset, NULL),
	                 -EINVAL);
	ck_assert_int_eq(qcf_alloc_reserve_bytes(meta, CS, &host_offset, NULL),
	                 -EINVAL);
	drop_image();
}

END_TEST

/* ----------------------------------------------------------------- at random */

struct held {
	uint64_t host_offset;
	uint64_t len;
};

struct model {
	uint8_t used[HOSTS * CS];
	uint64_t counts[HOSTS];
	struct held held[500];
	size_t held_count;
};

static void model_change(struct model *m, struct held h, bool take)
{
	uint64_t last = (h.host_offset + h.len - 1) / CS;

	ck_assert_uint_lt(last, HOSTS);
	for (uint64_t i = 0; i < h.len; i++) {
		if (m->used[h.host_offset + i] == take)
			ck_abort_msg("byte %" PRIu64 " is handed out twice",
			             h.host_offset + i);
		m->used[h.host_offset + i] = take;
	}
	for (uint64_t c = h.host_offset / CS; c <= last; c++)
		m->counts[c] += take ? 1 : UINT64_MAX;
}

static void model_step(struct model *m, struct unit_random *random)
{
	struct held h = { .len = 1 + unit_random_below(random, CS - 1) };
	size_t i;

	if (m->held_count == QCF_ARRAY_LEN(m->held) ||
	    (m->held_count > 0 && unit_random_below(random, 5) < 2)) {
		i = unit_random_below(random, m->held_count);
		h = m->held[i];
		m->held[i] = m->held[--m->held_count];
		model_change(m, h, false);
		if (h.len == CS)
			ck_assert_int_eq(qcf_alloc_free(meta,
			                                h.host_offset / CS, 1,
			                                NULL),
			                 0);
		else
			qcf_alloc_abandon_bytes(meta, h.host_offset, h.len);
		return;
	}
	if (unit_random_below(random, 4) == 0)
		h = (struct held){ reserve_cluster() * CS, CS };
	else
		h.host_offset = reserve(h.len);
	model_change(m, h, true);
	m->held[m->held_count++] = h;
}

START_TEST(test_no_byte_twice)
{
	struct unit_random random = unit_random_init();
	struct model *m = calloc(1, sizeof(*m));

	ck_assert_ptr_nonnull(m);
	open_memory(_i == 0 ? 16 : 2);
	for (int i = 0; i < 4000; i++)
		model_step(m, &random);
	for (uint64_t c = 0; c < HOSTS; c++)
		if (m->counts[c] > 0)
			ck_assert_uint_eq(count_of(c), m->counts[c]);
	free(m);
	drop_image();
}

END_TEST

/* ------------------------------------------------------------- far host offsets */

#define NEAR_SIZE ((uint64_t)64 << 20)

static uint8_t near[NEAR_SIZE];

/* What is written far away is forgotten and reads as zeros. */
static int64_t far_pread(void *opaque, void *buffer, size_t len,
                         uint64_t offset)
{
	(void)opaque;
	memset(buffer, 0, len);
	if (offset < NEAR_SIZE)
		memcpy(buffer, near + offset, QCF_MIN(len, NEAR_SIZE - offset));
	return (int64_t)len;
}

static int far_pwrite(void *opaque, const void *buffer, size_t len,
                      uint64_t offset)
{
	(void)opaque;
	if (offset < NEAR_SIZE)
		memcpy(near + offset, buffer, QCF_MIN(len, NEAR_SIZE - offset));
	return 0;
}

static int far_flush(void *opaque)
{
	(void)opaque;
	return 0;
}

static int far_get_size(void *opaque, uint64_t *size)
{
	(void)opaque;
	*size = UINT64_C(1) << 60;
	return 0;
}

static int far_truncate(void *opaque, uint64_t size)
{
	(void)opaque;
	(void)size;
	return 0;
}

static int far_zero(void *opaque, uint64_t offset, uint64_t len)
{
	(void)opaque;
	if (offset < NEAR_SIZE)
		memset(near + offset, 0, QCF_MIN(len, NEAR_SIZE - offset));
	return 0;
}

static const struct qcowfmt_storage_ops far_ops = {
	.struct_size = sizeof(far_ops),
	.pread = far_pread,
	.pwrite = far_pwrite,
	.flush = far_flush,
	.get_size = far_get_size,
	.truncate = far_truncate,
	.zero = far_zero,
};

/* With 2 MiB clusters an entry has 49 bits for the offset. */
START_TEST(test_entries_end_at_2_to_the_49)
{
	const uint64_t cluster_size = 2u << 20;
	const uint64_t limit = (UINT64_C(1) << 49) / cluster_size;
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_error *error = NULL;
	uint64_t host_offset = 0;

	ck_assert_int_eq(qcowfmt_storage_new_custom(&far_ops, NULL, "far",
	                                            &storage, NULL),
	                 0);
	open_in(storage, cluster_size, 16);
	/* One for the refcount block, one for data. */
	meta->refcounts.first_free = limit - 2;
	ck_assert_uint_eq(reserve(cluster_size - 10),
	                  (limit - 1) * cluster_size);
	ck_assert_int_eq(
		qcf_alloc_reserve_bytes(meta, 11, &host_offset, &error),
		-EFBIG);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_NO_SPACE);
	qcowfmt_error_free(error);
	ck_assert_uint_eq(reserve(10), limit * cluster_size - 10);
	/* Clusters that are not compressed may lie beyond. */
	ck_assert_uint_ge(reserve_cluster(), limit);
	drop_image();
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, test_one_behind_the_other);
	tcase_add_test(tcase, test_gap_where_the_next_cluster_is_taken);
	tcase_add_test(tcase, test_full_cluster_ends);
	tcase_add_test(tcase, test_full_count_ends);
	tcase_add_test(tcase, test_given_back);
	tcase_add_test(tcase, test_lengths);
	tcase_add_loop_test(tcase, test_no_byte_twice, 0, 2);
	tcase_add_test(tcase, test_entries_end_at_2_to_the_49);
}

int main(void)
{
	return unit_run("bytes are packed", add);
}
