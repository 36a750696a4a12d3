/* SPDX-License-Identifier: MIT */
/*
 * rebase.c - putting an image on another backing file
 *
 * What the image leaves to its backing file is compared, old with new, in units
 * that a mapping can tell apart; units that differ are copied into the image.
 * Its guest sees no difference, because it saw the same bytes before.  When the
 * copies are stable the header gets the new name, in one step: before it the
 * image is complete over the old file, after it over the new one.
 *
 * Ranges that both chains take from the same place, or know to be zeros, are
 * neither read nor compared.
 */
#include <errno.h>

#include "checked.h"
#include "convert_pace.h"
#include "create_options.h"
#include "exclusive.h"
#include "header_rewrite.h"
#include "rebase.h"
#include "scan.h"
#include "write.h"
#include "write_compressed.h"
#include "writeback.h"
#include "zero_discard.h"
#include "zeros.h"

struct rebasing {
	struct qcf_request request;
	struct qcf_layer *layer;  /* of the image itself */
	struct qcf_request below; /* of the new backing file */
	struct qcf_scan old;      /* the image with its old chain */
	struct qcf_scan new;
	struct qcf_pace pace;
	uint8_t *old_bytes; /* buffer_size each; owned */
	uint8_t *new_bytes;
	uint64_t buffer_size;
	bool compress;
};

/* ------------------------------------------------------------- what is allowed */

static int usage(struct qcowfmt_error **errp, const char *what)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s", what);
}

static int check_names(const struct qcowfmt_rebase_options *o,
                       struct qcowfmt_error **errp)
{
	struct qcowfmt_create_options names = {
		.backing_filename = o->backing_filename,
		.backing_format = o->backing_format,
	};
	int ret = qcf_create_check_backing(&names, errp);

	if (ret == 0 && o->backing_format != NULL &&
	    strlen(o->backing_format) > QCF_MAX_FORMAT_NAME)
		ret = usage(errp, "the backing format is longer than 15 bytes");
	return ret;
}

static int check_flags(const struct qcowfmt_rebase_options *o,
                       const struct qcowfmt_image *new_base,
                       struct qcowfmt_error **errp)
{
	const uint32_t known = QCOWFMT_REBASE_UNSAFE | QCOWFMT_REBASE_COMPRESS;
	bool unsafe = (o->flags & QCOWFMT_REBASE_UNSAFE) != 0;

	if ((o->flags & ~known) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown rebase flags 0x%x", o->flags & ~known);
	if (unsafe && new_base != NULL)
		return usage(errp, "an unsafe rebase takes no new base");
	if (unsafe && (o->flags & QCOWFMT_REBASE_COMPRESS) != 0)
		return usage(errp, "an unsafe rebase copies nothing that could "
		                   "be compressed");
	if (!unsafe && (new_base == NULL) != (o->backing_filename == NULL))
		return usage(errp, "a new base and its name belong together");
	return 0;
}

static int check_image(const struct rebasing *r,
                       const struct qcowfmt_rebase_options *o,
                       struct qcowfmt_error **errp)
{
	if (r->layer->meta == NULL)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "a raw image cannot have a backing file");
	if ((o->flags & QCOWFMT_REBASE_UNSAFE) == 0 &&
	    r->request.image->incomplete)
		return usage(errp, "the image has to be opened with its "
		                   "backing file");
	return 0;
}

/* The new base must not lead back to the image. */
static int check_loop(const struct rebasing *r,
                      const struct qcowfmt_image *new_base,
                      struct qcowfmt_error **errp)
{
	for (uint32_t i = 0; new_base != NULL && i < new_base->layer_count;
	     i++) {
		const struct qcf_layer *layer = new_base->layers[i];

		if (qcf_storage_is_same(layer->storage, r->layer->storage) ||
		    (layer->data_file != NULL &&
		     qcf_storage_is_same(layer->data_file, r->layer->storage)))
			return qcf_fail(errp, ELOOP, QCOWFMT_ERR_USAGE,
			                "the image would be its own backing "
			                "file");
	}
	return 0;
}

