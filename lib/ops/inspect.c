/* SPDX-License-Identifier: MIT */
/*
 * inspect.c - look at an image that may not be fit to be opened
 *
 * First the header, then everything a check looks at, then whether the image could
 * be opened.  What stops one step is a finding, and the next goes on with what is
 * known.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bitmap_entry.h"
#include "check_image.h"
#include "checked.h"
#include "crypto.h"
#include "inspect.h"
#include "inspect_foreign.h"
#include "meta.h"
#include "probe.h"

#define KNOWN_INCOMPATIBLE                                                    \
	(QCF_INCOMPAT_DIRTY | QCF_INCOMPAT_CORRUPT | QCF_INCOMPAT_DATA_FILE | \
	 QCF_INCOMPAT_COMPRESSION | QCF_INCOMPAT_EXTENDED_L2)

/* What an image from a stranger may cost, as the tools allow it: enough for a
 * disk of 2 TiB. */
#define UNTRUSTED_TABLES     (UINT64_C(4) << 20)
#define UNTRUSTED_ITERATIONS (UINT64_C(1) << 23)

/* Tables held in memory as a whole while it is tried to open the image. */
#define MAX_TABLE_SIZE (UINT64_C(64) << 20)
#define CACHE_SIZE     (UINT64_C(1) << 20)

struct inspecting {
	struct qcowfmt_storage *storage;
	qcowfmt_finding_callback callback;
	void *opaque;
	struct qcowfmt_inspection *found;
};

static void tell(struct inspecting *i, uint32_t id, uint64_t host_offset,
                 const char *text)
{
	if (i->callback != NULL)
		i->callback(i->opaque, id, host_offset, text);
}

static void tell_error(struct inspecting *i, const char *what,
                       const struct qcowfmt_error *error)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "%s: %s", what,
	               qcowfmt_error_message(error));
	tell(i, qcowfmt_error_corruption_id(error),
	     qcowfmt_error_host_offset(error), text);
}

/* ------------------------------------------------------------------- header */

uint64_t qcf_inspect_unknown_features(const struct qcf_header *h)
{
	return h->incompatible_features & ~KNOWN_INCOMPATIBLE;
}

int qcf_inspect_header(struct qcowfmt_storage *storage, struct qcf_header *h,
                       bool *decoded, struct qcowfmt_error **failure,
                       struct qcowfmt_error **errp)
{
	uint8_t sector[QCF_SECTOR_SIZE];
	QCF_AUTO_FREE uint8_t *cluster = NULL;
	uint64_t size = 0;
	int64_t len = qcf_storage_pread_padded(storage, sector, sizeof(sector),
	                                       0, errp);

	*decoded = false;
	if (len < 0)
		return (int)len;
	if (qcf_header_peek_cluster_size(sector, (size_t)len, &size, failure) <
	    0)
		return 0;
	cluster = malloc(size);
	if (cluster == NULL)
		return qcf_fail_oom(errp);
	len = qcf_storage_pread_padded(storage, cluster, size, 0, errp);
	if (len < 0)
		return (int)len;
	*decoded = qcf_header_decode(h, cluster, (size_t)len, failure) == 0;
	return qcowfmt_error_code(*failure) == QCOWFMT_ERR_NO_MEMORY
	               ? qcf_fail_oom(errp)
	               : 0;
}

static void copy_text(char *to, size_t size, const char *text)
{
	if (text != NULL)
		(void)snprintf(to, size, "%s", text);
}

static uint32_t bitmap_count(const struct qcf_header *h,
                             const struct qcf_geometry *g)
{
	const struct qcf_extension *raw =
		qcf_header_extension(h, QCF_EXT_BITMAPS);
	struct qcf_bitmap_ext ext = { 0 };

	if (raw == NULL ||
	    (h->autoclear_features & QCF_AUTOCLEAR_BITMAPS) == 0 ||
	    qcf_bitmap_ext_decode(&ext, raw, g, NULL) < 0)
		return 0;
	return ext.count;
}

static void describe_header(struct qcowfmt_inspection *found,
                            const struct qcf_header *h,
                            const struct qcf_geometry *g)
{
	found->flags |= QCOWFMT_INSPECT_HEADER;
	found->version = h->version;
	found->encryption = (int32_t)h->crypt_method;
	found->virtual_size = h->virtual_size;
	found->cluster_size = g->cluster_size;
	found->incompatible_features = h->incompatible_features;
	found->unknown_incompatible = qcf_inspect_unknown_features(h);
	found->snapshot_count = h->snapshot_count;
	found->bitmap_count = bitmap_count(h, g);
	copy_text(found->backing_filename, sizeof(found->backing_filename),
	          h->backing_name);
	copy_text(found->backing_format, sizeof(found->backing_format),
	          h->backing_format);
	copy_text(found->data_filename, sizeof(found->data_filename),
	          h->data_file_name);
	if ((h->incompatible_features & QCF_INCOMPAT_DIRTY) != 0)
		found->flags |= QCOWFMT_INSPECT_DIRTY;
	if ((h->incompatible_features & QCF_INCOMPAT_CORRUPT) != 0)
		found->flags |= QCOWFMT_INSPECT_CORRUPT;
	if (h->backing_name != NULL)
		found->flags |= QCOWFMT_INSPECT_BACKING;
	if ((h->incompatible_features & QCF_INCOMPAT_DATA_FILE) != 0 ||
	    h->data_file_name != NULL)
		found->flags |= QCOWFMT_INSPECT_DATA_FILE;
}

