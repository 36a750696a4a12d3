/* SPDX-License-Identifier: MIT */
/*
 * open.c - opening an image with everything it needs
 *
 * The first changes to the file are made when nothing can fail any more but
 * they: clearing autoclear bits, and repairing refcounts that a writer with
 * lazy refcounts left behind.
 */
#include <errno.h>
#include <string.h>

#include "bitmap_draft.h"
#include "chain.h"
#include "check_image.h"
#include "compress.h"
#include "image_flags.h"
#include "open.h"

#define DEFAULT_CHAIN_DEPTH  256u
#define DEFAULT_CACHE_SIZE   (UINT64_C(32) << 20)
#define DEFAULT_MAX_METADATA (UINT64_C(64) << 20)

/* A cache that has all of this is counted in size_t, and needs memory besides. */
#define MOST_CACHE ((uint64_t)SIZE_MAX / 4)

static int check_flags(const struct qcowfmt_open_options *o,
                       struct qcowfmt_error **errp)
{
	const uint32_t known =
		QCOWFMT_OPEN_READ_WRITE | QCOWFMT_OPEN_NO_LOCK |
		QCOWFMT_OPEN_DIRECT | QCOWFMT_OPEN_REPAIR |
		QCOWFMT_OPEN_LAZY_REFCOUNTS_ON |
		QCOWFMT_OPEN_LAZY_REFCOUNTS_OFF | QCOWFMT_OPEN_NO_DATA |
		QCOWFMT_OPEN_KEEP_SNAPSHOT_SPACE | QCOWFMT_OPEN_DISCARD_OTHER;
	const uint32_t both = QCOWFMT_OPEN_LAZY_REFCOUNTS_ON |
	                      QCOWFMT_OPEN_LAZY_REFCOUNTS_OFF;

	if ((o->flags & ~known) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown open flags 0x%x", o->flags & ~known);
	if ((o->flags & both) == both)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "lazy refcounts cannot be both on and off");
	if ((o->snapshot_id != NULL || o->snapshot_name != NULL) &&
	    (o->flags & QCOWFMT_OPEN_READ_WRITE) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "a snapshot cannot be opened read-write");
	return 0;
}

static int check_secret(const struct qcowfmt_open_options *o,
                        struct qcowfmt_error **errp)
{
	if (o->secret == NULL && o->secret_len > 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the secret has a length, but no bytes");
	if (o->secret_len > QCOWFMT_MAX_SECRET)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the secret has %zu bytes, want at most %d",
		                o->secret_len, QCOWFMT_MAX_SECRET);
	return 0;
}

static int check_choices(const struct qcowfmt_open_options *o,
                         struct qcowfmt_error **errp)
{
	if (o->format < QCOWFMT_FORMAT_PROBE ||
	    o->format > QCOWFMT_FORMAT_QCOW2)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown image format %d", o->format);
	if (o->reference_policy < QCOWFMT_REFERENCES_REFUSE ||
	    o->reference_policy > QCOWFMT_REFERENCES_IGNORE)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown reference policy %d",
		                o->reference_policy);
	if (o->reference_policy == QCOWFMT_REFERENCES_CALLBACK &&
	    o->reference_callback == NULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the reference policy needs a callback");
	if (o->undeclared_format < QCOWFMT_UNDECLARED_REFUSE ||
	    o->undeclared_format > QCOWFMT_UNDECLARED_PROBE)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown choice %d for undeclared formats",
		                o->undeclared_format);
	if (o->discard_mode < QCOWFMT_DISCARD_UNMAP ||
	    o->discard_mode > QCOWFMT_DISCARD_KEEP)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown discard mode %d", o->discard_mode);
	return 0;
}

/* The level means something different for each type of compression. */
static int check_compression_level(const struct qcowfmt_image *image, int level,
                                   struct qcowfmt_error **errp)
{
	const struct qcf_layer *top = qcf_image_top(image);
	uint32_t type;
	int lowest;
	int highest;

	if (level == 0)
		return 0;
	if (top->meta == NULL)
		return qcf_fail(
			errp, EINVAL, QCOWFMT_ERR_USAGE,
			"compression level %d: %s is a raw image, which "
			"cannot be compressed",
			level, top->storage->name);
	type = top->meta->header.compression_type;
	qcf_compression_levels(type, &lowest, &highest);
	if (level >= lowest && level <= highest)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "compression level %d is out of range: %s has %d to %d",
	                level, qcf_compression_name(type), lowest, highest);
}

static int lazy_choice(const struct qcowfmt_open_options *o)
{
	if ((o->flags & QCOWFMT_OPEN_LAZY_REFCOUNTS_ON) != 0)
		return 1;
	return (o->flags & QCOWFMT_OPEN_LAZY_REFCOUNTS_OFF) != 0 ? 0 : -1;
}

