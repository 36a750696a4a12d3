/* SPDX-License-Identifier: MIT */
/*
 * check_l2.c - what the entries of an L2 table refer to
 *
 * A cluster that an entry names counts as referenced even if the rest of the
 * entry makes no sense, so that no repair frees it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "check_l2.h"
#include "check_refs.h"
#include "checked.h"

int qcf_check_read_l2(struct qcf_checker *c, uint64_t l2_offset,
                      struct qcf_be64 **entries, struct qcowfmt_error **errp)
{
	return qcf_check_read_table(c, "L2", l2_offset,
	                            c->meta->geometry.cluster_size, entries,
	                            errp);
}

/* Fragmentation counters of the active tree. */
struct active_stats {
	bool active;
	uint64_t expected; /* host offset that would follow; 0 = no opinion */
};

static void count_guest_cluster(struct qcf_checker *c, struct active_stats *s,
                                const struct qcf_mapping *m)
{
	uint64_t cluster_size = c->meta->geometry.cluster_size;

	if (!s->active || m->kind == QCF_UNALLOCATED ||
	    m->kind == QCF_ZERO_PLAIN)
		return;
	c->result->allocated_clusters++;
	if (m->kind == QCF_COMPRESSED) {
		c->result->compressed_clusters++;
		c->result->fragmented_clusters++;
		return;
	}
	if (s->expected != 0 && m->host_offset != s->expected)
		c->result->fragmented_clusters++;
	s->expected = m->host_offset + cluster_size;
}

static void report(struct qcf_checker *c, enum qcf_check id, uint64_t at,
                   const char *what, struct qcf_l2_raw raw)
{
	qcf_finding(c, id, at, "ERROR %s, entry=0x%" PRIx64, what,
	            qcf_be64_decode(raw.word));
	c->result->corruptions++;
}

static void check_bitmap(struct qcf_checker *c, uint64_t at,
                         const struct qcf_mapping *m, struct qcf_l2_raw raw)
{
	if (qcf_mapping_check(&c->meta->geometry, raw) !=
	    QCF_CHECK_SUBCLUSTER_BITMAP)
		return;
	if (m->kind == QCF_COMPRESSED)
		report(c, QCF_CHECK_SUBCLUSTER_BITMAP, at,
		       "compressed cluster with non-zero subcluster allocation "
		       "bitmap",
		       raw);
	else if (qcf_mapping_has_cluster(m))
		report(c, QCF_CHECK_SUBCLUSTER_BITMAP, at,
		       "allocated cluster has corrupted subcluster allocation "
		       "bitmap",
		       raw);
	else
		report(c, QCF_CHECK_SUBCLUSTER_BITMAP, at,
		       "unallocated cluster has non-zero subcluster allocation "
		       "map",
		       raw);
}

static int walk_compressed(struct qcf_checker *c, uint64_t at,
                           const struct qcf_mapping *m, struct qcf_l2_raw raw,
                           uint32_t n, struct qcowfmt_error **errp)
{
	if (m->copied) {
		qcf_finding(c, QCF_CHECK_COMPRESSED_COPIED, at,
		            "ERROR: coffset=0x%" PRIx64
		            ": copied flag must never be set for compressed "
		            "clusters",
		            m->host_offset);
		c->result->corruptions++;
	}
	/* Where it would be in which file, nobody can tell. */
	if (c->meta->geometry.data_file) {
		report(c, QCF_CHECK_DATA_FILE_COMPRESSED, at,
		       "compressed cluster with data file", raw);
		return 0;
	}
	return qcf_check_count_range(
		c, qcf_align_down(m->host_offset, QCF_SECTOR_SIZE),
		m->compressed_len + m->host_offset % QCF_SECTOR_SIZE, n, errp);
}

/* Guest data in a data file is not counted. */
static int walk_cluster(struct qcf_checker *c, const struct qcf_mapping *m,
                        uint32_t n, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;

	if (g->data_file && m->host_offset == 0)
		return 0;
	(void)qcf_check_offset(c, QCF_CHECK_DATA_OFFSET, "Cluster",
	                       m->host_offset);
	return g->data_file ? 0
	                    : qcf_check_count_range(c, m->host_offset,
	                                            g->cluster_size, n, errp);
}

static int walk_entry(struct qcf_checker *c, uint64_t at, struct qcf_l2_raw raw,
                      uint32_t n, struct active_stats *stats,
                      struct qcowfmt_error **errp)
{
	struct qcf_mapping m = qcf_l2_entry_decode(&c->meta->geometry, raw);

	if (m.reserved != 0)
		qcf_check_report_reserved(c, QCF_CHECK_L2_RESERVED, "L2", at,
		                          m.reserved);
	if (c->meta->geometry.extended_l2)
		check_bitmap(c, at, &m, raw);
	count_guest_cluster(c, stats, &m);
	if (m.kind == QCF_COMPRESSED)
		return walk_compressed(c, at, &m, raw, n, errp);
	return qcf_mapping_has_cluster(&m) ? walk_cluster(c, &m, n, errp) : 0;
}

int qcf_check_walk_l2(struct qcf_checker *c, uint64_t l2_offset, uint32_t n,
                      bool active, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	QCF_AUTO_FREE struct qcf_be64 *entries = NULL;
	struct active_stats stats = { .active = active };
	int ret = qcf_check_count_range(c, l2_offset, g->cluster_size, n, errp);

	if (ret == 0 && qcf_host_cluster(g, l2_offset) < c->file_clusters)
		ret = qcf_check_read_l2(c, l2_offset, &entries, errp);
	for (uint64_t i = 0;
	     ret == 0 && entries != NULL && i < g->l2_entry_count; i++)
		ret = walk_entry(c, l2_offset + i * g->l2_entry_size,
		                 qcf_l2_table_get(g, entries, i), n, &stats,
		                 errp);
	return ret;
}
