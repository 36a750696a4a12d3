/* SPDX-License-Identifier: MIT */
/* stream.c - making an image from first byte to last */
#include <errno.h>
#include <inttypes.h>

#include "create.h"
#include "create_options.h"
#include "stream.h"

/* Zeros that go through at once. */
#define ZERO_LEN (UINT64_C(64) << 10)

/* Of a raw image, where nothing but the size of requests depends on it. */
#define RAW_UNIT 4096u

/* ------------------------------------------------------------------ outlet */

int qcf_outlet_put(struct qcf_outlet *outlet, const void *bytes, uint64_t len,
                   struct qcowfmt_error **errp)
{
	int ret = len == 0 ? 0 : outlet->callback(outlet->opaque, bytes, len);

	if (ret < 0)
		return qcf_fail_sys(errp, -ret,
		                    "passing on %" PRIu64
		                    " bytes at offset %" PRIu64,
		                    len, outlet->position);
	outlet->position += len;
	return 0;
}

int qcf_outlet_pad(struct qcf_outlet *outlet, uint64_t position,
                   struct qcowfmt_error **errp)
{
	static const uint8_t zeros[ZERO_LEN];
	int ret = 0;

	while (ret == 0 && outlet->position < position) {
		ret = qcf_outlet_put(
			outlet, zeros,
			QCF_MIN(position - outlet->position, ZERO_LEN), errp);
		if (ret == 0)
			ret = qcf_pace_poll(outlet->pace, errp);
	}
	return ret;
}

/* --------------------------------------------------------------------- raw */

struct raw_sink {
	struct qcf_sink sink; /* first */
	struct qcf_outlet *outlet;
	struct qcowfmt_convert_result *result;
};

static int put_piece(struct qcf_sink *sink, struct qcf_slot *slot,
                     struct qcowfmt_error **errp)
{
	struct raw_sink *raw = qcf_container_of(sink, struct raw_sink, sink);
	int ret = qcf_outlet_pad(raw->outlet, slot->piece.offset, errp);

	if (ret < 0)
		return ret;
	raw->result->data_bytes += slot->piece.length;
	return qcf_outlet_put(raw->outlet, slot->buffer, slot->piece.length,
	                      errp);
}

static int stream_raw(struct qcf_convert *c, uint64_t size,
                      struct qcf_outlet *outlet, struct qcowfmt_error **errp)
{
	struct raw_sink raw = {
		.sink = { .store = put_piece },
		.outlet = outlet,
		.result = c->pipe.result,
	};
	int ret;

	/* Zeros have to be passed on like anything else. */
	c->pipe.fill.write_all = true;
	c->pipe.sink = &raw.sink;
	ret = qcf_convert_run(c, errp);
	if (ret == 0 && c->source.input != NULL && size != 0)
		ret = qcf_input_check_end(&c->input, errp);
	return ret < 0 ? ret : qcf_outlet_pad(outlet, size, errp);
}

/* ----------------------------------------------------------------- options */

static int not_supported(struct qcowfmt_error **errp, const char *what)
{
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "an image that is made in one go cannot have %s", what);
}

/* What no format does in one go. */
static int check_kind(const struct qcowfmt_create_options *create,
                      uint32_t flags, struct qcowfmt_error **errp)
{
	bool raw = create->format == QCOWFMT_FORMAT_RAW;

	if (create->format == QCOWFMT_FORMAT_QCOW)
		return not_supported(errp, "version 1");
	if (create->data_filename != NULL || create->data_storage != NULL)
		return not_supported(errp, "a data file");
	if (create->encryption != NULL)
		return not_supported(errp, "encryption");
	if (qcf_create_preallocation(create) != QCOWFMT_PREALLOCATION_OFF)
		return not_supported(errp, "preallocation");
	if (create->backing_filename != NULL && !raw &&
	    qcf_create_version(create) < 3)
		return not_supported(errp, "a backing file in version 2");
	if (raw && (flags & QCOWFMT_CONVERT_COMPRESS) != 0)
		return not_supported(errp, "compressed clusters and be raw");
	return 0;
}

