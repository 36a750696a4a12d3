/* SPDX-License-Identifier: MIT */
/*
 * schedule.h - threads that run one at a time, in an order made from a number
 *
 * A thread here is a stack of its own within the one real thread of the
 * process.  At every point (points.h) the scheduler lets the same thread go on
 * or picks another one; the seed decides, so the same seed gives the same
 * interleaving, always.  Two ways to pick are mixed:
 *
 *   - a random walk: at each point another thread with some probability, which is
 *     different from seed to seed;
 *   - priorities with a few change points (PCT): the thread with the highest
 *     priority runs, and at d moments of the run it becomes the one with the
 *     lowest.  A bug that needs d such moments is found with a probability that
 *     does not depend on how many other moments there are.
 *
 * If nobody can run and somebody has not ended, that is a deadlock or a lost
 * wake-up.
 */
#ifndef QCF_SCHEDULE_H
#define QCF_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "points.h"

#define QCF_MAX_FIBERS 12

enum qcf_schedule_end {
	QCF_SCHEDULE_DONE, /* all threads have ended */
	QCF_SCHEDULE_DEADLOCK,
	QCF_SCHEDULE_TOO_LONG, /* more points than any run should have */
};

struct qcf_schedule_plan {
	uint64_t seed;
	uint64_t length;        /* points that a run has about */
	uint64_t coarse_length; /* without atomic operations */
	/* Not NULL: called at some point of the run. */
	void (*look)(void *opaque);
	void *opaque;
};

struct qcf_schedule_result {
	enum qcf_schedule_end end;
	uint64_t points; /* at which the scheduler was asked */
	uint64_t coarse_points;
	uint64_t switches; /* to another thread */
	uint64_t sequence; /* hash of who was at which point, in order */
	uint64_t order;    /* of what depends on each other; see order.h */
	char text[1024];   /* who waits for what in a deadlock */
};

/* Get ready for a run.  Threads that are started next begin with qcf_schedule_run(),
 * in any order. */
void qcf_schedule_begin(const struct qcf_schedule_plan *plan);

/* Start a thread, before a run or from one of its threads; returns its number. */
int qcf_fiber_start(void (*main)(void *argument), void *argument);

/* Run all threads to their end.  After a failure they are stuck for ever, and
 * there is no other run in this process. */
void qcf_schedule_run(struct qcf_schedule_result *result);

/* The number of the calling thread; -1 outside of a run. */
int qcf_fiber_self(void);
bool qcf_fiber_has_ended(int fiber);

/* What those wait for who wait for its end. */
const void *qcf_fiber_address(int fiber);

/* The next moment: all are different, and 0 is before the run. */
uint64_t qcf_schedule_now(void);

/* Random numbers of the run. */
uint64_t qcf_schedule_random(uint64_t limit);

/*
 * Wait until somebody wakes those who wait for the object.  With may_time_out
 * waiting may also end by itself, when nobody else can run.
 */
void qcf_fiber_wait(enum qcf_point why, const volatile void *object,
                    bool may_time_out);
void qcf_fiber_wake(const volatile void *object);

/* Whether a waiter should wake up for no reason, which is allowed. */
bool qcf_fiber_is_spurious(void);

#endif
