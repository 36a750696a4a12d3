/* SPDX-License-Identifier: MIT */
/* stream_layout.c - header, tables and counts of an image made in one go */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "refcount_entry.h"
#include "stream_layout.h"

/* ------------------------------------------------------------------ layout */

/* Bytes of data: they start at a cluster, whichever it is. */
static uint64_t data_len(const struct qcf_stream_map *map)
{
	struct qcf_stream_walk walk;

	qcf_stream_walk_init(&walk, map, 0);
	while (qcf_stream_walk_next(&walk))
		;
	return walk.host_end;
}

/* Refcount blocks count themselves and the table that lists them. */
static void count_refcounts(const struct qcf_geometry *g,
                            struct qcf_stream_layout *l, uint64_t rest)
{
	uint64_t per_block = UINT64_C(1) << g->block_bits;
	uint64_t per_table = g->cluster_size / sizeof(uint64_t);

	l->table_clusters = 1;
	l->block_count = 1;
	for (;;) {
		l->total = rest + l->table_clusters + l->block_count;
		if (l->block_count * per_block < l->total)
			l->block_count = qcf_div_ceil(l->total, per_block);
		else if (l->table_clusters * per_table < l->block_count)
			l->table_clusters =
				qcf_div_ceil(l->block_count, per_table);
		else
			return;
	}
}

static int check_limits(const struct qcf_geometry *g,
                        const struct qcf_stream_layout *l,
                        struct qcowfmt_error **errp)
{
	/* The last compressed cluster may begin in the last host cluster. */
	uint64_t limit =
		QCF_MIN(QCF_HOST_OFFSET_LIMIT, qcf_compressed_offset_limit(g));

	if (l->block_count <= g->max_reftable_entry_count &&
	    l->total <= limit >> g->cluster_bits)
		return 0;
	return qcf_fail(errp, EFBIG, QCOWFMT_ERR_NO_SPACE,
	                "an image file of %" PRIu64
	                " clusters is too large for this cluster size and "
	                "refcount width",
	                l->total);
}

/* The header of the image without data, with the places of this one. */
static int change_header(struct qcf_stream_layout *l,
                         struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &l->plan->geometry;
	struct qcf_header *h = &l->plan->header;

	h->refcount_table_clusters = (uint32_t)l->table_clusters;
	if (h->l1_size > 0)
		h->l1_table_offset = qcf_host_offset(g, l->l1);
	return qcf_header_encode(h, l->plan->first_cluster, g->cluster_size,
	                         errp);
}

int qcf_stream_layout_init(struct qcf_stream_layout *l,
                           struct qcf_create_plan *plan,
                           const struct qcf_stream_map *map,
                           struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &plan->geometry;
	uint64_t bytes = data_len(map);
	uint64_t l1_clusters =
		qcf_clusters_for(g, map->l1_count * sizeof(uint64_t));
	int ret;

	*l = (struct qcf_stream_layout){ .plan = plan, .map = map };
	count_refcounts(g, l,
	                1 + l1_clusters + map->table_count +
	                        qcf_clusters_for(g, bytes));
	ret = check_limits(g, l, errp);
	if (ret < 0)
		return ret;
	l->first_block = 1 + l->table_clusters;
	l->l1 = l->first_block + l->block_count;
	l->first_l2 = l->l1 + l1_clusters;
	l->data = l->first_l2 + map->table_count;
	/* Readers take whole sectors of compressed data. */
	l->file_len = qcf_align_up(qcf_host_offset(g, l->data) + bytes,
	                           QCF_SECTOR_SIZE);
	return change_header(l, errp);
}

/* ------------------------------------------------------------------ counts */

struct counting {
	const struct qcf_stream_layout *layout;
	struct qcf_outlet *outlet;
	uint8_t *block;
	uint64_t index; /* of block */
};

static int put_reftable(const struct qcf_stream_layout *l,
                        struct qcf_outlet *outlet, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &l->plan->geometry;
	uint64_t len = l->table_clusters << g->cluster_bits;
	QCF_AUTO_FREE struct qcf_be64 *table = calloc(1, len);

	if (table == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < l->block_count; i++)
		table[i] = qcf_reftable_entry_encode(
			qcf_host_offset(g, l->first_block + i));
	return qcf_outlet_put(outlet, table, len, errp);
}

/* Pass on blocks until the one with a given index is at hand. */
static int put_blocks_before(struct counting *c, uint64_t index,
                             struct qcowfmt_error **errp)
{
	uint64_t size = c->layout->plan->geometry.cluster_size;
	int ret = 0;

	for (; ret == 0 && c->index < index; c->index++) {
		ret = qcf_outlet_put(c->outlet, c->block, size, errp);
		memset(c->block, 0, size);
	}
	return ret;
}

static int count_cluster(struct counting *c, uint64_t host_cluster,
                         struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->layout->plan->geometry;
	uint64_t slot = qcf_index_in_block(g, host_cluster);
	int ret = put_blocks_before(c, qcf_block_index(g, host_cluster), errp);

	if (ret < 0)
		return ret;
	qcf_refcount_set(c->block, slot, g->refcount_order,
	                 qcf_refcount_get(c->block, slot, g->refcount_order) +
	                         1);
	return 0;
}

