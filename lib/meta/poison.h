/* SPDX-License-Identifier: MIT */
/*
 * poison.h - the first failure after which nothing is written any more
 *
 * A failed flush or a violated invariant poisons the image.  From then on every
 * write and flush fails with that first cause; reads go on.  There is no way
 * back but closing and opening again.
 */
#ifndef QCF_POISON_H
#define QCF_POISON_H

#include <stdatomic.h>
#include <stdbool.h>

#include "error.h"
#include "lock.h"
#include "storage.h"

struct qcf_poison {
	atomic_bool set;

	/* guarded by lock */
	struct qcf_mutex lock;
	struct qcowfmt_error *cause;
};

void qcf_poison_init(struct qcf_poison *poison);
void qcf_poison_fini(struct qcf_poison *poison);

/* Remember the cause, unless there is one already.  cause may be NULL if it
 * could not be allocated.  Not taken over. */
void qcf_poison_set(struct qcf_poison *poison,
                    const struct qcowfmt_error *cause);

/* 0, or -EIO and code POISONED with the first cause in the message. */
int qcf_poison_check(struct qcf_poison *poison, struct qcowfmt_error **errp);

/*
 * Flush a storage.  A failure poisons: the kernel may have dropped dirty pages,
 * so a retry would prove nothing (CS-8).
 */
int qcf_flush_or_poison(struct qcowfmt_storage *storage,
                        struct qcf_poison *poison, struct qcowfmt_error **errp);

#endif
