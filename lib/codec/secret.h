/* SPDX-License-Identifier: MIT */
/*
 * secret.h - memory for passphrases and keys
 *
 * Pages of their own: locked into memory, left out of core dumps, and wiped
 * before they go back.  Where the limit on locked memory is reached the pages
 * are used without the lock, so they could then be swapped out.
 *
 * What libgcrypt derives from a key (its key schedules) lies in memory of its
 * own, which it wipes but neither locks nor keeps out of core dumps.
 */
#ifndef QCF_SECRET_H
#define QCF_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct qcf_secret {
	uint8_t *bytes; /* not NULL once initialised, even if len is 0 */
	size_t len;
	size_t map_len; /* whole pages */
};

/* len zero bytes.  On failure *secret needs no qcf_secret_fini(). */
int qcf_secret_init(struct qcf_secret *secret, size_t len,
                    struct qcowfmt_error **errp);

/* A copy of len bytes. */
int qcf_secret_copy(struct qcf_secret *secret, const void *bytes, size_t len,
                    struct qcowfmt_error **errp);

/* Wipe and give back.  A zeroed structure is allowed, and is left behind. */
void qcf_secret_fini(struct qcf_secret *secret);

#define QCF_AUTO_SECRET QCF_CLEANUP(qcf_secret_fini)

#endif
