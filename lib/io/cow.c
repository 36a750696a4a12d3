/* SPDX-License-Identifier: MIT */
/* cow.c - the rest of a cluster that is written in part */
#include <stdlib.h>

#include "checked.h"
#include "cow.h"
#include "extent.h"
#include "read.h"

static const uint8_t zero_page[QCF_ZERO_PAGE];

int qcf_zero_iov(struct iovec *out, uint64_t len)
{
	int count = 0;

	while (len > 0) {
		uint64_t part = QCF_MIN(len, QCF_ZERO_PAGE);

		/* An iovec has no const variant; nothing writes to it. */
		out[count].iov_base = (void *)(uintptr_t)zero_page;
		out[count++].iov_len = part;
		len -= part;
	}
	return count;
}

void qcf_cow_fini(struct qcf_cow *cow)
{
	free(cow->head.bytes);
	free(cow->tail.bytes);
}

static int prepare_part(struct qcowfmt_image *image, uint64_t start,
                        uint64_t end, bool is_zero, struct qcf_cow_part *part,
                        struct qcowfmt_error **errp)
{
	int ret = 0;

	part->len = end - start;
	if (part->len == 0)
		return 0;
	if (!is_zero)
		ret = qcf_extent_is_zero(image, start, part->len, &is_zero,
		                         errp);
	if (ret < 0 || is_zero)
		return ret;
	part->bytes = malloc(part->len);
	if (part->bytes == NULL)
		return qcf_fail_oom(errp);
	return qcf_read_padded(image, part->bytes, start, part->len, errp);
}

int qcf_cow_prepare(struct qcowfmt_image *image,
                    const struct qcf_cow_range *range, bool read_as_zeros,
                    struct qcf_cow *cow, struct qcowfmt_error **errp)
{
	int ret;

	*cow = (struct qcf_cow){ 0 };
	ret = prepare_part(image, range->span_start, range->start,
	                   read_as_zeros, &cow->head, errp);
	if (ret == 0)
		ret = prepare_part(image, range->end, range->span_end,
		                   read_as_zeros, &cow->tail, errp);
	if (ret < 0)
		qcf_cow_fini(cow);
	return qcf_wrap(errp, "copy-on-write", ret);
}

static int part_iov(const struct qcf_cow_part *part, struct iovec *out)
{
	if (part->bytes == NULL)
		return qcf_zero_iov(out, part->len);
	*out = (struct iovec){ part->bytes, part->len };
	return 1;
}

/* Whether a part has to be written at all. */
static bool is_needed(const struct qcf_cow_part *part, bool fresh)
{
	return part->len > 0 && (part->bytes != NULL || !fresh);
}

int qcf_cow_write(struct qcowfmt_storage *storage, const struct qcf_cow *cow,
                  const struct qcf_payload *p, uint64_t host_offset, bool fresh,
                  struct qcowfmt_error **errp)
{
	struct iovec small[16];
	QCF_AUTO_FREE struct iovec *large = NULL;
	struct iovec *all = small;
	uint64_t room = (uint64_t)p->iovcnt + QCF_ZERO_IOV(cow->head.len) +
	                QCF_ZERO_IOV(cow->tail.len);
	int count = 0;

	if (room > QCF_ARRAY_LEN(small)) {
		large = malloc(room * sizeof(*large));
		if (large == NULL)
			return qcf_fail_oom(errp);
		all = large;
	}
	if (is_needed(&cow->head, fresh)) {
		count = part_iov(&cow->head, all);
		host_offset -= cow->head.len;
	}
	count += qcf_iov_slice(p->iov, p->iovcnt, p->skip, p->len, all + count);
	if (is_needed(&cow->tail, fresh))
		count += part_iov(&cow->tail, all + count);
	return qcf_storage_pwritev(storage, all, count, host_offset, errp);
}
