/* SPDX-License-Identifier: MIT */
/*
 * recount.c - changing the counts of everything that an L1 table reaches
 *
 * The counts are held in windows of bounded size (count_window.h).  For each
 * window the L2 tables are read, and of each entry is done what concerns
 * clusters counted in the window.  From the first time on each table is known to
 * refer to a certain range of clusters, so that later windows need to read only
 * those tables that have something to do with them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "check_id.h"
#include "checked.h"
#include "count_window.h"
#include "meta_protect.h"
#include "meta_tables.h"
#include "recount.h"

/* L2 tables that follow each other in the file are read together. */
#define MAX_RUN (UINT64_C(1) << 20)

struct pass {
	struct qcf_meta *meta;
	const struct qcf_recount *how;
	struct qcf_tree *tree;
	struct qcf_count_window *window; /* NULL: counts do not matter */
	bool only_try;
	uint8_t *buffer; /* tables, one after another */
	size_t room;     /* in tables */
};

/* The table being visited. */
struct visit {
	struct qcf_tree_table *table;
	struct qcf_be64 *words;
	/* Bytes [dirty_start, dirty_end) were changed. */
	size_t dirty_start;
	size_t dirty_end;
	/* Host clusters seen. */
	uint64_t lowest;
	uint64_t highest;
};

/* ------------------------------------------------------------------ counts */

static int overflow(const struct pass *p, uint64_t host_cluster,
                    struct qcowfmt_error **errp)
{
	return qcf_fail(errp, EOVERFLOW, QCOWFMT_ERR_LIMIT,
	                "host cluster %" PRIu64 " would have more than %" PRIu64
	                " references, which is the most that %" PRIu32
	                " refcount bits can count",
	                host_cluster, p->meta->geometry.refcount_max,
	                p->meta->geometry.refcount_bits);
}

/* What became of a reference to a cluster. */
struct found {
	bool mine; /* it concerns this window; without one everything does */
	uint64_t count; /* only in a window */
	struct qcf_count_place at;
};

/* Add to a count in the window. */
static int change_count(const struct pass *p, uint64_t host_cluster,
                        uint32_t times, struct found *f,
                        struct qcowfmt_error **errp)
{
	uint64_t max = p->meta->geometry.refcount_max;

	f->count = qcf_window_get(p->window, &f->at);
	if (p->how->change == 0)
		return 0;
	if (f->count == 0 || (p->how->change < 0 && f->count < times))
		return qcf_corrupt(
			errp,
			p->how->change < 0 ? QCF_CHECK_REFCOUNT_UNDERFLOW
					   : QCF_CHECK_REFCOUNT_LOW,
			qcf_host_offset(&p->meta->geometry, host_cluster));
	if (p->how->change > 0 && times > max - f->count)
		return overflow(p, host_cluster, errp);
	f->count += p->how->change > 0 ? times : -(uint64_t)times;
	qcf_window_set(p->window, &f->at, f->count);
	return 0;
}

/* A reference to a cluster that is not counted in this window. */
static int check_elsewhere(const struct pass *p, uint64_t host_cluster,
                           struct qcowfmt_error **errp)
{
	if (p->how->change == 0 ||
	    qcf_window_is_counted(p->window, host_cluster))
		return 0;
	return qcf_corrupt(errp, QCF_CHECK_REFCOUNT_LOW,
	                   qcf_host_offset(&p->meta->geometry, host_cluster));
}

/* Account for a reference to a cluster. */
static int visit_cluster(const struct pass *p, struct visit *v,
                         uint64_t host_cluster, struct found *f,
                         struct qcowfmt_error **errp)
{
	*f = (struct found){ .mine = true };
	if (p->window == NULL)
		return 0;
	v->lowest = QCF_MIN(v->lowest, host_cluster);
	v->highest = QCF_MAX(v->highest, host_cluster);
	f->mine = qcf_window_find(p->window, host_cluster, &f->at);
	if (!f->mine)
		return check_elsewhere(p, host_cluster, errp);
	return change_count(p, host_cluster, v->table->times, f, errp);
}

