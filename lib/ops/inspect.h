/* SPDX-License-Identifier: MIT */
/* inspect.h - look at an image that may not be fit to be opened */
#ifndef QCF_INSPECT_H
#define QCF_INSPECT_H

#include "header.h"
#include "storage.h"

/* As qcowfmt_inspect(); inspection members are all set. */
int qcf_inspect(struct qcowfmt_storage *storage,
                qcowfmt_finding_callback callback, void *opaque,
                struct qcowfmt_inspection *inspection,
                struct qcowfmt_error **errp);

/*
 * Read and decode the header of whatever is in a storage.  *failure receives why
 * it could not be decoded, and *decoded is false then; the return value is about
 * reading.  *h needs qcf_header_fini() if it was decoded.
 */
int qcf_inspect_header(struct qcowfmt_storage *storage, struct qcf_header *h,
                       bool *decoded, struct qcowfmt_error **failure,
                       struct qcowfmt_error **errp);

/* Features whose meaning is known; with any other the tables may be anything. */
uint64_t qcf_inspect_unknown_features(const struct qcf_header *h);

#endif
