/* SPDX-License-Identifier: MIT */
/* read.c - reading guest data */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "compressed.h"
#include "extent.h"
#include "host_data.h"
#include "read.h"

static int read_data(struct qcf_layer *layer, const struct qcf_payload *p,
                     struct qcf_run *run, struct qcowfmt_error **errp)
{
	int ret = qcf_layer_limit_to_file(layer, run->host_offset, &run->length,
	                                  errp);

	return ret < 0 ? ret
	               : qcf_host_read(layer, p, run->host_offset, run->length,
	                               errp);
}

/* Read what an extent stands for; may shorten it. */
static int read_extent(struct qcowfmt_image *image, struct qcf_extent *extent,
                       const struct qcf_payload *p, struct qcowfmt_error **errp)
{
	switch (extent->run.kind) {
	case QCF_DATA:
		return read_data(image->layers[extent->depth], p, &extent->run,
		                 errp);
	case QCF_COMPRESSED:
		return qcf_read_compressed(image, extent, p, errp);
	case QCF_UNALLOCATED:
	case QCF_ZERO_PLAIN:
	case QCF_ZERO_ALLOCATED:
		qcf_iov_zero(p->iov, p->iovcnt, p->skip, extent->run.length);
		return 0;
	}
	return -EINVAL;
}

int qcf_read(struct qcowfmt_image *image, const struct iovec *iov, int iovcnt,
             uint64_t guest_offset, uint64_t len, struct qcowfmt_error **errp)
{
	struct qcf_payload p = {
		.iov = iov,
		.iovcnt = iovcnt,
		.guest_offset = guest_offset,
		.len = len,
	};

	if (image->no_data)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "%s was opened without access to guest data",
		                qcf_image_top(image)->storage->name);
	while (p.len > 0) {
		struct qcf_extent extent;
		int ret = qcf_extent_lookup_chain(image, p.guest_offset, p.len,
		                                  &extent, errp);

		if (ret == 0)
			ret = read_extent(image, &extent, &p, errp);
		if (ret < 0) {
			qcf_error_at_guest(errp, p.guest_offset);
			return ret;
		}
		p.skip += extent.run.length;
		p.guest_offset += extent.run.length;
		p.len -= extent.run.length;
	}
	return 0;
}

int qcf_read_request(struct qcowfmt_image *image, const struct iovec *iov,
                     int iovcnt, uint64_t guest_offset, uint64_t len,
                     struct qcowfmt_error **errp)
{
	const struct qcf_layer *top = qcf_image_top(image);
	struct qcf_claim claim;
	int ret;

	if (!top->writable || qcf_layer_crypto(top) == NULL)
		return qcf_read(image, iov, iovcnt, guest_offset, len, errp);
	qcf_inflight_claim(&image->inflight, &claim,
	                   qcf_align_down(guest_offset, QCF_SECTOR_SIZE),
	                   qcf_align_up(guest_offset + len, QCF_SECTOR_SIZE));
	ret = qcf_read(image, iov, iovcnt, guest_offset, len, errp);
	qcf_inflight_release(&image->inflight, &claim);
	return ret;
}

int qcf_read_padded(struct qcowfmt_image *image, void *buffer,
                    uint64_t guest_offset, uint64_t len,
                    struct qcowfmt_error **errp)
{
	const struct qcf_layer *top = qcf_image_top(image);
	uint64_t end = qcf_layer_is_vm_state(top, guest_offset)
	                       ? UINT64_MAX
	                       : top->virtual_size;
	uint64_t inside =
		guest_offset >= end ? 0 : QCF_MIN(len, end - guest_offset);
	struct iovec iov = { .iov_base = buffer, .iov_len = inside };

	memset((uint8_t *)buffer + inside, 0, len - inside);
	return qcf_read(image, &iov, 1, guest_offset, inside, errp);
}