/* The same for data. */
static int visit_data_cluster(const struct pass *p, struct visit *v,
                              uint64_t host_cluster, struct found *f,
                              struct qcowfmt_error **errp)
{
	int ret = visit_cluster(p, v, host_cluster, f, errp);

	if (ret == 0 && f->mine && f->count == 0 && p->how->change < 0)
		qcf_window_note_freed(p->window, &f->at);
	return ret;
}

/* ----------------------------------------------------------------- entries */

static void set_word(struct visit *v, uint64_t index, uint64_t value)
{
	size_t start = (size_t)qcf_align_down(index * 8, QCF_SECTOR_SIZE);

	v->words[index] = qcf_be64_encode(value);
	if (v->dirty_end == 0)
		v->dirty_start = start;
	v->dirty_end = start + QCF_SECTOR_SIZE;
}

/* The flags of an entry whose cluster has a count. */
static void correct_flag(const struct pass *p, struct visit *v, uint64_t index,
                         uint64_t value, uint64_t count)
{
	bool copied = p->how->flags == QCF_FLAGS_TRUE && count == 1;

	if (p->only_try || p->how->flags == QCF_FLAGS_KEEP ||
	    copied == ((value & QCF_ENTRY_COPIED) != 0))
		return;
	set_word(v, index, value ^ QCF_ENTRY_COPIED);
}

static int visit_data(const struct pass *p, struct visit *v, uint64_t index,
                      uint64_t value, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->meta->geometry;
	uint64_t host_offset = value & QCF_ENTRY_OFFSET;
	struct found f;
	int ret;

	if (qcf_offset_in_cluster(g, host_offset) != 0)
		return qcf_corrupt(errp, QCF_CHECK_DATA_OFFSET, host_offset);
	ret = visit_data_cluster(p, v, qcf_host_cluster(g, host_offset), &f,
	                         errp);
	if (ret == 0 && f.mine)
		correct_flag(p, v, index, value, f.count);
	return ret;
}

/* Compressed clusters have no flag, and may touch several host clusters. */
static int visit_compressed(const struct pass *p, struct visit *v,
                            struct qcf_be64 word, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->meta->geometry;
	struct qcf_mapping m =
		qcf_l2_entry_decode(g, (struct qcf_l2_raw){ .word = word });
	uint64_t last =
		qcf_host_cluster(g, m.host_offset + m.compressed_len - 1);
	int ret = 0;

	for (uint64_t c = qcf_host_cluster(g, m.host_offset);
	     ret == 0 && c <= last; c++) {
		struct found f;

		ret = visit_data_cluster(p, v, c, &f, errp);
	}
	return ret;
}

/* The table is a reference, too.  Later windows need it: if its count falls to 0
 * it is given up at the end. */
static int visit_itself(const struct pass *p, struct visit *v,
                        struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->meta->geometry;
	struct found f;
	int ret = visit_cluster(
		p, v, qcf_host_cluster(g, v->table->host_offset), &f, errp);

	if (ret == 0 && f.mine) {
		v->table->alone = f.count == 1;
		v->table->gone = f.count == 0 && p->how->change < 0;
	}
	return ret;
}

static int visit_table(const struct pass *p, struct visit *v,
                       struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->meta->geometry;
	uint64_t words = g->l2_table_size / 8;
	uint64_t step = g->l2_entry_size / 8;
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < words; i += step) {
		uint64_t value = qcf_be64_decode(v->words[i]);

		if ((value & QCF_ENTRY_COMPRESSED) != 0)
			ret = visit_compressed(p, v, v->words[i], errp);
		else if ((value & QCF_ENTRY_OFFSET) != 0)
			ret = visit_data(p, v, i, value, errp);
	}
	if (ret == 0)
		ret = visit_itself(p, v, errp);
	v->table->lowest = v->lowest;
	v->table->highest = v->highest;
	v->table->known = p->window != NULL;
	return ret;
}

/* ------------------------------------------------------------------ tables */

