/* SPDX-License-Identifier: MIT */
/* guest_io.c - whole guest requests */
#include "guest_io.h"
#include "read.h"
#include "write.h"
#include "zero_discard.h"

int qcf_guest_read(struct qcowfmt_image *image, const struct iovec *iov,
                   int iovcnt, uint64_t guest_offset, uint64_t len,
                   struct qcowfmt_error **errp)
{
	struct qcf_request request;
	int ret;

	qcf_request_begin_read(&request, image);
	ret = qcf_image_check_range(image, guest_offset, len, errp);
	if (ret == 0)
		ret = qcf_read_request(image, iov, iovcnt, guest_offset, len,
		                       errp);
	qcf_request_end(&request);
	return ret;
}

int qcf_guest_write(struct qcowfmt_image *image, const struct iovec *iov,
                    int iovcnt, uint64_t guest_offset, uint64_t len,
                    struct qcowfmt_error **errp)
{
	struct qcf_request request;
	int ret = qcf_request_begin_write(&request, image, errp);

	if (ret < 0)
		return ret;
	ret = qcf_image_check_range(image, guest_offset, len, errp);
	if (ret == 0)
		ret = qcf_write(&request, iov, iovcnt, guest_offset, len, errp);
	qcf_request_end(&request);
	return ret;
}

int qcf_guest_write_zeroes(struct qcowfmt_image *image, uint64_t guest_offset,
                           uint64_t len, bool may_unmap,
                           struct qcowfmt_error **errp)
{
	struct qcf_request request;
	int ret = qcf_request_begin_write(&request, image, errp);

	if (ret < 0)
		return ret;
	ret = qcf_image_check_range(image, guest_offset, len, errp);
	if (ret == 0)
		ret = qcf_write_zeroes(&request, guest_offset, len, may_unmap,
		                       errp);
	qcf_request_end(&request);
	return ret;
}

int qcf_guest_discard(struct qcowfmt_image *image, uint64_t guest_offset,
                      uint64_t len, struct qcowfmt_error **errp)
{
	struct qcf_request request;
	int ret = qcf_request_begin_write(&request, image, errp);

	if (ret < 0)
		return ret;
	ret = qcf_image_check_range(image, guest_offset, len, errp);
	if (ret == 0)
		ret = qcf_discard(&request, guest_offset, len, errp);
	qcf_request_end(&request);
	return ret;
}
