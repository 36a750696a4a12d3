/* SPDX-License-Identifier: MIT */
/* check_compare.c - hold what is stored against the references found */
#include <inttypes.h>

#include "check_compare.h"
#include "check_l2.h"
#include "checked.h"
#include "l1_table.h"
#include "refcount.h"

bool qcf_check_has_block(const struct qcf_checker *c, uint64_t host_cluster)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	const struct qcf_refcounts *r = &c->meta->refcounts;
	uint64_t index = qcf_block_index(g, host_cluster);

	return index < r->entry_count &&
	       qcf_meta_is_cluster_offset(c->meta, r->table[index]) &&
	       qcf_host_cluster(g, r->table[index]) < c->file_clusters &&
	       !qcf_overlap_is_not_only(&c->meta->overlap, QCF_OVERLAP_BLOCK,
	                                qcf_host_cluster(g, r->table[index]));
}

int qcf_check_stored_count(struct qcf_checker *c, uint64_t host_cluster,
                           uint64_t *count, struct qcowfmt_error **errp)
{
	*count = 0;
	if (!qcf_check_has_block(c, host_cluster))
		return 0;
	QCF_GUARD(&c->meta->refcounts.lock);
	return qcf_refcount_read(c->meta, host_cluster, count, errp);
}

static void compare_one(struct qcf_checker *c, uint64_t cluster,
                        uint64_t stored, uint64_t found)
{
	uint64_t offset = qcf_host_offset(&c->meta->geometry, cluster);

	if (stored > 0 || found > 0)
		c->result->image_end_offset =
			offset + c->meta->geometry.cluster_size;
	if (stored < found) {
		qcf_finding(c, QCF_CHECK_REFCOUNT_LOW, offset,
		            "ERROR cluster %" PRIu64 " refcount=%" PRIu64
		            " reference=%" PRIu64,
		            cluster, stored, found);
		c->result->corruptions++;
	} else if (stored > found) {
		qcf_finding(c, QCF_CHECK_LEAK, offset,
		            "Leaked cluster %" PRIu64 " refcount=%" PRIu64
		            " reference=%" PRIu64,
		            cluster, stored, found);
		c->result->leaks++;
	}
}

/* How many clusters from one on have neither a count nor a reference, because
 * there is no chunk and no block for them. */
static uint64_t empty_run(const struct qcf_checker *c, uint64_t cluster)
{
	uint64_t chunk = cluster / QCF_COUNTS_CHUNK;

	if (c->counts.chunks[chunk] != NULL || qcf_check_has_block(c, cluster))
		return 0;
	return QCF_MIN((chunk + 1) * QCF_COUNTS_CHUNK - cluster,
	               (UINT64_C(1) << c->meta->geometry.block_bits) -
	                       qcf_index_in_block(&c->meta->geometry, cluster));
}

int qcf_check_compare_counts(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	for (uint64_t cluster = 0; cluster < c->file_clusters;) {
		uint64_t skip = empty_run(c, cluster);
		uint64_t stored;
		int ret;

		if (skip > 0) {
			cluster += skip;
			continue;
		}
		ret = qcf_check_stored_count(c, cluster, &stored, errp);
		if (ret < 0)
			return ret;
		compare_one(c, cluster, stored,
		            qcf_counts_get(&c->counts, cluster));
		cluster++;
	}
	return 0;
}

/* ------------------------------------------------------------ COPIED flags */

/* The count that decides about a flag. */
static int deciding_count(struct qcf_checker *c, uint64_t host_offset, bool fix,
                          uint64_t *count, struct qcowfmt_error **errp)
{
	uint64_t cluster = qcf_host_cluster(&c->meta->geometry, host_offset);

	if (fix) {
		*count = qcf_counts_get(&c->counts, cluster);
		return 0;
	}
	return qcf_check_stored_count(c, cluster, count, errp);
}

static void report_copied(struct qcf_checker *c, enum qcf_check id,
                          const char *what, uint64_t host_offset,
                          struct qcf_be64 raw, uint64_t count)
{
	qcf_finding(c, id, host_offset,
	            "ERROR OFLAG_COPIED %s=%" PRIx64 " refcount=%" PRIu64, what,
	            qcf_be64_decode(raw), count);
	c->result->corruptions++;
}

static int fix_l2_entry(struct qcf_meta *meta, uint64_t at, struct qcf_be64 raw,
                        struct qcowfmt_error **errp)
{
	uint64_t slice = qcf_align_down(at, meta->geometry.slice_size);
	struct qcf_block *block;
	int ret = qcf_cache_pin(&meta->l2_cache, slice, &block, errp);