/* Whether a table has anything to do with the window. */
static bool concerns_window(const struct pass *p,
                            const struct qcf_tree_table *table)
{
	const struct qcf_geometry *g = &p->meta->geometry;

	return p->window == NULL || !table->known ||
	       (qcf_block_index(g, table->lowest) < p->window->end &&
	        qcf_block_index(g, table->highest) >= p->window->first);
}

/* How many tables from one on follow each other in the file and are wanted. */
static size_t run_from(const struct pass *p, size_t first)
{
	const struct qcf_tree *tree = p->tree;
	uint64_t size = p->meta->geometry.l2_table_size;
	uint64_t start = tree->tables[first].host_offset;
	size_t n = 1;

	while (first + n < tree->count && n < p->room &&
	       tree->tables[first + n].host_offset == start + n * size &&
	       concerns_window(p, &tree->tables[first + n]))
		n++;
	return n;
}

/* Write the bytes [start, end) of a run of tables. */
static int write_run(const struct pass *p, uint64_t host_offset, size_t start,
                     size_t end, struct qcowfmt_error **errp)
{
	if (start == end)
		return 0;
	return qcf_wrap(errp, "writing L2 tables",
	                qcf_storage_pwrite(p->meta->storage, p->buffer + start,
	                                   end - start, host_offset + start,
	                                   errp));
}

/* Visit a run of tables that has been read, and write what changes. */
static int visit_run(const struct pass *p, size_t first, size_t n,
                     struct qcowfmt_error **errp)
{
	size_t size = p->meta->geometry.l2_table_size;
	uint64_t host_offset = p->tree->tables[first].host_offset;
	size_t start = 0;
	size_t end = 0;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < n; i++) {
		struct visit v = {
			.table = &p->tree->tables[first + i],
			.words = (void *)(p->buffer + i * size),
			.lowest = UINT64_MAX,
		};

		ret = visit_table(p, &v, errp);
		if (ret < 0 || v.dirty_end == 0)
			continue;
		if (qcf_meta_is_not_only_l2(p->meta, v.table->host_offset))
			return qcf_corrupt(errp, QCF_CHECK_OVERLAP,
			                   v.table->host_offset);
		if (end != i * size + v.dirty_start) {
			ret = write_run(p, host_offset, start, end, errp);
			start = i * size + v.dirty_start;
		}
		end = i * size + v.dirty_end;
	}
	return ret < 0 ? ret : write_run(p, host_offset, start, end, errp);
}

static int visit_tables(const struct pass *p, struct qcowfmt_error **errp)
{
	const struct qcf_tree *tree = p->tree;
	uint64_t size = p->meta->geometry.l2_table_size;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < tree->count;) {
		size_t n = 1;

		if (concerns_window(p, &tree->tables[i])) {
			n = run_from(p, i);
			ret = qcf_meta_read_table(p->meta,
			                          tree->tables[i].host_offset,
			                          p->buffer, n * size, errp);
			if (ret < 0)
				return qcf_wrap(errp, "reading L2 tables", ret);
			ret = visit_run(p, i, n, errp);
		}
		i += n;
	}
	return ret;
}

/* ------------------------------------------------------------------ passes */

static void release_tables(const struct pass *p)
{
	const struct qcf_geometry *g = &p->meta->geometry;

	for (size_t i = 0; i < p->tree->count; i++) {
		const struct qcf_tree_table *t = &p->tree->tables[i];

		if (t->gone)
			qcf_counts_released(p->meta,
			                    qcf_host_cluster(g, t->host_offset),
			                    1, p->how->discard);
	}
}

/* Counts are written before they are relied on by a flag that is set, and after
 * flags that rely on them were cleared: the caller's flushes see to that. */
static int visit_windows(const struct pass *p, struct qcowfmt_error **errp)
{
	int ret = 0;

	while (ret == 0 && qcf_window_more(p->window)) {
		ret = qcf_window_next(p->window, errp);
		if (ret == 0)
			ret = visit_tables(p, errp);
		if (ret < 0 || p->only_try)
			continue;
		ret = qcf_window_store(p->window, errp);
		if (ret == 0)
			qcf_window_release(p->window, p->how->discard);
	}
	if (ret == 0 && !p->only_try)
		release_tables(p);
	return ret;
}