static int open_chain(struct qcowfmt_image *image,
                      struct qcowfmt_storage *storage,
                      const struct qcowfmt_open_options *o,
                      struct qcowfmt_error **errp)
{
	bool no_lock = (o->flags & QCOWFMT_OPEN_NO_LOCK) != 0;
	struct qcf_secret_source secrets = {
		.secret = o->secret,
		.secret_len = o->secret_len,
		.callback = o->secret_callback,
		.opaque = o->secret_opaque,
		.max_iterations = o->max_key_iterations,
	};
	struct qcf_layer_options layer = {
		.format = o->format,
		.writable = (o->flags & QCOWFMT_OPEN_READ_WRITE) != 0,
		.repair = (o->flags & QCOWFMT_OPEN_REPAIR) != 0,
		.no_lock = no_lock,
		.no_data = image->no_data,
		.secrets = &secrets,
		.snapshot_id = o->snapshot_id,
		.snapshot_name = o->snapshot_name,
		.data_storage = o->data_storage,
		.lazy_refcounts = lazy_choice(o),
		.max_table_size = o->max_metadata_size != 0
		                          ? o->max_metadata_size
		                          : DEFAULT_MAX_METADATA,
		.budget = &image->budget,
		.gate = &image->gate,
	};
	struct qcf_reference_rules rules = {
		.policy = o->reference_policy,
		.undeclared = o->undeclared_format,
		.callback = o->reference_callback,
		.opaque = o->reference_opaque,
		.max_depth = o->max_chain_depth != 0 ? o->max_chain_depth
		                                     : DEFAULT_CHAIN_DEPTH,
		.chain_limit =
			o->chain_limit != 0 ? o->chain_limit : UINT32_MAX,
		.file_flags = QCOWFMT_FILE_READ_ONLY |
		              (no_lock ? QCOWFMT_FILE_NO_LOCK : 0) |
		              ((o->flags & QCOWFMT_OPEN_DIRECT) != 0
		                       ? QCOWFMT_FILE_DIRECT
		                       : 0),
	};
	QCF_AUTO_FREE char *directory = qcf_storage_directory(storage);

	if (directory == NULL)
		return qcf_fail_oom(errp);
	rules.first_directory = directory;
	return qcf_chain_open(image, storage, &layer, &rules, errp);
}

/* Somebody wrote to the image and did not know of them. */
static int drop_stale_bitmaps(struct qcf_meta *meta,
                              struct qcowfmt_error **errp)
{
	if (qcf_bitmaps_extension(&meta->header) != NULL ||
	    qcf_header_extension(&meta->header, QCF_EXT_BITMAPS) == NULL)
		return 0;
	return qcf_bitmaps_drop(meta, errp);
}

/* Bring the header and, after a crash, the refcounts into order. */
static int prepare_writing(struct qcowfmt_image *image, bool repair_later,
                           struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = qcf_image_top(image)->meta;
	struct qcowfmt_check_result result = { 0 };
	int ret;

	if (meta == NULL || !meta->writable)
		return 0;
	ret = qcf_flags_autoclear(meta, errp);
	if (ret == 0)
		ret = drop_stale_bitmaps(meta, errp);
	if (ret < 0 || repair_later ||
	    (atomic_load(&meta->incompatible) & QCF_INCOMPAT_DIRTY) == 0)
		return ret;
	ret = qcf_check(image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL, &result,
	                errp);
	if (ret == 0 && (result.corruptions > 0 || result.check_errors > 0))
		ret = qcf_fail(errp, EIO, QCOWFMT_ERR_CORRUPT,
		               "%s was not closed cleanly and could not be "
		               "repaired",
		               qcf_image_top(image)->storage->name);
	return ret;
}

/* What the caller supplied becomes the image's only if opening succeeds. */
static void give_back_data_file(struct qcowfmt_image *image,
                                const struct qcowfmt_open_options *o)
{
	struct qcf_layer *top;

	if (image->layer_count == 0 || o->data_storage == NULL)
		return;
	top = qcf_image_top(image);
	if (top->data_file == o->data_storage)
		top->data_file = NULL;
}

int qcf_open(struct qcowfmt_storage *storage,
             const struct qcowfmt_open_options *o,
             struct qcowfmt_image **result, struct qcowfmt_error **errp)
{
	struct qcowfmt_image *image = NULL;
	int ret = check_flags(o, errp);

	if (ret == 0)
		ret = check_secret(o, errp);
	if (ret == 0)
		ret = check_choices(o, errp);
	if (ret == 0)
		ret = qcf_image_new(&image, errp);
	if (ret < 0)
		return ret;
	image->discard_mode = o->discard_mode;
	image->compressor.level = o->compression_level;
	image->keep_snapshot_space =
		(o->flags & QCOWFMT_OPEN_KEEP_SNAPSHOT_SPACE) != 0;
	image->no_data = (o->flags & QCOWFMT_OPEN_NO_DATA) != 0;
	image->budget.limit =
		QCF_MIN(o->cache_size != 0 ? o->cache_size : DEFAULT_CACHE_SIZE,
	                MOST_CACHE);
	ret = open_chain(image, storage, o, errp);
	if (ret == 0 && qcf_image_top(image)->meta != NULL)
		qcf_image_top(image)->meta->discard_other =
			(o->flags & QCOWFMT_OPEN_DISCARD_OTHER) != 0;
	if (ret == 0)
		ret = check_compression_level(image, o->compression_level,
		                              errp);
	if (ret == 0)
		ret = prepare_writing(
			image, (o->flags & QCOWFMT_OPEN_REPAIR) != 0, errp);
	if (ret < 0) {
		give_back_data_file(image, o);
		qcf_image_abandon(image);
		return ret;
	}
	*result = image;
	return 0;
}