/* --------------------------------------------------------------------- copying */

static const struct qcf_geometry *geometry(const struct rebasing *r)
{
	return &r->layer->meta->geometry;
}

/* Copy what differs; the bytes of the old chain are at hand. */
static int copy_units(struct rebasing *r, const uint8_t *bytes, uint64_t at,
                      uint64_t len, struct qcowfmt_error **errp)
{
	/* Writing only reads from it. */
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	/* Version 2 would rely on the old backing file for zeros. */
	if (geometry(r)->version >= 3 && qcf_is_zero(bytes, len))
		return qcf_write_zeroes(&r->request, at, len, true, errp);
	if (r->compress && qcf_offset_in_cluster(geometry(r), at) == 0 &&
	    (qcf_offset_in_cluster(geometry(r), len) == 0 ||
	     at + len == r->old.size))
		return qcf_write_compressed(&r->request, bytes, len, at, errp);
	return qcf_write(&r->request, &iov, 1, at, len, errp);
}

enum unit_state { SAME, ZERO, DATA };

static enum unit_state look_at(const struct rebasing *r, uint64_t offset,
                               uint64_t len)
{
	const uint8_t *bytes = r->old_bytes + offset;

	if (memcmp(bytes, r->new_bytes + offset, len) == 0)
		return SAME;
	return qcf_is_zero(bytes, len) ? ZERO : DATA;
}

/* Copy the runs of units in the buffers that differ. */
static int copy_differences(struct rebasing *r, uint64_t at, uint64_t len,
                            uint64_t unit, struct qcowfmt_error **errp)
{
	uint64_t start = 0;
	int ret = 0;

	while (ret == 0 && start < len) {
		uint64_t end = QCF_MIN(start + unit, len);
		enum unit_state state = look_at(r, start, end - start);

		while (end < len) {
			uint64_t next = QCF_MIN(unit, len - end);

			if (look_at(r, end, next) != state)
				break;
			end += next;
		}
		if (state != SAME)
			ret = copy_units(r, r->old_bytes + start, at + start,
			                 end - start, errp);
		start = end;
	}
	return ret;
}

/* ---------------------------------------------------------------------- ranges */

/* Compressed clusters are whole; otherwise subclusters can be told apart. */
static uint64_t unit_at(const struct rebasing *r, uint64_t at, uint64_t limit)
{
	const struct qcf_geometry *g = geometry(r);

	if (r->compress && qcf_offset_in_cluster(g, at) == 0 &&
	    (limit - at >= g->cluster_size || limit == r->old.size))
		return g->cluster_size;
	return g->subcluster_size;
}

/* How far from an offset on old and new cannot differ; if that is nothing, *len
 * gets how far to read. */
static int same_anyway(struct rebasing *r, uint64_t at, uint64_t limit,
                       uint64_t *same, uint64_t *len,
                       struct qcowfmt_error **errp)
{
	struct qcf_piece old;
	struct qcf_piece new;
	int ret = qcf_scan_piece(&r->old, at, limit - at, &old, errp);

	*same = 0;
	if (ret == 0)
		ret = qcf_scan_piece(&r->new, at, old.length, &new, errp);
	if (ret < 0)
		return ret;
	*len = new.length;
	if ((old.content == QCF_CONTENT_ZEROS &&
	     new.content == QCF_CONTENT_ZEROS) ||
	    qcf_scan_same_place(&r->old, &old, &r->new, &new))
		*same = new.length;
	return 0;
}

/* Read and compare some units; *len gets how many bytes. */
static int rebase_units(struct rebasing *r, uint64_t at, uint64_t limit,
                        uint64_t unit, uint64_t *len,
                        struct qcowfmt_error **errp)
{
	int ret;

