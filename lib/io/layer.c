/* SPDX-License-Identifier: MIT */
/* layer.c - one image of a chain */
#include <errno.h>
#include <inttypes.h>

#include "checked.h"
#include "image_flags.h"
#include "layer.h"
#include "probe.h"
#include "snapshot_table.h"

static int probe_format(struct qcf_layer *layer, struct qcowfmt_error **errp)
{
	uint8_t bytes[QCOWFMT_PROBE_SIZE];
	int64_t len = qcf_storage_pread_padded(layer->storage, bytes,
	                                       sizeof(bytes), 0, errp);

	if (len < 0)
		return (int)len;
	layer->format = qcf_probe(bytes, (size_t)len);
	layer->probed = true;
	return 0;
}

static int lock_storage(const struct qcf_layer *layer, bool no_lock,
                        struct qcowfmt_error **errp)
{
	enum qcf_storage_lock lock;

	if (no_lock)
		return 0;
	if (layer->format == QCOWFMT_FORMAT_RAW)
		lock = layer->writable ? QCF_LOCK_RAW_WRITE : QCF_LOCK_RAW_READ;
	else
		lock = layer->writable ? QCF_LOCK_IMAGE_WRITE
		                       : QCF_LOCK_IMAGE_READ;
	return qcf_storage_lock(layer->storage, lock, errp);
}

/* The size of a raw image is rounded up to whole sectors; what is missing from
 * the last one reads as zeros. */
static int open_raw(struct qcf_layer *layer, struct qcowfmt_error **errp)
{
	uint64_t size = 0;
	int ret = qcf_storage_get_size(layer->storage, &size, errp);

	if (ret == 0)
		layer->virtual_size = qcf_align_up(size, QCF_SECTOR_SIZE);
	return ret;
}

/* The version must be one that the stated format has. */
static int check_version(const struct qcf_layer *layer, uint32_t version,
                         struct qcowfmt_error **errp)
{
	if ((version == 1) == (layer->format == QCOWFMT_FORMAT_QCOW))
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_NOT_QCOW,
	                "a version %" PRIu32
	                " image was to be opened as format %s",
	                version, qcowfmt_format_name(layer->format));
}

static bool wants_snapshot(const struct qcf_layer_options *options)
{
	return options->snapshot_id != NULL || options->snapshot_name != NULL;
}

static int open_qcow(struct qcf_layer *layer,
                     const struct qcf_layer_options *options,
                     struct qcowfmt_error **errp)
{
	struct qcf_secret_source secrets = { 0 };
	struct qcf_meta_options meta_options = {
		.writable = options->writable,
		.repair = options->repair,
		.lazy_refcounts = options->lazy_refcounts,
		.max_table_size = options->max_table_size,
		.budget = options->budget,
		.gate = options->gate,
		.secrets = options->no_data ? NULL : &secrets,
	};
	QCF_AUTO_FREE struct qcf_meta *meta = aligned_alloc(
		_Alignof(struct qcf_meta),
		qcf_align_up(sizeof(*meta), _Alignof(struct qcf_meta)));
	int ret;

	if (options->secrets != NULL)
		secrets = *options->secrets;
	secrets.depth = layer->depth;
	secrets.name = layer->storage->name;
	ret = meta == NULL ? qcf_fail_oom(errp)
	                   : qcf_meta_open(meta, layer->storage, &meta_options,
	                                   errp);
	if (ret < 0)
		return ret;
	ret = check_version(layer, meta->header.version, errp);
	if (ret == 0 && wants_snapshot(options))
		ret = qcf_snapshot_show(meta, options->snapshot_id,
		                        options->snapshot_name, errp);
	if (ret < 0) {
		qcf_meta_abandon(meta);
		return ret;
	}
	layer->meta = qcf_take(&meta);
	layer->virtual_size = layer->meta->header.virtual_size;
	return 0;
}

static int open_format(struct qcf_layer *layer,
                       const struct qcf_layer_options *options,
                       struct qcowfmt_error **errp)
{
	int ret = 0;

	layer->format = options->format;
	if (options->format == QCOWFMT_FORMAT_PROBE)
		ret = probe_format(layer, errp);
	if (ret == 0)
		ret = lock_storage(layer, options->no_lock, errp);
	if (ret < 0)
		return ret;
	if (layer->format != QCOWFMT_FORMAT_RAW)
		return open_qcow(layer, options, errp);
	if (wants_snapshot(options))
		return qcf_fail(errp, ENOENT, QCOWFMT_ERR_USAGE,
		                "a raw image has no snapshots");
	return open_raw(layer, errp);
}

