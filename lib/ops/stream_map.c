/* SPDX-License-Identifier: MIT */
/* stream_map.c - what each guest cluster of a new image will be, and where */
#include "stream_map.h"
#include "checked.h"

int qcf_stream_map_init(struct qcf_stream_map *map,
                        const struct qcf_geometry *geometry, uint64_t l1_count,
                        struct qcowfmt_error **errp)
{
	*map = (struct qcf_stream_map){
		.geometry = geometry,
		.l1_count = l1_count,
		.tables = calloc(QCF_MAX(l1_count, UINT64_C(1)),
		                 sizeof(*map->tables)),
	};
	return map->tables == NULL ? qcf_fail_oom(errp) : 0;
}

void qcf_stream_map_fini(struct qcf_stream_map *map)
{
	for (uint64_t i = 0; map->tables != NULL && i < map->l1_count; i++)
		free(map->tables[i]);
	free(map->tables);
	map->tables = NULL;
}

int qcf_stream_map_set(struct qcf_stream_map *map, uint64_t guest_cluster,
                       uint32_t len, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = map->geometry;
	uint32_t **table = &map->tables[guest_cluster >> g->l2_bits];

	if (*table == NULL) {
		*table = calloc(g->l2_entry_count, sizeof(**table));
		if (*table == NULL)
			return qcf_fail_oom(errp);
		map->table_count++;
	}
	(*table)[guest_cluster & (g->l2_entry_count - 1)] = len;
	return 0;
}

uint32_t qcf_stream_map_get(const struct qcf_stream_map *map,
                            uint64_t guest_cluster)
{
	const struct qcf_geometry *g = map->geometry;
	const uint32_t *table = map->tables[guest_cluster >> g->l2_bits];

	return table == NULL ? 0
	                     : table[guest_cluster & (g->l2_entry_count - 1)];
}

/* -------------------------------------------------------------------- walk */

void qcf_stream_walk_init(struct qcf_stream_walk *walk,
                          const struct qcf_stream_map *map, uint64_t host_start)
{
	*walk = (struct qcf_stream_walk){
		.map = map,
		.host_end = host_start,
	};
}

/* Give the present cluster its place. */
static void place(struct qcf_stream_walk *walk)
{
	const struct qcf_geometry *g = walk->map->geometry;
	uint64_t in_cluster = qcf_offset_in_cluster(g, walk->host_end);

	if (in_cluster != 0 &&
	    (walk->len == g->cluster_size || walk->uses == g->refcount_max)) {
		walk->host_end = qcf_align_up(walk->host_end, g->cluster_size);
		in_cluster = 0;
	}
	walk->host_offset = walk->host_end;
	walk->host_end += walk->len;
	if (in_cluster == 0 || in_cluster + walk->len > g->cluster_size)
		walk->uses = 1;
	else
		walk->uses++;
}

bool qcf_stream_walk_next(struct qcf_stream_walk *walk)
{
	const struct qcf_stream_map *map = walk->map;
	const struct qcf_geometry *g = map->geometry;
	uint64_t end = map->l1_count << g->l2_bits;

	while (walk->next < end) {
		const uint32_t *table = map->tables[walk->next >> g->l2_bits];
		uint64_t index = walk->next & (g->l2_entry_count - 1);

		if (table == NULL) {
			walk->next += g->l2_entry_count;
			continue;
		}
		walk->guest_cluster = walk->next++;
		walk->len = table[index];
		if (walk->len == 0 || walk->len == QCF_STREAM_ZERO)
			continue;
		place(walk);
		return true;
	}
	return false;
}

struct qcf_l2_raw qcf_stream_walk_entry(const struct qcf_stream_walk *walk)
{
	const struct qcf_geometry *g = walk->map->geometry;
	struct qcf_mapping m = {
		.kind = QCF_COMPRESSED,
		.host_offset = walk->host_offset,
		.compressed_len = walk->len,
	};

	if (walk->len == g->cluster_size)
		m = (struct qcf_mapping){
			.kind = QCF_DATA,
			.host_offset = walk->host_offset,
			.copied = true,
			.allocated = g->extended_l2 ? QCF_ALL_SUBCLUSTERS : 0,
		};
	return qcf_l2_entry_encode(g, m);
}

struct qcf_l2_raw qcf_stream_zero_entry(const struct qcf_geometry *g)
{
	struct qcf_mapping m = {
		.kind = g->extended_l2 ? QCF_UNALLOCATED : QCF_ZERO_PLAIN,
		.zero = g->extended_l2 ? QCF_ALL_SUBCLUSTERS : 0,
	};

	return qcf_l2_entry_encode(g, m);
}
