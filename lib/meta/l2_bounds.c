/* SPDX-License-Identifier: MIT */
/* l2_bounds.c - what going through all L2 tables may cost */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "l1_table.h"
#include "zeros.h"

/* ------------------------------------------------------------------ repeats */

static int by_value(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

/* Offsets of all L2 tables, in ascending order. */
static int sorted_offsets(struct qcf_meta *meta, uint64_t *offsets,
                          size_t *count, struct qcowfmt_error **errp)
{
	bool sorted = true;

	*count = 0;
	for (uint64_t i = 0; i < meta->l1.entry_count; i++) {
		struct qcf_be64 raw;
		uint64_t offset;
		int ret = qcf_l1_read_entry(meta, i, &raw, errp);

		if (ret < 0)
			return ret;
		offset = qcf_l1_entry_decode(&meta->geometry, raw).l2_offset;
		if (offset == 0)
			continue;
		sorted = sorted &&
		         (*count == 0 || offsets[*count - 1] <= offset);
		offsets[(*count)++] = offset;
	}
	if (!sorted)
		qsort(offsets, *count, sizeof(*offsets), by_value);
	return 0;
}

static int refuse_repeats(const struct qcf_meta *meta, uint64_t repeats,
                          uint64_t offset, struct qcowfmt_error **errp)
{
	return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
	                "%s: %" PRIu64 " entries of the L1 table name an L2 "
	                "table that another one names, too, such as 0x%" PRIx64
	                "; more than %" PRIu64
	                " guest clusters that are mapped so are not looked at",
	                meta->storage->name, repeats, offset, QCF_MAX_REPEATED);
}

int qcf_l2_check_repeats(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint64_t *offsets = NULL;
	uint64_t per_table = meta->geometry.l2_entry_count;
	uint64_t repeats = 0;
	uint64_t repeated = 0;
	size_t count;
	int ret;

	if (meta->l1.entry_count <= QCF_MAX_REPEATED / per_table ||
	    atomic_load(&meta->l2_bounds.few_repeats))
		return 0;
	offsets = calloc(meta->l1.entry_count, sizeof(*offsets));
	if (offsets == NULL)
		return qcf_fail_oom(errp);
	ret = sorted_offsets(meta, offsets, &count, errp);
	if (ret < 0)
		return ret;
	for (size_t i = 1; i < count; i++) {
		if (offsets[i - 1] != offsets[i])
			continue;
		repeats++;
		repeated = offsets[i];
	}
	if (repeats > QCF_MAX_REPEATED / per_table)
		return refuse_repeats(meta, repeats, repeated, errp);
	atomic_store(&meta->l2_bounds.few_repeats, true);
	return 0;
}

/* -------------------------------------------------------------------- holes */

/* To the end of the file, so that a hole is asked for once. */
static void ask_for_hole(struct qcf_meta *meta, uint64_t host_offset)
{
	uint64_t size = 0;
	uint64_t run = 0;

	if (qcf_storage_get_size(meta->storage, &size, NULL) < 0 ||
	    host_offset >= size ||
	    qcf_storage_extent(meta->storage, host_offset, size - host_offset,
	                       &run, NULL) != QCOWFMT_STORAGE_HOLE)
		return;
	QCF_GUARD(&meta->map_lock);
	meta->l2_bounds.hole = host_offset;
	meta->l2_bounds.hole_end = host_offset + run;
	atomic_store(&meta->l2_bounds.has_hole, true);
}

void qcf_l2_note_zeros(struct qcf_meta *meta, uint64_t host_offset,
                       const void *bytes, size_t len)
{
	if (meta->writable || !qcf_is_zero(bytes, len))
		return;
	if (atomic_fetch_add(&meta->l2_bounds.zeros, len) + len >=
	    QCF_ASK_FOR_HOLES_FROM)
		ask_for_hole(meta, host_offset);
}

bool qcf_l2_is_in_hole(struct qcf_meta *meta, uint64_t host_offset,
                       uint64_t len, uint64_t *end)
{
	if (!atomic_load_explicit(&meta->l2_bounds.has_hole,
	                          memory_order_relaxed))
		return false;
	QCF_GUARD(&meta->map_lock);
	*end = meta->l2_bounds.hole_end;
	return host_offset >= meta->l2_bounds.hole && host_offset < *end &&
	       len <= *end - host_offset;
}
