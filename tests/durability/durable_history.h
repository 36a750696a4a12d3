/* SPDX-License-Identifier: MIT */
/*
 * durable_history.h - what writers do to a disk, known from a seed
 *
 * Several threads write to one disk of 16 MiB.  The operations of a thread follow
 * from the seed and their numbers.  Each sector written holds its own number and
 * that of the operation, so it can be said of any sector which operation it is
 * from.  The disk is dealt out to the threads in stripes that are no multiple of a
 * cluster: threads do not write to the same sectors, but to the same clusters.
 */
#ifndef QCF_TEST_HISTORY_H
#define QCF_TEST_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECTOR      512u
#define SECTORS     32768u
#define MAX_THREADS 4u
#define MAX_RUN     384u /* sectors of one operation */
#define FLUSH_EVERY 12u  /* operations of a thread, at most */
/* Operations of a thread that may have begun after the last one acknowledged:
 * those up to a flush of which nobody heard, and those behind it. */
#define UNHEARD (2 * FLUSH_EVERY)

/* What a sector holds: a thread and the number of an operation; 0 for zeros. */
typedef uint32_t stamp;

struct history {
	uint64_t seed;
	uint32_t threads;
};

/* For each thread the number of an operation: it and all before it count. */
struct moment {
	uint32_t number[MAX_THREADS];
};

struct operation {
	uint32_t first, count; /* sectors */
	bool zeroes;
	bool flush; /* after it */
};

struct operation history_operation(const struct history *h, uint32_t thread,
                                   uint32_t number);

/* The stamp an operation leaves. */
stamp history_stamp(const struct operation *op, uint32_t thread,
                    uint32_t number);

void history_fill(uint8_t *sector, uint32_t index, stamp s);

/* What a sector holds; false if no operation ever wrote that. */
bool history_read(const uint8_t *sector, uint32_t index, stamp *s);

/* Bring sectors from the moment before "first" to "last". */
void history_replay(const struct history *h, stamp *sectors, uint32_t first,
                    const struct moment *last);

/* Is the stamp of an operation that may have been under way after "last"? */
bool history_may_follow(const struct history *h, const struct moment *last,
                        uint32_t sector, stamp s);

#endif
