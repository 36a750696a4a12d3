/* SPDX-License-Identifier: MIT */
/*
 * write_compressed.c - writing compressed clusters
 *
 * Compressing takes most of the time and needs nothing but the bytes, so it is
 * a step of its own, done before the guest cluster is claimed: threads that
 * write different clusters meet only in the allocator, for a moment.  A caller
 * who cares for the order of clusters on the host packs in many threads and
 * writes what was packed in one.
 *
 * The old mapping is replaced like in any other write: its clusters go to
 * quarantine, and a failure before publishing leaves it as it is.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "alloc.h"
#include "bitmap_track.h"
#include "checked.h"
#include "compress.h"
#include "write.h"
#include "write_compressed.h"

static struct qcf_meta *meta_of(const struct qcf_request *request)
{
	return qcf_image_top(request->image)->meta;
}

/* ------------------------------------------------------------- what is allowed */

static int unsupported(const struct qcowfmt_image *image, const char *what,
                       struct qcowfmt_error **errp)
{
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "%s: compressed clusters cannot be written to %s",
	                qcf_image_top(image)->storage->name, what);
}

int qcf_check_compressed(const struct qcowfmt_image *image,
                         struct qcowfmt_error **errp)
{
	const struct qcf_meta *meta = qcf_image_top(image)->meta;
	uint32_t type;

	if (meta == NULL)
		return unsupported(image, "a raw image", errp);
	if (meta->header.crypt_method != 0)
		return unsupported(image, "an encrypted image", errp);
	if (meta->geometry.data_file)
		return unsupported(image, "an image with a data file", errp);
	type = meta->header.compression_type;
	if (!qcf_compression_is_built_in(type))
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: compression type %" PRIu32
		                " is not built in",
		                qcf_image_top(image)->storage->name, type);
	return 0;
}

static int check_alignment(struct qcf_request *request, uint64_t len,
                           uint64_t guest_offset, struct qcowfmt_error **errp)
{
	uint64_t cluster_size = meta_of(request)->geometry.cluster_size;
	uint64_t virtual_size = qcf_image_top(request->image)->virtual_size;

	if (!qcf_is_aligned(guest_offset, cluster_size))
		qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		         "compressed write at offset %" PRIu64
		         ": want a multiple of the cluster size %" PRIu64,
		         guest_offset, cluster_size);
	else if (!qcf_is_aligned(len, cluster_size) &&
	         guest_offset + len != virtual_size)
		qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		         "compressed write of %" PRIu64
		         " bytes at offset %" PRIu64
		         ": want a multiple of the cluster size %" PRIu64
		         " or an end at the virtual size %" PRIu64,
		         len, guest_offset, cluster_size, virtual_size);
	else
		return 0;
	qcf_error_at_guest(errp, guest_offset);
	return -EINVAL;
}

/* ---------------------------------------------------------------- one cluster */

static void publish(struct qcf_meta *meta, const struct qcf_slice *slice,
                    const struct qcf_packed *p, uint64_t host_offset,
                    struct qcf_freed_batch *freed)
{
	struct qcf_mapping mapping = {
		.kind = QCF_COMPRESSED,
		.host_offset = host_offset,
		.compressed_len = p->len,
	};
	struct qcf_l2_raw entry = qcf_l2_entry_encode(&meta->geometry, mapping);

	qcf_map_publish(meta, slice, &entry, 1, freed);
}

static int store(struct qcf_request *request, const struct qcf_slice *slice,
                 const struct qcf_packed *p, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = meta_of(request);
	struct qcf_freed_batch *freed = NULL;
	uint64_t host_offset = 0;
	int ret = qcf_alloc_reserve_bytes(meta, p->len, &host_offset, errp);

	if (ret < 0)
		return ret;
	ret = qcf_write_freed_by_entries(&meta->geometry, slice, 1, &freed,
	                                 errp);
	if (ret == 0)
		ret = qcf_storage_pwrite(meta->storage, p->bytes, p->len,
		                         host_offset, errp);
	if (ret < 0) {
		qcf_alloc_abandon_bytes(meta, host_offset, p->len);
		free(freed);
		return ret;
	}
	publish(meta, slice, p, host_offset, freed);
	return 0;
}

