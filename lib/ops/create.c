/* SPDX-License-Identifier: MIT */
/*
 * create.c - making a new image
 *
 * Layout: header, refcount table, refcount blocks, L1 table.  The file ends with
 * the last L1 entry, so it need not end at a cluster boundary.  Everything but
 * the header is stable before the header is written: a crash leaves something
 * that is no image, or the image.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "create.h"
#include "feature.h"
#include "header.h"
#include "refcount_entry.h"

#define DEFAULT_CLUSTER_SIZE  (UINT64_C(64) << 10)
#define DEFAULT_REFCOUNT_BITS 16u

/* Where everything goes, in clusters. */
struct layout {
	uint64_t table_clusters;
	uint64_t block_count;
	uint64_t l1_clusters;
	uint64_t total;
};

/* A new image, complete before anything is written. */
struct plan {
	struct qcf_header header;
	struct qcf_geometry geometry;
	struct layout layout;
	uint8_t *first_cluster; /* the encoded header */
};

/* ----------------------------------------------------------------- options */

static int usage(struct qcowfmt_error **errp, const char *what)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s", what);
}

static int check_version(const struct qcowfmt_create_options *o,
                         struct qcowfmt_error **errp)
{
	if (o->version != 0 && o->version != 2 && o->version != 3)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "version %" PRIu32 " is not 2 or 3",
		                o->version);
	if (o->version != 2)
		return 0;
	if ((o->flags & QCOWFMT_CREATE_LAZY_REFCOUNTS) != 0)
		return usage(errp, "lazy refcounts need version 3");
	if (o->refcount_bits != 0 && o->refcount_bits != DEFAULT_REFCOUNT_BITS)
		return usage(errp, "refcount widths other than 16 bits need "
		                   "version 3");
	return 0;
}

static int check_backing(const struct qcowfmt_create_options *o,
                         struct qcowfmt_error **errp)
{
	if (o->backing_filename == NULL && o->backing_format != NULL)
		return usage(errp,
		             "a backing format needs a backing file name");
	if (o->backing_filename != NULL && o->backing_filename[0] == '\0')
		return usage(errp, "the backing file name is empty");
	if (o->backing_filename != NULL &&
	    strlen(o->backing_filename) > QCF_MAX_BACKING_NAME)
		return usage(errp,
		             "the backing file name is longer than 1023 bytes");
	return 0;
}

static int check_qcow2(const struct qcowfmt_create_options *o,
                       struct qcowfmt_error **errp)
{
	uint64_t cluster_size =
		o->cluster_size != 0 ? o->cluster_size : DEFAULT_CLUSTER_SIZE;
	uint32_t bits = o->refcount_bits != 0 ? o->refcount_bits
	                                      : DEFAULT_REFCOUNT_BITS;
	int ret;

	if (!qcf_is_power_of_two(cluster_size) ||
	    cluster_size < (UINT64_C(1) << QCF_MIN_CLUSTER_BITS) ||
	    cluster_size > (UINT64_C(1) << QCF_MAX_CLUSTER_BITS))
		return usage(errp, "Cluster size must be a power of two "
		                   "between 512 and 2048k");
	if (!qcf_is_power_of_two(bits) || bits > 64)
		return usage(errp, "Refcount width must be a power of two and "
		                   "may not exceed 64 bits");
	ret = check_version(o, errp);
	return ret < 0 ? ret : check_backing(o, errp);
}

static int check_raw(const struct qcowfmt_create_options *o,
                     struct qcowfmt_error **errp)
{
	if (o->version != 0 || o->cluster_size != 0 || o->refcount_bits != 0 ||
	    o->flags != 0 || o->backing_filename != NULL ||
	    o->backing_format != NULL)
		return usage(errp, "a raw image takes no option but its size");
	return 0;
}

static int check_options(const struct qcowfmt_create_options *o,
                         struct qcowfmt_error **errp)
{
	if ((o->flags & ~QCOWFMT_CREATE_LAZY_REFCOUNTS) != 0)
		return usage(errp, "unknown create flags");
	if (!qcf_is_aligned(o->virtual_size, QCF_SECTOR_SIZE))
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "virtual size %" PRIu64
		                " is not a multiple of 512",
		                o->virtual_size);
	if (o->virtual_size > INT64_MAX)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_USAGE,
		                "virtual size %" PRIu64 " is too large",
		                o->virtual_size);
	switch (o->format) {
	case QCOWFMT_FORMAT_PROBE:
	case QCOWFMT_FORMAT_QCOW2:
		return check_qcow2(o, errp);
	case QCOWFMT_FORMAT_RAW:
		return check_raw(o, errp);
	case QCOWFMT_FORMAT_QCOW:
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "creating qcow version 1 images is not "
		                "supported");
	default:
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown image format %d", o->format);
	}
}

