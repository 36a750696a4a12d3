/* SPDX-License-Identifier: MIT */
/* io_aio.c - requests that run while further commands are read */
#include "io_aio.h"

/* More than that wait for the first of them. */
#define MAX_RUNNING 64

static void *run_request(void *opaque)
{
	struct io_aio_request *request = opaque;

	request->ret = request->run(request, &request->error);
	return NULL;
}

/* Wait for the request made first, and report it. */
static void finish_first(struct io_session *session)
{
	struct io_aio_request *request = session->aio_first;
	struct qcowfmt_error *error;

	if (request->has_thread)
		(void)pthread_join(request->thread, NULL);
	session->aio_first = request->next;
	session->aio_count--;
	error = request->error;
	request->finish(request, request->ret, error);
	qcowfmt_error_free(error);
}

/*
 * Keeping what was read, and looking after the first sector of an image that
 * only seems to be raw, both read and then write what they read.
 */
static bool must_run_alone(const struct io_session *session)
{
	return session->settings.copy_on_read || session->guards_first_sector;
}

static void append(struct io_session *session, struct io_aio_request *request)
{
	struct io_aio_request **end = &session->aio_first;

	while (*end != NULL)
		end = &(*end)->next;
	*end = request;
	session->aio_count++;
}

void qcf_io_aio_submit(struct io_session *session,
                       struct io_aio_request *request)
{
	bool alone = must_run_alone(session);

	if (alone)
		qcf_io_aio_drain(session);
	if (session->aio_count == MAX_RUNNING)
		finish_first(session);
	append(session, request);
	request->has_thread =
		!alone && pthread_create(&request->thread, NULL, run_request,
	                                 request) == 0;
	if (request->has_thread)
		return;
	(void)run_request(request);
	qcf_io_aio_drain(session);
}

void qcf_io_aio_drain(struct io_session *session)
{
	while (session->aio_first != NULL)
		finish_first(session);
}
