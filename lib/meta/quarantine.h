/* SPDX-License-Identifier: MIT */
/*
 * quarantine.h - freed host clusters that must not be reused yet (CS-5)
 *
 * A batch of clusters goes through these states:
 *
 *   unlinked    the mapping that dropped them is published in memory
 *   committing  writeback is making that mapping stable
 *   stable      it is; requests of an older epoch may still use the clusters
 *   taken       no request uses them: the caller discards the host space, then
 *               lowers the refcounts, which makes them free
 *
 * A batch is allocated before its mapping is published, so that publishing
 * cannot fail.
 */
#ifndef QCF_QUARANTINE_H
#define QCF_QUARANTINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lock.h"

struct qcf_cluster_run {
	uint64_t host_cluster;
	uint64_t count;
};

struct qcf_freed_batch {
	struct qcf_freed_batch *next;
	uint64_t epoch; /* stable: the epoch that ended when it became so */
	bool discard;   /* the host space may be given back */
	bool metadata;  /* L2 tables: cached slices must be forgotten */
	size_t run_count;
	size_t run_room;
	struct qcf_cluster_run runs[];
};

struct qcf_quarantine {
	_Atomic uint64_t cluster_count;  /* in any state */
	_Atomic uint64_t unlinked_count; /* of those, in state unlinked */

	/* guarded by lock */
	struct qcf_mutex lock;
	struct qcf_freed_batch *unlinked;
	struct qcf_freed_batch *committing;
	struct qcf_freed_batch *stable;
};

void qcf_quarantine_init(struct qcf_quarantine *q);
void qcf_quarantine_fini(struct qcf_quarantine *q);

/* An empty batch with room for some runs; NULL for lack of memory. */
struct qcf_freed_batch *qcf_freed_batch_new(size_t run_room);

/* Add clusters; the batch has room. */
void qcf_freed_batch_add(struct qcf_freed_batch *batch, uint64_t host_cluster,
                         uint64_t count);

/* Hand over a batch whose mapping has just been published.  Frees an empty
 * one; NULL is allowed. */
void qcf_quarantine_add(struct qcf_quarantine *q,
                        struct qcf_freed_batch *batch);

/* unlinked -> committing, in the critical section that copies the mappings. */
void qcf_quarantine_begin(struct qcf_quarantine *q);

/* committing -> stable, or back to unlinked. */
void qcf_quarantine_stable(struct qcf_quarantine *q, uint64_t ended_epoch);
void qcf_quarantine_failed(struct qcf_quarantine *q);

/* Take the stable batches of epochs before oldest; a list to be freed by the
 * caller, one by one. */
struct qcf_freed_batch *qcf_quarantine_take(struct qcf_quarantine *q,
                                            uint64_t oldest);

static inline uint64_t qcf_quarantine_unlinked(struct qcf_quarantine *q)
{
	return atomic_load_explicit(&q->unlinked_count, memory_order_relaxed);
}

/* Whether there may be something to take. */
static inline bool qcf_quarantine_has_stable(struct qcf_quarantine *q)
{
	return atomic_load_explicit(&q->cluster_count, memory_order_relaxed) >
	       qcf_quarantine_unlinked(q);
}

#endif
