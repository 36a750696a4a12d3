/* SPDX-License-Identifier: MIT */
/*
 * create_qcow2.c - writing a new image of version 2 or 3
 *
 * Everything but the header, also in the data file, is stable before the header
 * is written: a crash leaves something that is no image, or the image.
 *
 * Without preallocation the file ends with the last L1 entry, so it need not end
 * at a cluster boundary.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "create_options.h"
#include "create_plan.h"
#include "create_qcow2.h"
#include "preallocate.h"
#include "refcount_entry.h"

/* ----------------------------------------------------------------- writing */

static int write_reftable(struct qcowfmt_storage *storage,
                          const struct qcf_create_plan *p,
                          struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->geometry;
	const struct qcf_create_layout *l = &p->layout;
	uint64_t size = l->table_clusters << g->cluster_bits;
	QCF_AUTO_FREE struct qcf_be64 *table = calloc(1, size);

	if (table == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < l->block_count; i++)
		table[i] = qcf_reftable_entry_encode(
			qcf_host_offset(g, l->first_block + i));
	return qcf_storage_pwrite(storage, table, size,
	                          p->header.refcount_table_offset, errp);
}

/* All blocks but the last are full, so the first content serves for them. */
static int write_blocks(struct qcowfmt_storage *storage,
                        const struct qcf_create_plan *p,
                        struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->geometry;
	const struct qcf_create_layout *l = &p->layout;
	QCF_AUTO_FREE uint8_t *block = malloc(g->cluster_size);
	uint64_t per_block = UINT64_C(1) << g->block_bits;
	int ret = block == NULL ? qcf_fail_oom(errp) : 0;

	for (uint64_t i = 0; ret == 0 && i < l->block_count; i++) {
		uint64_t counted = QCF_MIN(l->total - i * per_block, per_block);

		if (i == 0 || counted < per_block) {
			memset(block, 0, g->cluster_size);
			for (uint64_t slot = 0; slot < counted; slot++)
				qcf_refcount_set(block, slot, g->refcount_order,
				                 1);
		}
		ret = qcf_storage_pwrite(storage, block, g->cluster_size,
		                         qcf_host_offset(g, l->first_block + i),
		                         errp);
	}
	return ret;
}

/* The first sector makes it an image, so it comes when all else is stable. */
static int write_header(struct qcowfmt_storage *storage,
                        const struct qcf_create_plan *p,
                        struct qcowfmt_error **errp)
{
	uint64_t rest = p->geometry.cluster_size - QCF_SECTOR_SIZE;
	int ret =
		qcf_storage_pwrite(storage, p->first_cluster + QCF_SECTOR_SIZE,
	                           rest, QCF_SECTOR_SIZE, errp);

	if (ret == 0)
		ret = qcf_storage_flush(storage, errp);
	if (ret == 0)
		ret = qcf_storage_pwrite(storage, p->first_cluster,
		                         QCF_SECTOR_SIZE, 0, errp);
	return ret < 0 ? ret : qcf_storage_flush(storage, errp);
}

static int make_space(struct qcowfmt_storage *storage,
                      const struct qcf_create_plan *p,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->geometry;
	const struct qcf_create_layout *l = &p->layout;
	uint64_t size = qcf_host_offset(g, l->total);
	/* With a data file the tree is tables only, which are written. */
	int mode = g->data_file ? QCOWFMT_PREALLOCATION_OFF : p->preallocation;

	if (l->tree_clusters + l->luks_clusters == 0 && p->header.l1_size > 0)
		size = p->header.l1_table_offset +
		       (uint64_t)p->header.l1_size * sizeof(uint64_t);
	return qcf_preallocate_space(storage, size,
	                             QCF_MIN(size, qcf_host_offset(g, l->tree)),
	                             mode, errp);
}

static int write_image(struct qcowfmt_storage *storage,
                       const struct qcf_create_plan *p,
                       const struct qcf_crypto_plan *crypto,
                       struct qcowfmt_error **errp)
{
	int ret = make_space(storage, p, errp);

