/* SPDX-License-Identifier: MIT */
/*
 * threads.c - what the library takes for pthreads
 *
 * Outside of a run there is one thread: what would wait there would wait for
 * ever, which is a finding.
 */
#include "threads.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "schedule.h"

#define MAX_THREADS QCF_MAX_FIBERS

static struct started {
	void *(*main)(void *);
	void *argument;
} started[MAX_THREADS];

static void misused(const char *what)
{
	fprintf(stderr, "scheduler: %s\n", what);
	abort();
}

int qcf_shim_mutex_init(struct qcf_shim_mutex *mutex, const void *attributes)
{
	(void)attributes;
	*mutex = (struct qcf_shim_mutex){ .held = false };
	return 0;
}

int qcf_shim_mutex_destroy(struct qcf_shim_mutex *mutex)
{
	if (mutex->held)
		misused("a mutex is destroyed while it is held");
	return 0;
}

static void acquire(struct qcf_shim_mutex *mutex)
{
	while (mutex->held) {
		if (qcf_fiber_self() < 0)
			misused("a mutex is held for ever");
		qcf_fiber_wait(QCF_POINT_LOCK, mutex, false);
	}
	mutex->held = true;
	mutex->holder = qcf_fiber_self();
	qcf_happened(QCF_POINT_LOCK, mutex);
}

static void drop(struct qcf_shim_mutex *mutex)
{
	if (!mutex->held || mutex->holder != qcf_fiber_self())
		misused("a mutex is dropped by somebody else");
	mutex->held = false;
	qcf_fiber_wake(mutex);
}

int qcf_shim_mutex_lock(struct qcf_shim_mutex *mutex)
{
	qcf_point(QCF_POINT_LOCK, NULL);
	acquire(mutex);
	return 0;
}

int qcf_shim_mutex_unlock(struct qcf_shim_mutex *mutex)
{
	drop(mutex);
	qcf_point(QCF_POINT_UNLOCK, mutex);
	return 0;
}

int qcf_shim_cond_init(struct qcf_shim_cond *cond, const void *attributes)
{
	(void)attributes;
	*cond = (struct qcf_shim_cond){ .waiters = 0 };
	return 0;
}

int qcf_shim_cond_destroy(struct qcf_shim_cond *cond)
{
	if (cond->waiters > 0)
		misused("a condition is destroyed while somebody waits");
	return 0;
}

static int wait_on(struct qcf_shim_cond *cond, struct qcf_shim_mutex *mutex,
                   bool may_time_out)
{
	if (qcf_fiber_self() < 0)
		misused("a condition is waited for, for ever");
	qcf_point(QCF_POINT_WAIT, cond);
	drop(mutex);
	cond->waiters++;
	if (!qcf_fiber_is_spurious())
		qcf_fiber_wait(QCF_POINT_WAIT, cond, may_time_out);
	cond->waiters--;
	qcf_point(QCF_POINT_LOCK, NULL);
	acquire(mutex);
	return 0;
}

int qcf_shim_cond_wait(struct qcf_shim_cond *cond, struct qcf_shim_mutex *mutex)
{
	return wait_on(cond, mutex, false);
}

int qcf_shim_cond_timedwait(struct qcf_shim_cond *cond,
                            struct qcf_shim_mutex *mutex,
                            const struct timespec *until)
{
	(void)until;
	return wait_on(cond, mutex, true);
}

int qcf_shim_cond_broadcast(struct qcf_shim_cond *cond)
{
	qcf_point(QCF_POINT_BROADCAST, cond);
	qcf_fiber_wake(cond);
	return 0;
}

static void thread_main(void *argument)
{
	struct started *s = argument;

	(void)s->main(s->argument);
}

int qcf_shim_create(pthread_t *thread, const void *attributes,
                    void *(*main)(void *), void *argument)
{
	static int next;
	struct started *s = &started[next];

	(void)attributes;
	if (qcf_fiber_self() < 0)
		return EAGAIN;
	next = (next + 1) % MAX_THREADS;
	*s = (struct started){ main, argument };
	qcf_point(QCF_POINT_START, s);
	*thread = (pthread_t)qcf_fiber_start(thread_main, s);
	return 0;
}

int qcf_shim_join(pthread_t thread, void **result)
{
	int fiber = (int)thread;

	(void)result;
	qcf_point(QCF_POINT_JOIN, NULL);
	while (!qcf_fiber_has_ended(fiber))
		qcf_fiber_wait(QCF_POINT_JOIN, qcf_fiber_address(fiber), false);
	return 0;
}

pthread_t qcf_shim_self(void)
{
	return (pthread_t)(qcf_fiber_self() + 2);
}
