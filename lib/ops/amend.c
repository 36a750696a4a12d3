/* SPDX-License-Identifier: MIT */
/*
 * amend.c - changing properties of an image
 *
 * All of an amendment takes effect in one rewrite of the header: version,
 * features, names, and where the refcount table and the snapshot table are.
 * What the new header points to is written to free space and stable before, and
 * what the old one pointed to is freed after.
 *
 * Only going to version 2 changes anything else before: zero clusters are
 * written out, which the guest does not notice, and which nobody minds if the
 * rest does not happen.
 *
 * The gate is closed meanwhile: guest requests wait.
 */
#include <errno.h>
#include <inttypes.h>

#include "alloc.h"
#include "amend.h"
#include "amend_refcounts.h"
#include "amend_snapshots.h"
#include "amend_zeros.h"
#include "checked.h"
#include "exclusive.h"
#include "feature.h"
#include "header_ext.h"
#include "header_rewrite.h"
#include "reclaim_leaks.h"
#include "writeback.h"

int qcf_amend_progress(struct qcf_amending *a, uint64_t amount,
                       struct qcowfmt_error **errp)
{
	const struct qcowfmt_amend_options *o = a->options;

	a->done += amount;
	a->total = QCF_MAX(a->total, a->done);
	if (o->progress == NULL ||
	    o->progress(o->progress_opaque, a->done, a->total) == 0)
		return 0;
	return qcf_fail(errp, ECANCELED, QCOWFMT_ERR_CANCELLED,
	                "cancelled by the caller");
}

/* ---------------------------------------------------------- what is allowed */

static int usage(struct qcowfmt_error **errp, const char *what)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s", what);
}

static uint32_t new_version(const struct qcf_amending *a)
{
	return a->options->version != 0 ? a->options->version
	                                : a->meta->header.version;
}

static bool is_upgrade(const struct qcf_amending *a)
{
	return new_version(a) > a->meta->header.version;
}

static bool is_downgrade(const struct qcf_amending *a)
{
	return new_version(a) < a->meta->header.version;
}

static uint32_t new_refcount_bits(const struct qcf_amending *a)
{
	return a->options->refcount_bits != 0 ? a->options->refcount_bits
	                                      : a->meta->geometry.refcount_bits;
}

static int check_options(const struct qcowfmt_amend_options *o,
                         struct qcowfmt_error **errp)
{
	if (o->version != 0 && o->version != 2 && o->version != 3)
		return usage(errp, "unknown version, want 2 or 3");
	if (o->refcount_bits != 0 &&
	    (o->refcount_bits > 64 || !qcf_is_power_of_two(o->refcount_bits)))
		return usage(errp,
		             "Refcount width must be a power of two and may "
		             "not exceed 64 bits");
	if (o->lazy_refcounts < -1 || o->lazy_refcounts > 1)
		return usage(errp, "lazy_refcounts is -1, 0 or 1");
	if (o->data_file_raw < -1 || o->data_file_raw > 0)
		return usage(errp,
		             "data-file-raw cannot be set on existing images");
	return 0;
}

static bool has_data_file(const struct qcf_amending *a)
{
	return a->meta->geometry.data_file;
}

/* What an image of version 2 cannot have. */
static int check_version(const struct qcf_amending *a,
                         struct qcowfmt_error **errp)
{
	uint32_t wanted = a->options->refcount_bits;
	bool is_lazy = (a->meta->header.compatible_features &
	                QCF_COMPAT_LAZY_REFCOUNTS) != 0;

	if (new_version(a) == 2 && wanted != 0 && wanted != 16)
		return usage(errp, "Refcount widths other than 16 bits require "
		                   "compatibility level 1.1 or above (use "
		                   "compat=1.1 or greater)");
	if (is_downgrade(a) && new_refcount_bits(a) != 16)
		return usage(errp, "compat=0.10 requires refcount_bits=16");
	if (new_version(a) == 2 && a->options->lazy_refcounts > 0 && !is_lazy)
		return usage(errp, "Lazy refcounts only supported with "
		                   "compatibility level 1.1 and above (use "
		                   "compat=1.1 or greater)");
	return 0;
}

static int check_downgrade(struct qcf_amending *a, struct qcowfmt_error **errp)
{
	uint64_t bits = atomic_load(&a->meta->incompatible) &
	                ~(QCF_INCOMPAT_DIRTY | QCF_INCOMPAT_COMPRESSION);
	bool compressed = false;
	int ret;

	if (!is_downgrade(a))
		return 0;
	if (has_data_file(a))
		return usage(errp,
		             "Cannot downgrade an image with a data file");
	if (bits != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "Cannot downgrade an image with incompatible "
		                "features 0x%" PRIx64 " set",
		                bits);
	ret = qcf_amend_check_snapshots(a->meta, errp);
	if (ret == 0 && a->meta->header.compression_type != 0)
		ret = qcf_amend_has_compressed(a, &compressed, errp);
	if (ret < 0 || !compressed)
		return ret;
	return usage(errp, "Cannot downgrade an image with zstd compression "
	                   "type and existing compressed clusters");
}

