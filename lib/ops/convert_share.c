/* SPDX-License-Identifier: MIT */
/*
 * convert_share.c - letting storage copy data itself
 *
 * Only data that lies in both files as the guest sees it: not compressed, not
 * encrypted.  In a qcow2 target whole clusters get their place first, as holes
 * that read as zeros, and then their content.  A failure in between leaves
 * zeros in the target, which is one of the states that a failed conversion may
 * leave.
 */
#include <errno.h>

#include "checked.h"
#include "convert_share.h"
#include "extent.h"
#include "image_flags.h"
#include "map.h"
#include "meta_protect.h"
#include "reserve.h"
#include "zero_discard.h"

/* Bytes that lie together in a file of the source. */
struct lying {
	struct qcowfmt_storage *storage; /* NULL: they have to be read */
	uint64_t host_offset;
	uint64_t len;
};

static bool is_shareable(struct qcowfmt_image *image,
                         const struct qcf_extent *extent)
{
	const struct qcf_layer *layer = image->layers[extent->depth];

	return extent->run.kind == QCF_DATA && layer->data != NULL &&
	       qcf_layer_crypto(layer) == NULL;
}

/* Where the bytes from offset on are; as the image is not written to, they stay
 * there. */
static int find_source(struct qcowfmt_image *image, uint64_t offset,
                       uint64_t len, struct lying *from,
                       struct qcowfmt_error **errp)
{
	struct qcf_extent extent;
	int ret = qcf_extent_lookup_chain(image, offset, len, &extent, errp);

	if (ret < 0)
		return ret;
	*from = (struct lying){
		.host_offset = extent.run.host_offset,
		.len = extent.run.length,
	};
	if (!is_shareable(image, &extent))
		return 0;
	from->storage = image->layers[extent.depth]->data;
	return qcf_layer_limit_to_file(image->layers[extent.depth],
	                               from->host_offset, &from->len, errp);
}

/* -------------------------------------------------------------------- target */

/* The clusters of a guest range if it is whole clusters; else *end is start. */
static void find_clusters(const struct qcf_target *t, uint64_t offset,
                          uint64_t len, uint64_t *end)
{
	const struct qcf_meta *meta = qcf_image_top(t->image)->meta;

	*end = offset + len;
	if (meta == NULL) {
		*end = offset;
		return;
	}
	if (*end == t->size)
		*end = qcf_align_up(*end, meta->geometry.cluster_size);
	if (!qcf_is_aligned(offset, meta->geometry.cluster_size) ||
	    !qcf_is_aligned(*end, meta->geometry.cluster_size))
		*end = offset;
}

/* Clusters that were reserved and not written may lie behind the end of the
 * file, where nothing could be read. */
static int grow_file(struct qcowfmt_storage *data, uint64_t host_offset,
                     uint64_t len, struct qcowfmt_error **errp)
{
	uint64_t size = 0;
	int ret = qcf_storage_get_size(data, &size, errp);

	if (ret < 0 || size >= host_offset + len)
		return ret;
	return qcf_storage_zero(data, host_offset, len, true, errp);
}

/* Where the first *len bytes from offset on can be put. */
static int find_place(struct qcf_target *t, uint64_t offset, uint64_t *len,
                      uint64_t *host_offset, bool *has_place,
                      struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(t->image);
	struct qcf_run run;
	int ret;

	if (top->meta == NULL) {
		/* The first sector of a probed image has a guard. */
		*host_offset = offset;
		*has_place = !top->probed || offset >= QCF_SECTOR_SIZE;
		return 0;
	}
	ret = qcf_map_lookup(top->meta, offset, *len, &run, errp);
	if (ret < 0)
		return ret;
	*len = run.length;
	*host_offset = run.host_offset;
	*has_place = run.kind == QCF_DATA && run.copied;
	if (*has_place && !top->meta->geometry.data_file &&
	    qcf_meta_is_metadata(top->meta, run.host_offset, run.length))
		return qcf_meta_corrupt(top->meta, QCF_CHECK_OVERLAP,
		                        run.host_offset, errp);
	return 0;
}

