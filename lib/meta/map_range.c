/* SPDX-License-Identifier: MIT */
/* map_range.c - from L2 entries to runs of equal bytes */
#include "map_range.h"

/* Cut a run at offset to the subclusters that are like the first one. */
static void cut_to_subclusters(const struct qcf_geometry *g,
                               const struct qcf_mapping *m, uint64_t offset,
                               struct qcf_run *run)
{
	uint32_t i = qcf_subcluster_index(g, offset);
	bool allocated = (m->allocated >> i & 1) != 0;
	bool zero = (m->zero >> i & 1) != 0;
	uint32_t alike = (allocated ? m->allocated : ~m->allocated) &
	                 (zero ? m->zero : ~m->zero);
	uint32_t others = ~alike >> i;
	uint32_t count = others == 0 ? g->subcluster_count - i
	                             : (uint32_t)__builtin_ctz(others);

	run->length = ((uint64_t)(i + count) << g->subcluster_bits) - offset;
	if (zero)
		run->kind = run->kind == QCF_DATA ? QCF_ZERO_ALLOCATED
		                                  : QCF_ZERO_PLAIN;
	else if (!allocated)
		*run = (struct qcf_run){ .kind = QCF_UNALLOCATED,
			                 .length = run->length };
}

struct qcf_run qcf_mapping_piece(const struct qcf_geometry *g,
                                 const struct qcf_mapping *m, uint64_t offset)
{
	struct qcf_run run = {
		.kind = m->kind,
		.length = g->cluster_size - offset,
		.host_offset = m->host_offset,
		.compressed_len = m->compressed_len,
		.copied = m->copied,
	};

	if (qcf_mapping_has_cluster(m))
		run.host_offset += offset;
	if (g->extended_l2 && m->kind != QCF_COMPRESSED)
		cut_to_subclusters(g, m, offset, &run);
	return run;
}

/*
 * Append the pieces of one cluster from offset on; false if one does not fit to
 * the run, which then ends before it.
 */
static bool append_cluster(const struct qcf_geometry *g,
                           const struct qcf_mapping *m, uint64_t offset,
                           struct qcf_run *run)
{
	while (offset < g->cluster_size) {
		struct qcf_run piece = qcf_mapping_piece(g, m, offset);

		if (!qcf_run_append(run, &piece))
			return false;
		offset += piece.length;
	}
	return true;
}

/*
 * How many entries go on where the first one ends: the same word, but for the
 * offset.  They need not be decoded or checked, as long as their offsets stay
 * below the limit: the first was.
 */
static uint64_t count_alike(const struct qcf_geometry *g,
                            const struct qcf_l2_raw *entries, uint64_t count,
                            const struct qcf_mapping *first)
{
	uint64_t step = qcf_mapping_has_cluster(first) ? g->cluster_size : 0;
	uint64_t word = qcf_be64_decode(entries[0].word);
	uint64_t i = 1;

	if (g->version == 1 || g->extended_l2 || first->kind == QCF_COMPRESSED)
		return 0;
	if (step != 0)
		count = QCF_MIN(count,
		                (QCF_HOST_OFFSET_LIMIT - first->host_offset) /
		                        step);
	while (i < count && qcf_be64_decode(entries[i].word) == word + i * step)
		i++;
	return i - 1;
}

uint32_t qcf_map_range(const struct qcf_geometry *g,
                       const struct qcf_l2_raw *entries, uint64_t count,
                       uint64_t offset, uint64_t len, struct qcf_run *run)
{
	*run = (struct qcf_run){ 0 };
	for (uint64_t i = 0; i < count && run->length < len; i++) {
		struct qcf_mapping m = qcf_l2_entry_decode(g, entries[i]);
		uint32_t corruption = qcf_mapping_check(g, entries[i]);

		if (corruption != 0) {
			if (i == 0)
				run->host_offset = m.host_offset;
			return i == 0 ? corruption : 0;
		}
		if (!append_cluster(g, &m, i == 0 ? offset : 0, run))
			break;
		if (i == 0) {
			i = count_alike(g, entries, count, &m);
			run->length += i * g->cluster_size;
		}
	}
	run->length = QCF_MIN(run->length, len);
	return 0;
}

bool qcf_run_append(struct qcf_run *run, const struct qcf_run *next)
{
	bool has_offset =
		run->kind == QCF_DATA || run->kind == QCF_ZERO_ALLOCATED;

	if (run->length == 0) {
		*run = *next;
		return true;
	}
	if (run->kind != next->kind || run->kind == QCF_COMPRESSED)
		return false;
	if (has_offset && (run->copied != next->copied ||
	                   run->host_offset + run->length != next->host_offset))
		return false;
	run->length += next->length;
	return true;
}
