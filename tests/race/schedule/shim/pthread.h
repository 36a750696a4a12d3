/* SPDX-License-Identifier: MIT */
/*
 * pthread.h - mutexes, condition variables and threads of the scheduler
 *
 * Found in front of the real one when the library is compiled for scheduled
 * tests; see threads.c.  What the library does not use is not here, and would
 * be the real thing: a new use of pthreads belongs into the list.
 */
#ifndef QCF_SHIM_PTHREAD_H
#define QCF_SHIM_PTHREAD_H

/* Everything that knows the real types has to come before. */
#include_next <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "threads.h"

#define pthread_mutex_t        struct qcf_shim_mutex
#define pthread_mutex_init     qcf_shim_mutex_init
#define pthread_mutex_destroy  qcf_shim_mutex_destroy
#define pthread_mutex_lock     qcf_shim_mutex_lock
#define pthread_mutex_unlock   qcf_shim_mutex_unlock
#define pthread_cond_t         struct qcf_shim_cond
#define pthread_cond_init      qcf_shim_cond_init
#define pthread_cond_destroy   qcf_shim_cond_destroy
#define pthread_cond_wait      qcf_shim_cond_wait
#define pthread_cond_timedwait qcf_shim_cond_timedwait
#define pthread_cond_broadcast qcf_shim_cond_broadcast
/* Waking more than one is allowed. */
#define pthread_cond_signal qcf_shim_cond_broadcast
#define pthread_create      qcf_shim_create
#define pthread_join        qcf_shim_join
#define pthread_self        qcf_shim_self

#endif
