/* SPDX-License-Identifier: MIT */
/*
 * check_copied.c - the COPIED flags of the active tables
 *
 * A flag says that the refcount is exactly 1.  Tables and clusters that snapshots
 * alone refer to have no flag to be looked at.
 *
 * Where no count is wrong, none is above 1, and the walk has met no entry without
 * its flag, every flag is right, and tables need not be read a second time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "check_copied.h"
#include "check_l2.h"
#include "check_refs.h"
#include "check_walk.h"
#include "checked.h"

/* The pass through the tables. */
struct pass {
	struct qcf_checker *c;
	const struct qcf_copied_rules *rules;
	struct qcf_be64 *l1; /* owned; NULL if there is none to be read */
	uint64_t l1_count;
	struct qcf_l2_reader reader;
};

static void tell(struct pass *p, enum qcf_check id, uint64_t at, bool fixed,
                 uint64_t n, const char *what, struct qcf_be64 raw,
                 uint64_t count)
{
	qcf_finding_fixable(p->c, id, at, fixed, n,
	                    "OFLAG_COPIED %s=%" PRIx64 " refcount=%" PRIu64,
	                    what, qcf_be64_decode(raw), count);
}

/* In a data file every guest cluster has its fixed place. */
static bool check_place(struct pass *p, uint64_t at,
                        const struct qcf_mapping *m, uint64_t guest_offset)
{
	if (!p->c->geometry->data_file || !qcf_mapping_has_cluster(m) ||
	    m->host_offset == guest_offset)
		return true;
	qcf_check_report(p->c, QCF_CHECK_DATA_FILE_OFFSET, at, 1,
	                 "ERROR data file offset=0x%" PRIx64
	                 " of guest offset 0x%" PRIx64,
	                 m->host_offset, guest_offset);
	return false;
}

static int data_count(struct pass *p, const struct qcf_mapping *m,
                      uint64_t *count, struct qcowfmt_error **errp)
{
	*count = 1; /* nothing else can refer to a data file */
	if (p->c->geometry->data_file)
		return 0;
	return p->rules->count(p->c,
	                       qcf_host_cluster(p->c->geometry, m->host_offset),
	                       count, errp);
}

/* Whether a table is nothing else, so that it may be written to. */
static bool is_table_only(struct pass *p, const struct qcf_l2_ref *ref)
{
	const struct qcf_geometry *g = p->c->geometry;

	return qcf_is_aligned(ref->offset, g->cluster_size) &&
	       qcf_counts_get(&p->c->counts,
	                      qcf_host_cluster(g, ref->offset)) == ref->names;
}

static int check_l2_entry(struct pass *p, const struct qcf_l2_ref *ref,
                          uint64_t i, struct qcf_l2_raw raw,
                          uint64_t guest_offset, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = p->c->geometry;
	struct qcf_mapping m = qcf_l2_entry_decode(g, raw);
	uint64_t at = ref->offset + i * g->l2_entry_size;
	bool fix = p->rules->fix_l2 != NULL;
	uint64_t count = 0;
	int ret;

	if (!qcf_mapping_has_cluster(&m) ||
	    (p->c->fix_all && qcf_check_is_bad_zero(p->c, &m)) ||
	    !check_place(p, at, &m, guest_offset))
		return 0;
	ret = data_count(p, &m, &count, errp);
	if (ret < 0 || m.copied == (count == 1))
		return ret;
	fix = fix && is_table_only(p, ref);
	tell(p, QCF_CHECK_DATA_COPIED, at, fix, ref->active,
	     "data cluster: l2_entry", raw.word, count);
	return fix ? p->rules->fix_l2(p->c, at, raw.word, errp) : 0;
}

/* How many entries from words[0] on need not be looked at, because their flags
 * are those of the references found. */
static uint64_t right_flags(struct pass *p, const struct qcf_be64 *words,
                            uint64_t max)
{
	const struct qcf_geometry *g = p->c->geometry;
	uint64_t word = qcf_be64_decode(words[0]);
	uint64_t cluster = qcf_host_cluster(g, word & QCF_ENTRY_OFFSET);
	uint64_t len;
	uint64_t n = 0;

	if (!p->rules->as_found || g->data_file ||
	    !qcf_check_is_plain(p->c, word))
		return 0;
	len = qcf_check_plain_run(p->c, words, max);
	while (n < len) {
		uint64_t bit = (cluster + n) % QCF_COUNT_GROUP;
		uint64_t part = QCF_MIN(len - n, QCF_COUNT_GROUP - bit);
		uint64_t mask = UINT64_MAX >> (QCF_COUNT_GROUP - part) << bit;
		uint64_t ones = qcf_counts_ones(
			&p->c->counts, (cluster + n) / QCF_COUNT_GROUP);

		if ((ones & mask) !=
		    ((word & QCF_ENTRY_COPIED) != 0 ? mask : 0))
			break;
		n += part;
	}
	return n;
}