/* ------------------------------------------------------------------- tables */

static bool is_inside(const struct qcf_checker *c, uint64_t offset,
                      uint64_t len)
{
	return len == 0 ||
	       qcf_range_within(offset, len,
	                        c->file_clusters << c->geometry->cluster_bits);
}

/* Whether everything the header points to is in the file. */
static bool is_complete(const struct qcf_checker *c)
{
	const struct qcf_header *h = c->header;
	const struct qcf_extension *raw =
		qcf_header_extension(h, QCF_EXT_BITMAPS);
	struct qcf_bitmap_ext ext = { 0 };
	uint64_t luks_offset = 0;
	uint64_t luks_len = 0;

	if (raw != NULL && (h->autoclear_features & QCF_AUTOCLEAR_BITMAPS) != 0)
		(void)qcf_bitmap_ext_decode(&ext, raw, c->geometry, NULL);
	qcf_crypto_area(h, &luks_offset, &luks_len);
	return is_inside(c, h->l1_table_offset, (uint64_t)h->l1_size * 8) &&
	       is_inside(c, h->refcount_table_offset,
	                 (uint64_t)h->refcount_table_clusters
	                         << c->geometry->cluster_bits) &&
	       is_inside(c, h->snapshots_offset, h->snapshot_count > 0) &&
	       is_inside(c, ext.directory_offset, ext.directory_size) &&
	       is_inside(c, luks_offset, luks_len);
}

static int check(struct inspecting *i, const struct qcf_header *h,
                 const struct qcf_geometry *g, struct qcowfmt_error **errp)
{
	struct qcowfmt_check_result result = { 0 };
	struct qcowfmt_error *error = NULL;
	struct qcf_checker c;
	int ret = qcf_checker_init(&c, i->storage, h, g, &result, errp);

	c.callback = i->callback;
	c.opaque = i->opaque;
	if (ret == 0 && is_complete(&c))
		i->found->flags |= QCOWFMT_INSPECT_COMPLETE;
	if (ret == 0)
		ret = qcf_checker_look(&c, &error);
	if (ret == 0)
		ret = qcf_checker_look_at_flags(&c, &error);
	qcf_checker_fini(&c);
	if (ret == -ENOMEM || error == NULL) {
		qcf_error_move(errp, error);
	} else {
		tell_error(i, "the check was given up", error);
		qcowfmt_error_free(error);
		result.check_errors++;
		ret = 0;
	}
	i->found->corruptions += result.corruptions;
	i->found->leaks += result.leaks;
	i->found->check_errors += result.check_errors;
	return ret;
}

/* ------------------------------------------------------------------ opening */

/* Trying a passphrase derives a key for each slot, and a digest from it. */
static void weigh_keys(struct inspecting *i, struct qcf_crypto *crypto)
{
	struct qcowfmt_encryption_info info = { 0 };
	uint64_t iterations = 0;

	if (crypto == NULL)
		return;
	qcf_crypto_describe(crypto, &info);
	for (size_t n = 0; n < QCOWFMT_KEY_SLOT_COUNT; n++) {
		if (info.slots[n].active)
			iterations += (uint64_t)info.slots[n].iterations +
			              info.master_key_iterations;
	}
	if (iterations > UNTRUSTED_ITERATIONS)
		i->found->unsafe |= QCOWFMT_UNSAFE_EXPENSIVE_KEYS;
}

static void weigh_tables(struct inspecting *i, const struct qcf_header *h,
                         const struct qcf_geometry *g)
{
	if ((uint64_t)h->l1_size * 8 > UNTRUSTED_TABLES ||
	    (uint64_t)h->refcount_table_clusters * g->cluster_size >
	            UNTRUSTED_TABLES)
		i->found->unsafe |= QCOWFMT_UNSAFE_LARGE_TABLES;
}

static int try_to_open(struct inspecting *i, struct qcowfmt_error **errp)
{
	struct qcf_budget budget = { .limit = CACHE_SIZE };
	struct qcf_meta_options options = {
		.lazy_refcounts = -1,
		.max_table_size = MAX_TABLE_SIZE,
		.budget = &budget,
	};
	struct qcowfmt_error *error = NULL;
	QCF_AUTO_FREE struct qcf_meta *meta = aligned_alloc(
		_Alignof(struct qcf_meta),
		qcf_align_up(sizeof(*meta), _Alignof(struct qcf_meta)));
	int ret = meta == NULL
	                  ? qcf_fail_oom(errp)
	                  : qcf_meta_open(meta, i->storage, &options, &error);

	if (ret == 0) {
		weigh_keys(i, meta->crypto);
		qcf_meta_abandon(meta);
		i->found->flags |= QCOWFMT_INSPECT_CAN_OPEN;
		return 0;
	}
	if (ret == -ENOMEM) {
		qcf_error_move(errp, error);
		return ret;
	}
	tell_error(i, "cannot be opened", error);
	i->found->corruptions += qcowfmt_error_corruption_id(error) != 0;
	qcowfmt_error_free(error);
	return 0;
}

