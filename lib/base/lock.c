/* SPDX-License-Identifier: MIT */
/*
 * lock.c - mutexes with a rank
 *
 * Failure of the pthread calls used here would mean a programming error
 * (EINVAL, EDEADLK); the checked build reports it, the others ignore it.
 */
#include <stdio.h>
#include <time.h>

#include "lock.h"

#ifdef QCF_DEBUG_LOCKS

static const char *rank_name(enum qcf_rank rank)
{
	switch (rank) {
#define QCF_LOCK(value, name, may_span_io) \
	case name:                         \
		return #name;
#include "lock_ranks.def"
#undef QCF_LOCK
	}
	return "?";
}

#define MAX_HELD 16
static _Thread_local enum qcf_rank held[MAX_HELD];
static _Thread_local int held_count;

static void check_order(enum qcf_rank rank)
{
	if (held_count > 0 && held[held_count - 1] >= rank) {
		fprintf(stderr, "lock order: %s taken while holding %s\n",
		        rank_name(rank), rank_name(held[held_count - 1]));
		abort();
	}
	if (held_count == MAX_HELD)
		abort();
	held[held_count++] = rank;
}

static void forget(enum qcf_rank rank)
{
	int i = held_count;

	while (i-- > 0 && held[i] != rank)
		;
	if (i < 0)
		abort();
	for (; i + 1 < held_count; i++)
		held[i] = held[i + 1];
	held_count--;
}

#else

static void check_order(enum qcf_rank rank)
{
	(void)rank;
}

static void forget(enum qcf_rank rank)
{
	(void)rank;
}

#endif

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
	check_order(mutex->rank);
	pthread_mutex_lock(&mutex->mutex);
}

void qcf_mutex_unlock(struct qcf_mutex *mutex)
{
	forget(mutex->rank);
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
	pthread_cond_wait(&cond->cond, &mutex->mutex);
}

void qcf_cond_wait_for(struct qcf_cond *cond, struct qcf_mutex *mutex,
                       uint32_t milliseconds)
{
	struct timespec until;

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
