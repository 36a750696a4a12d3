/* SPDX-License-Identifier: MIT */
/* change.c - choices for random changes of an image */
#include "change.h"

#include <stdio.h>

/* Most of the time not far from what it is, so that partial clusters and the
 * beginning of L2 tables are cut through. */
uint64_t qcf_change_any_size(struct qcf_model *m)
{
	const struct qcf_layer *top = qcf_chain_top(&m->chain);
	uint64_t cs = top->shape.cluster_size;
	uint64_t size = top->oracle.size;
	uint64_t least = 2 * cs + 4096;
	uint64_t most = top->shape.size / 2 * 3;

	if (qcf_rng_percent(&m->rng, 40))
		size = qcf_rng_between(&m->rng, least, most);
	else
		size = qcf_rng_between(&m->rng,
		                       size > 3 * cs ? size - 3 * cs : 0,
		                       size + 3 * cs);
	if (qcf_rng_percent(&m->rng, 30))
		size -= size % cs;
	if (size < least)
		size = least;
	if (size > most)
		size = most;
	return size - size % 512;
}

uint64_t qcf_change_any_granularity(struct qcf_model *m)
{
	return UINT64_C(512) << qcf_rng_below(&m->rng, 10);
}

struct qcf_bitmap_model *qcf_change_any_bitmap(struct qcf_model *m)
{
	if (m->bitmap_count == 0)
		return NULL;
	return &m->bitmaps[qcf_rng_below(&m->rng, (uint64_t)m->bitmap_count)];
}

struct qcf_snapshot_model *qcf_change_any_snapshot(struct qcf_model *m)
{
	if (m->snapshot_count == 0)
		return NULL;
	return &m->snapshots[qcf_rng_below(&m->rng,
	                                   (uint64_t)m->snapshot_count)];
}

void qcf_change_new_name(struct qcf_model *m, char name[16])
{
	snprintf(name, 16, "n%d", m->names++);
}

bool qcf_change_fits_version_2(const struct qcf_model *m)
{
	const struct qcf_layer *top = &m->chain.layers[m->chain.count - 1];
	const struct qcf_shape *s = &top->shape;
	int i;

	for (i = 0; i < m->snapshot_count; i++) {
		if (m->snapshots[i].oracle.size != top->oracle.size)
			return false;
	}
	return !s->extended_l2 && !s->data_file;
}