/* ------------------------------------------------------------------ layout */

static struct layout plan_layout(const struct qcf_geometry *g,
                                 uint64_t l1_entries)
{
	uint64_t per_block = UINT64_C(1) << g->block_bits;
	struct layout l = {
		.table_clusters = 1,
		.block_count = 1,
		.l1_clusters = qcf_clusters_for(g, l1_entries * 8),
	};

	/* Blocks count themselves and the table that lists them. */
	for (;;) {
		l.total = 1 + l.table_clusters + l.block_count + l.l1_clusters;
		if (l.block_count * per_block < l.total)
			l.block_count = qcf_div_ceil(l.total, per_block);
		else if (l.table_clusters * g->cluster_size / 8 < l.block_count)
			l.table_clusters++;
		else
			return l;
	}
}

static int fill_header(const struct qcowfmt_create_options *o,
                       struct qcf_header *h, struct qcowfmt_error **errp)
{
	uint32_t bits = o->refcount_bits != 0 ? o->refcount_bits
	                                      : DEFAULT_REFCOUNT_BITS;

	*h = (struct qcf_header){
		.version = o->version != 0 ? o->version : 3,
		.cluster_bits =
			qcf_log2(o->cluster_size != 0 ? o->cluster_size
		                                      : DEFAULT_CLUSTER_SIZE),
		.virtual_size = o->virtual_size,
		.refcount_order = qcf_log2(bits),
	};
	if ((o->flags & QCOWFMT_CREATE_LAZY_REFCOUNTS) != 0)
		h->compatible_features = QCF_COMPAT_LAZY_REFCOUNTS;
	return qcf_header_set_backing(h, o->backing_filename, o->backing_format,
	                              errp);
}

static int place_tables(struct qcf_header *h, const struct qcf_geometry *g,
                        struct layout *l, struct qcowfmt_error **errp)
{
	uint64_t entries = qcf_l1_entries_for(g, h->virtual_size);

	if (h->virtual_size > g->max_virtual_size)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_USAGE,
		                "virtual size %" PRIu64
		                " is too large for this cluster size, which "
		                "allows %" PRIu64,
		                h->virtual_size, g->max_virtual_size);
	*l = plan_layout(g, entries);
	h->l1_size = (uint32_t)entries;
	h->refcount_table_offset = g->cluster_size;
	h->refcount_table_clusters = (uint32_t)l->table_clusters;
	if (entries > 0)
		h->l1_table_offset = qcf_host_offset(g, 1 + l->table_clusters +
		                                                l->block_count);
	return 0;
}

/* ----------------------------------------------------------------- writing */

static int write_reftable(struct qcowfmt_storage *storage,
                          const struct qcf_geometry *g, const struct layout *l,
                          struct qcowfmt_error **errp)
{
	uint64_t size = l->table_clusters << g->cluster_bits;
	QCF_AUTO_FREE struct qcf_be64 *table = calloc(1, size);

	if (table == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < l->block_count; i++)
		table[i] = qcf_reftable_entry_encode(
			qcf_host_offset(g, 1 + l->table_clusters + i));
	return qcf_storage_pwrite(storage, table, size, g->cluster_size, errp);
}

