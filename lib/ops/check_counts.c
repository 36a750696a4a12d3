/* SPDX-License-Identifier: MIT */
/*
 * check_counts.c - how often each host cluster is referenced
 *
 * References come mostly in order, so the group asked for last is tried first;
 * then a hash with open addressing leads to the group.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check_counts.h"

#define SLAB_BITS  10u /* groups in a slab: 72 KiB */
#define SLAB       (1u << SLAB_BITS)
#define MAX_GROUPS (UINT32_MAX / 2)

static void table_fini(struct qcf_count_table *t)
{
	for (size_t i = 0; i < t->slab_room; i++)
		free(t->slabs[i]);
	free(t->slabs);
	free(t->slots);
}

void qcf_counts_fini(struct qcf_counts *counts)
{
	table_fini(&counts->low);
	table_fini(&counts->high);
	*counts = (struct qcf_counts){ 0 };
}

static struct qcf_count_group *group_at(const struct qcf_count_table *t,
                                        uint32_t index)
{
	return &t->slabs[index >> SLAB_BITS][index & (SLAB - 1)];
}

/* The slot of a number, or the empty one where it belongs. */
static uint64_t slot_of(const struct qcf_count_table *t, uint64_t number)
{
	/* Multiplying by 2^64 / golden ratio spreads neighbours. */
	uint64_t hash = number * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t slot = hash >> 32 & (t->slot_count - 1);

	while (t->slots[slot] != 0 &&
	       group_at(t, t->slots[slot] - 1)->number != number)
		slot = (slot + 1) & (t->slot_count - 1);
	return slot;
}

static struct qcf_count_group *find(struct qcf_count_table *t, uint64_t number)
{
	uint32_t index;

	if (t->last != NULL && t->last->number == number)
		return t->last;
	if (t->slot_count == 0)
		return NULL;
	index = t->slots[slot_of(t, number)];
	if (index != 0)
		t->last = group_at(t, index - 1);
	return index == 0 ? NULL : t->last;
}

/* Keep the slots at most half full. */
static bool grow_slots(struct qcf_count_table *t)
{
	uint64_t count = t->slot_count == 0 ? SLAB * 2 : t->slot_count * 2;
	uint32_t *slots;

	if (t->group_count < t->slot_count / 2)
		return true;
	slots = calloc(count, sizeof(*slots));
	if (slots == NULL)
		return false;
	free(t->slots);
	t->slots = slots;
	t->slot_count = count;
	for (uint32_t i = 0; i < t->group_count; i++)
		slots[slot_of(t, group_at(t, i)->number)] = i + 1;
	return true;
}

static bool grow_slabs(struct qcf_count_table *t)
{
	size_t slab = t->group_count >> SLAB_BITS;
	size_t room = t->slab_room == 0 ? 64 : t->slab_room * 2;
	struct qcf_count_group **slabs = t->slabs;

	if (slab >= t->slab_room) {
		slabs = realloc(t->slabs,
		                room * sizeof(struct qcf_count_group *));
		if (slabs == NULL)
			return false;
		memset(slabs + t->slab_room, 0,
		       (room - t->slab_room) *
		               sizeof(struct qcf_count_group *));
		t->slabs = slabs;
		t->slab_room = room;
	}
	if (slabs[slab] == NULL)
		slabs[slab] = calloc(SLAB, sizeof(**slabs));
	return slabs[slab] != NULL;
}

static struct qcf_count_group *find_or_add(struct qcf_count_table *t,
                                           uint64_t number)
{
	struct qcf_count_group *group = find(t, number);

	if (group != NULL)
		return group;
	if (t->group_count == MAX_GROUPS || !grow_slots(t) || !grow_slabs(t))
		return NULL;
	group = group_at(t, t->group_count++);
	group->number = number;
	t->slots[slot_of(t, number)] = t->group_count;
	t->last = group;
	return group;
}

/* ------------------------------------------------------------------ adding */

/* Add to the bits of a count that are above the low 16. */
static int carry(struct qcf_counts *counts, uint64_t cluster, uint32_t n)
{
	struct qcf_count_group *high =
		find_or_add(&counts->high, cluster >> QCF_COUNT_GROUP_BITS);
	uint16_t *count;

	if (high == NULL)
		return -ENOMEM;
	count = &high->counts[cluster % QCF_COUNT_GROUP];
	*count = (uint16_t)QCF_MIN(n + *count, (uint32_t)UINT16_MAX);
	return 0;
}

/* Add one to each; tells whether all still fit.  Simple enough to be done several
 * at a time. */
static bool add_one(uint16_t *values, uint64_t count, bool *shared)
{
	uint16_t any = 0;
	uint16_t wrapped = 0;

	for (uint64_t i = 0; i < count; i++) {
		values[i]++;
		any |= values[i];
		wrapped |= values[i] == 0;
	}
	*shared = *shared || any > 1;
	return !wrapped;
}

/* Carry for those that add_one() has wrapped. */
static int carry_wrapped(struct qcf_counts *counts, const uint16_t *values,
                         uint64_t first, uint64_t count)
{
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < count; i++) {
		if (values[i] == 0)
			ret = carry(counts, first + i, 1);
	}
	return ret;
}

