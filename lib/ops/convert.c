/* SPDX-License-Identifier: MIT */
/* convert.c - copying the disks of images into another image */
#include <errno.h>
#include <inttypes.h>

#include "bitmap_ops.h"
#include "checked.h"
#include "convert.h"
#include "convert_target.h"
#include "describe.h"
#include "write_compressed.h"

/* Data in a piece: large enough that a request costs little, small enough that
 * many of them fit into memory. */
#define BUFFER_SIZE (UINT64_C(2) << 20)

/* File systems do not make smaller holes. */
#define RAW_HOLE_UNIT 4096u

#define DEFAULT_SPARSE_SIZE 4096u
#define MAX_SPARSE_SIZE     (UINT64_C(16) << 20)

/* ----------------------------------------------------------------- options */

static int refuse(struct qcowfmt_error **errp, const char *why)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s", why);
}

static int check_order(size_t source_count,
                       const struct qcowfmt_convert_options *o,
                       struct qcowfmt_error **errp)
{
	const uint32_t never =
		QCOWFMT_CONVERT_SALVAGE | QCOWFMT_CONVERT_TOP_ONLY |
		QCOWFMT_CONVERT_OUT_OF_ORDER | QCOWFMT_CONVERT_COPY_RANGE;
	const uint32_t disorder =
		QCOWFMT_CONVERT_OUT_OF_ORDER | QCOWFMT_CONVERT_COPY_RANGE;

	if (o->input == NULL && (o->flags & QCOWFMT_CONVERT_RESIZE) != 0)
		return refuse(errp, "only input can resize the target");
	if (o->input == NULL && (o->flags & QCOWFMT_CONVERT_IN_ORDER) != 0 &&
	    (o->flags & disorder) != 0)
		return refuse(errp, "ranges cannot be copied in order and in "
		                    "any order at the same time");
	if (o->input == NULL)
		return 0;
	if (source_count != 0 || o->bitmap != NULL)
		return refuse(errp, "with input there is no source and no "
		                    "bitmap");
	if ((o->flags & never) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "convert flags 0x%x make no sense for input",
		                o->flags & never);
	return 0;
}

static int check_options(size_t source_count,
                         const struct qcowfmt_convert_options *o,
                         struct qcowfmt_error **errp)
{
	const uint32_t known =
		QCOWFMT_CONVERT_COMPRESS | QCOWFMT_CONVERT_TARGET_IS_ZERO |
		QCOWFMT_CONVERT_SALVAGE | QCOWFMT_CONVERT_TOP_ONLY |
		QCOWFMT_CONVERT_OUT_OF_ORDER | QCOWFMT_CONVERT_COPY_RANGE |
		QCOWFMT_CONVERT_IN_ORDER | QCOWFMT_CONVERT_RESIZE;

	if ((o->flags & ~known) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown convert flags 0x%x",
		                o->flags & ~known);
	if (source_count == 0 && o->input == NULL)
		return refuse(errp, "there is no source");
	if (o->bitmap != NULL && source_count > 1)
		return refuse(errp, "a bitmap is for one source");
	if ((o->flags & QCOWFMT_CONVERT_COPY_RANGE) != 0 &&
	    (o->flags & QCOWFMT_CONVERT_COMPRESS) != 0)
		return refuse(errp, "ranges cannot be copied and compressed at "
		                    "the same time");
	if (o->sparse_size > MAX_SPARSE_SIZE && o->sparse_size != UINT64_MAX)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "sparse_size is %" PRIu64
		                ", want at most %" PRIu64,
		                o->sparse_size, MAX_SPARSE_SIZE);
	return check_order(source_count, o, errp);
}

/* ------------------------------------------------------------------- pipes */

/* What has to be zeros as a whole to be left out, in a source that has no hole
 * there. */
static uint64_t zero_block(const struct qcowfmt_convert_options *o,
                           uint64_t unit)
{
	uint64_t size = o->sparse_size;

	if ((o->flags & QCOWFMT_CONVERT_COMPRESS) != 0 || size == UINT64_MAX)
		return unit;
	if (size == 0)
		size = DEFAULT_SPARSE_SIZE;
	return qcf_align_up(qcf_align_up(size, QCF_SECTOR_SIZE), unit);
}

static int next_dirty(void *opaque, uint64_t offset, uint64_t *start,
                      uint64_t *len, struct qcowfmt_error **errp)
{
	const struct qcf_convert *c = opaque;

	return qcf_bitmap_next(c->source.images[0].image, c->bitmap, offset,
	                       start, len, errp);
}

