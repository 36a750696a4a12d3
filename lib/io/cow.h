/* SPDX-License-Identifier: MIT */
/*
 * cow.h - the rest of a cluster that is written in part
 *
 * A write to new clusters covers [start, end) of them; what the guest saw in
 * front of it and behind it, up to the bounds of the span that has to be written
 * (write_plan.h), is the head and the tail.  Head, data and tail go to storage
 * in one write.
 */
#ifndef QCF_COW_H
#define QCF_COW_H

#include "image.h"

struct qcf_cow_part {
	uint64_t len;
	uint8_t *bytes; /* owned; NULL: zeros */
};

struct qcf_cow {
	struct qcf_cow_part head;
	struct qcf_cow_part tail;
};

void qcf_cow_fini(struct qcf_cow *cow);

/* A guest range [start, end) to be written, inside [span_start, span_end). */
struct qcf_cow_range {
	uint64_t span_start;
	uint64_t start;
	uint64_t end;
	uint64_t span_end;
};

/*
 * Find head and tail of a range, reading them through the chain unless they are
 * known to be zeros (or read_as_zeros says so).
 */
int qcf_cow_prepare(struct qcowfmt_image *image,
                    const struct qcf_cow_range *range, bool read_as_zeros,
                    struct qcf_cow *cow, struct qcowfmt_error **errp);

/*
 * Write head, the data of a payload, and tail, so that data begins at
 * host_offset.  With fresh, zeros need not be written.
 */
int qcf_cow_write(struct qcowfmt_storage *storage, const struct qcf_cow *cow,
                  const struct qcf_payload *payload, uint64_t host_offset,
                  bool fresh, struct qcowfmt_error **errp);

/* Fill a vector with references to a page of zeros; returns how many elements
 * of out, which has room for QCF_ZERO_IOV(len), were used. */
#define QCF_ZERO_PAGE     (UINT64_C(64) << 10)
#define QCF_ZERO_IOV(len) ((len) / QCF_ZERO_PAGE + 1)
int qcf_zero_iov(struct iovec *out, uint64_t len);

#endif
