/* SPDX-License-Identifier: MIT */
/*
 * lock.h - mutexes with a rank, and condition variables
 *
 * QCF_GUARD(&mutex) holds a mutex to the end of the scope.  What a thread may do
 * while it holds one depends on the rank: see lock_order.h.
 */
#ifndef QCF_LOCK_H
#define QCF_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "auto.h"
#include "lock_order.h"

struct qcf_mutex {
	pthread_mutex_t mutex;
	enum qcf_rank rank;
};

struct qcf_cond {
	pthread_cond_t cond;
};

void qcf_mutex_init(struct qcf_mutex *mutex, enum qcf_rank rank);
void qcf_mutex_fini(struct qcf_mutex *mutex);
void qcf_mutex_lock(struct qcf_mutex *mutex);
void qcf_mutex_unlock(struct qcf_mutex *mutex);

void qcf_cond_init(struct qcf_cond *cond);
void qcf_cond_fini(struct qcf_cond *cond);
void qcf_cond_wait(struct qcf_cond *cond, struct qcf_mutex *mutex);
/* The same for at most so many milliseconds. */
void qcf_cond_wait_for(struct qcf_cond *cond, struct qcf_mutex *mutex,
                       uint32_t milliseconds);
void qcf_cond_broadcast(struct qcf_cond *cond);
/* Wake one of the threads that wait. */
void qcf_cond_signal(struct qcf_cond *cond);

static inline struct qcf_mutex *qcf_guard_enter(struct qcf_mutex *mutex)
{
	qcf_mutex_lock(mutex);
	return mutex;
}

static inline void qcf_guard_leave(struct qcf_mutex **mutex)
{
	qcf_mutex_unlock(*mutex);
}

#define QCF_GUARD_NAME_(line) qcf_guard_##line
#define QCF_GUARD_NAME(line)  QCF_GUARD_NAME_(line)
#define QCF_GUARD(lock)                                                    \
	struct qcf_mutex *QCF_GUARD_NAME(__LINE__) __attribute__((unused)) \
	QCF_CLEANUP(qcf_guard_leave) = qcf_guard_enter(lock)

#endif