static int check_image(struct qcf_amending *a, struct qcowfmt_error **errp)
{
	int ret;

	if (a->meta == NULL || a->meta->header.version == 1)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "Format driver '%s' does not support option "
		                "amendment",
		                qcowfmt_format_name(a->layer->format));
	ret = check_version(a, errp);
	if (ret == 0 && a->options->data_filename != NULL && !has_data_file(a))
		ret = usage(errp, "data-file can only be set for images that "
		                  "use an external data file");
	return ret < 0 ? ret : check_downgrade(a, errp);
}

/* --------------------------------------------------------------- the header */

static int set_data_file(struct qcf_header *h, const char *name,
                         struct qcowfmt_error **errp)
{
	size_t len = strlen(name);

	/* Longer than any cluster: it would not fit either way. */
	if (len > UINT32_MAX)
		return usage(errp, "the name of the data file is too long");
	qcf_header_remove_extension(h, QCF_EXT_DATA_FILE);
	return len == 0 ? 0
	                : qcf_header_add_extension(h, QCF_EXT_DATA_FILE, name,
	                                           (uint32_t)len, errp);
}

static void set_version_2(struct qcf_header *h)
{
	h->version = 2;
	h->incompatible_features = 0;
	h->compatible_features = 0;
	h->autoclear_features = 0;
	h->compression_type = 0;
	h->header_length = QCF_HEADER_LEN_V2;
	free(qcf_take(&h->unknown));
	h->unknown_len = 0;
	qcf_header_remove_extension(h, QCF_EXT_BITMAPS);
	qcf_header_remove_extension(h, QCF_EXT_FEATURE_NAMES);
}

static void set_version_3(struct qcf_header *h)
{
	h->version = 3;
	h->header_length = QCF_HEADER_LEN_V3;
	/* They have not been kept up to date since the image is version 2. */
	qcf_header_remove_extension(h, QCF_EXT_BITMAPS);
}

/* Change a copy of the header as the options say. */
static int change_header(const struct qcf_amending *a, struct qcf_header *h,
                         struct qcowfmt_error **errp)
{
	const struct qcowfmt_amend_options *o = a->options;
	int ret = 0;

	if (is_upgrade(a))
		set_version_3(h);
	if (o->lazy_refcounts > 0)
		h->compatible_features |= QCF_COMPAT_LAZY_REFCOUNTS;
	if (o->lazy_refcounts < 0)
		h->compatible_features &= ~QCF_COMPAT_LAZY_REFCOUNTS;
	if (o->data_file_raw < 0)
		h->autoclear_features &= ~QCF_AUTOCLEAR_RAW_DATA_FILE;
	if (o->data_filename != NULL)
		ret = set_data_file(h, o->data_filename, errp);
	if (is_downgrade(a))
		set_version_2(h);
	return ret;
}

/* The header in memory is a new one: what follows from it. */
static int follow_header(struct qcf_amending *a, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = a->meta;
	const struct qcf_header *h = &meta->header;

	if (a->options->lazy_refcounts != 0 || h->version < 3)
		meta->lazy_refcounts = (h->compatible_features &
		                        QCF_COMPAT_LAZY_REFCOUNTS) != 0;
	return qcf_header_geometry(h, &meta->geometry, errp);
}

/* ------------------------------------------------------------ the operation */

/* What the new header points to and the old one does not. */
struct parts {
	struct qcf_header header;
	struct qcf_new_counts counts;
	bool new_counts;
	struct qcf_snapshot_table snapshots;
	struct qcf_area snapshots_area; /* nothing: they stay where they are */
	bool drops_bitmaps;
};

static int prepare_parts(struct qcf_amending *a, struct parts *p,
                         struct qcowfmt_error **errp)
{
	uint32_t bits = new_refcount_bits(a);
	int ret = 0;

	/* That can move the refcount table, and the header names it. */
	if (is_upgrade(a))
		ret = qcf_amend_complete_snapshots(a->meta, &p->snapshots,
		                                   &p->snapshots_area, errp);
	if (ret == 0)
		ret = qcf_header_copy(&a->meta->header, &p->header, errp);
	if (ret == 0 && p->snapshots_area.clusters > 0)
		p->header.snapshots_offset = p->snapshots_area.host_offset;

