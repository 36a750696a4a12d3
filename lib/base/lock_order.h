/* SPDX-License-Identifier: MIT */
/*
 * lock_order.h - the ranks of locks, and that threads keep to them
 *
 * In debug builds (QCF_DEBUG_LOCKS) each thread knows which locks it holds.  What
 * breaks a rule aborts and names the locks: that is a bug of the library, not a
 * state an image can cause.  The rules are those of lock_ranks.def:
 *
 *   - a lock is taken only while all locks held have a lower rank;
 *   - storage is not used while a lock is held that may not span I/O;
 *   - whoever waits for a condition holds no such lock but the one that the
 *     condition goes with, which has the highest rank of those held.
 *
 * In other builds nothing is kept and nothing costs anything.
 */
#ifndef QCF_LOCK_ORDER_H
#define QCF_LOCK_ORDER_H

enum qcf_rank {

#define QCF_LOCK(rank, name, may_span_io) name = (rank),
#include "lock_ranks.def"
#undef QCF_LOCK
};

#ifdef QCF_DEBUG_LOCKS

#define QCF_MAX_HELD 16

struct qcf_held_locks {
	enum qcf_rank ranks[QCF_MAX_HELD]; /* rising */
	int count;
};

/* Of this thread. */
extern _Thread_local struct qcf_held_locks qcf_held_locks;

void qcf_lock_order_take(enum qcf_rank rank);
void qcf_lock_order_drop(enum qcf_rank rank);
void qcf_lock_order_wait(enum qcf_rank rank);

/* To be called before storage is used; what says how. */
void qcf_lock_order_io(const char *what);

#else

static inline void qcf_lock_order_take(enum qcf_rank rank)
{
	(void)rank;
}

static inline void qcf_lock_order_drop(enum qcf_rank rank)
{
	(void)rank;
}

static inline void qcf_lock_order_wait(enum qcf_rank rank)
{
	(void)rank;
}

static inline void qcf_lock_order_io(const char *what)
{
	(void)what;
}

#endif

#endif
