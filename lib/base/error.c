/* SPDX-License-Identifier: MIT */
/*
 * error.c - error objects
 *
 * An error that cannot be allocated is the one static out-of-memory object;
 * freeing it does nothing, so callers need not know.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

static char out_of_memory_text[] = "out of memory";

static struct qcowfmt_error out_of_memory = {
	.code = QCOWFMT_ERR_NO_MEMORY,
	.err = ENOMEM,
	.guest_offset = QCOWFMT_NO_OFFSET,
	.host_offset = QCOWFMT_NO_OFFSET,
	.message = out_of_memory_text,
};

/* Returns what the error says: that may be another thing than was to be said. */
static int raise_error(struct qcowfmt_error **errp, int err, int code,
                       char *message)
{
	struct qcowfmt_error *error = malloc(sizeof(*error));

	if (error == NULL || message == NULL) {
		free(error);
		free(message);
		*errp = &out_of_memory;
		return -ENOMEM;
	}
	/* Names from images end up in messages. */
	qcowfmt_clean_text(message);
	*error = (struct qcowfmt_error){
		.code = code,
		.err = err,
		.guest_offset = QCOWFMT_NO_OFFSET,
		.host_offset = QCOWFMT_NO_OFFSET,
		.message = message,
	};
	*errp = error;
	return -err;
}

QCF_PRINTF(1, 0) static char *format_text(const char *fmt, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, args) < 0)
		return NULL;
	return text;
}

int qcf_fail(struct qcowfmt_error **errp, int err, int code, const char *fmt,
             ...)
{
	va_list args;
	int ret;

	if (errp == NULL || *errp != NULL)
		return -err;
	va_start(args, fmt);
	ret = raise_error(errp, err, code, format_text(fmt, args));
	va_end(args);
	return ret;
}

static int code_of_errno(int err)
{
	switch (err) {
	case ENOMEM:
		return QCOWFMT_ERR_NO_MEMORY;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return QCOWFMT_ERR_NO_SPACE;
	case EIO:
		return QCOWFMT_ERR_IO;
	default:
		return QCOWFMT_ERR_SYSTEM;
	}
}

/*
 * Which text an error number has, strerror_r() tells in another way in each C
 * library; %m is the same in all.
 */
static void append_reason(struct qcowfmt_error *error, int err)
{
	char reason[128] = "";
	char *joined = NULL;

	if (error == &out_of_memory)
		return;
	errno = err;
	if (snprintf(reason, sizeof(reason), "%m") < 0 ||
	    asprintf(&joined, "%s: %s", error->message, reason) < 0)
		return;
	free(error->message);
	error->message = joined;
}

int qcf_fail_because(struct qcowfmt_error **errp, int err, int code,
                     const char *fmt, ...)
{
	va_list args;
	int ret;

	if (errp == NULL || *errp != NULL)
		return -err;
	va_start(args, fmt);
	ret = raise_error(errp, err, code, format_text(fmt, args));
	va_end(args);
	append_reason(*errp, err);
	return ret;
}

int qcf_fail_sys(struct qcowfmt_error **errp, int err, const char *fmt, ...)
{
	va_list args;
	int ret;

	if (errp == NULL || *errp != NULL)
		return -err;
	va_start(args, fmt);
	ret = raise_error(errp, err, code_of_errno(err),
	                  format_text(fmt, args));
	va_end(args);
	append_reason(*errp, err);
	return ret;
}

void qcf_error_set_oom(struct qcowfmt_error **errp)
{
	if (errp != NULL && *errp == NULL)
		*errp = &out_of_memory;
}

int qcf_wrap(struct qcowfmt_error **errp, const char *context, int ret)
{
	return qcf_wrapf(errp, ret, "%s", context);
}

int qcf_wrapf(struct qcowfmt_error **errp, int ret, const char *fmt, ...)
{
	QCF_AUTO_FREE char *context = NULL;
	char *joined = NULL;
	va_list args;

	if (errp == NULL || *errp == NULL || *errp == &out_of_memory)
		return ret;
	va_start(args, fmt);
	context = format_text(fmt, args);
	va_end(args);
	if (context == NULL ||
	    asprintf(&joined, "%s: %s", context, (*errp)->message) < 0)
		return ret;
	qcowfmt_clean_text(joined);
	free((*errp)->message);
	(*errp)->message = joined;
	return ret;
}

void qcf_error_at_host(struct qcowfmt_error **errp, uint64_t host_offset)
{
	if (errp != NULL && *errp != NULL && *errp != &out_of_memory &&
	    (*errp)->host_offset == QCOWFMT_NO_OFFSET)
		(*errp)->host_offset = host_offset;
}

void qcf_error_at_guest(struct qcowfmt_error **errp, uint64_t guest_offset)
{
	if (errp != NULL && *errp != NULL && *errp != &out_of_memory &&
	    (*errp)->guest_offset == QCOWFMT_NO_OFFSET)
		(*errp)->guest_offset = guest_offset;
}

void qcf_error_move(struct qcowfmt_error **errp, struct qcowfmt_error *error)
{
	if (errp != NULL && *errp == NULL)
		*errp = error;
	else
		qcowfmt_error_free(error);
}

struct qcowfmt_error *qcf_error_copy(const struct qcowfmt_error *error)
{
	struct qcowfmt_error *copy = NULL;

	if (error == NULL)
		return NULL;
	raise_error(&copy, error->err, error->code, strdup(error->message));
	if (copy != &out_of_memory) {
		copy->corruption_id = error->corruption_id;
		copy->guest_offset = error->guest_offset;
		copy->host_offset = error->host_offset;
	}
	return copy;
}

int qcowfmt_error_code(const struct qcowfmt_error *error)
{
	return error == NULL ? QCOWFMT_ERR_NONE : error->code;
}

int qcowfmt_error_errno(const struct qcowfmt_error *error)
{
	return error == NULL ? 0 : error->err;
}

uint32_t qcowfmt_error_corruption_id(const struct qcowfmt_error *error)
{
	return error == NULL ? 0 : error->corruption_id;
}

uint64_t qcowfmt_error_guest_offset(const struct qcowfmt_error *error)
{
	return error == NULL ? QCOWFMT_NO_OFFSET : error->guest_offset;
}

uint64_t qcowfmt_error_host_offset(const struct qcowfmt_error *error)
{
	return error == NULL ? QCOWFMT_NO_OFFSET : error->host_offset;
}

const char *qcowfmt_error_message(const struct qcowfmt_error *error)
{
	return error == NULL ? "no error" : error->message;
}

void qcowfmt_error_free(struct qcowfmt_error *error)
{
	if (error == NULL || error == &out_of_memory)
		return;
	free(error->message);
	free(error);
}