	p->drops_bitmaps =
		new_version(a) != a->meta->header.version &&
		qcf_header_extension(&a->meta->header, QCF_EXT_BITMAPS) != NULL;
	if (ret == 0)
		ret = change_header(a, &p->header, errp);
	if (ret < 0 || bits == a->meta->geometry.refcount_bits)
		return ret;
	p->new_counts = true;
	a->total += 2 * a->meta->refcounts.entry_count;
	ret = qcf_new_counts_prepare(a, &p->counts, qcf_log2(bits), errp);
	if (ret == 0)
		qcf_new_counts_point(&p->counts, &p->header);
	return ret;
}

/* Free the table there was. */
static int install_snapshots(struct qcf_meta *meta, const struct parts *p,
                             struct qcowfmt_error **errp)
{
	const struct qcf_snapshot_table *table = &p->snapshots;
	const struct qcf_area old = qcf_area_of(
		meta, p->header.snapshots_offset, table->stored_len);
	int ret;

	if (p->snapshots_area.clusters == 0)
		return 0;
	ret = qcf_snapshot_table_protect(meta, table,
	                                 p->snapshots_area.host_offset,
	                                 qcf_snapshot_table_len(table), errp);
	return ret < 0 ? ret : qcf_area_free(meta, &old, errp);
}

/* The new header is stable; p->header is the old one. */
static int install_parts(struct qcf_amending *a, struct parts *p,
                         struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = a->meta;
	int ret = follow_header(a, errp);

	if (ret == 0 && p->new_counts)
		ret = qcf_new_counts_install(meta, &p->counts, errp);
	if (ret == 0)
		ret = install_snapshots(meta, p, errp);
	if (ret == 0)
		ret = qcf_writeback_drain(meta, errp);
	if (ret == 0 && p->drops_bitmaps)
		ret = qcf_bitmaps_reload(meta, errp);
	if (ret == 0 && p->drops_bitmaps)
		ret = qcf_reclaim_leaks(meta, false, errp);
	return ret;
}

static int replace_header(struct qcf_amending *a, struct qcowfmt_error **errp)
{
	struct parts p = { 0 };
	bool replaced = false;
	int ret = prepare_parts(a, &p, errp);

	if (ret == 0) {
		ret = qcf_header_rewrite(a->meta, &p.header, errp);
		replaced = ret == 0;
	}
	if (replaced)
		ret = install_parts(a, &p, errp);
	if (!replaced)
		(void)qcf_area_free(a->meta, &p.snapshots_area, NULL);
	qcf_snapshot_table_fini(&p.snapshots);
	qcf_new_counts_fini(a->meta, &p.counts);
	qcf_header_fini(&p.header);
	return ret;
}

/* No dirty bit may be set while nothing promises to clear it. */
static int clean_counts(struct qcf_amending *a, struct qcowfmt_error **errp)
{
	int ret;

	if (!is_downgrade(a) && a->options->lazy_refcounts >= 0)
		return 0;
	ret = qcf_writeback_finish(a->meta, errp);
	if (ret < 0)
		return ret;
	QCF_GUARD(&a->meta->commit.lock);
	a->meta->commit.dirty_bit_set = false;
	return 0;
}

static bool changes_header(const struct qcf_amending *a)
{
	const struct qcowfmt_amend_options *o = a->options;

	return new_version(a) != a->meta->header.version ||
	       new_refcount_bits(a) != a->meta->geometry.refcount_bits ||
	       (o->lazy_refcounts != 0 && new_version(a) > 2) ||
	       o->data_file_raw != 0 || o->data_filename != NULL;
}

static int amend(struct qcf_amending *a, struct qcowfmt_error **errp)
{
	int ret = qcf_amend_progress(a, 0, errp);

	if (ret == 0 && is_downgrade(a))
		ret = qcf_amend_expand_zeros(a, errp);
	if (ret == 0)
		ret = clean_counts(a, errp);
	return ret < 0 || !changes_header(a) ? ret : replace_header(a, errp);
}

int qcf_amend(struct qcowfmt_image *image,
              const struct qcowfmt_amend_options *options,
              struct qcowfmt_error **errp)
{
	struct qcf_amending a = {
		.layer = qcf_image_top(image),
		.meta = qcf_image_top(image)->meta,
		.options = options,
		.total = 1,
	};
	int ret = check_options(options, errp);

	if (ret == 0)
		ret = qcf_exclusive_begin(image, errp);
	if (ret < 0)
		return ret;
	ret = check_image(&a, errp);
	if (ret == 0)
		ret = qcf_wrap(errp, a.layer->storage->name, amend(&a, errp));
	qcf_exclusive_end(image);
	return ret;
}
