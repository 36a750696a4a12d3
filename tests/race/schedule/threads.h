/* SPDX-License-Identifier: MIT */
/* threads.h - what the library takes for pthreads: see shim/pthread.h */
#ifndef QCF_THREADS_H
#define QCF_THREADS_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

struct qcf_shim_mutex {
	bool held;
	int holder;
};

struct qcf_shim_cond {
	int waiters;
};

int qcf_shim_mutex_init(struct qcf_shim_mutex *mutex, const void *attributes);
int qcf_shim_mutex_destroy(struct qcf_shim_mutex *mutex);
int qcf_shim_mutex_lock(struct qcf_shim_mutex *mutex);
int qcf_shim_mutex_unlock(struct qcf_shim_mutex *mutex);

int qcf_shim_cond_init(struct qcf_shim_cond *cond, const void *attributes);
int qcf_shim_cond_destroy(struct qcf_shim_cond *cond);
int qcf_shim_cond_wait(struct qcf_shim_cond *cond,
                       struct qcf_shim_mutex *mutex);
int qcf_shim_cond_timedwait(struct qcf_shim_cond *cond,
                            struct qcf_shim_mutex *mutex,
                            const struct timespec *until);
int qcf_shim_cond_broadcast(struct qcf_shim_cond *cond);

int qcf_shim_create(pthread_t *thread, const void *attributes,
                    void *(*main)(void *), void *argument);
int qcf_shim_join(pthread_t thread, void **result);
pthread_t qcf_shim_self(void);

#endif
