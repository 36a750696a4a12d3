/* SPDX-License-Identifier: MIT */
/*
 * measure.c - how large an image would be
 *
 * The numbers are those of QEMU, which counts for each cluster that holds data
 * one host cluster, whether it will be compressed or not, and all tables as if
 * the disk were full.
 */
#include <errno.h>

#include "checked.h"
#include "create.h"
#include "create_options.h"
#include "crypto.h"
#include "measure.h"
#include "scan.h"

/* ------------------------------------------------------------------- the source */

/* Bytes of the clusters that hold data of the source. */
static int count_data(const struct qcf_scan *scan, struct qcf_request *request,
                      uint64_t cluster_size, uint64_t *bytes,
                      struct qcowfmt_error **errp)
{
	uint64_t at = 0;

	while (at < scan->size) {
		struct qcf_piece piece;
		uint64_t end;
		int ret;

		qcf_request_renew(request);
		ret = qcf_scan_piece(scan, at, scan->size - at, &piece, errp);
		if (ret < 0)
			return ret;
		end = at + piece.length;
		if (piece.content == QCF_CONTENT_DATA) {
			end = qcf_align_up(end, cluster_size);
			*bytes += end - qcf_align_down(at, cluster_size);
		}
		at = end;
	}
	return 0;
}

static int data_of_source(struct qcowfmt_image *source, uint64_t cluster_size,
                          uint64_t *bytes, struct qcowfmt_error **errp)
{
	struct qcf_request request;
	struct qcf_scan scan;
	int ret;

	qcf_request_begin_read(&request, source);
	ret = qcf_scan_init(&scan, source, errp);
	if (ret == 0) {
		ret = count_data(&scan, &request, cluster_size, bytes, errp);
		qcf_scan_fini(&scan);
	}
	qcf_request_end(&request);
	return ret;
}

/* --------------------------------------------------------------------- version 3 */

/* Bytes of refcount table and blocks for a number of clusters, which they count
 * together with themselves. */
static uint64_t refcount_bytes(uint64_t clusters, uint64_t cluster_size,
                               uint32_t refcount_bits)
{
	uint64_t per_block = cluster_size * 8 / refcount_bits;
	uint64_t blocks = 0;
	uint64_t table = 0;
	uint64_t total = 0;
	uint64_t last;

	do {
		last = total;
		blocks = qcf_div_ceil(clusters + table + blocks, per_block);
		table = qcf_div_ceil(blocks, cluster_size / 8);
		total = clusters + blocks + table;
	} while (total != last);
	return (blocks + table) * cluster_size;
}

/* Bytes of a full disk's clusters and everything that belongs to them; sizes are
 * below 2^62, so no sum overflows. */
static uint64_t full_size(const struct qcf_geometry *g, uint64_t data_bytes)
{
	uint64_t per_table = g->l2_entry_count;
	uint64_t entries =
		qcf_align_up(data_bytes >> g->cluster_bits, per_table);
	uint64_t tables = qcf_align_up(entries / per_table,
	                               g->cluster_size / sizeof(uint64_t));
	uint64_t bytes = g->cluster_size + entries * g->l2_entry_size +
	                 tables * sizeof(uint64_t) + data_bytes;

	return bytes + refcount_bytes(bytes >> g->cluster_bits, g->cluster_size,
	                              g->refcount_bits);
}

static int luks_bytes(const struct qcowfmt_create_options *o,
                      const struct qcf_geometry *g, uint64_t *bytes,
                      struct qcowfmt_error **errp)
{
	uint64_t len = 0;
	int ret = 0;

	if (o->encryption != NULL)
		ret = qcf_crypto_area_size(o->encryption, &len, errp);
	*bytes = qcf_align_up(len, g->cluster_size);
	return ret;
}

static int measure_qcow2(struct qcowfmt_image *source,
                         const struct qcowfmt_create_options *o,
                         struct qcowfmt_measure_result *result,
                         struct qcowfmt_error **errp)
{
	struct qcf_geometry g;
	uint64_t luks = 0;
	uint64_t all;
	uint64_t data = 0;
	int ret = qcf_geometry_init(
		&g, qcf_create_version(o), qcf_log2(qcf_create_cluster_size(o)),
		qcf_log2(qcf_create_refcount_bits(o)),
		(o->flags & QCOWFMT_CREATE_EXTENDED_L2) != 0, errp);

	if (ret == 0)
		ret = luks_bytes(o, &g, &luks, errp);
	if (ret < 0)
		return ret;
	all = qcf_align_up(o->virtual_size, g.cluster_size);
	if (o->preallocation == QCOWFMT_PREALLOCATION_FULL ||
	    o->preallocation == QCOWFMT_PREALLOCATION_FALLOC ||
	    (source != NULL && o->backing_filename != NULL))
		data = all;
	else if (source != NULL)
		ret = data_of_source(source, g.cluster_size, &data, errp);
	result->fully_allocated = full_size(&g, all) + luks;
	result->required = result->fully_allocated - all + data;
	return ret;
}

/* ----------------------------------------------------------------- the operation */

int qcf_measure(struct qcowfmt_image *source,
                const struct qcowfmt_create_options *options,
                struct qcowfmt_measure_result *result,
                struct qcowfmt_error **errp)
{
	struct qcowfmt_create_options o = *options;
	int ret;

	*result = (struct qcowfmt_measure_result){ 0 };
	if (source != NULL)
		o.virtual_size = qcf_image_top(source)->virtual_size;
	if (o.format == QCOWFMT_FORMAT_QCOW)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "images of version 1 cannot be measured");
	ret = qcf_create_check(&o, errp);
	if (ret < 0)
		return ret;
	if (o.format != QCOWFMT_FORMAT_RAW)
		return measure_qcow2(source, &o, result, errp);
	result->required = o.virtual_size;
	result->fully_allocated = o.virtual_size;
	return 0;
}