static int store_claimed(struct qcf_request *request,
                         const struct qcf_packed *p,
                         struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = meta_of(request);
	struct qcf_inflight *inflight = &request->image->inflight;
	struct qcf_slice slice;
	struct qcf_claim claim;
	int ret = qcf_request_breathe(request, errp);

	if (ret < 0)
		return ret;
	qcf_inflight_claim(inflight, &claim, p->guest_offset,
	                   p->guest_offset + meta->geometry.cluster_size);
	ret = qcf_map_pin(meta, p->guest_offset, &slice, errp);
	if (ret == 0) {
		ret = qcf_map_check(meta, &slice, p->guest_offset, 1, errp);
		if (ret == 0)
			ret = store(request, &slice, p, errp);
		qcf_map_unpin(meta, &slice);
	}
	qcf_inflight_release(inflight, &claim);
	return ret;
}

static int store_or_make_space(struct qcf_request *request,
                               const struct qcf_packed *p,
                               struct qcowfmt_error **errp)
{
	QCF_AUTO_ERROR struct qcowfmt_error *failure = NULL;
	int ret = store_claimed(request, p, &failure);

	if (ret == -ENOSPC && qcf_write_make_space(request))
		return store_claimed(request, p, errp);
	if (ret < 0)
		qcf_error_move(errp, qcf_take(&failure));
	return ret;
}

/* What does not get smaller is an ordinary write. */
static int write_as_it_is(struct qcf_request *request,
                          const struct qcf_packed *p,
                          struct qcowfmt_error **errp)
{
	struct iovec iov = {
		.iov_base = (void *)(uintptr_t)p->data,
		.iov_len = p->guest_len,
	};

	return qcf_write(request, &iov, 1, p->guest_offset, p->guest_len, errp);
}

int qcf_pack(struct qcowfmt_image *image, struct qcf_packed *p,
             struct qcowfmt_error **errp)
{
	const struct qcf_meta *meta = qcf_image_top(image)->meta;
	uint64_t cluster_size = meta->geometry.cluster_size;
	int64_t len = qcf_compress(
		&image->compressor, meta->header.compression_type, p->data,
		cluster_size, p->bytes, cluster_size - 1, errp);

	p->len = len < 0 ? 0 : (uint64_t)len;
	return len < 0 ? (int)len : 0;
}

int qcf_write_packed(struct qcf_request *request, const struct qcf_packed *p,
                     struct qcowfmt_error **errp)
{
	int ret = p->len == 0 ? write_as_it_is(request, p, errp)
	                      : store_or_make_space(request, p, errp);

	if (ret < 0)
		qcf_error_at_guest(errp, p->guest_offset);
	return ret;
}

/* ---------------------------------------------------------------- the request */

int qcf_write_compressed(struct qcf_request *request, const void *buffer,
                         uint64_t len, uint64_t guest_offset,
                         struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *memory = NULL;
	uint64_t cluster_size;
	int ret = qcf_check_compressed(request->image, errp);

	if (ret == 0)
		ret = check_alignment(request, len, guest_offset, errp);
	if (ret < 0)
		return ret;
	ret = qcf_bitmaps_track(meta_of(request), guest_offset, len, errp);
	if (ret < 0)
		return ret;
	cluster_size = meta_of(request)->geometry.cluster_size;
	/* The compressed bytes, then a cluster to complete the last one in. */
	memory = malloc(2 * cluster_size);
	if (memory == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t done = 0; done < len && ret == 0; done += cluster_size) {
		struct qcf_packed p = {
			.guest_offset = guest_offset + done,
			.data = (const uint8_t *)buffer + done,
			.guest_len = QCF_MIN(cluster_size, len - done),
			.bytes = memory,
		};

		if (p.guest_len < cluster_size) {
			memset(memory + cluster_size, 0, cluster_size);
			memcpy(memory + cluster_size, p.data, p.guest_len);
			p.data = memory + cluster_size;
		}
		ret = qcf_pack(request->image, &p, errp);
		if (ret < 0)
			qcf_error_at_guest(errp, p.guest_offset);
		else
			ret = qcf_write_packed(request, &p, errp);
	}
	return ret;
}
