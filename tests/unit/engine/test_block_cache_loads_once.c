/* SPDX-License-Identifier: MIT */
/*
 * Promise: a slice is read once however many threads want it; lock-free readers
 * never see words of another slice; dirty slices stay until written; a failed
 * load leaves nothing behind.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "block_cache.h"
#include "unit.h"

#define SLICE   UINT64_C(512)
#define SLICES  256
#define READERS 4
#define READS   20000

static struct qcf_cache cache;
static struct qcf_budget budget;
static atomic_int loads;
static atomic_bool failing;
static atomic_int wrong;

/* Every word of a slice is the slice's own host offset. */
static int load(void *owner, uint64_t host_offset, void *buffer, size_t len,
                struct qcowfmt_error **errp)
{
	uint64_t *words = buffer;

	(void)owner;
	(void)errp;
	atomic_fetch_add(&loads, 1);
	for (size_t i = 0; i < len / 8; i++)
		words[i] = host_offset;
	return atomic_load(&failing) ? -EIO : 0;
}

static void set_up(void)
{
	budget = (struct qcf_budget){ .limit = 32 * SLICE };
	atomic_store(&loads, 0);
	atomic_store(&failing, false);
	ck_assert_int_eq(qcf_cache_init(&cache, SLICE, SLICES, &budget, load,
	                                NULL, NULL),
	                 0);
}

static void tear_down(void)
{
	qcf_cache_fini(&cache);
	ck_assert_uint_eq(atomic_load(&budget.used), 0);
}

static struct qcf_block *pin(uint64_t offset)
{
	struct qcf_block *block = NULL;

	ck_assert_int_eq(qcf_cache_pin(&cache, offset, &block, NULL), 0);
	return block;
}

START_TEST(test_second_pin_does_not_load)
{
	uint64_t seq;

	ck_assert_ptr_null(qcf_cache_find(&cache, SLICE, &seq));
	qcf_cache_unpin(&cache, pin(SLICE));
	qcf_cache_unpin(&cache, pin(SLICE));
	ck_assert_int_eq(atomic_load(&loads), 1);
	ck_assert_ptr_nonnull(qcf_cache_find(&cache, SLICE, &seq));
}

END_TEST

START_TEST(test_failed_load_is_forgotten)
{
	struct qcf_block *block;

	atomic_store(&failing, true);
	ck_assert_int_eq(qcf_cache_pin(&cache, SLICE, &block, NULL), -EIO);
	atomic_store(&failing, false);
	qcf_cache_unpin(&cache, pin(SLICE));
	ck_assert_int_eq(atomic_load(&loads), 2);
}

END_TEST

START_TEST(test_dirty_slices_outlive_pressure)
{
	struct qcf_write_set set;
	struct qcf_block *block = pin(SLICE);

	qcf_block_set_word(block, 3, qcf_be64_encode(77));
	qcf_cache_mark_dirty(&cache, block);
	qcf_cache_unpin(&cache, block);
	for (uint64_t i = 2; i < SLICES; i++)
		qcf_cache_unpin(&cache, pin(i * SLICE));
	ck_assert_uint_le(atomic_load(&budget.used), budget.limit + SLICE);
	ck_assert_uint_eq(qcf_cache_dirty_count(&cache), 1);
	ck_assert_int_eq(qcf_cache_collect(&cache, &set, NULL), 0);
	ck_assert_uint_eq(set.count, 1);
	ck_assert_uint_eq(set.pieces[0].host_offset, SLICE);
	qcf_cache_settle(&cache, &set, false);
	ck_assert_uint_eq(qcf_cache_dirty_count(&cache), 1);
	qcf_write_set_fini(&set);
	ck_assert_int_eq(qcf_cache_collect(&cache, &set, NULL), 0);
	qcf_cache_settle(&cache, &set, true);
	qcf_write_set_fini(&set);
	ck_assert_uint_eq(qcf_cache_dirty_count(&cache), 0);
}

END_TEST

START_TEST(test_drop_forgets)
{
	uint64_t seq;

	qcf_cache_unpin(&cache, pin(2 * SLICE));
	qcf_cache_unpin(&cache, pin(3 * SLICE));
	qcf_cache_drop(&cache, 2 * SLICE, SLICE);
	ck_assert_ptr_null(qcf_cache_find(&cache, 2 * SLICE, &seq));
	ck_assert_ptr_nonnull(qcf_cache_find(&cache, 3 * SLICE, &seq));
}

END_TEST

static void look(uint64_t offset)
{
	uint64_t seq;
	struct qcf_block *block = qcf_cache_find(&cache, offset, &seq);
	uint64_t first;
	uint64_t last;

	if (block == NULL) {
		qcf_cache_unpin(&cache, pin(offset));
		return;
	}
	first = qcf_block_word(block, 0).raw;
	last = qcf_block_word(block, SLICE / 8 - 1).raw;
	if (qcf_block_unchanged(block, seq) &&
	    (first != offset || last != offset))
		atomic_fetch_add(&wrong, 1);
}

static void *reader(void *seed)
{
	struct unit_random random = { *(uint64_t *)seed };

	for (int i = 0; i < READS; i++)
		look((1 + unit_random_below(&random, SLICES - 1)) * SLICE);
	return NULL;
}

START_TEST(test_readers_never_see_another_slice)
{
	pthread_t threads[READERS];
	uint64_t seeds[READERS];

	for (int i = 0; i < READERS; i++) {
		seeds[i] = (uint64_t)i;
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, reader, &seeds[i]),
			0);
	}
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(atomic_load(&wrong), 0);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_second_pin_does_not_load);
	tcase_add_test(tcase, test_failed_load_is_forgotten);
	tcase_add_test(tcase, test_dirty_slices_outlive_pressure);
	tcase_add_test(tcase, test_drop_forgets);
	tcase_add_test(tcase, test_readers_never_see_another_slice);
}

int main(void)
{
	return unit_run("the block cache loads once", add);
}
