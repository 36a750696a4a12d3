/* SPDX-License-Identifier: MIT */
/* create_plan.c - a new qcow2 image, complete before anything is written */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "create_options.h"
#include "create_plan.h"
#include "feature.h"
#include "header_ext.h"

/* u64 offset, u64 length */
#define ENCRYPTION_EXTENSION_LEN 16u

static bool has_data_file(const struct qcf_header *h)
{
	return (h->incompatible_features & QCF_INCOMPAT_DATA_FILE) != 0;
}

/* ------------------------------------------------------------------ header */

static void set_features(const struct qcowfmt_create_options *o,
                         struct qcf_header *h)
{
	if ((o->flags & QCOWFMT_CREATE_LAZY_REFCOUNTS) != 0)
		h->compatible_features |= QCF_COMPAT_LAZY_REFCOUNTS;
	if ((o->flags & QCOWFMT_CREATE_EXTENDED_L2) != 0)
		h->incompatible_features |= QCF_INCOMPAT_EXTENDED_L2;
	if (o->data_filename != NULL)
		h->incompatible_features |= QCF_INCOMPAT_DATA_FILE;
	if ((o->flags & QCOWFMT_CREATE_DATA_FILE_RAW) != 0)
		h->autoclear_features |= QCF_AUTOCLEAR_RAW_DATA_FILE;
	if (o->compression_type != 0) {
		h->incompatible_features |= QCF_INCOMPAT_COMPRESSION;
		h->compression_type = (uint8_t)o->compression_type;
	}
}

static int add_data_file_name(struct qcf_header *h, const char *name,
                              struct qcowfmt_error **errp)
{
	size_t len = strlen(name);

	if (len > UINT32_MAX)
		return qcf_fail(errp, ENOSPC, QCOWFMT_ERR_NO_SPACE,
		                "the data file name does not fit");
	return qcf_header_add_extension(h, QCF_EXT_DATA_FILE, name,
	                                (uint32_t)len, errp);
}

static int fill_header(const struct qcowfmt_create_options *o,
                       const struct qcf_crypto_plan *crypto,
                       struct qcf_header *h, struct qcowfmt_error **errp)
{
	int ret;

	*h = (struct qcf_header){
		.version = qcf_create_version(o),
		.cluster_bits = qcf_log2(qcf_create_cluster_size(o)),
		.virtual_size = o->virtual_size,
		.crypt_method = crypto->method,
		.refcount_order = qcf_log2(qcf_create_refcount_bits(o)),
	};
	set_features(o, h);
	ret = qcf_header_set_backing(h, o->backing_filename, o->backing_format,
	                             errp);
	if (ret == 0 && o->data_filename != NULL)
		ret = add_data_file_name(h, o->data_filename, errp);
	return ret;
}

static int add_luks_area(struct qcf_create_plan *p, uint64_t len,
                         struct qcowfmt_error **errp)
{
	uint8_t bytes[ENCRYPTION_EXTENSION_LEN];
	struct qcf_writer w = qcf_writer_init(bytes, sizeof(bytes));

	qcf_write_u64(&w, qcf_host_offset(&p->geometry, p->layout.luks));
	qcf_write_u64(&w, len);
	return qcf_header_add_extension(&p->header, QCF_EXT_ENCRYPTION, bytes,
	                                sizeof(bytes), errp);
}

static int encode_header(struct qcf_create_plan *p, struct qcowfmt_error **errp)
{
	p->first_cluster = malloc(p->geometry.cluster_size);
	if (p->first_cluster == NULL)
		return qcf_fail_oom(errp);
	return qcf_header_encode(&p->header, p->first_cluster,
	                         p->geometry.cluster_size, errp);
}

/* ------------------------------------------------------------------ layout */

/* Refcount blocks count themselves and the table that lists them. */
static void count_refcounts(const struct qcf_geometry *g,
                            struct qcf_create_layout *l)
{
	uint64_t per_block = UINT64_C(1) << g->block_bits;
	uint64_t per_table = g->cluster_size / sizeof(uint64_t);
	uint64_t rest =
		1 + l->l1_clusters + l->luks_clusters + l->tree_clusters;

