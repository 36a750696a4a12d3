/* SPDX-License-Identifier: MIT */
/*
 * io_aio.h - requests that run while further commands are read
 *
 * Each has a thread of its own.  Results are reported by the thread of the
 * commands, in the order in which the requests were made, before any command
 * that is not an aio request itself: so what such a command does comes after
 * them.
 */
#ifndef QCF_IO_AIO_H
#define QCF_IO_AIO_H

#include <pthread.h>

#include "io_session.h"

struct io_aio_request {
	/* Does it, on a thread of its own; returns 0 or a negative errno
	 * value. */
	int (*run)(struct io_aio_request *request, struct qcowfmt_error **errp);
	/* Says what became of it, and frees it. */
	void (*finish)(struct io_aio_request *request, int ret,
	               const struct qcowfmt_error *error);

	/* Its state is io_aio.c's business. */
	struct io_aio_request *next;
	pthread_t thread;
	bool has_thread;
	int ret;
	struct qcowfmt_error *error;
};

/*
 * Start a request, which is the session's until finish() is called.  What
 * cannot run beside other requests is complete when this returns.
 */
void qcf_io_aio_submit(struct io_session *session,
                       struct io_aio_request *request);

/* Wait for all requests and report them. */
void qcf_io_aio_drain(struct io_session *session);

#endif
