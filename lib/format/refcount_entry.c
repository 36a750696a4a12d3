/* SPDX-License-Identifier: MIT */
/*
 * refcount_entry.c - the counts in a refcount block
 *
 * Searching looks at 64 bits at a time.  Loaded as little-endian, slot 0 of a
 * word is its least significant lane for every width: wide counts are
 * big-endian inside their lane, but whether a lane is zero does not depend on
 * the order of its bytes.
 */
#include <endian.h>

#include "refcount_entry.h"

/* Widths of a byte and more have this order and above. */
#define ORDER_BYTE 3u
/* log2 of the bits in the word of a search */
#define ORDER_WORD 6u

uint64_t qcf_refcount_get(const void *counts, uint64_t slot,
                          uint32_t refcount_order)
{
	const uint8_t *bytes = counts;
	uint64_t bit = slot << refcount_order;

	if (refcount_order >= ORDER_BYTE) {
		size_t len = (size_t)1 << (refcount_order - ORDER_BYTE);
		struct qcf_reader reader =
			qcf_reader_init(bytes + bit / 8, len);

		return qcf_read_be(&reader, len);
	}
	uint32_t mask = (1u << (1u << refcount_order)) - 1;

	return (uint32_t)bytes[bit / 8] >> (bit % 8) & mask;
}

void qcf_refcount_set(void *counts, uint64_t slot, uint32_t refcount_order,
                      uint64_t value)
{
	uint8_t *bytes = counts;
	uint64_t bit = slot << refcount_order;

	if (refcount_order >= ORDER_BYTE) {
		size_t len = (size_t)1 << (refcount_order - ORDER_BYTE);
		struct qcf_writer writer =
			qcf_writer_init(bytes + bit / 8, len);

		qcf_write_be(&writer, value, len);
		return;
	}
	uint32_t mask = ((1u << (1u << refcount_order)) - 1) << (bit % 8);
	uint32_t shifted = (uint32_t)(value << (bit % 8)) & mask;

	bytes[bit / 8] = (uint8_t)((bytes[bit / 8] & ~mask) | shifted);
}

/* Loops for the widths in use, which compilers turn into vector instructions. */
void qcf_refcount_get_run(const void *counts, uint64_t slot, size_t n,
                          uint32_t refcount_order, uint64_t *values)
{
	const uint8_t *bytes = counts;
	struct qcf_be64 raw;

	if (refcount_order == 4) {
		for (size_t i = 0; i < n; i++)
			values[i] = (uint64_t)bytes[2 * (slot + i)] << 8 |
			            bytes[2 * (slot + i) + 1];
	} else if (refcount_order == 6) {
		for (size_t i = 0; i < n; i++) {
			memcpy(&raw, bytes + (slot + i) * sizeof(raw),
			       sizeof(raw));
			values[i] = qcf_be64_decode(raw);
		}
	} else {
		for (size_t i = 0; i < n; i++)
			values[i] = qcf_refcount_get(counts, slot + i,
			                             refcount_order);
	}
}

void qcf_refcount_set_run(void *counts, uint64_t slot, size_t n,
                          uint32_t refcount_order, const uint64_t *values)
{
	struct qcf_be64 raw;
	uint8_t *bytes = counts;

	if (refcount_order == 4) {
		for (size_t i = 0; i < n; i++) {
			bytes[2 * (slot + i)] = (uint8_t)(values[i] >> 8);
			bytes[2 * (slot + i) + 1] = (uint8_t)values[i];
		}
	} else if (refcount_order == 6) {
		for (size_t i = 0; i < n; i++) {
			raw = qcf_be64_encode(values[i]);
			memcpy(bytes + (slot + i) * sizeof(raw), &raw,
			       sizeof(raw));
		}
	} else {
		for (size_t i = 0; i < n; i++)
			qcf_refcount_set(counts, slot + i, refcount_order,
			                 values[i]);
	}
}

/*
 * Word number `word` of an array of `count` slots, slot 0 in the lowest lane.
 * Lanes behind the end of the array are zero: the array may end anywhere.
 */
static uint64_t load_word(const uint8_t *bytes, uint64_t word, uint64_t count,
                          uint32_t refcount_order)
{
	uint64_t len = ((count << refcount_order) + 7) / 8;
	uint64_t left = len - word * sizeof(uint64_t);
	uint64_t value = 0;

	if (left >= sizeof(value))
		memcpy(&value, bytes + word * sizeof(value), sizeof(value));
	else
		memcpy(&value, bytes + word * sizeof(value), (size_t)left);
	return le64toh(value);
}

/* The bits of all lanes of a slot's word that lie below the slot. */
static uint64_t lanes_below(uint64_t slot, uint32_t refcount_order)
{
	uint64_t bit = (slot << refcount_order) % 64;

	return (UINT64_C(1) << bit) - 1;
}

/* The slot that holds a bit of a word. */
static uint64_t slot_at(uint64_t word, uint64_t bits, uint32_t refcount_order)
{
	uint64_t lane = (uint64_t)__builtin_ctzll(bits) >> refcount_order;

	return (word << (ORDER_WORD - refcount_order)) + lane;
}

/*
 * The highest bit of every lane that is zero.  Lanes above a zero lane may be
 * marked wrongly, so only the lowest mark counts.
 */
static uint64_t zero_lanes(uint64_t word, uint32_t refcount_order)
{
	uint32_t width = 1u << refcount_order;
	uint64_t lowest = UINT64_MAX / (UINT64_MAX >> (64 - width));
	uint64_t highest = lowest << (width - 1);

	return (word - lowest) & ~word & highest;
}

uint64_t qcf_refcount_find_zero(const void *counts, uint64_t from,
                                uint64_t count, uint32_t refcount_order)
{
	uint32_t slots_order = ORDER_WORD - refcount_order;
	uint64_t taken = lanes_below(from, refcount_order);

	for (uint64_t word = from >> slots_order; word << slots_order < count;
	     word++) {
		uint64_t lanes = load_word(counts, word, count, refcount_order);
		uint64_t zero = zero_lanes(lanes | taken, refcount_order);

		if (zero != 0)
			return QCF_MIN(slot_at(word, zero, refcount_order),
			               count);
		taken = 0;
	}
	return count;
}

uint64_t qcf_refcount_zero_run(const void *counts, uint64_t from, uint64_t max,
                               uint32_t refcount_order)
{
	uint32_t slots_order = ORDER_WORD - refcount_order;
	uint64_t skipped = lanes_below(from, refcount_order);
	uint64_t end = from + max;

	for (uint64_t word = from >> slots_order; word << slots_order < end;
	     word++) {
		uint64_t lanes =
			load_word(counts, word, end, refcount_order) & ~skipped;

		if (lanes != 0)
			return QCF_MIN(slot_at(word, lanes, refcount_order),
			               end) -
			       from;
		skipped = 0;
	}
	return max;
}
