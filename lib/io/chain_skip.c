/* SPDX-License-Identifier: MIT */
/* chain_skip.c - where in a long backing chain to go on looking */
#include <sys/mman.h>

#include "chain_skip.h"
#include "checked.h"

/* With one backing file there is nothing to be skipped. */
#define MIN_LAYERS 3u
/* Units looked at for one range; a longer one is worth a walk. */
#define MAX_UNITS 32u
/* The part of the cache that words may take. */
#define BUDGET_PART 8u

/* Units whose words are together */
#define GROUP_BITS 6u

#define DEPTH_BITS 16u
#define MAX_DEPTH  ((UINT32_C(1) << DEPTH_BITS) - 1)
#define MAX_UNIT   ((UINT64_C(1) << (64 - DEPTH_BITS)) - 2)

/* The smallest piece that a layer maps: a subcluster, or a cluster without them;
 * raw images have everything. */
static uint32_t smallest_piece(struct qcf_layer *const *layers, uint32_t count)
{
	uint32_t smallest = QCF_MAX_CLUSTER_BITS;

	for (uint32_t i = 1; i < count; i++) {
		const struct qcf_meta *meta = layers[i]->meta;

		if (meta != NULL)
			smallest = QCF_MIN(smallest,
			                   meta->geometry.subcluster_bits);
	}
	return smallest;
}

int qcf_chain_skip_init(struct qcf_chain_skip *skip,
                        struct qcf_layer *const *layers, uint32_t count,
                        struct qcf_budget *budget, struct qcowfmt_error **errp)
{
	uint64_t most = budget->limit / BUDGET_PART / sizeof(*skip->words);
	uint64_t units;
	uint64_t words = 1;
	void *table;

	*skip = (struct qcf_chain_skip){ .budget = budget };
	if (count < MIN_LAYERS)
		return 0;
	skip->unit_bits = smallest_piece(layers, count);
	units = (layers[0]->virtual_size >> skip->unit_bits) + 1;
	while (words < units && words * 2 <= most)
		words *= 2;
	/* Memory that takes neither space nor time before it is used. */
	table = mmap(NULL, words * sizeof(*skip->words), PROT_READ | PROT_WRITE,
	             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (table == MAP_FAILED)
		return qcf_fail_oom(errp);
	skip->words = table;
	skip->mask = words - 1;
	skip->word_bits = qcf_log2(words);
	atomic_fetch_add(&budget->used, words * sizeof(*skip->words));
	return 0;
}

void qcf_chain_skip_fini(struct qcf_chain_skip *skip)
{
	size_t size;

	if (skip->words == NULL)
		return;
	size = (skip->mask + 1) * sizeof(*skip->words);
	atomic_fetch_sub(&skip->budget->used, size);
	(void)munmap((void *)(uintptr_t)skip->words, size);
	skip->words = NULL;
}

/* The units that a range is in; false if it is not worth looking at them. */
static bool units_of(const struct qcf_chain_skip *skip, uint64_t guest_offset,
                     uint64_t len, uint64_t *first, uint64_t *last)
{
	if (!qcf_chain_skip_is_used(skip) || len == 0)
		return false;
	*first = guest_offset >> skip->unit_bits;
	*last = (guest_offset + len - 1) >> skip->unit_bits;
	return *last - *first < MAX_UNITS && *last <= MAX_UNIT;
}

/*
 * Where the word of a unit is.  Units that are near each other have words that are;
 * those of a disk that is too large for the table are spread, as places that are a
 * power of two apart are often used together.
 */
static _Atomic uint64_t *word_of(const struct qcf_chain_skip *skip,
                                 uint64_t unit)
{
	uint64_t high =
		(unit >> skip->word_bits) * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t index = unit ^ (high >> 32 << GROUP_BITS);

	return &skip->words[index & skip->mask];
}

uint32_t qcf_chain_skip_first(const struct qcf_chain_skip *skip,
                              uint64_t guest_offset, uint64_t len)
{
	uint32_t depth = MAX_DEPTH;
	uint64_t first;
	uint64_t last;

	if (!units_of(skip, guest_offset, len, &first, &last))
		return 1;
	for (uint64_t unit = first; unit <= last; unit++) {
		uint64_t word = atomic_load_explicit(word_of(skip, unit),
		                                     memory_order_relaxed);

		if (word >> DEPTH_BITS != unit + 1)
			return 1;
		depth = QCF_MIN(depth, (uint32_t)(word & MAX_DEPTH));
	}
	return depth;
}

/* Where the first of layers 1 to depth - 1 ends: what is behind that reads as
 * zeros, whatever is below. */
static uint64_t shortest_above(struct qcf_layer *const *layers, uint32_t depth)
{
	uint64_t end = UINT64_MAX;

	for (uint32_t i = 1; i < depth; i++)
		end = QCF_MIN(end, atomic_load(&layers[i]->virtual_size));
	return end;
}

void qcf_chain_skip_note(struct qcf_chain_skip *skip,
                         struct qcf_layer *const *layers, uint64_t guest_offset,
                         uint64_t len, uint32_t depth)
{
	uint64_t first;
	uint64_t last;
	uint64_t end;

	if (depth < 2 || depth > MAX_DEPTH ||
	    !units_of(skip, guest_offset, len, &first, &last))
		return;
	end = shortest_above(layers, depth);
	for (uint64_t unit = first;
	     unit <= last && (unit + 1) << skip->unit_bits <= end; unit++)
		atomic_store_explicit(word_of(skip, unit),
		                      (unit + 1) << DEPTH_BITS | depth,
		                      memory_order_relaxed);
}