	*len = QCF_MIN(qcf_align_up(*len, unit), limit - at);
	*len = QCF_MIN(*len, qcf_align_down(r->buffer_size, unit));
	ret = qcf_scan_read(&r->old, r->old_bytes, at, *len, errp);
	if (ret == 0)
		ret = qcf_scan_read(&r->new, r->new_bytes, at, *len, errp);
	if (ret == 0)
		ret = copy_differences(r, at, *len, unit, errp);
	return ret;
}

/* A range that the image leaves to its backing file. */
static int rebase_range(struct rebasing *r, uint64_t at, uint64_t limit,
                        struct qcowfmt_error **errp)
{
	int ret = 0;

	while (ret == 0 && at < limit) {
		uint64_t unit = unit_at(r, at, limit);
		uint64_t same = 0;
		uint64_t len = 0;

		if (r->new.image != NULL)
			qcf_request_renew(&r->below);
		ret = same_anyway(r, at, limit, &same, &len, errp);
		if (at + same < limit)
			same = qcf_align_down(same, unit);
		if (ret == 0 && same == 0)
			ret = rebase_units(r, at, limit, unit, &len, errp);
		at += same > 0 ? same : len;
		if (ret == 0)
			ret = qcf_pace_to(&r->pace, at, errp);
	}
	return ret;
}

static int rebase_all(struct rebasing *r, struct qcowfmt_error **errp)
{
	uint64_t at = 0;
	int ret = qcf_pace_to(&r->pace, 0, errp);

	while (ret == 0 && at < r->old.size) {
		struct qcf_extent extent;
		uint64_t end;

		ret = qcf_extent_lookup(r->request.image, at, r->old.size - at,
		                        0, &extent, errp);
		if (ret < 0)
			break;
		end = at + extent.run.length;
		ret = extent.run.kind == QCF_UNALLOCATED
		              ? rebase_range(r, at, end, errp)
		              : qcf_pace_to(&r->pace, end, errp);
		at = end;
	}
	return ret;
}

static int copy(struct rebasing *r, struct qcowfmt_image *new_base,
                struct qcowfmt_error **errp)
{
	int ret = qcf_scan_init(&r->old, r->request.image, errp);

	if (ret == 0)
		ret = qcf_scan_init(&r->new, new_base, errp);
	r->pace.total = r->old.size;
	r->buffer_size = QCF_MAX(qcf_scan_chunk(r->request.image),
	                         geometry(r)->cluster_size);
	r->old_bytes = aligned_alloc(QCF_SCAN_ALIGNMENT, r->buffer_size);
	r->new_bytes = aligned_alloc(QCF_SCAN_ALIGNMENT, r->buffer_size);
	if (ret == 0 && (r->old_bytes == NULL || r->new_bytes == NULL))
		ret = qcf_fail_oom(errp);
	if (ret == 0)
		ret = rebase_all(r, errp);
	if (ret == 0)
		ret = qcf_writeback_drain(r->layer->meta, errp);
	free(r->old_bytes);
	free(r->new_bytes);
	qcf_scan_fini(&r->new);
	qcf_scan_fini(&r->old);
	return ret;
}

/* ---------------------------------------------------------------------- header */

/* Find out that a name does not fit before anything is copied. */
static int check_room(const struct rebasing *r, const struct qcf_header *h,
                      struct qcowfmt_error **errp)
{
	uint64_t size = h->version > 1 ? geometry(r)->cluster_size
	                               : QCF_MIN(h->l1_table_offset,
	                                         QCF_HEADER_AREA_V1);
	QCF_AUTO_FREE uint8_t *bytes = calloc(1, size);

	return bytes == NULL ? qcf_fail_oom(errp)
	                     : qcf_header_encode(h, bytes, size, errp);
}

/* The header as it is now, with other names. */
static int make_header(const struct rebasing *r,
                       const struct qcowfmt_rebase_options *o,
                       struct qcf_header *h, struct qcowfmt_error **errp)
{
	int ret = qcf_header_copy(&r->layer->meta->header, h, errp);

