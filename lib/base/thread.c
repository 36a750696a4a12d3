/* SPDX-License-Identifier: MIT */
/* thread.c - threads of the library */
#include <signal.h>

#include "thread.h"

bool qcf_thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
	sigset_t all;
	sigset_t old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(thread, NULL, run, argument);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err == 0;
}
