/* SPDX-License-Identifier: MIT */
/* thread.h - threads of the library */
#ifndef QCF_THREAD_H
#define QCF_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Start a thread in which no signal is delivered: those are for the threads of
 * the application.  False if there can be no more. */
bool qcf_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

#endif
