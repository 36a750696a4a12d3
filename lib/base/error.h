/* SPDX-License-Identifier: MIT */
/*
 * error.h - raising errors and adding context on the way up
 *
 * One line raises an error and returns the value to return:
 *
 *     return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "offset %...", ...);
 *
 * and one line adds context to an error raised below:
 *
 *     return qcf_wrap(errp, "reading the snapshot table", ret);
 *
 * errp may be NULL everywhere: then only the returned value tells.
 */
#ifndef QCF_ERROR_H
#define QCF_ERROR_H

#include <errno.h>
#include <stdint.h>

#include "auto.h"
#include "qcowfmt.h"

struct qcowfmt_error {
	int code;               /* enum qcowfmt_err */
	int err;                /* positive errno */
	uint32_t corruption_id; /* 0 unless code is CORRUPT */
	uint64_t guest_offset;  /* QCOWFMT_NO_OFFSET if none */
	uint64_t host_offset;   /* QCOWFMT_NO_OFFSET if none */
	char *message;
};

/* Raise an error; returns -err.  Text is cleaned of control characters. */
int qcf_fail(struct qcowfmt_error **errp, int err, int code, const char *fmt,
             ...) QCF_PRINTF(4, 5);

/* The same; ": " and the text of err follow the formatted words. */
int qcf_fail_because(struct qcowfmt_error **errp, int err, int code,
                     const char *fmt, ...) QCF_PRINTF(4, 5);

/* The same for a failed system call: the code follows from err. */
int qcf_fail_sys(struct qcowfmt_error **errp, int err, const char *fmt, ...)
	QCF_PRINTF(3, 4);

/* Make an error the static out-of-memory object, unless there is one. */
void qcf_error_set_oom(struct qcowfmt_error **errp);

/* Raise an out-of-memory error; cannot itself fail. */
static inline int qcf_fail_oom(struct qcowfmt_error **errp)
{
	qcf_error_set_oom(errp);
	return -ENOMEM;
}

/*
 * Put "context: " before the message of *errp, if there is one.  Returns ret,
 * which is the failure value being passed up.
 */
int qcf_wrap(struct qcowfmt_error **errp, const char *context, int ret);
int qcf_wrapf(struct qcowfmt_error **errp, int ret, const char *fmt, ...)
	QCF_PRINTF(3, 4);

/* Record where an error happened, if there is an error and no place yet. */
void qcf_error_at_host(struct qcowfmt_error **errp, uint64_t host_offset);
void qcf_error_at_guest(struct qcowfmt_error **errp, uint64_t guest_offset);

/* Hand an error over to errp, or free it if errp has one or is NULL. */
void qcf_error_move(struct qcowfmt_error **errp, struct qcowfmt_error *error);

/* A copy, for an error that several callers receive; NULL gives NULL. */
struct qcowfmt_error *qcf_error_copy(const struct qcowfmt_error *error);

static inline void qcf_auto_error_free(struct qcowfmt_error **variable)
{
	qcowfmt_error_free(*variable);
}

#define QCF_AUTO_ERROR QCF_CLEANUP(qcf_auto_error_free)

#endif