	l->table_clusters = 1;
	l->block_count = 1;
	for (;;) {
		l->total = rest + l->table_clusters + l->block_count;
		if (l->block_count * per_block < l->total)
			l->block_count = qcf_div_ceil(l->total, per_block);
		else if (l->table_clusters * per_table < l->block_count)
			l->table_clusters =
				qcf_div_ceil(l->block_count, per_table);
		else
			return;
	}
}

static int check_limits(const struct qcf_create_plan *p,
                        struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->geometry;

	if (p->layout.block_count > g->max_reftable_entry_count ||
	    p->layout.total > QCF_HOST_OFFSET_LIMIT >> g->cluster_bits)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_USAGE,
		                "a preallocated image of virtual size %" PRIu64
		                " is too large for this cluster size and "
		                "refcount width",
		                p->header.virtual_size);
	return 0;
}

/* Fill in the layout; sizes were checked, so the sums stay below 2^63. */
static void lay_out(struct qcf_create_plan *p, uint64_t l1_entries,
                    uint64_t luks_len)
{
	const struct qcf_geometry *g = &p->geometry;
	struct qcf_create_layout *l = &p->layout;

	l->l1_clusters = qcf_clusters_for(g, l1_entries * 8);
	l->luks_clusters = qcf_clusters_for(g, luks_len);
	if (p->preallocation != QCOWFMT_PREALLOCATION_OFF) {
		p->data_clusters = qcf_clusters_for(g, p->header.virtual_size);
		l->tree_clusters = l1_entries;
		if (!g->data_file)
			l->tree_clusters += p->data_clusters;
	}
	count_refcounts(g, l);
	l->first_block = 1 + l->table_clusters;
	l->luks = l->first_block + l->block_count + l->l1_clusters;
	l->tree = l->luks + l->luks_clusters;
}

static int place_tables(struct qcf_create_plan *p, uint64_t luks_len,
                        struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->geometry;
	struct qcf_header *h = &p->header;
	uint64_t entries = qcf_l1_entries_for(g, h->virtual_size);
	int ret;

	if (h->virtual_size > g->max_virtual_size)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_USAGE,
		                "virtual size %" PRIu64
		                " is too large for this cluster size, which "
		                "allows %" PRIu64,
		                h->virtual_size, g->max_virtual_size);
	lay_out(p, entries, luks_len);
	ret = check_limits(p, errp);
	if (ret < 0)
		return ret;
	h->l1_size = (uint32_t)entries;
	h->refcount_table_offset = g->cluster_size;
	h->refcount_table_clusters = (uint32_t)p->layout.table_clusters;
	if (entries > 0)
		h->l1_table_offset = qcf_host_offset(
			g, p->layout.first_block + p->layout.block_count);
	return luks_len > 0 ? add_luks_area(p, luks_len, errp) : 0;
}

/* -------------------------------------------------------------------- plan */

void qcf_create_plan_fini(struct qcf_create_plan *p)
{
	qcf_header_fini(&p->header);
	free(p->first_cluster);
}

int qcf_create_plan_init(struct qcf_create_plan *p,
                         const struct qcowfmt_create_options *o,
                         const struct qcf_crypto_plan *crypto,
                         struct qcowfmt_error **errp)
{
	int ret;

	*p = (struct qcf_create_plan){
		.preallocation = qcf_create_preallocation(o),
	};
	ret = fill_header(o, crypto, &p->header, errp);
	if (ret == 0)
		ret = qcf_header_geometry(&p->header, &p->geometry, errp);
	p->geometry.data_file = has_data_file(&p->header);
	if (ret == 0)
		ret = place_tables(p, crypto->area_len, errp);
	if (ret == 0)
		ret = encode_header(p, errp);
	if (ret < 0)
		qcf_create_plan_fini(p);
	return ret;
}
