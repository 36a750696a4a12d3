/* SPDX-License-Identifier: MIT */
/*
 * stream_qcow2.c - an image of version 2 or 3 from first byte to last
 *
 * Tables and counts come before the data, so it has to be known in front which
 * clusters there will be and how long each is: the sources are read, and
 * compressed, once to find that out, and once more for the data.  Only where
 * everything is stored as it is, zeros or not, the maps of the sources tell, or
 * for input its size.
 *
 * Memory: four bytes for each cluster with data, in tables as L2 tables are.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "compress.h"
#include "stream_layout.h"

struct image_sink {
	struct qcf_sink sink; /* first */
	const struct qcf_geometry *geometry;
	uint64_t unit;
	uint32_t compression_type;
	bool compress; /* units are clusters then */
	uint32_t zero; /* what a cluster of zeros becomes */
	struct qcf_compressor compressor;
	struct qcf_compressor slow_compressor;
	struct qcf_stream_map *map;
	/* second time */
	struct qcf_outlet *outlet;
	struct qcf_stream_walk walk;
	struct qcowfmt_convert_result *result;
};

static struct image_sink *of(struct qcf_sink *sink)
{
	return qcf_container_of(sink, struct image_sink, sink);
}

/* ---------------------------------------------------------------- clusters */

static uint64_t cluster_count(const struct image_sink *s,
                              const struct qcf_slot *slot)
{
	return qcf_clusters_for(s->geometry, slot->piece.length);
}

static bool is_zeros(const struct image_sink *s, const struct qcf_slot *slot,
                     uint64_t i)
{
	return slot->piece.content == QCF_SOURCE_ZERO ||
	       slot->zeros[(i << s->geometry->cluster_bits) / s->unit];
}

/* What the i-th cluster of a piece becomes. */
static uint32_t cluster_len(const struct image_sink *s,
                            const struct qcf_slot *slot, uint64_t i)
{
	if (is_zeros(s, slot, i))
		return s->zero;
	if (s->compress && slot->packed_lens[i] != 0)
		return slot->packed_lens[i];
	return (uint32_t)s->geometry->cluster_size;
}

static int pack_cluster(struct image_sink *s, struct qcf_slot *slot, uint64_t i,
                        struct qcowfmt_error **errp)
{
	uint64_t size = s->geometry->cluster_size;
	uint8_t *data = slot->buffer + i * size;
	int64_t len =
		qcf_compress(&s->compressor, s->compression_type, data, size,
	                     slot->packed + i * size, size - 1, errp);

	if (len < 0)
		return (int)len;
	slot->packed_lens[i] = (uint32_t)len;
	return 0;
}

static int prepare(struct qcf_sink *sink, struct qcf_slot *slot,
                   struct qcowfmt_error **errp)
{
	struct image_sink *s = of(sink);
	uint64_t count = cluster_count(s, slot);
	uint64_t whole = count << s->geometry->cluster_bits;
	int ret = 0;

	/* The last cluster of the disk goes on with zeros. */
	memset(slot->buffer + slot->piece.length, 0,
	       whole - slot->piece.length);
	for (uint64_t i = 0; s->compress && ret == 0 && i < count; i++) {
		if (!is_zeros(s, slot, i))
			ret = pack_cluster(s, slot, i, errp);
	}
	return ret;
}

/* -------------------------------------------------------------- first time */

static int note(struct qcf_sink *sink, struct qcf_slot *slot,
                struct qcowfmt_error **errp)
{
	struct image_sink *s = of(sink);
	uint64_t first = qcf_host_cluster(s->geometry, slot->piece.offset);
	uint64_t count = cluster_count(s, slot);
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < count; i++) {
		uint32_t len = cluster_len(s, slot, i);

		if (len != 0)
			ret = qcf_stream_map_set(s->map, first + i, len, errp);
	}
	return ret;
}

/* Nothing but the maps of the sources has to be looked at. */
static bool skip_reading(struct qcf_sink *sink, const struct qcf_slot *slot)
{
	(void)sink;
	(void)slot;
	return true;
}

