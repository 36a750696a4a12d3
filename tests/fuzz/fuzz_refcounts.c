/* SPDX-License-Identifier: MIT */
/*
 * fuzz_refcounts.c - target: refcount table entries and counts of all widths
 *
 * Input: a byte for the width, then operations of 10 bytes on a block; what comes
 * out of each is compared with an array of numbers.
 */
#include "fuzz.h"
#include "refcount_entry.h"

#define SLOTS 64u

static uint8_t block[SLOTS * 8];
static uint64_t model[SLOTS];

static void compare(uint32_t order)
{
	uint64_t values[SLOTS];

	qcf_refcount_get_run(block, 0, SLOTS, order, values);
	for (uint64_t i = 0; i < SLOTS; i++)
		FUZZ_ASSERT(values[i] == model[i] &&
		                    qcf_refcount_get(block, i, order) ==
		                            model[i],
		            "slot %" PRIu64, i);
}

static uint64_t first_zero(uint64_t from, uint64_t count)
{
	while (from < count && model[from] != 0)
		from++;
	return from;
}

static void search(uint64_t from, uint64_t count, uint32_t order)
{
	uint64_t run = 0;

	from = from > count ? count : from;
	FUZZ_ASSERT(qcf_refcount_find_zero(block, from, count, order) ==
	                    first_zero(from, count),
	            "from %" PRIu64 " of %" PRIu64, from, count);
	while (from + run < count && model[from + run] == 0)
		run++;
	FUZZ_ASSERT(qcf_refcount_zero_run(block, from, count - from, order) ==
	                    run,
	            "from %" PRIu64 " of %" PRIu64, from, count);
}

static void set_run(uint64_t slot, uint64_t value, uint64_t mask,
                    uint32_t order)
{
	uint64_t values[SLOTS];
	size_t n = (size_t)((value >> 8) % (SLOTS - slot + 1));

	for (size_t i = 0; i < n; i++)
		values[i] = model[slot + i] = (value * (i + 1)) & mask;
	qcf_refcount_set_run(block, slot, n, order, values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_cursor in = { data, size, 0 };
	uint32_t order = (uint32_t)(fuzz_take(&in, 1) % 7);
	uint64_t mask = UINT64_MAX >> (64 - (1u << order));

	memset(block, 0, sizeof(block));
	memset(model, 0, sizeof(model));
	while (!fuzz_is_done(&in)) {
		uint64_t kind = fuzz_take(&in, 1);
		uint64_t slot = fuzz_take(&in, 1) % SLOTS;
		uint64_t value = fuzz_take(&in, 8);
		struct qcf_be64 raw = qcf_be64_encode(value);

		FUZZ_ASSERT(qcf_reftable_entry_decode(raw) % 512 == 0,
		            "%" PRIx64, value);
		if (kind % 3 == 0) {
			model[slot] = value & mask;
			qcf_refcount_set(block, slot, order, value & mask);
		} else if (kind % 3 == 1) {
			set_run(slot, value, mask, order);
		} else {
			search(slot, value % (SLOTS + 1), order);
		}
	}
	compare(order);
	search(0, SLOTS, order);
	return 0;
}
