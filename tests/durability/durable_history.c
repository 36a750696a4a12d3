/* SPDX-License-Identifier: MIT */
/*
 * durable_history.c - what writers do to a disk, known from a seed
 */
#include <string.h>

#include "durable_history.h"

/* A cluster and a quarter. */
#define STRIPE  160u
#define STRIPES (SECTORS / STRIPE)

#define THREAD_SHIFT 29

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Where a thread may write: its stripes, or everything. */
static void place(const struct history *h, uint32_t thread, uint64_t r,
                  struct operation *op)
{
	uint32_t begin = 0;
	uint32_t room = SECTORS;

	if (h->threads > 1) {
		uint32_t own = STRIPES / h->threads;

		room = STRIPE;
		begin = ((uint32_t)(r >> 20) % own * h->threads + thread) *
		        STRIPE;
	}
	op->first = begin + (uint32_t)r % room;
	if (op->count > begin + room - op->first)
		op->count = begin + room - op->first;
}

struct operation history_operation(const struct history *h, uint32_t thread,
                                   uint32_t number)
{
	uint64_t r = mix(mix(h->seed + thread) + number);
	struct operation op = {
		.count = 1 + (uint32_t)(r >> 16) % MAX_RUN,
		.zeroes = (r >> 40) % 8 == 0,
		.flush = number % FLUSH_EVERY == 0 || (r >> 48) % 4 == 0,
	};

	/* Half of them are small. */
	if ((r >> 56) % 2 == 0)
		op.count = 1 + op.count % 8;
	place(h, thread, mix(r), &op);
	return op;
}

stamp history_stamp(const struct operation *op, uint32_t thread,
                    uint32_t number)
{
	return op->zeroes ? 0 : thread << THREAD_SHIFT | number;
}

void history_fill(uint8_t *sector, uint32_t index, stamp s)
{
	uint64_t word = s == 0 ? 0 : (uint64_t)s << 32 | index;

	for (size_t i = 0; i < SECTOR; i += sizeof(word))
		memcpy(sector + i, &word, sizeof(word));
}

bool history_read(const uint8_t *sector, uint32_t index, stamp *s)
{
	uint8_t expected[SECTOR];
	uint64_t word;

	memcpy(&word, sector, sizeof(word));
	*s = (stamp)(word >> 32);
	history_fill(expected, index, *s);
	return memcmp(expected, sector, SECTOR) == 0;
}

void history_replay(const struct history *h, stamp *sectors, uint32_t first,
                    const struct moment *last)
{
	for (uint32_t t = 0; t < h->threads; t++) {
		for (uint32_t n = first; n <= last->number[t]; n++) {
			struct operation op = history_operation(h, t, n);

			for (uint32_t i = 0; i < op.count; i++)
				sectors[op.first + i] =
					history_stamp(&op, t, n);
		}
	}
}

static bool covers(const struct operation *op, uint32_t sector)
{
	return sector >= op->first && sector - op->first < op->count;
}

bool history_may_follow(const struct history *h, const struct moment *last,
                        uint32_t sector, stamp s)
{
	for (uint32_t t = 0; t < h->threads; t++) {
		for (uint32_t k = 1; k <= UNHEARD; k++) {
			uint32_t n = last->number[t] + k;
			struct operation op = history_operation(h, t, n);

			if (covers(&op, sector) &&
			    s == history_stamp(&op, t, n))
				return true;
		}
	}
	return false;
}