static int note_unread(struct qcf_sink *sink, struct qcf_slot *slot,
                       struct qcowfmt_error **errp)
{
	memset(slot->zeros, 0, qcf_slot_units(slot, of(sink)->unit));
	return note(sink, slot, errp);
}

/* Everything that comes is stored. */
static int note_input(const struct qcf_convert *c, struct image_sink *s,
                      struct qcowfmt_error **errp)
{
	uint64_t count = qcf_clusters_for(s->geometry, c->source.size);
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < count; i++)
		ret = qcf_stream_map_set(
			s->map, i, (uint32_t)s->geometry->cluster_size, errp);
	return ret;
}

static int find_lengths(struct qcf_convert *c, struct image_sink *s,
                        struct qcowfmt_error **errp)
{
	bool write_all = c->pipe.fill.write_all;
	struct qcf_pipe_options pipe = c->pipe;
	int ret;

	if (c->source.input != NULL)
		return note_input(c, s, errp);
	s->sink = (struct qcf_sink){ .prepare = prepare, .store = note };
	if (!s->compress && write_all)
		s->sink = (struct qcf_sink){
			.skips_reading = skip_reading,
			.store = note_unread,
		};
	/* What is lost is reported when it matters. */
	c->pipe.salvage = NULL;
	c->pipe.sink = &s->sink;
	ret = qcf_pipe_run(&c->pipe, errp);
	c->pipe = pipe;
	c->pipe.result->lost_bytes = 0;
	qcf_plan_rewind(&c->planner);
	return ret;
}

/* ------------------------------------------------------------- second time */

static int changed(uint64_t guest_offset, struct qcowfmt_error **errp)
{
	qcf_fail(errp, EBUSY, QCOWFMT_ERR_IO,
	         "the source at guest offset %" PRIu64
	         " has changed while it was read",
	         guest_offset);
	qcf_error_at_guest(errp, guest_offset);
	return -EBUSY;
}

/*
 * Compressed again a cluster should have the length it had, but a compression
 * library does not promise that, and a source may have changed.  What is shorter
 * is followed by zeros, which no reader looks at; what is longer gets one more
 * try with all effort.
 */
static int fit_packed(struct image_sink *s, struct qcf_slot *slot, uint64_t i,
                      uint32_t noted, struct qcowfmt_error **errp)
{
	uint64_t size = s->geometry->cluster_size;
	uint8_t *packed = slot->packed + i * size;
	int64_t len = is_zeros(s, slot, i) ? 0 : slot->packed_lens[i];

	if (len == 0 || len > noted)
		len = qcf_compress(&s->slow_compressor, s->compression_type,
		                   slot->buffer + i * size, size, packed, noted,
		                   errp);
	if (len < 0)
		return (int)len;
	if (len == 0)
		return changed(slot->piece.offset + i * size, errp);
	memset(packed + len, 0, noted - (size_t)len);
	return 0;
}

static int put_cluster(struct image_sink *s, struct qcf_slot *slot, uint64_t i,
                       struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = s->geometry;
	uint64_t cluster = qcf_host_cluster(g, slot->piece.offset) + i;
	uint32_t noted = qcf_stream_map_get(s->map, cluster);
	const uint8_t *from = slot->buffer;
	int ret = 0;

	if (noted == 0 || noted == QCF_STREAM_ZERO)
		return is_zeros(s, slot, i)
		               ? 0
		               : changed(qcf_host_offset(g, cluster), errp);
	if (!qcf_stream_walk_next(&s->walk) || s->walk.guest_cluster != cluster)
		return changed(qcf_host_offset(g, cluster), errp);
	if (noted < g->cluster_size) {
		from = slot->packed;
		ret = fit_packed(s, slot, i, noted, errp);
	}
	if (ret == 0)
		ret = qcf_outlet_pad(s->outlet, s->walk.host_offset, errp);
	return ret < 0 ? ret
	               : qcf_outlet_put(s->outlet,
	                                from + (i << g->cluster_bits), noted,
	                                errp);
}

static int put_piece(struct qcf_sink *sink, struct qcf_slot *slot,
                     struct qcowfmt_error **errp)
{
	struct image_sink *s = of(sink);
	uint64_t count = cluster_count(s, slot);
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < count; i++)
		ret = put_cluster(s, slot, i, errp);
	s->result->data_bytes += slot->piece.length;
	return ret;
}