/* Into clusters that have their place; *copied is false afterwards if storage
 * cannot do it. */
static int copy_to_places(struct qcf_target *t, const struct lying *from,
                          uint64_t offset, bool *copied,
                          struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(t->image);
	uint64_t done = 0;
	int ret = 0;

	*copied = true;
	while (ret == 0 && done < from->len) {
		uint64_t len = from->len - done;
		uint64_t to = 0;
		bool has_place = false;

		ret = find_place(t, offset + done, &len, &to, &has_place, errp);
		*copied &= has_place;
		if (ret == 0 && has_place && top->meta != NULL)
			ret = grow_file(top->data, to, len, errp);
		if (ret == 0 && *copied)
			ret = qcf_storage_copy_range(
				top->data, to, from->storage,
				from->host_offset + done, len, errp);
		/* The rest has to be in the file all the same. */
		if (ret == -ENOTSUP) {
			atomic_store(&t->cannot_share, true);
			*copied = false;
			ret = 0;
		}
		done += len;
	}
	return ret;
}

static int copy_in_storage(struct qcf_target *t, struct qcf_request *request,
                           const struct lying *from, uint64_t offset,
                           bool *copied, struct qcowfmt_error **errp)
{
	uint64_t end;
	int ret = 0;

	find_clusters(t, offset, from->len, &end);
	if (end > offset)
		ret = qcf_reserve_clusters(request, offset, end,
		                           QCOWFMT_PREALLOCATION_METADATA,
		                           errp);
	if (ret == 0)
		ret = copy_to_places(t, from, offset, copied, errp);
	if (ret < 0 && end > offset)
		(void)qcf_drop_clusters(request, offset, end, NULL);
	return ret;
}

/* Read and write it, zeros as zeros. */
static int copy_through_memory(struct qcf_target *t, struct qcf_slot *slot,
                               uint64_t offset, uint64_t len,
                               struct qcowfmt_error **errp)
{
	const struct qcf_copy_piece whole = slot->piece;
	int ret;

	slot->piece.offset = offset;
	slot->piece.length = len;
	slot->stage = QCOWFMT_CONVERT_READING;
	ret = qcf_slot_fill(t->fill, slot, errp);
	if (ret == 0) {
		slot->stage = QCOWFMT_CONVERT_WRITING;
		ret = qcf_target_write(t, slot, errp);
	}
	slot->piece = whole;
	return ret;
}

/*
 * Let storage copy the first bytes of what is left of a piece; *len gets how
 * many are alike, and *copied whether it could.
 */
static int share_some(struct qcf_target *t,
                      const struct qcf_source_image *image, uint64_t offset,
                      uint64_t *len, bool *copied, struct qcowfmt_error **errp)
{
	struct qcf_request request;
	struct lying from = { .len = *len };
	int ret;

	*copied = false;
	qcf_request_begin_read(&request, image->image);
	ret = find_source(image->image, offset - image->start, *len, &from,
	                  errp);
	qcf_request_end(&request);
	*len = from.len;
	if (ret < 0 || from.storage == NULL)
		return ret;
	ret = qcf_request_begin_write(&request, t->image, errp);
	if (ret < 0)
		return ret;
	ret = copy_in_storage(t, &request, &from, offset, copied, errp);
	qcf_request_end(&request);
	return ret;
}

int qcf_share_piece(struct qcf_target *t, struct qcf_slot *slot,
                    struct qcowfmt_error **errp)
{
	uint64_t offset = slot->piece.offset;
	uint64_t end = offset + slot->piece.length;
	int ret = 0;

	while (ret == 0 && offset < end) {
		const struct qcf_source_image *image =
			qcf_source_image_at(t->fill->source, offset);
		uint64_t len = QCF_MIN(end - offset,
		                       image->start + image->size - offset);
		bool copied = false;

		if (!atomic_load(&t->cannot_share))
			ret = share_some(t, image, offset, &len, &copied, errp);
		if (ret == 0 && !copied)
			ret = copy_through_memory(t, slot, offset, len, errp);
		if (copied)
			qcf_target_count(t, len, len);
		offset += len;
	}
	return ret;
}
