/* SPDX-License-Identifier: MIT */
/*
 * queue_work.h - requests of a queue that threads do
 *
 * A thread takes a request, does it as a synchronous call would, and puts it among
 * those that are done.  Threads are started when there is work for them, and stay
 * until the end.
 */
#ifndef QCF_QUEUE_WORK_H
#define QCF_QUEUE_WORK_H

#include <pthread.h>

#include "queue_request.h"

#define QCF_QUEUE_MAX_WORKERS 64

struct qcf_queue_work {
	struct qcowfmt_image *image;
	int event_fd; /* readable while something is done, once asked for */

	/* of the owner */
	pthread_t threads[QCF_QUEUE_MAX_WORKERS];
	uint32_t thread_count;
	uint32_t max_threads;

	struct qcf_mutex lock; /* guards what follows */
	struct qcf_cond to_do;
	struct qcf_cond is_done;
	struct qcf_queue_list todo;
	struct qcf_queue_list done;
	uint32_t todo_count;
	uint32_t idle;  /* threads that wait */
	bool stop;      /* threads end */
	bool waiting;   /* the owner waits */
	bool signals;   /* event_fd was asked for */
	bool signalled; /* event_fd is readable */
};

int qcf_queue_work_init(struct qcf_queue_work *work,
                        struct qcowfmt_image *image, uint32_t max_threads,
                        struct qcowfmt_error **errp);

/* Drop what has not begun and wait for the rest. */
void qcf_queue_work_fini(struct qcf_queue_work *work);

/* From now on event_fd tells. */
void qcf_queue_work_signal(struct qcf_queue_work *work);

/* Give work, which the list loses, to the threads. */
void qcf_queue_work_add(struct qcf_queue_work *work,
                        struct qcf_queue_list *list);

/* Take up to max of what is done. */
struct qcf_queue_list qcf_queue_work_take(struct qcf_queue_work *work, int max);

/* Wait until something is done, at most so many milliseconds. */
void qcf_queue_work_wait(struct qcf_queue_work *work, uint32_t milliseconds);

/* What has not begun, and what is in the list, which loses it, is done by having
 * failed. */
void qcf_queue_work_cancel(struct qcf_queue_work *work,
                           struct qcf_queue_list *list);

#endif