static int end_input(struct qcf_convert *c, struct qcowfmt_error **errp)
{
	if (qcf_align_up(c->input.position, QCF_SECTOR_SIZE) == c->source.size)
		return qcf_input_check_end(&c->input, errp);
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "the input has %" PRIu64 " bytes, want %" PRIu64,
	                c->input.position, c->source.size);
}

static int put_image(struct qcf_convert *c, struct image_sink *s,
                     struct qcf_create_plan *plan, struct qcowfmt_error **errp)
{
	struct qcf_stream_layout layout;
	int ret = qcf_stream_layout_init(&layout, plan, s->map, errp);

	if (ret == 0)
		ret = qcf_stream_layout_put(&layout, s->outlet, errp);
	if (ret < 0)
		return ret;
	qcf_stream_walk_init(&s->walk, s->map,
	                     qcf_host_offset(s->geometry, layout.data));
	s->sink = (struct qcf_sink){ .prepare = prepare, .store = put_piece };
	c->pipe.sink = &s->sink;
	ret = qcf_pipe_run(&c->pipe, errp);
	if (ret == 0 && c->source.input != NULL)
		ret = end_input(c, errp);
	if (ret == 0 && qcf_stream_walk_next(&s->walk))
		return changed(
			qcf_host_offset(s->geometry, s->walk.guest_cluster),
			errp);
	return ret < 0 ? ret : qcf_outlet_pad(s->outlet, layout.file_len, errp);
}

/* ------------------------------------------------------------------- image */

static int check_compression(uint32_t type, struct qcowfmt_error **errp)
{
	if (qcf_compression_is_built_in(type))
		return 0;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "compression type %" PRIu32 " is not built in", type);
}

static int stream_planned(struct qcf_convert *c, struct image_sink *s,
                          struct qcf_create_plan *plan,
                          struct qcowfmt_error **errp)
{
	struct qcf_stream_map map;
	int ret = qcf_stream_map_init(&map, &plan->geometry,
	                              plan->header.l1_size, errp);

	if (ret < 0)
		return ret;
	s->map = &map;
	ret = qcf_convert_count(c, errp);
	/* Everything is read twice. */
	c->pace.total *= 2;
	if (ret == 0)
		ret = find_lengths(c, s, errp);
	if (ret == 0)
		ret = put_image(c, s, plan, errp);
	qcf_stream_map_fini(&map);
	return ret;
}

int qcf_stream_qcow2(struct qcf_convert *c,
                     const struct qcowfmt_create_options *create, bool compress,
                     struct qcf_outlet *outlet, struct qcowfmt_error **errp)
{
	bool hides = create->backing_filename != NULL;
	struct qcf_crypto_plan no_crypto = { .method = 0 };
	struct qcf_create_plan plan;
	struct image_sink s = {
		.unit = c->planner.unit,
		.compression_type = create->compression_type,
		.compress = compress,
		.zero = hides ? QCF_STREAM_ZERO : 0,
		.outlet = outlet,
		.result = c->pipe.result,
	};
	int lowest = 0;
	int highest = 0;
	int ret = compress ? check_compression(create->compression_type, errp)
	                   : 0;

	if (ret == 0)
		ret = qcf_create_plan_init(&plan, create, &no_crypto, errp);
	if (ret < 0)
		return ret;
	s.geometry = &plan.geometry;
	/* What is read once cannot be looked at before. */
	if (c->pipe.in_order)
		c->pipe.fill.write_all = true;
	c->planner.zeros_below = hides ? UINT64_MAX : 0;
	qcf_compression_levels(create->compression_type, &lowest, &highest);
	qcf_compressor_init(&s.compressor, 0);
	qcf_compressor_init(&s.slow_compressor, highest);
	ret = stream_planned(c, &s, &plan, errp);
	qcf_compressor_fini(&s.slow_compressor);
	qcf_compressor_fini(&s.compressor);
	qcf_create_plan_fini(&plan);
	return ret;
}
