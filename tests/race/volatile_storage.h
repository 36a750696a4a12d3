/* SPDX-License-Identifier: MIT */
/*
 * volatile_storage.h - memory that knows which bytes a flush has made stable
 *
 * An application-supplied storage with two copies of its content: the one that
 * reads and writes go to, and the one that would be left after a power cut.  A
 * flush brings the second up to date with the first.
 */
#ifndef QCF_VOLATILE_STORAGE_H
#define QCF_VOLATILE_STORAGE_H

#include <stdint.h>

#include <qcowfmt.h>

struct qcf_volatile;

/* An empty one that can hold up to max_size bytes. */
struct qcf_volatile *qcf_volatile_new(uint64_t max_size);
void qcf_volatile_free(struct qcf_volatile *v);

/* A storage on it; the volatile memory must outlive the storage. */
int qcf_volatile_storage(struct qcf_volatile *v,
                         struct qcowfmt_storage **storage,
                         struct qcowfmt_error **errp);

/* A read-only storage with a copy of its own of what is stable now. */
int qcf_volatile_after_power_cut(struct qcf_volatile *v,
                                 struct qcowfmt_storage **storage,
                                 struct qcowfmt_error **errp);

/* How many flushes have reached it. */
uint64_t qcf_volatile_flushes(struct qcf_volatile *v);

#endif
