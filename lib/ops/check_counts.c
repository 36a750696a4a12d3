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

#define SLAB_BITS  10u /* groups in a slab: 40 KiB */
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
	for (size_t i = 0; i < QCF_COUNT_DIGITS; i++)
		table_fini(&counts->digits[i]);
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

/* Add a digit to the counts of a mask, and one to those of carry; what does not
 * fit is carried on. */
static uint64_t add_digit(struct qcf_count_group *group, uint64_t mask,
                          uint32_t digit, uint64_t carry)
{
	for (uint32_t i = 0; i < QCF_COUNT_PLANES; i++) {
		uint64_t add = (digit >> i & 1) != 0 ? mask : 0;
		uint64_t have = group->planes[i];

		group->planes[i] = have ^ add ^ carry;
		carry = (have & add) | (carry & (have ^ add));
	}
	return carry;
}

static bool any_above_one(const struct qcf_count_group *group)
{
	return (group->planes[1] | group->planes[2] | group->planes[3]) != 0;
}

/* Counts stay at the maximum. */
static void saturate(struct qcf_counts *counts, uint64_t number, uint64_t mask)
{
	for (size_t i = 0; i < QCF_COUNT_DIGITS; i++) {
		struct qcf_count_group *group =
			find(&counts->digits[i], number);

		for (size_t j = 0; j < QCF_COUNT_PLANES; j++)
			group->planes[j] |= mask;
	}
}

static int add_to_group(struct qcf_counts *counts, uint64_t number,
                        uint64_t mask, uint32_t n)
{
	uint64_t carry = 0;

	for (size_t i = 0; i < QCF_COUNT_DIGITS && (n != 0 || carry != 0);
	     i++) {
		struct qcf_count_group *group =
			find_or_add(&counts->digits[i], number);

		if (group == NULL)
			return -ENOMEM;
		carry = add_digit(group, mask, n % (1u << QCF_COUNT_PLANES),
		                  carry);
		n >>= QCF_COUNT_PLANES;
		counts->shared =
			counts->shared || i > 0 || any_above_one(group);
	}
	if (carry != 0)
		saturate(counts, number, carry);
	return 0;
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
		uint64_t mask = UINT64_MAX >> (QCF_COUNT_GROUP -
		                               part) << first % QCF_COUNT_GROUP;

		if (add_to_group(counts, first >> QCF_COUNT_GROUP_BITS, mask,
		                 n) < 0)
			return qcf_fail_oom(errp);
		first += part;
		count -= part;
	}
	return 0;
}

static void set_digit(struct qcf_count_group *group, uint64_t bit,
                      uint64_t digit)
{
	for (uint32_t i = 0; i < QCF_COUNT_PLANES; i++) {
		group->planes[i] &= ~bit;
		if ((digit >> i & 1) != 0)
			group->planes[i] |= bit;
	}
}

static void subtract_one(struct qcf_counts *counts, uint64_t cluster,
                         uint32_t n)
{
	uint64_t have = qcf_counts_get(counts, cluster);
	uint64_t left = have - QCF_MIN(have, (uint64_t)n);

	for (uint32_t i = 0; i < QCF_COUNT_DIGITS; i++) {
		struct qcf_count_group *group = find(
			&counts->digits[i], cluster >> QCF_COUNT_GROUP_BITS);

		if (group == NULL)
			return;
		set_digit(group, UINT64_C(1) << cluster % QCF_COUNT_GROUP,
		          left >> i * QCF_COUNT_PLANES);
	}
}

void qcf_counts_subtract(struct qcf_counts *counts, uint64_t first,
                         uint64_t count, uint32_t n)
{
	for (uint64_t i = 0; i < count; i++)
		subtract_one(counts, first + i, n);
}

/* ------------------------------------------------------------------ asking */

/* The group of a digit; NULL if it, and so all above it, are zero. */
static const struct qcf_count_group *digit_of(struct qcf_counts *counts,
                                              size_t digit, uint64_t number)
{
	return digit == QCF_COUNT_DIGITS ? NULL
	                                 : find(&counts->digits[digit], number);
}

uint64_t qcf_counts_get(struct qcf_counts *counts, uint64_t cluster)
{
	uint64_t number = cluster >> QCF_COUNT_GROUP_BITS;
	const struct qcf_count_group *group = digit_of(counts, 0, number);
	uint64_t value = 0;

	for (uint32_t i = 0; group != NULL;
	     group = digit_of(counts, ++i, number)) {
		for (uint32_t j = 0; j < QCF_COUNT_PLANES; j++)
			value |=
				(group->planes[j] >> cluster % QCF_COUNT_GROUP &
			         1)
				<< (i * QCF_COUNT_PLANES + j);
	}
	return value;
}

void qcf_counts_group(struct qcf_counts *counts, uint64_t number,
                      uint32_t values[QCF_COUNT_GROUP])
{
	const struct qcf_count_group *group = digit_of(counts, 0, number);

	memset(values, 0, QCF_COUNT_GROUP * sizeof(values[0]));
	for (uint32_t i = 0; group != NULL;
	     group = digit_of(counts, ++i, number)) {
		for (uint32_t j = 0; j < QCF_COUNT_GROUP; j++)
			values[j] |=
				((uint32_t)(group->planes[0] >> j & 1) |
			         (uint32_t)(group->planes[1] >> j & 1) << 1 |
			         (uint32_t)(group->planes[2] >> j & 1) << 2 |
			         (uint32_t)(group->planes[3] >> j & 1) << 3)
				<< i * QCF_COUNT_PLANES;
	}
}

bool qcf_counts_are_equal(struct qcf_counts *counts, uint64_t number,
                          uint32_t *value)
{
	const struct qcf_count_group *group = digit_of(counts, 0, number);

	*value = 0;
	for (uint32_t i = 0; group != NULL;
	     group = digit_of(counts, ++i, number)) {
		for (uint32_t j = 0; j < QCF_COUNT_PLANES; j++) {
			uint64_t plane = group->planes[j];

			if (plane != 0 && plane != UINT64_MAX)
				return false;
			*value |= (uint32_t)(plane & 1)
			          << (i * QCF_COUNT_PLANES + j);
		}
	}
	return true;
}

uint64_t qcf_counts_ones(struct qcf_counts *counts, uint64_t number)
{
	const struct qcf_count_group *group = digit_of(counts, 0, number);
	uint64_t odd = group == NULL ? 0 : group->planes[0];
	uint64_t more = 0;

	for (uint32_t i = 0; group != NULL;
	     group = digit_of(counts, ++i, number))
		more |= (i == 0 ? 0 : group->planes[0]) | group->planes[1] |
		        group->planes[2] | group->planes[3];
	return odd & ~more;
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
	const struct qcf_count_table *t = &counts->digits[0];
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

bool qcf_counts_in_group(struct qcf_counts *counts, uint64_t number)
{
	uint32_t value = 0;

	return !qcf_counts_are_equal(counts, number, &value) || value > 0;
}

uint64_t qcf_counts_end(struct qcf_counts *counts)
{
	const struct qcf_count_table *t = &counts->digits[0];
	uint64_t last = 0;
	uint64_t end;

	for (uint32_t i = 0; i < t->group_count; i++) {
		uint64_t number = group_at(t, i)->number;

		if (number >= last && qcf_counts_in_group(counts, number))
			last = number;
	}
	end = (last + 1) * QCF_COUNT_GROUP;
	while (end > 0 && qcf_counts_get(counts, end - 1) == 0)
		end--;
	return end;
}