static int add_many(struct qcf_counts *counts, uint16_t *values, uint64_t first,
                    uint64_t count, uint32_t n)
{
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < count; i++) {
		uint32_t sum = values[i] + (n & UINT16_MAX);
		uint32_t more = (sum >> 16) + (n >> 16);

		values[i] = (uint16_t)sum;
		if (more != 0)
			ret = carry(counts, first + i, more);
	}
	counts->shared = true;
	return ret;
}

static int add_to_group(struct qcf_counts *counts, uint64_t first,
                        uint64_t count, uint32_t n)
{
	struct qcf_count_group *group =
		find_or_add(&counts->low, first >> QCF_COUNT_GROUP_BITS);
	uint16_t *values;

	if (group == NULL)
		return -ENOMEM;
	values = &group->counts[first % QCF_COUNT_GROUP];
	if (n != 1)
		return add_many(counts, values, first, count, n);
	return add_one(values, count, &counts->shared)
	               ? 0
	               : carry_wrapped(counts, values, first, count);
}

/* How many of count clusters from first on are in its group. */
static uint64_t part_of_group(uint64_t first, uint64_t count)
{
	return QCF_MIN(count, QCF_COUNT_GROUP - first % QCF_COUNT_GROUP);
}

int qcf_counts_add(struct qcf_counts *counts, uint64_t first, uint64_t count,
                   uint32_t n, struct qcowfmt_error **errp)
{
	while (count > 0) {
		uint64_t part = part_of_group(first, count);

		if (add_to_group(counts, first, part, n) < 0)
			return qcf_fail_oom(errp);
		first += part;
		count -= part;
	}
	return 0;
}

static void subtract_one(struct qcf_counts *counts, uint64_t cluster,
                         uint32_t n)
{
	uint64_t number = cluster >> QCF_COUNT_GROUP_BITS;
	uint64_t slot = cluster % QCF_COUNT_GROUP;
	uint64_t have = qcf_counts_get(counts, cluster);
	uint64_t left = have - QCF_MIN(have, (uint64_t)n);
	struct qcf_count_group *low = find(&counts->low, number);
	struct qcf_count_group *high = find(&counts->high, number);

	if (low != NULL)
		low->counts[slot] = (uint16_t)left;
	if (high != NULL)
		high->counts[slot] = (uint16_t)(left >> 16);
}

void qcf_counts_subtract(struct qcf_counts *counts, uint64_t first,
                         uint64_t count, uint32_t n)
{
	for (uint64_t i = 0; i < count; i++)
		subtract_one(counts, first + i, n);
}

/* ------------------------------------------------------------------ asking */

uint64_t qcf_counts_get(struct qcf_counts *counts, uint64_t cluster)
{
	uint64_t number = cluster >> QCF_COUNT_GROUP_BITS;
	uint64_t slot = cluster % QCF_COUNT_GROUP;
	const struct qcf_count_group *low = find(&counts->low, number);
	const struct qcf_count_group *high = find(&counts->high, number);

	return (high == NULL ? 0 : (uint64_t)high->counts[slot] << 16) |
	       (low == NULL ? 0 : low->counts[slot]);
}

const uint16_t *qcf_counts_group(struct qcf_counts *counts, uint64_t number)
{
	const struct qcf_count_group *group = find(&counts->low, number);

	return group == NULL ? NULL : group->counts;
}

static int by_number(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

int qcf_counts_sorted(const struct qcf_counts *counts, uint64_t **numbers,
                      size_t *count, struct qcowfmt_error **errp)
{
	const struct qcf_count_table *t = &counts->low;
	bool sorted = true;

	*count = t->group_count;
	*numbers = calloc(*count + 1, sizeof(**numbers));
	if (*numbers == NULL)
		return qcf_fail_oom(errp);
	for (uint32_t i = 0; i < *count; i++) {
		(*numbers)[i] = group_at(t, i)->number;
		sorted =
			sorted && (i == 0 || (*numbers)[i - 1] < (*numbers)[i]);
	}
	if (!sorted)
		qsort(*numbers, *count, sizeof(**numbers), by_number);
	return 0;
}

static bool has_count(struct qcf_counts *counts, uint64_t number)
{
	for (uint64_t i = 0; i < QCF_COUNT_GROUP; i++) {
		if (qcf_counts_get(counts, number * QCF_COUNT_GROUP + i) > 0)
			return true;
	}
	return false;
}

uint64_t qcf_counts_end(struct qcf_counts *counts)
{
	const struct qcf_count_table *t = &counts->low;
	uint64_t last = 0;
	uint64_t end;

	for (uint32_t i = 0; i < t->group_count; i++) {
		uint64_t number = group_at(t, i)->number;

		if (number >= last && has_count(counts, number))
			last = number;
	}
	end = (last + 1) * QCF_COUNT_GROUP;
	while (end > 0 && qcf_counts_get(counts, end - 1) == 0)
		end--;
	return end;
}
