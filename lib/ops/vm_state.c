/* SPDX-License-Identifier: MIT */
/* vm_state.c - bytes kept behind the disk */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "exclusive.h"
#include "l1_table.h"
#include "read.h"
#include "vm_state.h"
#include "write.h"

static int check_kind(struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	const struct qcf_layer *top = qcf_image_top(image);

	if (top->format == QCOWFMT_FORMAT_QCOW2 &&
	    !qcf_layer_has_data_file(top))
		return 0;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "%s: raw images, version 1 and images with a data file "
	                "hold no VM state",
	                top->storage->name);
}

/* Where a full-size L1 table ends. */
static uint64_t room(const struct qcowfmt_image *image)
{
	const struct qcf_layer *top = qcf_image_top(image);

	return top->meta->geometry.max_virtual_size -
	       qcf_layer_vm_state_start(top);
}

/* ------------------------------------------------------------------- reading */

/* What is inside of what an L1 table could map. */
static int read_inside(struct qcowfmt_image *image, uint8_t *buffer,
                       uint64_t len, uint64_t offset,
                       struct qcowfmt_error **errp)
{
	uint64_t limit = room(image);
	uint64_t inside = offset >= limit ? 0 : QCF_MIN(len, limit - offset);
	struct iovec iov = { .iov_base = buffer, .iov_len = inside };

	memset(buffer + inside, 0, len - inside);
	if (inside == 0)
		return 0;
	return qcf_read_request(image, &iov, 1,
	                        qcf_layer_vm_state_start(qcf_image_top(image)) +
	                                offset,
	                        inside, errp);
}

int qcf_vm_state_read(struct qcowfmt_image *image, void *buffer, uint64_t len,
                      uint64_t offset, struct qcowfmt_error **errp)
{
	struct qcf_request request;
	int ret = check_kind(image, errp);

	if (ret < 0 || len == 0)
		return ret;
	qcf_request_begin_read(&request, image);
	ret = read_inside(image, buffer, len, offset, errp);
	qcf_request_end(&request);
	return qcf_wrap(errp, "VM state", ret);
}

/* ------------------------------------------------------------------- writing */

/* The L1 entries needed to map VM state up to an end; the gate is entered or
 * closed. */
static int entries_needed(struct qcowfmt_image *image, uint64_t len,
                          uint64_t offset, uint64_t *entries,
                          struct qcowfmt_error **errp)
{
	const struct qcf_layer *top = qcf_image_top(image);
	uint64_t start = qcf_layer_vm_state_start(top);

	if (!qcf_range_within(offset, len, room(image)))
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_NO_SPACE,
		                "%" PRIu64 " bytes at offset %" PRIu64
		                " are more than the L1 table can map",
		                len, offset);
	*entries =
		qcf_l1_entries_for(&top->meta->geometry, start + offset + len);
	return 0;
}

/* Ahead of what is needed, so that long states do not copy the table often. */
static uint64_t entries_wanted(const struct qcf_meta *meta, uint64_t needed)
{
	uint64_t more = QCF_MAX(needed, meta->l1.entry_count / 2 * 3);

	return QCF_MIN(more, QCF_MAX_L1_SIZE / 8);
}

static int grow(struct qcowfmt_image *image, uint64_t len, uint64_t offset,
                struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = qcf_image_top(image)->meta;
	uint64_t needed = 0;
	int ret = qcf_exclusive_begin(image, errp);

	if (ret < 0)
		return ret;
	ret = entries_needed(image, len, offset, &needed, errp);
	if (ret == 0 && needed > meta->l1.entry_count)
		ret = qcf_l1_grow(meta, entries_wanted(meta, needed), errp);
	qcf_exclusive_end(image);
	return ret;
}

/* *done is false if the L1 table is too short. */
static int try_write(struct qcowfmt_image *image, const struct iovec *iov,
                     uint64_t offset, bool *done, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(image);
	struct qcf_request request;
	uint64_t needed = 0;
	int ret = qcf_request_begin_write(&request, image, errp);

	if (ret < 0)
		return ret;
	ret = entries_needed(image, iov->iov_len, offset, &needed, errp);
	*done = needed <= top->meta->l1.entry_count;
	if (ret == 0 && *done)
		ret = qcf_write(&request, iov, 1,
		                qcf_layer_vm_state_start(top) + offset,
		                iov->iov_len, errp);
	qcf_request_end(&request);
	return ret;
}

int qcf_vm_state_write(struct qcowfmt_image *image, const void *buffer,
                       uint64_t len, uint64_t offset,
                       struct qcowfmt_error **errp)
{
	/* An iovec has no const variant; writing only reads from it. */
	const struct iovec iov = {
		.iov_base = (void *)(uintptr_t)buffer,
		.iov_len = len,
	};
	bool done = false;
	int ret = check_kind(image, errp);

	while (ret == 0 && !done && len > 0) {
		ret = try_write(image, &iov, offset, &done, errp);
		if (ret == 0 && !done)
			ret = grow(image, len, offset, errp);
	}
	return qcf_wrap(errp, "VM state", ret);
}
