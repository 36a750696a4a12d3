/* SPDX-License-Identifier: MIT */
/* rw.c - exported functions for guest I/O */
#include <errno.h>

#include "describe.h"
#include "guest_io.h"
#include "write_compressed.h"

static int vector_len(const struct iovec *iov, int iovcnt, uint64_t *len,
                      struct qcowfmt_error **errp)
{
	if (qcf_iov_len(iov, iovcnt, len))
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "the vector has a bad element count or its length "
	                "overflows");
}

int qcowfmt_preadv(struct qcowfmt_image *image, const struct iovec *iov,
                   int iovcnt, uint64_t guest_offset,
                   struct qcowfmt_error **errp)
{
	uint64_t len = 0;
	int ret = vector_len(iov, iovcnt, &len, errp);

	return ret < 0 ? ret
	               : qcf_guest_read(image, iov, iovcnt, guest_offset, len,
	                                errp);
}

int qcowfmt_pread(struct qcowfmt_image *image, void *buffer, size_t len,
                  uint64_t guest_offset, struct qcowfmt_error **errp)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = len };

	return qcowfmt_preadv(image, &iov, 1, guest_offset, errp);
}

int qcowfmt_pwritev(struct qcowfmt_image *image, const struct iovec *iov,
                    int iovcnt, uint64_t guest_offset,
                    struct qcowfmt_error **errp)
{
	uint64_t len = 0;
	int ret = vector_len(iov, iovcnt, &len, errp);

	return ret < 0 ? ret
	               : qcf_guest_write(image, iov, iovcnt, guest_offset, len,
	                                 errp);
}

int qcowfmt_pwrite(struct qcowfmt_image *image, const void *buffer, size_t len,
                   uint64_t guest_offset, struct qcowfmt_error **errp)
{
	/* An iovec has no const variant; writing only reads from it. */
	struct iovec iov = {
		.iov_base = (void *)(uintptr_t)buffer,
		.iov_len = len,
	};

	return qcowfmt_pwritev(image, &iov, 1, guest_offset, errp);
}

int qcowfmt_pwrite_compressed(struct qcowfmt_image *image, const void *buffer,
                              size_t len, uint64_t guest_offset,
                              struct qcowfmt_error **errp)
{
	struct qcf_request request;
	int ret = qcf_request_begin_write(&request, image, errp);

	if (ret < 0)
		return ret;
	ret = qcf_image_check_range(image, guest_offset, len, errp);
	if (ret == 0)
		ret = qcf_write_compressed(&request, buffer, len, guest_offset,
		                           errp);
	qcf_request_end(&request);
	return ret;
}

int qcowfmt_write_zeroes(struct qcowfmt_image *image, uint64_t guest_offset,
                         uint64_t len, uint32_t flags,
                         struct qcowfmt_error **errp)
{
	if ((flags & ~QCOWFMT_ZERO_MAY_UNMAP) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown write-zeroes flags 0x%x",
		                flags & ~QCOWFMT_ZERO_MAY_UNMAP);
	return qcf_guest_write_zeroes(image, guest_offset, len,
	                              (flags & QCOWFMT_ZERO_MAY_UNMAP) != 0,
	                              errp);
}

int qcowfmt_discard(struct qcowfmt_image *image, uint64_t guest_offset,
                    uint64_t len, struct qcowfmt_error **errp)
{
	return qcf_guest_discard(image, guest_offset, len, errp);
}

int qcowfmt_flush(struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	return qcf_image_flush(image, errp);
}

int qcowfmt_map(struct qcowfmt_image *image, uint64_t guest_offset,
                uint64_t len, uint32_t flags, struct qcowfmt_extent *extents,
                int max, struct qcowfmt_error **errp)
{
	const uint32_t known = QCOWFMT_MAP_HOLES | QCOWFMT_MAP_TOP;
	struct qcf_request request;
	int ret;

	if ((flags & ~known) != 0 || max < 1)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "map needs room for an extent and takes flags "
		                "0x%x, have room for %d and flags 0x%x",
		                known, max, flags);
	qcf_request_begin_read(&request, image);
	ret = qcf_image_check_range(image, guest_offset, len, errp);
	if (ret == 0)
		ret = qcf_describe_map(image, guest_offset, len, flags, extents,
		                       max, errp);
	qcf_request_end(&request);
	return ret;
}