static int init_source(struct qcf_convert *c,
                       struct qcowfmt_image *const *sources,
                       size_t source_count,
                       const struct qcowfmt_convert_options *o,
                       struct qcowfmt_error **errp)
{
	if (o->input == NULL)
		return qcf_source_init(
			&c->source, sources, source_count,
			(o->flags & QCOWFMT_CONVERT_TOP_ONLY) != 0, errp);
	c->input = (struct qcf_input){
		.read = o->input,
		.opaque = o->input_opaque,
	};
	qcf_source_init_input(&c->source, &c->input, QCF_INPUT_MAX_SIZE);
	return 0;
}

int qcf_convert_init(struct qcf_convert *c,
                     struct qcowfmt_image *const *sources, size_t source_count,
                     uint64_t hole_unit,
                     const struct qcowfmt_convert_options *o,
                     struct qcowfmt_convert_result *result,
                     struct qcowfmt_error **errp)
{
	uint64_t block = zero_block(o, hole_unit);
	bool write_all = o->sparse_size == UINT64_MAX;
	int ret = check_options(source_count, o, errp);

	if (ret == 0)
		ret = init_source(c, sources, source_count, o, errp);
	if (ret < 0)
		return ret;
	c->planner = (struct qcf_planner){
		.source = &c->source,
		.unit = hole_unit,
		.buffer_size = qcf_unit_up(BUFFER_SIZE, block),
		.write_all = write_all,
	};
	c->pipe = (struct qcf_pipe_options){
		.planner = &c->planner,
		.pace = &c->pace,
		.threads = o->threads,
		.pack = (o->flags & QCOWFMT_CONVERT_COMPRESS) != 0,
		.out_of_order = (o->flags & QCOWFMT_CONVERT_OUT_OF_ORDER) != 0,
		.in_order = (o->flags & QCOWFMT_CONVERT_IN_ORDER) != 0 ||
		            o->input != NULL,
		.salvage = o->salvage,
		.salvage_opaque = o->salvage_opaque,
		.result = result,
	};
	c->pipe.fill = (struct qcf_fill){
		.source = &c->source,
		.unit = hole_unit,
		.zero_block = block,
		.salvage = (o->flags & QCOWFMT_CONVERT_SALVAGE) != 0,
		.write_all = write_all,
	};
	if (o->bitmap != NULL) {
		c->bitmap = o->bitmap;
		c->planner.next_dirty = next_dirty;
		c->planner.dirty_opaque = c;
	}
	qcf_pace_init(&c->pace, o->progress, o->progress_opaque, o->rate_limit);
	return 0;
}

void qcf_convert_fini(struct qcf_convert *c)
{
	qcf_source_fini(&c->source);
}

static int poll_pace(void *opaque, struct qcowfmt_error **errp)
{
	return qcf_pace_poll(opaque, errp);
}

int qcf_convert_count(struct qcf_convert *c, struct qcowfmt_error **errp)
{
	int ret = 0;

	if (c->pipe.in_order) {
		c->pace.total = c->source.input == NULL ? c->source.size : 0;
	} else if (c->pace.progress != NULL) {
		uint64_t total = 0;

		ret = qcf_plan_count(&c->planner, poll_pace, &c->pace, &total,
		                     errp);
		c->pace.total = total;
	}
	if (ret < 0) {
		c->pipe.result->failed_stage = QCOWFMT_CONVERT_READING;
		c->pipe.result->failed_offset = c->planner.position;
		return ret;
	}
	return qcf_pace_poll(&c->pace, errp);
}

int qcf_convert_run(struct qcf_convert *c, struct qcowfmt_error **errp)
{
	int ret = qcf_convert_count(c, errp);

	return ret < 0 ? ret : qcf_pipe_run(&c->pipe, errp);
}

/* ------------------------------------------------------------------ target */

/*
 * Whether a new target has its clusters already, but its file may have holes in
 * them: then they are like a raw image.  What the first one is tells it; an
 * error here will come up again.
 */
static bool is_preallocated(struct qcowfmt_image *target, uint32_t flags)
{
	const struct qcf_layer *top = qcf_image_top(target);
	struct qcowfmt_extent first = { .kind = QCOWFMT_EXTENT_UNALLOCATED };
	struct qcf_request request;
	int count;

	if ((flags & QCOWFMT_CONVERT_TARGET_IS_ZERO) == 0 ||
	    top->virtual_size == 0)
		return false;
	qcf_request_begin_read(&request, target);
	count = qcf_describe_map(target, 0, 1, QCOWFMT_MAP_TOP, &first, 1,
	                         NULL);
	qcf_request_end(&request);
	return count == 1 && first.kind == QCOWFMT_EXTENT_DATA &&
	       (first.flags & QCOWFMT_EXTENT_ENCRYPTED) == 0;
}