static int pass_init(struct pass *p, struct qcowfmt_error **errp)
{
	uint64_t size = p->meta->geometry.l2_table_size;

	p->room = QCF_MIN((size_t)(MAX_RUN / size), p->tree->count);
	p->room = QCF_MAX(p->room, (size_t)1);
	p->buffer = malloc(p->room * size);
	return p->buffer == NULL ? qcf_fail_oom(errp) : 0;
}

static int run_pass(struct pass *p, struct qcowfmt_error **errp)
{
	struct qcf_count_window window;
	int ret = pass_init(p, errp);

	for (size_t i = 0; i < p->tree->count; i++) {
		struct qcf_tree_table *t = &p->tree->tables[i];

		t->known = t->alone = t->gone = false;
	}
	if (ret == 0 && p->how->change == 0 &&
	    p->how->flags != QCF_FLAGS_TRUE) {
		ret = visit_tables(p, errp);
	} else if (ret == 0) {
		ret = qcf_window_init(&window, p->meta, p->how->change < 0,
		                      errp);
		p->window = &window;
		if (ret == 0) {
			ret = visit_windows(p, errp);
			qcf_window_fini(&window);
		}
	}
	free(p->buffer);
	return ret;
}

int qcf_recount(struct qcf_meta *meta, struct qcf_tree *tree,
                const struct qcf_recount *how, struct qcowfmt_error **errp)
{
	struct pass p = { .meta = meta, .how = how, .tree = tree };

	return run_pass(&p, errp);
}

void qcf_recount_end(struct qcf_meta *meta)
{
	qcf_cache_drop_all(&meta->l2_cache);
	qcf_cache_drop_all(&meta->refcount_cache);
}

/* What a look at all counts tells. */
struct survey {
	uint64_t largest;
	uint64_t first_free; /* cluster; valid once found */
	bool found;
};

static void look_at_window(const struct qcf_count_window *w, struct survey *s)
{
	const struct qcf_geometry *g = &w->meta->geometry;

	s->largest = QCF_MAX(s->largest, qcf_window_max(w));
	if (s->found)
		return;
	s->first_free = qcf_window_first_free(w);
	s->found = s->first_free < w->end << g->block_bits;
}

/* Free clusters are looked for behind those that are known to be in use: what
 * comes next need not read all the counts into the cache. */
static void skip_used(struct qcf_meta *meta, const struct survey *s)
{
	struct qcf_refcounts *r = &meta->refcounts;

	QCF_GUARD(&r->lock);
	r->first_free = QCF_MAX(r->first_free, s->first_free);
}

/* Look at all counts, or until the first free cluster. */
static int survey(struct qcf_meta *meta, bool all, struct survey *s,
                  struct qcowfmt_error **errp)
{
	struct qcf_count_window window;
	int ret = qcf_window_init(&window, meta, false, errp);

	*s = (struct survey){ 0 };
	if (ret < 0)
		return ret;
	while (ret == 0 && qcf_window_more(&window) && (all || !s->found)) {
		ret = qcf_window_next(&window, errp);
		if (ret == 0)
			look_at_window(&window, s);
	}
	qcf_window_fini(&window);
	if (ret == 0)
		skip_used(meta, s);
	return ret;
}

int qcf_recount_find_free(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	struct survey s;

	return survey(meta, false, &s, errp);
}

/*
 * A tree refers to a cluster no more often than the cluster is counted, so if
 * the largest count can be doubled there is room.
 */
int qcf_recount_check_room(struct qcf_meta *meta, struct qcf_tree *tree,
                           struct qcowfmt_error **errp)
{
	const struct qcf_recount add = { .change = 1 };
	struct pass p = {
		.meta = meta,
		.how = &add,
		.tree = tree,
		.only_try = true,
	};
	struct survey s;
	int ret = survey(meta, true, &s, errp);

	if (ret < 0 || s.largest <= meta->geometry.refcount_max / 2)
		return ret;
	return run_pass(&p, errp);
}