static int write_blocks(struct qcowfmt_storage *storage,
                        const struct qcf_geometry *g, const struct layout *l,
                        struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *block = malloc(g->cluster_size);
	uint64_t per_block = UINT64_C(1) << g->block_bits;

	if (block == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < l->block_count; i++) {
		uint64_t counted = QCF_MIN(l->total - i * per_block, per_block);
		int ret;

		memset(block, 0, g->cluster_size);
		for (uint64_t slot = 0; slot < counted; slot++)
			qcf_refcount_set(block, slot, g->refcount_order, 1);
		ret = qcf_storage_pwrite(
			storage, block, g->cluster_size,
			qcf_host_offset(g, 1 + l->table_clusters + i), errp);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int clear_storage(struct qcowfmt_storage *storage, uint64_t size,
                         struct qcowfmt_error **errp)
{
	int ret = 0;

	if (!storage->fixed_size)
		ret = qcf_storage_truncate(storage, 0, errp);
	if (ret == 0 && !storage->fixed_size)
		ret = qcf_storage_truncate(storage, size, errp);
	if (ret == 0 &&
	    (storage->fixed_size || !storage->reads_zero_when_grown))
		ret = qcf_storage_zero(storage, 0, size, true, errp);
	return ret;
}

static int write_header(struct qcowfmt_storage *storage, const struct plan *p,
                        struct qcowfmt_error **errp)
{
	int ret = qcf_storage_flush(storage, errp);

	if (ret == 0)
		ret = qcf_storage_pwrite(storage, p->first_cluster,
		                         p->geometry.cluster_size, 0, errp);
	return ret < 0 ? ret : qcf_storage_flush(storage, errp);
}

static int write_image(struct qcowfmt_storage *storage, const struct plan *p,
                       struct qcowfmt_error **errp)
{
	const struct qcf_header *h = &p->header;
	uint64_t end = h->l1_size > 0
	                       ? h->l1_table_offset + (uint64_t)h->l1_size * 8
	                       : p->layout.total << p->geometry.cluster_bits;
	int ret = clear_storage(storage, end, errp);

	if (ret == 0)
		ret = write_reftable(storage, &p->geometry, &p->layout, errp);
	if (ret == 0)
		ret = write_blocks(storage, &p->geometry, &p->layout, errp);
	return ret < 0 ? ret : write_header(storage, p, errp);
}

/* -------------------------------------------------------------------- plans */

static void plan_fini(struct plan *p)
{
	qcf_header_fini(&p->header);
	free(p->first_cluster);
}

static int encode_header(struct plan *p, struct qcowfmt_error **errp)
{
	p->first_cluster = malloc(p->geometry.cluster_size);
	if (p->first_cluster == NULL)
		return qcf_fail_oom(errp);
	return qcf_header_encode(&p->header, p->first_cluster,
	                         p->geometry.cluster_size, errp);
}

/* On failure nothing is left to free. */
static int plan_init(struct plan *p, const struct qcowfmt_create_options *o,
                     struct qcowfmt_error **errp)
{
	int ret;

	*p = (struct plan){ .first_cluster = NULL };
	ret = fill_header(o, &p->header, errp);
	if (ret == 0)
		ret = qcf_header_geometry(&p->header, &p->geometry, errp);
	if (ret == 0)
		ret = place_tables(&p->header, &p->geometry, &p->layout, errp);
	if (ret == 0)
		ret = encode_header(p, errp);
	if (ret < 0)
		plan_fini(p);
	return ret;
}

int qcf_create_check(const struct qcowfmt_create_options *o,
                     struct qcowfmt_error **errp)
{
	struct plan p;
	int ret = check_options(o, errp);

	if (ret < 0 || o->format == QCOWFMT_FORMAT_RAW)
		return ret;
	ret = plan_init(&p, o, errp);
	if (ret == 0)
		plan_fini(&p);
	return ret;
}

static int create_qcow2(struct qcowfmt_storage *storage,
                        const struct qcowfmt_create_options *o,
                        struct qcowfmt_error **errp)
{
	struct plan p;
	int ret = plan_init(&p, o, errp);

	if (ret < 0)
		return ret;
	ret = write_image(storage, &p, errp);
	plan_fini(&p);
	return ret;
}

/* A block device keeps its size and content: it only has to be large enough. */
static int create_raw(struct qcowfmt_storage *storage,
                      const struct qcowfmt_create_options *o,
                      struct qcowfmt_error **errp)
{
	uint64_t size = 0;
	int ret;

	if (!storage->fixed_size) {
		ret = clear_storage(storage, o->virtual_size, errp);
		return ret < 0 ? ret : qcf_storage_flush(storage, errp);
	}
	ret = qcf_storage_get_size(storage, &size, errp);
	if (ret == 0 && size < o->virtual_size)
		ret = qcf_fail(errp, ENOSPC, QCOWFMT_ERR_NO_SPACE,
		               "the device has %" PRIu64
		               " bytes, the image needs %" PRIu64,
		               size, o->virtual_size);
	return ret;
}

int qcf_create(struct qcowfmt_storage *storage,
               const struct qcowfmt_create_options *o,
               struct qcowfmt_error **errp)
{
	int ret = check_options(o, errp);

	if (ret < 0)
		return ret;
	ret = o->format == QCOWFMT_FORMAT_RAW ? create_raw(storage, o, errp)
	                                      : create_qcow2(storage, o, errp);
	return qcf_wrap(errp, storage->name, ret);
}
