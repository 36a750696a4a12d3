/* SPDX-License-Identifier: MIT */
/* quarantine.c - freed host clusters that must not be reused yet */
#include <stdlib.h>

#include "quarantine.h"

void qcf_quarantine_init(struct qcf_quarantine *q)
{
	*q = (struct qcf_quarantine){ 0 };
	qcf_mutex_init(&q->lock, QCF_RANK_QUARANTINE);
}

static void free_list(struct qcf_freed_batch *list)
{
	while (list != NULL) {
		struct qcf_freed_batch *next = list->next;

		free(list);
		list = next;
	}
}

void qcf_quarantine_fini(struct qcf_quarantine *q)
{
	free_list(q->unlinked);
	free_list(q->committing);
	free_list(q->stable);
	qcf_mutex_fini(&q->lock);
}

struct qcf_freed_batch *qcf_freed_batch_new(size_t run_room)
{
	struct qcf_freed_batch *batch =
		calloc(1, sizeof(*batch) + run_room * sizeof(batch->runs[0]));

	if (batch != NULL)
		batch->run_room = run_room;
	return batch;
}

void qcf_freed_batch_add(struct qcf_freed_batch *batch, uint64_t host_cluster,
                         uint64_t count)
{
	struct qcf_cluster_run *last = &batch->runs[batch->run_count];

	if (batch->run_count > 0 &&
	    last[-1].host_cluster + last[-1].count == host_cluster)
		last[-1].count += count;
	else if (batch->run_count < batch->run_room) {
		*last = (struct qcf_cluster_run){ host_cluster, count };
		batch->run_count++;
	}
}

static uint64_t cluster_count(const struct qcf_freed_batch *batch)
{
	uint64_t count = 0;

	for (size_t i = 0; i < batch->run_count; i++)
		count += batch->runs[i].count;
	return count;
}

/* Put list in front of *to. */
static void prepend(struct qcf_freed_batch **to, struct qcf_freed_batch *list)
{
	struct qcf_freed_batch **end = &list;

	while (*end != NULL)
		end = &(*end)->next;
	*end = *to;
	*to = list;
}

void qcf_quarantine_add(struct qcf_quarantine *q, struct qcf_freed_batch *batch)
{
	if (batch == NULL)
		return;
	if (batch->run_count == 0) {
		free(batch);
		return;
	}
	QCF_GUARD(&q->lock);
	atomic_fetch_add(&q->cluster_count, cluster_count(batch));
	atomic_fetch_add(&q->unlinked_count, cluster_count(batch));
	batch->next = q->unlinked;
	q->unlinked = batch;
}

void qcf_quarantine_begin(struct qcf_quarantine *q)
{
	QCF_GUARD(&q->lock);
	prepend(&q->committing, q->unlinked);
	q->unlinked = NULL;
	atomic_store(&q->unlinked_count, 0);
}

void qcf_quarantine_stable(struct qcf_quarantine *q, uint64_t ended_epoch)
{
	QCF_GUARD(&q->lock);

	for (struct qcf_freed_batch *b = q->committing; b != NULL; b = b->next)
		b->epoch = ended_epoch;
	prepend(&q->stable, q->committing);
	q->committing = NULL;
}

void qcf_quarantine_failed(struct qcf_quarantine *q)
{
	QCF_GUARD(&q->lock);
	for (struct qcf_freed_batch *b = q->committing; b != NULL; b = b->next)
		atomic_fetch_add(&q->unlinked_count, cluster_count(b));
	prepend(&q->unlinked, q->committing);
	q->committing = NULL;
}

struct qcf_freed_batch *qcf_quarantine_take(struct qcf_quarantine *q,
                                            uint64_t oldest)
{
	QCF_GUARD(&q->lock);
	struct qcf_freed_batch *taken = NULL;
	struct qcf_freed_batch **at = &q->stable;

	while (*at != NULL) {
		struct qcf_freed_batch *batch = *at;

		if (batch->epoch >= oldest) {
			at = &batch->next;
			continue;
		}
		*at = batch->next;
		batch->next = taken;
		taken = batch;
		atomic_fetch_sub(&q->cluster_count, cluster_count(batch));
	}
	return taken;
}
