/* SPDX-License-Identifier: MIT */
/* convert_target.c - pieces of a disk, written into an image */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "convert_share.h"
#include "convert_target.h"
#include "resize.h"
#include "write.h"
#include "write_compressed.h"
#include "zero_discard.h"

static struct qcf_target *of(struct qcf_sink *sink)
{
	return qcf_container_of(sink, struct qcf_target, sink);
}

/* ------------------------------------------------------------- compressing */

static uint64_t unit_len(const struct qcf_target *t,
                         const struct qcf_slot *slot, uint64_t i)
{
	return QCF_MIN(t->unit, slot->piece.length - i * t->unit);
}

/*
 * Whether a unit is a whole cluster.  The last one may be cut short by the end of
 * the target; one that is not there to the end otherwise is written plainly.
 */
static bool is_cluster(const struct qcf_target *t, const struct qcf_slot *slot,
                       uint64_t i)
{
	uint64_t offset = slot->piece.offset + i * t->unit;
	uint64_t len = unit_len(t, slot, i);

	return offset % t->unit == 0 &&
	       (len == t->unit || slot->is_last || offset + len == t->size);
}

static struct qcf_packed packed_unit(const struct qcf_target *t,
                                     const struct qcf_slot *slot, uint64_t i)
{
	return (struct qcf_packed){
		.guest_offset = slot->piece.offset + i * t->unit,
		.data = slot->buffer + i * t->unit,
		.guest_len = unit_len(t, slot, i),
		.bytes = slot->packed + i * t->unit,
		.len = slot->packed_lens[i],
	};
}

static int prepare(struct qcf_sink *sink, struct qcf_slot *slot,
                   struct qcowfmt_error **errp)
{
	struct qcf_target *t = of(sink);
	uint64_t units = qcf_slot_units(slot, t->unit);
	int ret = 0;

	if (!t->compress)
		return 0;
	for (uint64_t i = 0; ret == 0 && i < units; i++) {
		struct qcf_packed p = packed_unit(t, slot, i);

		if (slot->zeros[i] || !is_cluster(t, slot, i))
			continue;
		memset(slot->buffer + i * t->unit + p.guest_len, 0,
		       t->unit - p.guest_len);
		ret = qcf_pack(t->image, &p, errp);
		slot->packed_lens[i] = (uint32_t)p.len;
	}
	return ret;
}

/* ----------------------------------------------------------------- writing */

static int zero_range(struct qcf_request *request, const struct qcf_target *t,
                      uint64_t offset, uint64_t len,
                      struct qcowfmt_error **errp)
{
	if (offset >= t->zeros_below)
		return 0;
	return qcf_write_zeroes(request, offset,
	                        QCF_MIN(len, t->zeros_below - offset), true,
	                        errp);
}

static int write_plain(struct qcf_request *request, const struct qcf_slot *slot,
                       uint64_t start, uint64_t len,
                       struct qcowfmt_error **errp)
{
	struct iovec iov = {
		.iov_base = slot->buffer + start,
		.iov_len = len,
	};

	return qcf_write(request, &iov, 1, slot->piece.offset + start, len,
	                 errp);
}

static int write_clusters(struct qcf_request *request,
                          const struct qcf_target *t,
                          const struct qcf_slot *slot, uint64_t first,
                          uint64_t end, struct qcowfmt_error **errp)
{
	int ret = 0;

	for (uint64_t i = first; ret == 0 && i < end; i++) {
		struct qcf_packed p = packed_unit(t, slot, i);

		ret = is_cluster(t, slot, i)
		              ? qcf_write_packed(request, &p, errp)
		              : write_plain(request, slot, i * t->unit,
		                            p.guest_len, errp);
	}
	return ret;
}

/* Units [first, end) of a slot, which are alike. */
static int write_run(struct qcf_request *request, struct qcf_target *t,
                     const struct qcf_slot *slot, uint64_t first, uint64_t end,
                     struct qcowfmt_error **errp)
{
	uint64_t start = first * t->unit;
	uint64_t len = QCF_MIN(end * t->unit, slot->piece.length) - start;

