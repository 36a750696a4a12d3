/* SPDX-License-Identifier: MIT */
/* writeback.h - the order in which metadata reaches storage */
#ifndef QCF_WRITEBACK_H
#define QCF_WRITEBACK_H

#include "meta.h"

/*
 * Make everything published before the call stable.  Concurrent callers share
 * commits.  A failed write of metadata may be tried again; a failed flush
 * poisons the image.  Called with no lock held.
 */
int qcf_writeback_commit(struct qcf_meta *meta, struct qcowfmt_error **errp);

/*
 * Whether so much is dirty or in quarantine that a writer should commit before
 * it goes on.
 */
bool qcf_writeback_is_due(struct qcf_meta *meta);

/*
 * Commit, free what is in quarantine and store all refcounts, also lazy ones.
 * No request is running.
 *
 * Freeing clusters dirties counts, and storing those may move the refcount
 * table and free its old place: that ends, because a table moves only when it
 * has grown.
 */
int qcf_writeback_drain(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* Drain, and clear the dirty bit if lazy refcounts set it. */
int qcf_writeback_finish(struct qcf_meta *meta, struct qcowfmt_error **errp);

#endif