static int look_inside(struct inspecting *i, const struct qcf_header *h,
                       struct qcowfmt_error **errp)
{
	struct qcf_geometry g;
	int ret = qcf_header_geometry(h, &g, errp);

	if (ret < 0)
		return ret;
	describe_header(i->found, h, &g);
	weigh_tables(i, h, &g);
	if (i->found->unknown_incompatible == 0)
		ret = check(i, h, &g, errp);
	return ret < 0 ? ret : try_to_open(i, errp);
}

static int look_at_header(struct inspecting *i, struct qcowfmt_error **errp)
{
	QCF_AUTO_ERROR struct qcowfmt_error *failure = NULL;
	struct qcf_header h;
	bool decoded = false;
	int ret = qcf_inspect_header(i->storage, &h, &decoded, &failure, errp);

	if (ret < 0)
		return ret;
	if (decoded) {
		ret = look_inside(i, &h, errp);
		qcf_header_fini(&h);
		return ret;
	}
	tell_error(i, "the header makes no sense", failure);
	i->found->corruptions++;
	return 0;
}

/* ---------------------------------------------------------- what it looks like */

static int look_at_formats(struct inspecting *i, struct qcowfmt_error **errp)
{
	const char *names[QCF_MAX_FOREIGN];
	size_t count = 0;
	bool is_raw = i->found->format == QCOWFMT_FORMAT_RAW;
	int ret = qcf_inspect_foreign(i->storage, is_raw, names, &count, errp);

	for (size_t n = 0; ret == 0 && n < count; n++) {
		char text[128];

		(void)snprintf(text, sizeof(text), "also looks like %s",
		               names[n]);
		tell(i, 0, QCOWFMT_NO_OFFSET, text);
		i->found->flags |= QCOWFMT_INSPECT_POLYGLOT;
	}
	return ret;
}

/* ------------------------------------------------------------------ verdict */

/* What was found says the rest; costs were weighed on the way. */
static uint32_t judge(const struct qcowfmt_inspection *found)
{
	uint32_t unsafe = found->unsafe;

	if ((found->flags & QCOWFMT_INSPECT_BACKING) != 0)
		unsafe |= QCOWFMT_UNSAFE_BACKING_FILE;
	if ((found->flags & QCOWFMT_INSPECT_DATA_FILE) != 0)
		unsafe |= QCOWFMT_UNSAFE_DATA_FILE;
	if (found->unknown_incompatible != 0)
		unsafe |= QCOWFMT_UNSAFE_UNKNOWN_FEATURES;
	if ((found->flags & QCOWFMT_INSPECT_CAN_OPEN) == 0)
		unsafe |= QCOWFMT_UNSAFE_CANNOT_OPEN;
	if ((found->flags & QCOWFMT_INSPECT_COMPLETE) == 0)
		unsafe |= QCOWFMT_UNSAFE_INCOMPLETE;
	if ((found->flags & QCOWFMT_INSPECT_POLYGLOT) != 0)
		unsafe |= QCOWFMT_UNSAFE_POLYGLOT;
	if (found->corruptions > 0 ||
	    (found->flags & QCOWFMT_INSPECT_CORRUPT) != 0)
		unsafe |= QCOWFMT_UNSAFE_CORRUPT;
	if (found->check_errors > 0)
		unsafe |= QCOWFMT_UNSAFE_UNCHECKED;
	return unsafe;
}

static void describe_raw(struct qcowfmt_inspection *found)
{
	found->flags |= QCOWFMT_INSPECT_CAN_OPEN | QCOWFMT_INSPECT_COMPLETE;
	found->virtual_size = qcf_align_up(found->file_size, QCF_SECTOR_SIZE);
}

int qcf_inspect(struct qcowfmt_storage *storage,
                qcowfmt_finding_callback callback, void *opaque,
                struct qcowfmt_inspection *found, struct qcowfmt_error **errp)
{
	struct inspecting i = { storage, callback, opaque, found };
	uint8_t sector[QCOWFMT_PROBE_SIZE];
	int ret = qcf_storage_get_size(storage, &found->file_size, errp);
	int64_t len;

	if (ret < 0)
		return ret;
	len = qcf_storage_pread_padded(storage, sector, sizeof(sector), 0,
	                               errp);
	if (len < 0)
		return (int)len;
	found->format = qcf_probe(sector, (size_t)len);
	ret = look_at_formats(&i, errp);
	if (ret == 0 && found->format == QCOWFMT_FORMAT_RAW)
		describe_raw(found);
	else if (ret == 0)
		ret = look_at_header(&i, errp);
	found->unsafe = judge(found);
	return ret;
}