int qcf_layer_open(struct qcowfmt_storage *storage,
                   const struct qcf_layer_options *options,
                   struct qcf_layer **result, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_layer *layer = calloc(1, sizeof(*layer));
	int ret;

	if (layer == NULL)
		return qcf_fail_oom(errp);
	if (options->writable && !storage->writable)
		return qcf_fail(errp, EACCES, QCOWFMT_ERR_READ_ONLY,
		                "%s: the storage is read-only", storage->name);
	layer->storage = storage;
	layer->data = storage;
	layer->depth = options->depth;
	layer->writable = options->writable;
	qcf_poison_init(&layer->raw_poison);
	ret = open_format(layer, options, errp);
	if (ret < 0) {
		qcf_layer_abandon(qcf_take(&layer));
		return qcf_wrap(errp, storage->name, ret);
	}
	*result = qcf_take(&layer);
	return 0;
}

int qcf_layer_set_data_file(struct qcf_layer *layer,
                            struct qcowfmt_storage *data, bool no_lock,
                            struct qcowfmt_error **errp)
{
	int ret = 0;

	layer->data_file = data;
	layer->data = data;
	layer->meta->data = data;
	if (data != NULL && layer->writable && !data->writable)
		return qcf_fail(errp, EACCES, QCOWFMT_ERR_READ_ONLY,
		                "%s: the storage of the data file is read-only",
		                data->name);
	if (data != NULL && !no_lock)
		ret = qcf_storage_lock(data,
		                       layer->writable
		                               ? QCF_LOCK_DATA_FILE_WRITE
		                               : QCF_LOCK_DATA_FILE_READ,
		                       errp);
	return qcf_wrap(errp, "data file", ret);
}

static void free_layer(struct qcf_layer *layer)
{
	qcowfmt_storage_free(layer->data_file);
	free(layer->meta);
	qcf_poison_fini(&layer->raw_poison);
	free(layer->backing_path);
	free(layer->beneath);
	free(layer);
}

void qcf_layer_abandon(struct qcf_layer *layer)
{
	if (layer->meta != NULL)
		qcf_meta_abandon(layer->meta);
	/* Dropping a lock fails only if there is none. */
	if (qcf_storage_lock(layer->storage, QCF_LOCK_NONE, NULL) < 0)
		layer->storage = NULL;
	free_layer(layer);
}

int qcf_layer_close(struct qcf_layer *layer, struct qcowfmt_error **errp)
{
	int ret = 0;

	if (layer == NULL)
		return 0;
	if (layer->meta != NULL)
		ret = qcf_meta_close(layer->meta, errp);
	else if (layer->writable) {
		ret = qcf_poison_check(&layer->raw_poison, errp);
		if (ret == 0)
			ret = qcf_storage_flush(layer->storage, errp);
	}
	ret = qcf_wrap(errp, layer->storage->name, ret);
	qcowfmt_storage_free(layer->storage);
	free_layer(layer);
	return ret;
}

struct qcf_poison *qcf_layer_poison(struct qcf_layer *layer)
{
	return layer->meta != NULL ? &layer->meta->poison : &layer->raw_poison;
}

int qcf_layer_limit_to_file(struct qcf_layer *layer, uint64_t host_offset,
                            uint64_t *len, struct qcowfmt_error **errp)
{
	uint64_t size =
		atomic_load_explicit(&layer->known_size, memory_order_relaxed);
	uint64_t limit;
	int ret;

	if (layer->meta == NULL || layer->data != layer->storage ||
	    qcf_range_within(host_offset, *len, size))
		return 0;
	ret = qcf_storage_get_size(layer->storage, &size, errp);
	if (ret < 0)
		return ret;
	atomic_store_explicit(&layer->known_size, size, memory_order_relaxed);
	limit = qcf_align_up(size, layer->meta->geometry.cluster_size);
	if (host_offset >= limit)
		return qcf_corruptf(errp, QCF_CHECK_BEYOND_END, host_offset,
		                    "%s ends at %" PRIu64, layer->storage->name,
		                    size);
	*len = QCF_MIN(*len, limit - host_offset);
	return 0;
}