	if (ret < 0)
		return ret;
	qcf_mutex_lock(&meta->map_lock);
	qcf_block_set_word(block, (at - slice) / 8, raw);
	qcf_cache_mark_dirty(&meta->l2_cache, block);
	qcf_mutex_unlock(&meta->map_lock);
	qcf_cache_unpin(&meta->l2_cache, block);
	return 0;
}

/*
 * The count that the flag of a mapping follows.  False if there is nothing to
 * hold against each other.
 */
static int data_count(struct qcf_checker *c, const struct qcf_mapping *m,
                      bool fix, bool *known, uint64_t *count,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;

	*known = qcf_mapping_has_cluster(m);
	if (g->data_file) {
		/* Nothing else can refer to it. */
		*count = 1;
		return 0;
	}
	*known = *known &&
	         qcf_meta_is_cluster_offset(c->meta, m->host_offset) &&
	         qcf_host_cluster(g, m->host_offset) < c->file_clusters;
	return *known ? deciding_count(c, m->host_offset, fix, count, errp) : 0;
}

/* In a data file every guest cluster has its fixed place. */
static bool check_place(struct qcf_checker *c, const struct qcf_mapping *m,
                        uint64_t guest_offset, bool fix)
{
	if (!c->meta->geometry.data_file || !qcf_mapping_has_cluster(m) ||
	    m->host_offset == guest_offset)
		return true;
	if (!fix) {
		qcf_finding(c, QCF_CHECK_DATA_FILE_OFFSET, m->host_offset,
		            "ERROR data file offset=0x%" PRIx64
		            " of guest offset 0x%" PRIx64,
		            m->host_offset, guest_offset);
		c->result->corruptions++;
	}
	return false;
}

static int check_l2_entry(struct qcf_checker *c, uint64_t at,
                          struct qcf_l2_raw raw, uint64_t guest_offset,
                          bool fix, struct qcowfmt_error **errp)
{
	struct qcf_mapping m = qcf_l2_entry_decode(&c->meta->geometry, raw);
	uint64_t count = 0;
	bool known = false;
	int ret;

	if (!check_place(c, &m, guest_offset, fix))
		return 0;
	ret = data_count(c, &m, fix, &known, &count, errp);
	if (ret < 0 || !known || m.copied == (count == 1))
		return ret;
	if (!fix) {
		report_copied(c, QCF_CHECK_DATA_COPIED,
		              "data cluster: l2_entry", m.host_offset, raw.word,
		              count);
		return 0;
	}
	return fix_l2_entry(
		c->meta, at,
		(struct qcf_be64){ raw.word.raw ^ htobe64(QCF_ENTRY_COPIED) },
		errp);
}

static int check_l2_table(struct qcf_checker *c, uint64_t l2_offset,
                          uint64_t guest_offset, bool fix,
                          struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	QCF_AUTO_FREE struct qcf_be64 *entries = NULL;
	int ret;

	if (qcf_host_cluster(g, l2_offset) >= c->file_clusters ||
	    (fix && qcf_overlap_is_not_only(&c->meta->overlap, QCF_OVERLAP_L2,
	                                    qcf_host_cluster(g, l2_offset))))
		return 0;
	ret = qcf_check_read_l2(c, l2_offset, &entries, errp);
	for (uint64_t i = 0;
	     ret == 0 && entries != NULL && i < g->l2_entry_count; i++)
		ret = check_l2_entry(c, l2_offset + i * g->l2_entry_size,
		                     qcf_l2_table_get(g, entries, i),
		                     guest_offset + (i << g->cluster_bits), fix,
		                     errp);
	return ret;
}

static int check_l1_entry(struct qcf_checker *c, uint64_t l1_index, bool fix,
                          struct qcowfmt_error **errp)
{
	struct qcf_be64 raw = { atomic_load(&c->meta->l1.entries[l1_index]) };
	struct qcf_l1_entry e = qcf_l1_entry_decode(&c->meta->geometry, raw);
	uint64_t count;
	int ret;

	if (!qcf_meta_is_cluster_offset(c->meta, e.l2_offset))
		return 0;
	ret = deciding_count(c, e.l2_offset, fix, &count, errp);
	if (ret < 0)
		return ret;
	if (e.copied != (count == 1)) {
		if (fix)
			ret = qcf_l1_set_copied(c->meta, l1_index, count == 1,
			                        errp);
		else
			report_copied(c, QCF_CHECK_L2_COPIED,
			              "L2 cluster: l1_entry", e.l2_offset, raw,
			              count);
	}
	if (ret < 0)
		return ret;
	return check_l2_table(c, e.l2_offset,
	                      l1_index << c->meta->geometry.l1_shift, fix,
	                      errp);
}

int qcf_check_copied(struct qcf_checker *c, bool fix,
                     struct qcowfmt_error **errp)
{
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < c->meta->l1.entry_count; i++)
		ret = check_l1_entry(c, i, fix, errp);
	return ret;
}
