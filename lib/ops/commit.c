/* SPDX-License-Identifier: MIT */
/*
 * commit.c - copying what overlays hold into the image below them
 *
 *   1. the base grows if it is smaller; what is added reads as zeros, like the
 *      disk above, whose overlays end nowhere before
 *   2. what the overlays hold is copied.  They hide it, so that the disk is the
 *      same however much has arrived
 *   3. the base is made stable
 *   4. the top image is emptied (empty.c), unless it is to stay as it is
 *
 * Both images are closed to guest requests meanwhile, the top one only if it
 * is emptied: a write between steps 2 and 4 would be lost.
 */
#include <errno.h>
#include <inttypes.h>

#include "checked.h"
#include "commit.h"
#include "convert_pace.h"
#include "empty.h"
#include "exclusive.h"
#include "resize.h"
#include "scan.h"
#include "write.h"
#include "writeback.h"
#include "zero_discard.h"

struct committing {
	struct qcowfmt_image *image;
	struct qcowfmt_image *base;
	struct qcf_request from;
	struct qcf_request to;
	struct qcf_scan overlays; /* of image */
	struct qcf_scan target;   /* of base */
	struct qcf_pace pace;
	uint64_t chunk;  /* bytes read at once */
	uint8_t *buffer; /* for a chunk; owned */
	bool keep_top;
};

/* ------------------------------------------------------------- what is allowed */

static int usage(struct qcowfmt_error **errp, const char *image,
                 const char *what)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s: %s", image, what);
}

static bool uses(const struct qcowfmt_image *image,
                 const struct qcowfmt_storage *storage)
{
	for (uint32_t i = 0; storage != NULL && i < image->layer_count; i++) {
		const struct qcf_layer *layer = image->layers[i];

		if (qcf_storage_is_same(layer->storage, storage) ||
		    (layer->data_file != NULL &&
		     qcf_storage_is_same(layer->data_file, storage)))
			return true;
	}
	return false;
}

/* No file may be on both sides. */
static int check_apart(const struct committing *c, struct qcowfmt_error **errp)
{
	for (uint32_t i = 0; i < c->base->layer_count; i++) {
		const struct qcf_layer *layer = c->base->layers[i];

		if (uses(c->image, layer->storage) ||
		    uses(c->image, layer->data_file))
			return usage(errp, layer->storage->name,
			             "the image cannot be committed to itself");
	}
	return 0;
}

static int check(const struct committing *c,
                 const struct qcowfmt_commit_options *o,
                 struct qcowfmt_error **errp)
{
	const struct qcf_layer *top = qcf_image_top(c->image);

	if ((o->flags & ~QCOWFMT_COMMIT_KEEP_TOP) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown commit flags 0x%x",
		                o->flags & ~QCOWFMT_COMMIT_KEEP_TOP);
	if (!c->keep_top && !top->writable)
		return qcf_fail(errp, EROFS, QCOWFMT_ERR_READ_ONLY,
		                "%s is opened read-only", top->storage->name);
	if (top->backing_path == NULL)
		return usage(errp, top->storage->name,
		             "the image has no backing file");
	if (!c->image->incomplete)
		return usage(errp, top->storage->name,
		             "the chain has to end above the image that is "
		             "committed to: set chain_limit");
	return check_apart(c, errp);
}

/* -------------------------------------------------------------------- the copy */

static int copy_data(struct committing *c, uint64_t guest_offset, uint64_t len,
                     struct qcowfmt_error **errp)
{
	int ret = 0;

	while (ret == 0 && len > 0) {
		uint64_t part = QCF_MIN(len, c->chunk);
		struct iovec iov = { c->buffer, part };

		ret = qcf_scan_read(&c->overlays, c->buffer, guest_offset, part,
		                    errp);
		if (ret == 0)
			ret = qcf_write(&c->to, &iov, 1, guest_offset, part,
			                errp);
		if (ret == 0)
			ret = qcf_pace_add(&c->pace, part, part, errp);
		qcf_request_renew(&c->from);
		guest_offset += part;
		len -= part;
	}
	return ret;
}

/* Zeros are written only where the base does not show them already. */
static int copy_zeros(struct committing *c, uint64_t guest_offset, uint64_t len,
                      struct qcowfmt_error **errp)
{
	int ret = 0;

	while (ret == 0 && len > 0) {
		struct qcf_piece piece;

		ret = qcf_scan_piece(&c->target, guest_offset, len, &piece,
		                     errp);
		if (ret < 0)
			break;
		if (piece.content != QCF_CONTENT_ZEROS)
			ret = qcf_write_zeroes(&c->to, guest_offset,
			                       piece.length, true, errp);
		if (ret == 0)
			ret = qcf_pace_to(&c->pace, guest_offset + piece.length,
			                  errp);
		guest_offset += piece.length;
		len -= piece.length;
	}
	return ret;
}

static int copy_piece(struct committing *c, uint64_t guest_offset,
                      const struct qcf_piece *piece,
                      struct qcowfmt_error **errp)
{
	switch (piece->content) {
	case QCF_CONTENT_DATA:
		return copy_data(c, guest_offset, piece->length, errp);
	case QCF_CONTENT_ZEROS:
		return copy_zeros(c, guest_offset, piece->length, errp);
	case QCF_CONTENT_BELOW:
		break;
	}
	return qcf_pace_to(&c->pace, guest_offset + piece->length, errp);
}

