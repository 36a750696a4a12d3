/* SPDX-License-Identifier: MIT */
/* poison.c - the first failure after which nothing is written any more */
#include <errno.h>

#include "poison.h"

void qcf_poison_init(struct qcf_poison *poison)
{
	atomic_init(&poison->set, false);
	qcf_mutex_init(&poison->lock, QCF_RANK_POISON);
	poison->cause = NULL;
}

void qcf_poison_fini(struct qcf_poison *poison)
{
	qcowfmt_error_free(poison->cause);
	qcf_mutex_fini(&poison->lock);
}

void qcf_poison_set(struct qcf_poison *poison,
                    const struct qcowfmt_error *cause)
{
	QCF_GUARD(&poison->lock);

	if (atomic_load(&poison->set))
		return;
	poison->cause = qcf_error_copy(cause);
	atomic_store(&poison->set, true);
}

int qcf_poison_check(struct qcf_poison *poison, struct qcowfmt_error **errp)
{
	if (!atomic_load_explicit(&poison->set, memory_order_acquire))
		return 0;
	QCF_GUARD(&poison->lock);
	return qcf_fail(errp, EIO, QCOWFMT_ERR_POISONED,
	                "writing ended after an earlier failure: %s",
	                qcowfmt_error_message(poison->cause));
}

int qcf_flush_or_poison(struct qcowfmt_storage *storage,
                        struct qcf_poison *poison, struct qcowfmt_error **errp)
{
	struct qcowfmt_error *cause = NULL;
	int ret = qcf_storage_flush(storage, &cause);

	if (ret < 0)
		qcf_poison_set(poison, cause);
	qcf_error_move(errp, cause);
	return ret;
}
