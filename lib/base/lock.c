/* SPDX-License-Identifier: MIT */
/*
 * lock.c - mutexes with a rank
 *
 * Failure of the pthread calls used here would mean a programming error
 * (EINVAL, EDEADLK) and is ignored.
 */
#include <time.h>

#include "lock.h"

void qcf_mutex_init(struct qcf_mutex *mutex, enum qcf_rank rank)
{
	pthread_mutex_init(&mutex->mutex, NULL);
	mutex->rank = rank;
}

void qcf_mutex_fini(struct qcf_mutex *mutex)
{
	pthread_mutex_destroy(&mutex->mutex);
}

void qcf_mutex_lock(struct qcf_mutex *mutex)
{
	qcf_lock_order_take(mutex->rank);
	pthread_mutex_lock(&mutex->mutex);
}

void qcf_mutex_unlock(struct qcf_mutex *mutex)
{
	qcf_lock_order_drop(mutex->rank);
	pthread_mutex_unlock(&mutex->mutex);
}

/* Waiting with a time limit must not depend on the wall clock. */
void qcf_cond_init(struct qcf_cond *cond)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&cond->cond, &attributes);
	pthread_condattr_destroy(&attributes);
}

void qcf_cond_fini(struct qcf_cond *cond)
{
	pthread_cond_destroy(&cond->cond);
}

void qcf_cond_wait(struct qcf_cond *cond, struct qcf_mutex *mutex)
{
	qcf_lock_order_wait(mutex->rank);
	pthread_cond_wait(&cond->cond, &mutex->mutex);
}

void qcf_cond_wait_for(struct qcf_cond *cond, struct qcf_mutex *mutex,
                       uint32_t milliseconds)
{
	struct timespec until;

	qcf_lock_order_wait(mutex->rank);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(milliseconds / 1000);
	until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	(void)pthread_cond_timedwait(&cond->cond, &mutex->mutex, &until);
}

void qcf_cond_broadcast(struct qcf_cond *cond)
{
	pthread_cond_broadcast(&cond->cond);
}

void qcf_cond_signal(struct qcf_cond *cond)
{
	pthread_cond_signal(&cond->cond);
}