static int check_flags(const struct qcowfmt_convert_options *o,
                       struct qcowfmt_error **errp)
{
	const uint32_t never =
		QCOWFMT_CONVERT_OUT_OF_ORDER | QCOWFMT_CONVERT_COPY_RANGE |
		QCOWFMT_CONVERT_TARGET_IS_ZERO | QCOWFMT_CONVERT_RESIZE;
	bool twice = (o->flags & QCOWFMT_CONVERT_COMPRESS) != 0;

	if ((o->flags & never) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "convert flags 0x%x make no sense for an image "
		                "that is made in one go",
		                o->flags & never);
	if (o->bitmap != NULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "an image that is made in one go is made as a "
		                "whole, not by a bitmap");
	if (twice && (o->flags & QCOWFMT_CONVERT_IN_ORDER) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "what is compressed has to be read twice");
	return 0;
}

/* Tables come first: they cannot be made for clusters that nobody has seen. */
static int check_input(const struct qcowfmt_create_options *create,
                       const struct qcowfmt_convert_options *o,
                       struct qcowfmt_error **errp)
{
	if (o->input == NULL || create->format == QCOWFMT_FORMAT_RAW ||
	    (create->virtual_size != 0 && o->sparse_size == UINT64_MAX &&
	     (o->flags & QCOWFMT_CONVERT_COMPRESS) == 0))
		return 0;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "a qcow2 image can be made of input in one go only if "
	                "its size is known and everything is stored as it is");
}

static int check_size(const struct qcf_source *source,
                      const struct qcowfmt_create_options *create,
                      struct qcowfmt_error **errp)
{
	if (create->virtual_size >= source->size)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "the image would have %" PRIu64
	                " bytes, the sources have %" PRIu64,
	                create->virtual_size, source->size);
}

static int stream_from(struct qcf_convert *c,
                       const struct qcowfmt_create_options *create,
                       const struct qcowfmt_convert_options *o,
                       struct qcf_outlet *outlet, struct qcowfmt_error **errp)
{
	struct qcowfmt_create_options sized = *create;
	int ret;

	if (c->source.input != NULL && sized.virtual_size != 0)
		c->source.size = sized.virtual_size;
	if (c->source.input == NULL && sized.virtual_size == 0)
		sized.virtual_size = c->source.size;
	ret = c->source.input == NULL ? check_size(&c->source, &sized, errp)
	                              : 0;
	if (ret == 0)
		ret = qcf_create_check(&sized, errp);
	if (ret < 0)
		return ret;
	outlet->pace = &c->pace;
	if (sized.format == QCOWFMT_FORMAT_RAW)
		return stream_raw(c, sized.virtual_size, outlet, errp);
	return qcf_stream_qcow2(c, &sized,
	                        (o->flags & QCOWFMT_CONVERT_COMPRESS) != 0,
	                        outlet, errp);
}

int qcf_stream(struct qcowfmt_image *const *sources, size_t source_count,
               const struct qcowfmt_create_options *create,
               const struct qcowfmt_convert_options *options,
               qcowfmt_stream_callback callback, void *opaque,
               struct qcowfmt_convert_result *result,
               struct qcowfmt_error **errp)
{
	struct qcf_outlet outlet = { .callback = callback, .opaque = opaque };
	uint64_t unit = create->format == QCOWFMT_FORMAT_RAW
	                        ? RAW_UNIT
	                        : qcf_create_cluster_size(create);
	struct qcf_convert c;
	int ret = check_flags(options, errp);

	if (ret == 0)
		ret = check_kind(create, options->flags, errp);
	if (ret == 0)
		ret = check_input(create, options, errp);
	if (ret == 0)
		ret = qcf_create_check_options(create, errp);
	if (ret == 0)
		ret = qcf_convert_init(&c, sources, source_count, unit, options,
		                       result, errp);
	if (ret < 0)
		return ret;
	ret = stream_from(&c, create, options, &outlet, errp);
	qcf_convert_fini(&c);
	return ret;
}
