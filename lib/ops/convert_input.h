/* SPDX-License-Identifier: MIT */
/*
 * convert_input.h - a raw disk that comes through a function of the caller's,
 * from its first byte to its last
 *
 * Its length is known only at its end.  One thread at a time takes bytes.
 */
#ifndef QCF_CONVERT_INPUT_H
#define QCF_CONVERT_INPUT_H

#include <stdatomic.h>

#include "error.h"

/* No disk is larger: the last whole sector before INT64_MAX. */
#define QCF_INPUT_MAX_SIZE ((uint64_t)INT64_MAX & ~UINT64_C(511))

struct qcf_input {
	qcowfmt_input_callback read;
	void *opaque;
	uint64_t position;  /* bytes taken so far */
	atomic_bool at_end; /* there are no more */
};

/*
 * Take up to len bytes, less only at the end; *got is rounded up to a sector,
 * the rest of which gets zeros.  len is a multiple of one.
 */
int qcf_input_take(struct qcf_input *input, void *buffer, uint64_t len,
                   uint64_t *got, struct qcowfmt_error **errp);

/* -EINVAL if there is more than was asked for. */
int qcf_input_check_end(struct qcf_input *input, struct qcowfmt_error **errp);

#endif
