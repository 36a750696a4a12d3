/* SPDX-License-Identifier: MIT */
/*
 * stream.h - making an image from first byte to last
 *
 * stream            options, and what both formats need
 * stream_map        what each guest cluster of a new image will be, and where
 * stream_layout     header, tables and counts that follow from it
 */
#ifndef QCF_STREAM_H
#define QCF_STREAM_H

#include "convert.h"

/* As qcowfmt_stream(), with options of this library's version; result is never
 * NULL. */
int qcf_stream(struct qcowfmt_image *const *sources, size_t source_count,
               const struct qcowfmt_create_options *create,
               const struct qcowfmt_convert_options *options,
               qcowfmt_stream_callback callback, void *opaque,
               struct qcowfmt_convert_result *result,
               struct qcowfmt_error **errp);

/* The end of the pipe. */
struct qcf_outlet {
	qcowfmt_stream_callback callback;
	void *opaque;
	uint64_t position;     /* bytes that went through */
	struct qcf_pace *pace; /* asked during long runs of zeros */
};

int qcf_outlet_put(struct qcf_outlet *outlet, const void *bytes, uint64_t len,
                   struct qcowfmt_error **errp);

/* Zeros up to a position. */
int qcf_outlet_pad(struct qcf_outlet *outlet, uint64_t position,
                   struct qcowfmt_error **errp);

/* The image of version 2 or 3; c is ready but for its sink.  create has been
 * checked and has its size. */
int qcf_stream_qcow2(struct qcf_convert *c,
                     const struct qcowfmt_create_options *create, bool compress,
                     struct qcf_outlet *outlet, struct qcowfmt_error **errp);

#endif