static int copy_all(struct committing *c, struct qcowfmt_error **errp)
{
	uint64_t at = 0;
	int ret = qcf_pace_to(&c->pace, 0, errp);

	while (ret == 0 && at < c->overlays.size) {
		struct qcf_piece piece;

		ret = qcf_scan_piece(&c->overlays, at, c->overlays.size - at,
		                     &piece, errp);
		if (ret == 0)
			ret = copy_piece(c, at, &piece, errp);
		at += piece.length;
	}
	return ret;
}

static int copy(struct committing *c, struct qcowfmt_error **errp)
{
	int ret = qcf_scan_init(&c->overlays, c->image, errp);

	if (ret == 0)
		ret = qcf_scan_init(&c->target, c->base, errp);
	c->chunk = QCF_MAX(qcf_scan_chunk(c->image), qcf_scan_chunk(c->base));
	c->buffer = aligned_alloc(QCF_SCAN_ALIGNMENT, c->chunk);
	if (ret == 0 && c->buffer == NULL)
		ret = qcf_fail_oom(errp);
	c->pace.total = c->overlays.size;
	if (ret == 0)
		ret = copy_all(c, errp);
	free(c->buffer);
	qcf_scan_fini(&c->target);
	qcf_scan_fini(&c->overlays);
	return ret;
}

/* --------------------------------------------------------------- the operation */

static int grow_base(struct committing *c, struct qcowfmt_error **errp)
{
	uint64_t size = qcf_image_top(c->image)->virtual_size;
	struct qcowfmt_resize_options how = { .struct_size = sizeof(how) };

	if (size <= qcf_image_top(c->base)->virtual_size)
		return 0;
	return qcf_resize(c->base, size, &how, errp);
}

/* Between growing the base and having both images, others had their turn. */
static int check_sizes(const struct committing *c, struct qcowfmt_error **errp)
{
	uint64_t size = qcf_image_top(c->image)->virtual_size;
	uint64_t room = qcf_image_top(c->base)->virtual_size;

	if (size <= room)
		return 0;
	return qcf_fail(errp, EBUSY, QCOWFMT_ERR_IO,
	                "the image is %" PRIu64
	                " bytes long and the base %" PRIu64
	                " after somebody resized one of them; commit again",
	                size, room);
}

/* Both images are at our disposal. */
static int copy_stable(struct committing *c, struct qcowfmt_error **errp)
{
	struct qcf_layer *base = qcf_image_top(c->base);
	int ret = check_sizes(c, errp);

	if (ret == 0)
		ret = copy(c, errp);
	if (ret < 0)
		return ret;
	return base->meta != NULL
	               ? qcf_writeback_drain(base->meta, errp)
	               : qcf_flush_or_poison(base->storage, &base->raw_poison,
	                                     errp);
}

static int commit_keeping(struct committing *c, struct qcowfmt_error **errp)
{
	bool image_first = qcf_image_comes_first(c->image, c->base);
	int ret;

	if (image_first)
		qcf_request_begin_read(&c->from, c->image);
	ret = qcf_exclusive_begin(c->base, errp);
	if (ret == 0) {
		if (!image_first)
			qcf_request_begin_read(&c->from, c->image);
		ret = copy_stable(c, errp);
		qcf_exclusive_end(c->base);
	}
	qcf_request_end(&c->from);
	return ret;
}

static int commit_emptying(struct committing *c, struct qcowfmt_error **errp)
{
	bool image_first = qcf_image_comes_first(c->image, c->base);
	struct qcowfmt_image *first = image_first ? c->image : c->base;
	struct qcowfmt_image *second = image_first ? c->base : c->image;
	int ret = qcf_exclusive_begin(first, errp);

	if (ret < 0)
		return ret;
	ret = qcf_exclusive_begin(second, errp);
	if (ret == 0) {
		ret = copy_stable(c, errp);
		if (ret == 0)
			ret = qcf_empty(c->image, errp);
		qcf_exclusive_end(second);
	}
	qcf_exclusive_end(first);
	return ret;
}

int qcf_commit(struct qcowfmt_image *image, struct qcowfmt_image *base,
               const struct qcowfmt_commit_options *options,
               struct qcowfmt_error **errp)
{
	struct committing c = {
		.image = image,
		.base = base,
		.from = { .image = image },
		.to = { .image = base },
		.keep_top = (options->flags & QCOWFMT_COMMIT_KEEP_TOP) != 0,
	};
	int ret = check(&c, options, errp);

	qcf_pace_init(&c.pace, options->progress, options->progress_opaque,
	              options->rate_limit);
	if (ret == 0)
		ret = grow_base(&c, errp);
	if (ret == 0)
		ret = c.keep_top ? commit_keeping(&c, errp)
		                 : commit_emptying(&c, errp);
	return qcf_wrap(errp, qcf_image_top(image)->storage->name, ret);
}