	return ret < 0 ? ret
	               : qcf_header_set_backing(h, o->backing_filename,
	                                        o->backing_format, errp);
}

static int check_names_fit(const struct rebasing *r,
                           const struct qcowfmt_rebase_options *o,
                           struct qcowfmt_error **errp)
{
	struct qcf_header h = { 0 };
	int ret = make_header(r, o, &h, errp);

	if (ret == 0)
		ret = check_room(r, &h, errp);
	qcf_header_fini(&h);
	return ret;
}

static int change_names(const struct rebasing *r,
                        const struct qcowfmt_rebase_options *o,
                        struct qcowfmt_error **errp)
{
	struct qcf_header h = { 0 };
	int ret = make_header(r, o, &h, errp);

	if (ret == 0)
		ret = qcf_header_rewrite(r->layer->meta, &h, errp);
	qcf_header_fini(&h);
	return ret;
}

static int check_data_file(const struct rebasing *r,
                           const struct qcowfmt_rebase_options *o,
                           struct qcowfmt_error **errp)
{
	const struct qcf_header *h = &r->layer->meta->header;

	if (o->backing_filename == NULL ||
	    (h->autoclear_features & QCF_AUTOCLEAR_RAW_DATA_FILE) == 0)
		return 0;
	return usage(errp, "an image whose data file is raw cannot have a "
	                   "backing file");
}

/* The images are at our disposal.  Copying can move the refcount table: the
 * header is made after it. */
static int rebase(struct rebasing *r, struct qcowfmt_image *new_base,
                  const struct qcowfmt_rebase_options *o,
                  struct qcowfmt_error **errp)
{
	int ret = check_data_file(r, o, errp);

	if (ret == 0)
		ret = check_names_fit(r, o, errp);
	if (ret == 0 && (o->flags & QCOWFMT_REBASE_UNSAFE) == 0)
		ret = copy(r, new_base, errp);
	return ret < 0 ? ret : change_names(r, o, errp);
}

/* -------------------------------------------------------------- the operation */

static int check(const struct rebasing *r, const struct qcowfmt_image *new_base,
                 const struct qcowfmt_rebase_options *o,
                 struct qcowfmt_error **errp)
{
	int ret = check_flags(o, new_base, errp);

	if (ret == 0)
		ret = check_names(o, errp);
	if (ret == 0)
		ret = check_image(r, o, errp);
	return ret < 0 ? ret : check_loop(r, new_base, errp);
}

static int begin(struct rebasing *r, struct qcowfmt_image *new_base,
                 struct qcowfmt_error **errp)
{
	struct qcowfmt_image *image = r->request.image;
	bool base_first =
		new_base != NULL && qcf_image_comes_first(new_base, image);
	int ret;

	if (base_first)
		qcf_request_begin_read(&r->below, new_base);
	ret = qcf_exclusive_begin(image, errp);
	if (ret == 0 && new_base != NULL && !base_first)
		qcf_request_begin_read(&r->below, new_base);
	if (ret < 0 && base_first)
		qcf_request_end(&r->below);
	return ret;
}

int qcf_rebase(struct qcowfmt_image *image, struct qcowfmt_image *new_base,
               const struct qcowfmt_rebase_options *options,
               struct qcowfmt_error **errp)
{
	struct rebasing r = {
		.request = { .image = image },
		.layer = qcf_image_top(image),
		.compress = (options->flags & QCOWFMT_REBASE_COMPRESS) != 0,
	};
	int ret = check(&r, new_base, options, errp);

	qcf_pace_init(&r.pace, options->progress, options->progress_opaque, 0);
	if (ret == 0)
		ret = begin(&r, new_base, errp);
	if (ret < 0)
		return qcf_wrap(errp, r.layer->storage->name, ret);
	ret = rebase(&r, new_base, options, errp);
	qcf_exclusive_end(image);
	if (new_base != NULL)
		qcf_request_end(&r.below);
	return qcf_wrap(errp, r.layer->storage->name, ret);
}
