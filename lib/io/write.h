/* SPDX-License-Identifier: MIT */
/* write.h - guest writes */
#ifndef QCF_WRITE_H
#define QCF_WRITE_H

#include "image.h"
#include "map.h"
#include "write_plan.h"

/* Clusters that one step can change: a step ends with its L2 slice, which has
 * no more entries than this. */
#define QCF_STEP_CLUSTERS (1u << (QCF_SLICE_BITS - 3))

/*
 * Write len bytes of a vector to a guest range inside the virtual disk.
 */
int qcf_write(struct qcf_request *request, const struct iovec *iov, int iovcnt,
              uint64_t guest_offset, uint64_t len, struct qcowfmt_error **errp);

/*
 * A batch for the host clusters that count entries from the first of a slice on
 * refer to; NULL in *batch if they refer to none.
 */
int qcf_write_freed_by_entries(const struct qcf_geometry *g,
                               const struct qcf_slice *slice, uint64_t count,
                               struct qcf_freed_batch **batch,
                               struct qcowfmt_error **errp);

/*
 * No space: clusters may be on their way out of quarantine.  Returns true if a
 * commit has freed any, so that trying again makes sense.
 */
bool qcf_write_make_space(struct qcf_request *request);

/* Write zeros as data. */
int qcf_write_zero_data(struct qcf_request *request, uint64_t guest_offset,
                        uint64_t len, struct qcowfmt_error **errp);

#endif
