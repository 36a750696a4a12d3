/* SPDX-License-Identifier: MIT */
/* img_convert_copy.c - moving the data of "convert" from source to target */
#include "img_convert_copy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool_error.h"

/* More workers than processors only help to keep a slow disk busy, and do
 * nothing for compression. */
static uint32_t worker_count(const struct img_convert_request *r)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t most = processors > 0 ? (uint64_t)processors : 1;

	if (!r->compress)
		most = qcf_max(2, most);
	return (uint32_t)qcf_min(r->parallel, most);
}

static uint32_t copy_flags(const struct img_convert_request *r)
{
	uint32_t flags = 0;

	if (r->compress)
		flags |= QCOWFMT_CONVERT_COMPRESS;
	if (r->out_of_order)
		flags |= QCOWFMT_CONVERT_OUT_OF_ORDER;
	if (r->copy_range)
		flags |= QCOWFMT_CONVERT_COPY_RANGE;
	if (r->salvage)
		flags |= QCOWFMT_CONVERT_SALVAGE;
	if (r->has_backing)
		flags |= QCOWFMT_CONVERT_TOP_ONLY;
	return flags;
}

/* QEMU's program warns of each sector. */
static void warn_lost(void *opaque, size_t source_index, uint64_t guest_offset,
                      uint64_t len, const char *message)
{
	const struct img_copy *copy = opaque;
	uint64_t at;

	(void)source_index;
	(void)message;
	if (copy->request->quiet)
		return;
	for (at = 0; at < len; at += 512)
		qcf_tool_warning("error while reading offset %" PRIu64 ": %s",
		                 guest_offset + at, strerror(EIO));
}

/* What comes from a pipe is read in one order only, and once. */
static void read_once(struct img_copy *copy, const struct img_source *source)
{
	const uint32_t never = QCOWFMT_CONVERT_OUT_OF_ORDER |
	                       QCOWFMT_CONVERT_COPY_RANGE |
	                       QCOWFMT_CONVERT_SALVAGE;

	if (!source->is_input && !source->is_moving)
		return;
	copy->options.flags &= ~never;
	copy->options.flags |= QCOWFMT_CONVERT_IN_ORDER;
	if (!source->is_input)
		return;
	if (copy->request->resize)
		copy->options.flags |= QCOWFMT_CONVERT_RESIZE;
	copy->options.input = qcf_pipe_take;
	/* Taking from it is no change that others could see. */
	copy->options.input_opaque = (void *)(uintptr_t)&source->pipe;
}

void qcf_copy_begin(struct img_copy *copy, const struct img_convert_request *r,
                    const struct img_source *source, uint32_t flags)
{
	int mode = r->quiet ? IMG_PROGRESS_NONE : r->progress;

	*copy = (struct img_copy){
		.request = r,
		.result = { .struct_size = sizeof(copy->result) },
	};
	copy->options = (struct qcowfmt_convert_options){
		.struct_size = sizeof(copy->options),
		.flags = copy_flags(r) | flags,
		.threads = worker_count(r),
		.sparse_size = r->hole_size == 0 ? UINT64_MAX : r->hole_size,
		.rate_limit = r->rate_limit,
		.progress = qcf_progress_callback,
		.progress_opaque = &copy->progress,
		.salvage = warn_lost,
		.salvage_opaque = copy,
		.result = &copy->result,
	};
	read_once(copy, source);
	qcf_progress_begin_on(&copy->progress, mode, 1,
	                      r->to_pipe ? stderr : stdout);
}

bool qcf_copy_end(struct img_copy *copy, int ret)
{
	const char *stage = copy->result.failed_stage == QCOWFMT_CONVERT_READING
	                            ? "reading"
	                            : "writing";

	qcf_progress_end(&copy->progress, ret == 0);
	if (ret < 0 && copy->result.failed_stage != QCOWFMT_CONVERT_NOT_FAILED)
		qcf_tool_error("error while %s at byte %" PRIu64 ": %s", stage,
		               copy->result.failed_offset,
		               qcowfmt_error_message(copy->error));
	else if (ret < 0)
		qcf_tool_error("%s", qcowfmt_error_message(copy->error));
	qcowfmt_error_free(copy->error);
	return ret == 0;
}

bool qcf_copy(const struct img_convert_request *r,
              const struct img_source *source, struct qcowfmt_image *target)
{
	uint32_t flags = qcf_target_is_zero(r, target)
	                         ? QCOWFMT_CONVERT_TARGET_IS_ZERO
	                         : 0;
	struct img_copy copy;
	int ret;

	qcf_copy_begin(&copy, r, source, flags);
	ret = qcowfmt_convert(source->handles, source->count, target,
	                      &copy.options, &copy.error);
	return qcf_copy_end(&copy, ret);
}
