/* SPDX-License-Identifier: MIT */
/* bitmap_view.c - looking through a bitmap without loading it */
#include "bitmap_view.h"
#include "check_id.h"
#include "checked.h"
#include "meta.h"
#include "meta_tables.h"

#define WORD_BITS 64u

void qcf_bitmap_view_init(struct qcf_bitmap_view *view, struct qcf_meta *meta,
                          const struct qcf_bitmap_entry *entry,
                          uint64_t bit_count)
{
	view->meta = meta;
	view->table_offset = entry == NULL ? 0 : entry->table_offset;
	view->table_entries = entry == NULL ? 0 : entry->table_entries;
	view->bit_count = bit_count;
	for (size_t i = 0; i < QCF_VIEW_BITS; i++)
		view->bits[i] = NULL;
	view->table_len = 0;
	view->data_len = 0;
}

/* ------------------------------------------------------------------- pieces */

static int load_table(struct qcf_bitmap_view *view, uint64_t index,
                      struct qcowfmt_error **errp)
{
	uint32_t in_piece = QCF_VIEW_PIECE / 8;
	uint32_t first = (uint32_t)index & ~(in_piece - 1);
	uint32_t len = QCF_MIN(in_piece, view->table_entries - first);
	int ret;

	if (view->table_len > 0 && view->table_first == first)
		return 0;
	view->table_len = 0;
	ret = qcf_meta_read_table(view->meta,
	                          view->table_offset + (uint64_t)first * 8,
	                          view->table, (size_t)len * 8, errp);
	if (ret < 0)
		return qcf_wrap(errp, "reading a bitmap table", ret);
	view->table_first = first;
	view->table_len = len;
	return 0;
}

int qcf_bitmap_view_cluster(struct qcf_bitmap_view *view, uint64_t index,
                            struct qcf_bitmap_cluster *cluster,
                            struct qcowfmt_error **errp)
{
	struct qcf_be64 raw;
	uint32_t id;
	int ret;

	*cluster = (struct qcf_bitmap_cluster){ 0 };
	if (index >= view->table_entries)
		return 0;
	ret = load_table(view, index, errp);
	if (ret < 0)
		return ret;
	raw = view->table[index - view->table_first];
	id = qcf_bitmap_cluster_check(&view->meta->geometry, raw);
	if (id != 0)
		return qcf_corrupt(errp, (enum qcf_check)id,
		                   view->table_offset + index * 8);
	*cluster = qcf_bitmap_cluster_decode(raw);
	return 0;
}

static int load_data(struct qcf_bitmap_view *view, uint64_t offset,
                     struct qcowfmt_error **errp)
{
	uint32_t len = (uint32_t)QCF_MIN(view->meta->geometry.cluster_size,
	                                 QCF_VIEW_PIECE);
	int ret;

	if (view->data_len > 0 && view->data_offset == offset)
		return 0;
	view->data_len = 0;
	ret = qcf_meta_read_table(view->meta, offset, view->data, len, errp);
	if (ret < 0)
		return qcf_wrap(errp, "reading the bits of a bitmap", ret);
	view->data_offset = offset;
	view->data_len = len;
	return 0;
}

/* ------------------------------------------------------------------ storage */

static uint64_t word_at(const uint8_t *bytes, uint64_t bit)
{
	uint64_t word;

	memcpy(&word, bytes + bit / WORD_BITS * 8, sizeof(word));
	return le64toh(word);
}

/* In bytes that begin with bit 0. */
static uint64_t find_in_bytes(const uint8_t *bytes, uint64_t bit, uint64_t end,
                              bool value)
{
	uint64_t flip = value ? 0 : UINT64_MAX;

	while (bit < end) {
		uint64_t word = (word_at(bytes, bit) ^ flip) >> bit % WORD_BITS;

		if (word != 0)
			return QCF_MIN(end,
			               bit + (uint64_t)__builtin_ctzll(word));
		bit = (bit | (WORD_BITS - 1)) + 1;
	}
	return end;
}

/* The same in one piece of a cluster; *found is *stop, where the piece ends, if
 * it is not there. */
static int find_in_piece(struct qcf_bitmap_view *view, uint64_t host_offset,
                         uint64_t from, bool value, uint64_t *stop,
                         uint64_t *found, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &view->meta->geometry;
	uint64_t piece = QCF_MIN(g->cluster_size, QCF_VIEW_PIECE) * 8;
	uint64_t base = qcf_align_down(from, piece);
	uint64_t end = QCF_MIN(*stop, base + piece);
	int ret = load_data(
		view, host_offset + qcf_offset_in_cluster(g, base / 8), errp);

	if (ret < 0)
		return ret;
	*stop = end;
	*found = base +
	         find_in_bytes(view->data, from - base, end - base, value);
	return 0;
}

/* The first bit in [from, end) that storage has with this value, or end. */
static int find_stored(struct qcf_bitmap_view *view, uint64_t from,
                       uint64_t end, bool value, uint64_t *found,
                       struct qcowfmt_error **errp)
{
	uint64_t in_cluster = view->meta->geometry.cluster_size * 8;

	while (from < end) {
		struct qcf_bitmap_cluster cluster;
		uint64_t index = from / in_cluster;
		uint64_t stop = QCF_MIN(end, (index + 1) * in_cluster);
		int ret = qcf_bitmap_view_cluster(view, index, &cluster, errp);

		if (ret < 0)
			return ret;
		if (index >= view->table_entries)
			stop = end;
		*found = cluster.ones == value ? from : stop;
		if (cluster.host_offset != 0)
			ret = find_in_piece(view, cluster.host_offset, from,
			                    value, &stop, found, errp);
		if (ret < 0 || *found < stop)
			return ret;
		from = stop;
	}
	*found = end;
	return 0;
}

/* ------------------------------------------------------------------ together */

static int find_first(struct qcf_bitmap_view *view, uint64_t from,
                      uint64_t *first, struct qcowfmt_error **errp)
{
	uint64_t end = view->bit_count;

	for (size_t i = 0; i < QCF_VIEW_BITS; i++) {
		if (view->bits[i] != NULL)
			end = qcf_bits_next(view->bits[i], from, end);
	}
	return find_stored(view, from, end, true, first, errp);
}

/* Where the dirty bits end that begin at a dirty bit: each source may take them
 * a bit further. */
static int find_end(struct qcf_bitmap_view *view, uint64_t at, uint64_t *end,
                    struct qcowfmt_error **errp)
{
	uint64_t before;

	do {
		int ret;

		before = at;
		for (size_t i = 0; i < QCF_VIEW_BITS; i++) {
			if (view->bits[i] != NULL)
				at = qcf_bits_next_clear(view->bits[i], at,
				                         view->bit_count);
		}
		ret = find_stored(view, at, view->bit_count, false, &at, errp);
		if (ret < 0)
			return ret;
	} while (at > before);
	*end = at;
	return 0;
}

int qcf_bitmap_view_next(struct qcf_bitmap_view *view, uint64_t from,
                         uint64_t *first, uint64_t *end,
                         struct qcowfmt_error **errp)
{
	int ret;

	*first = *end = view->bit_count;
	if (from >= view->bit_count)
		return 0;
	ret = find_first(view, from, first, errp);
	if (ret < 0 || *first == view->bit_count)
		return ret;
	return find_end(view, *first, end, errp);
}