static int count_data(struct counting *c, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->layout->plan->geometry;
	struct qcf_stream_walk walk;
	int ret = 0;

	qcf_stream_walk_init(&walk, c->layout->map,
	                     qcf_host_offset(g, c->layout->data));
	while (ret == 0 && qcf_stream_walk_next(&walk)) {
		uint64_t first = qcf_host_cluster(g, walk.host_offset);
		uint64_t last =
			qcf_host_cluster(g, walk.host_offset + walk.len - 1);

		ret = count_cluster(c, first, errp);
		if (ret == 0 && last > first)
			ret = count_cluster(c, last, errp);
	}
	return ret;
}

static int put_blocks(const struct qcf_stream_layout *l,
                      struct qcf_outlet *outlet, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *block =
		calloc(1, l->plan->geometry.cluster_size);
	struct counting c = {
		.layout = l,
		.outlet = outlet,
		.block = block,
	};
	int ret = block == NULL ? qcf_fail_oom(errp) : 0;

	for (uint64_t i = 0; ret == 0 && i < l->data; i++)
		ret = count_cluster(&c, i, errp);
	if (ret == 0)
		ret = count_data(&c, errp);
	return ret < 0 ? ret : put_blocks_before(&c, l->block_count, errp);
}

/* ------------------------------------------------------------------ tables */

static int put_l1(const struct qcf_stream_layout *l, struct qcf_outlet *outlet,
                  struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &l->plan->geometry;
	uint64_t len = qcf_host_offset(g, l->first_l2 - l->l1);
	QCF_AUTO_FREE struct qcf_be64 *table =
		calloc(1, QCF_MAX(len, UINT64_C(1)));
	uint64_t at = l->first_l2;

	if (table == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < l->map->l1_count; i++) {
		struct qcf_l1_entry entry = {
			.l2_offset = qcf_host_offset(g, at),
			.copied = true,
		};

		if (l->map->tables[i] == NULL)
			continue;
		table[i] = qcf_l1_entry_encode(g, entry);
		at++;
	}
	return qcf_outlet_put(outlet, table, len, errp);
}

static void set_entry(const struct qcf_geometry *g, struct qcf_be64 *table,
                      uint64_t i, struct qcf_l2_raw entry)
{
	if (!g->extended_l2) {
		table[i] = entry.word;
		return;
	}
	table[2 * i] = entry.word;
	table[2 * i + 1] = entry.bitmap;
}

/* The entries of one L2 table; walk stands in front of its clusters, and *found
 * says that it has gone on to the next one with data. */
static void fill_l2(const struct qcf_stream_layout *l, uint64_t l1_index,
                    struct qcf_stream_walk *walk, bool *found,
                    struct qcf_be64 *table)
{
	const struct qcf_geometry *g = &l->plan->geometry;
	const uint32_t *lens = l->map->tables[l1_index];

	memset(table, 0, g->l2_table_size);
	for (uint64_t i = 0; i < g->l2_entry_count; i++) {
		if (lens[i] == QCF_STREAM_ZERO)
			set_entry(g, table, i, qcf_stream_zero_entry(g));
	}
	while (*found && walk->guest_cluster >> g->l2_bits == l1_index) {
		set_entry(g, table,
		          walk->guest_cluster & (g->l2_entry_count - 1),
		          qcf_stream_walk_entry(walk));
		*found = qcf_stream_walk_next(walk);
	}
}

static int put_l2_tables(const struct qcf_stream_layout *l,
                         struct qcf_outlet *outlet, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &l->plan->geometry;
	QCF_AUTO_FREE struct qcf_be64 *table = malloc(g->l2_table_size);
	struct qcf_stream_walk walk;
	int ret = table == NULL ? qcf_fail_oom(errp) : 0;
	bool found;

	qcf_stream_walk_init(&walk, l->map, qcf_host_offset(g, l->data));
	found = qcf_stream_walk_next(&walk);
	for (uint64_t i = 0; ret == 0 && i < l->map->l1_count; i++) {
		if (l->map->tables[i] == NULL)
			continue;
		fill_l2(l, i, &walk, &found, table);
		ret = qcf_outlet_put(outlet, table, g->l2_table_size, errp);
	}
	return ret;
}

int qcf_stream_layout_put(const struct qcf_stream_layout *l,
                          struct qcf_outlet *outlet,
                          struct qcowfmt_error **errp)
{
	int ret = qcf_outlet_put(outlet, l->plan->first_cluster,
	                         l->plan->geometry.cluster_size, errp);

	if (ret == 0)
		ret = put_reftable(l, outlet, errp);
	if (ret == 0)
		ret = put_blocks(l, outlet, errp);
	if (ret == 0)
		ret = put_l1(l, outlet, errp);
	return ret < 0 ? ret : put_l2_tables(l, outlet, errp);
}