/* The smallest unit of which the target knows whether it is there. */
static uint64_t target_unit(struct qcowfmt_image *target, uint32_t flags)
{
	const struct qcf_meta *meta = qcf_image_top(target)->meta;

	if (meta == NULL)
		return RAW_HOLE_UNIT;
	if ((flags & QCOWFMT_CONVERT_COMPRESS) != 0)
		return meta->geometry.cluster_size;
	return is_preallocated(target, flags)
	               ? QCF_MIN(RAW_HOLE_UNIT, meta->geometry.subcluster_size)
	               : meta->geometry.subcluster_size;
}

/* From where on nothing need be written for zeros. */
static uint64_t zeros_below(const struct qcowfmt_image *target, uint32_t flags)
{
	if ((flags & QCOWFMT_CONVERT_TARGET_IS_ZERO) == 0)
		return UINT64_MAX;
	if (target->layer_count > 1)
		return target->layers[1]->virtual_size;
	return 0;
}

/* What is copied without a request on its image has to stay where it is. */
static bool can_share(struct qcowfmt_image *const *sources, size_t count,
                      uint32_t flags)
{
	bool writable = false;

	for (size_t i = 0; i < count; i++)
		writable |= qcf_image_top(sources[i])->writable;
	return (flags & QCOWFMT_CONVERT_COPY_RANGE) != 0 && !writable;
}

static int check_target(const struct qcf_source *source,
                        const struct qcowfmt_image *target, uint32_t flags,
                        struct qcowfmt_error **errp)
{
	uint64_t size = qcf_image_top(target)->virtual_size;

	for (size_t i = 0; i < source->count; i++) {
		if (source->images[i].image == target)
			return refuse(errp, "a source is the target, too");
	}
	if (source->input == NULL && size < source->size)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the target has %" PRIu64
		                " bytes, the sources have %" PRIu64,
		                size, source->size);
	if ((flags & QCOWFMT_CONVERT_COMPRESS) != 0)
		return qcf_check_compressed(target, errp);
	return 0;
}

/* What was known at the end only: how long the input is. */
static int settle_size(struct qcf_convert *c, struct qcf_target *sink,
                       struct qcowfmt_error **errp)
{
	if (c->source.input == NULL)
		return 0;
	c->pace.total = c->pace.done;
	return sink->resize
	               ? qcf_target_set_size(sink,
	                                     qcf_align_up(c->input.position,
	                                                  QCF_SECTOR_SIZE),
	                                     errp)
	               : qcf_input_check_end(&c->input, errp);
}

int qcf_convert(struct qcowfmt_image *const *sources, size_t source_count,
                struct qcowfmt_image *target,
                const struct qcowfmt_convert_options *options,
                struct qcowfmt_convert_result *result,
                struct qcowfmt_error **errp)
{
	struct qcf_convert c;
	struct qcf_target sink = {
		.image = target,
		.size = qcf_image_top(target)->virtual_size,
		.zeros_below = zeros_below(target, options->flags),
		.compress = (options->flags & QCOWFMT_CONVERT_COMPRESS) != 0,
		.resize = (options->flags & QCOWFMT_CONVERT_RESIZE) != 0,
	};
	int ret = qcf_convert_init(&c, sources, source_count,
	                           target_unit(target, options->flags), options,
	                           result, errp);

	if (ret < 0)
		return ret;
	sink.unit = c.planner.unit;
	sink.fill = &c.pipe.fill;
	sink.share = can_share(sources, source_count, options->flags);
	qcf_target_init(&sink);
	/* Where a raw file has its bytes does not depend on the order. */
	if (qcf_image_top(target)->meta == NULL && c.source.input == NULL &&
	    options->bitmap == NULL)
		c.pipe.out_of_order = !c.pipe.in_order;
	c.planner.zeros_below = sink.zeros_below;
	c.pipe.sink = &sink.sink;
	/* What cannot grow takes no more than it has room for. */
	if (c.source.input != NULL && !sink.resize)
		c.source.size = sink.size;
	ret = check_target(&c.source, target, options->flags, errp);
	if (ret == 0)
		ret = qcf_convert_run(&c, errp);
	if (ret == 0)
		ret = settle_size(&c, &sink, errp);
	result->data_bytes = atomic_load(&sink.data_bytes);
	result->shared_bytes = atomic_load(&sink.shared_bytes);
	qcf_convert_fini(&c);
	return ret;
}