	if (ret == 0)
		ret = write_reftable(storage, p, errp);
	if (ret == 0)
		ret = write_blocks(storage, p, errp);
	if (ret == 0 && crypto->area_len > 0)
		ret = qcf_storage_pwrite(
			storage, crypto->area, crypto->area_len,
			qcf_host_offset(&p->geometry, p->layout.luks), errp);
	if (ret == 0 && p->preallocation != QCOWFMT_PREALLOCATION_OFF)
		ret = qcf_preallocate_tables(storage, p, errp);
	return ret < 0 ? ret : write_header(storage, p, errp);
}

/* --------------------------------------------------------------- data file */

static int check_data_storage(const struct qcowfmt_storage *storage,
                              const struct qcowfmt_create_options *o,
                              struct qcowfmt_error **errp)
{
	const struct qcowfmt_storage *data = o->data_storage;

	if (o->data_filename == NULL)
		return 0;
	if (data == NULL &&
	    qcf_create_preallocation(o) != QCOWFMT_PREALLOCATION_OFF)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "preallocation with a data file needs "
		                "data_storage");
	if (data == NULL)
		return 0;
	if (qcf_storage_is_same(data, storage))
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "data file '%s' is the image itself",
		                data->name);
	return 0;
}

static int write_data_file(const struct qcowfmt_create_options *o,
                           struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *data = o->data_storage;
	uint64_t have = o->virtual_size;
	int ret = 0;

	if (data == NULL)
		return 0;
	if (data->fixed_size)
		ret = qcf_storage_get_size(data, &have, errp);
	if (ret == 0 && have < o->virtual_size)
		ret = qcf_fail(errp, ENOSPC, QCOWFMT_ERR_NO_SPACE,
		               "the device has %" PRIu64
		               " bytes, the data file needs %" PRIu64,
		               have, o->virtual_size);
	if (ret == 0)
		ret = qcf_preallocate_space(data, o->virtual_size, 0,
		                            qcf_create_preallocation(o), errp);
	if (ret == 0)
		ret = qcf_storage_flush(data, errp);
	return qcf_wrap(errp, data->name, ret);
}

/* --------------------------------------------------------------- the whole */

static int create_planned(struct qcowfmt_storage *storage,
                          const struct qcowfmt_create_options *o,
                          const struct qcf_crypto_plan *crypto,
                          struct qcowfmt_error **errp)
{
	struct qcf_create_plan p;
	int ret = qcf_create_plan_init(&p, o, crypto, errp);

	if (ret < 0)
		return ret;
	ret = write_data_file(o, errp);
	if (ret == 0)
		ret = write_image(storage, &p, crypto, errp);
	qcf_create_plan_fini(&p);
	return ret;
}

int qcf_create_qcow2(struct qcowfmt_storage *storage,
                     const struct qcowfmt_create_options *o,
                     struct qcowfmt_error **errp)
{
	struct qcf_crypto_plan crypto = { .method = 0 };
	int ret = check_data_storage(storage, o, errp);

	if (ret < 0)
		return ret;
	if (o->encryption == NULL)
		return create_planned(storage, o, &crypto, errp);
	ret = qcf_crypto_plan_init(&crypto, o->encryption, errp);
	if (ret < 0)
		return ret;
	ret = create_planned(storage, o, &crypto, errp);
	qcf_crypto_plan_fini(&crypto);
	return ret;
}

int qcf_create_qcow2_check(const struct qcowfmt_create_options *o,
                           struct qcowfmt_error **errp)
{
	struct qcf_create_plan p;
	/* Stands for the real one, which takes seconds to make; the length of
	 * its area does not change what fits into the header. */
	struct qcf_crypto_plan crypto = { .method = 0 };
	int ret;

	if (o->encryption != NULL) {
		crypto.method = (uint32_t)o->encryption->encryption;
		crypto.area_len =
			crypto.method == QCOWFMT_ENCRYPTION_LUKS ? 512 : 0;
	}
	ret = qcf_create_plan_init(&p, o, &crypto, errp);
	if (ret == 0)
		qcf_create_plan_fini(&p);
	return ret;
}