static int check_table(struct pass *p, struct qcf_l2_ref *ref,
                       uint64_t guest_offset, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = p->c->geometry;
	uint64_t step = g->l2_entry_size / 8;
	const struct qcf_be64 *words = NULL;
	int ret = qcf_l2_reader_get(&p->reader, &ref, 1, &words, errp);
	uint64_t i = 0;

	while (ret == 0 && words != NULL && i < g->l2_entry_count) {
		uint64_t right = 1;

		if (words[i * step].raw != 0)
			right = right_flags(p, words + i * step,
			                    g->l2_entry_count - i);
		if (right == 0)
			ret = check_l2_entry(
				p, ref, i, qcf_l2_table_get(g, words, i),
				guest_offset + (i << g->cluster_bits), errp);
		i += QCF_MAX(right, UINT64_C(1));
	}
	return ret;
}

/* The same for the cluster of an entry of the L1 table. */
static bool is_l1_only(struct pass *p, uint64_t at)
{
	return qcf_counts_get(&p->c->counts,
	                      qcf_host_cluster(p->c->geometry, at)) == 1;
}

static int check_l1_entry(struct pass *p, uint64_t index,
                          struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = p->c->geometry;
	struct qcf_be64 raw = p->l1[index];
	struct qcf_l1_entry e = qcf_l1_entry_decode(g, raw);
	uint64_t at = p->c->header->l1_table_offset + index * 8;
	bool fix = p->rules->fix_l1 != NULL && is_l1_only(p, at);
	uint64_t count = 0;
	char what[64];
	int ret;

	if (e.l2_offset == 0)
		return 0;
	ret = p->rules->count(p->c, qcf_host_cluster(g, e.l2_offset), &count,
	                      errp);
	if (ret < 0 || e.copied == (count == 1))
		return ret;
	(void)snprintf(what, sizeof(what),
	               "L2 cluster: l1_index=%" PRIu64 " l1_entry", index);
	tell(p, QCF_CHECK_L2_COPIED, at, fix, 1, what, raw, count);
	return fix ? p->rules->fix_l1(p->c, index, count == 1, errp) : 0;
}

/* Each table once, at the first entry that names it. */
static int check_l1(struct pass *p, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = p->c->geometry;
	int ret = 0;

	for (size_t i = 0; i < p->c->table_count; i++)
		p->c->tables[i].walked = false;
	for (uint64_t i = 0; ret == 0 && i < p->l1_count; i++) {
		struct qcf_l1_entry e = qcf_l1_entry_decode(g, p->l1[i]);
		struct qcf_l2_ref *ref =
			qcf_check_find_table(p->c, e.l2_offset);

		ret = check_l1_entry(p, i, errp);
		if (ret < 0 || ref == NULL || ref->walked)
			continue;
		ref->walked = true;
		ret = check_table(p, ref, i << g->l1_shift, errp);
	}
	return ret;
}

static int read_l1(struct pass *p, struct qcowfmt_error **errp)
{
	const struct qcf_header *h = p->c->header;
	int ret;

	if (h->l1_size == 0 || !qcf_check_in_file(p->c, h->l1_table_offset))
		return 0;
	ret = qcf_check_read_table(p->c, "L1 table", h->l1_table_offset,
	                           (uint64_t)h->l1_size * 8, &p->l1, errp);
	p->l1_count = p->l1 == NULL ? 0 : h->l1_size;
	return ret;
}

int qcf_check_copied(struct qcf_checker *c,
                     const struct qcf_copied_rules *rules,
                     struct qcowfmt_error **errp)
{
	struct pass p = { .c = c, .rules = rules };
	int ret;

	if (!c->need_flags && !c->mismatch && !c->counts.shared &&
	    !c->geometry->data_file)
		return 0;
	ret = read_l1(&p, errp);
	if (ret == 0)
		ret = qcf_l2_reader_init(&p.reader, c, errp);
	if (ret == 0)
		ret = check_l1(&p, errp);
	qcf_l2_reader_fini(&p.reader);
	free(p.l1);
	return ret;
}