	if (slot->zeros[first])
		return zero_range(request, t, slot->piece.offset + start, len,
		                  errp);
	qcf_target_count(t, len, 0);
	if (t->compress)
		return write_clusters(request, t, slot, first, end, errp);
	return write_plain(request, slot, start, len, errp);
}

/*
 * A request for each run: while one lasts, clusters that were freed are not used
 * again, and it would depend on where pieces end which of them are.
 */
int qcf_target_write(struct qcf_target *t, const struct qcf_slot *slot,
                     struct qcowfmt_error **errp)
{
	uint64_t units = qcf_slot_units(slot, t->unit);
	uint64_t first = 0;
	int ret = 0;

	while (ret == 0 && first < units) {
		struct qcf_request request;
		uint64_t end = first + 1;

		while (end < units && slot->zeros[end] == slot->zeros[first])
			end++;
		ret = qcf_request_begin_write(&request, t->image, errp);
		if (ret < 0)
			return ret;
		ret = write_run(&request, t, slot, first, end, errp);
		qcf_request_end(&request);
		first = end;
	}
	return ret;
}

static int write_zeros(struct qcf_target *t, const struct qcf_copy_piece *piece,
                       struct qcowfmt_error **errp)
{
	struct qcf_request request;
	int ret = qcf_request_begin_write(&request, t->image, errp);

	if (ret < 0)
		return ret;
	ret = zero_range(&request, t, piece->offset, piece->length, errp);
	qcf_request_end(&request);
	return ret;
}

/* Growing a qcow2 image has its price, a raw file's none. */
#define FIRST_STEP (UINT64_C(1) << 30)

int qcf_target_set_size(struct qcf_target *t, uint64_t size,
                        struct qcowfmt_error **errp)
{
	const struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	int ret = 0;

	if (size != qcf_image_top(t->image)->virtual_size)
		ret = qcf_resize(t->image, size, &options, errp);
	t->size = qcf_image_top(t->image)->virtual_size;
	return ret;
}

/* Make room for a piece: more than that, as there will be others, if there can
 * be more; but exactly that for the last one. */
static int make_room(struct qcf_target *t, const struct qcf_slot *slot,
                     struct qcowfmt_error **errp)
{
	uint64_t end = slot->piece.offset + slot->piece.length;
	/* No disk is larger than INT64_MAX. */
	uint64_t more = QCF_MAX(FIRST_STEP, t->size * 2);

	if (slot->is_last)
		return qcf_target_set_size(t, end, errp);
	if (end <= t->size)
		return 0;
	if (qcf_image_top(t->image)->meta != NULL && end < more &&
	    qcf_target_set_size(t, more, NULL) == 0)
		return 0;
	return qcf_target_set_size(t, end, errp);
}

static int store(struct qcf_sink *sink, struct qcf_slot *slot,
                 struct qcowfmt_error **errp)
{
	struct qcf_target *t = of(sink);
	int ret = t->resize ? make_room(t, slot, errp) : 0;

	if (ret == 0)
		ret = qcf_image_check_range(t->image, slot->piece.offset,
		                            slot->piece.length, errp);
	if (ret < 0)
		return ret;
	if (slot->piece.content == QCF_SOURCE_ZERO)
		return write_zeros(t, &slot->piece, errp);
	if (slot->is_unread)
		return qcf_share_piece(t, slot, errp);
	return qcf_target_write(t, slot, errp);
}

static bool skips_reading(struct qcf_sink *sink, const struct qcf_slot *slot)
{
	struct qcf_target *t = of(sink);

	(void)slot;
	return t->share && !atomic_load(&t->cannot_share);
}

void qcf_target_init(struct qcf_target *t)
{
	t->sink = (struct qcf_sink){
		.skips_reading = skips_reading,
		.prepare = prepare,
		.store = store,
	};
}
