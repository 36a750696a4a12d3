/* SPDX-License-Identifier: MIT */
/*
 * header_switch.h - changing fields of the header that belong together (CS-6)
 *
 * Everything up to byte 104 of the header lies in one sector, so fields that
 * follow each other change in one write that is never torn.
 */
#ifndef QCF_HEADER_SWITCH_H
#define QCF_HEADER_SWITCH_H

#include "meta.h"

/*
 * Write len bytes of the header at an offset, which end in its first sector, and
 * make them stable.  What they point to is stable already.  *switched says
 * whether storage has them, also after a failure; if that cannot be found out,
 * the image is poisoned and *switched is false.
 */
int qcf_header_switch(struct qcf_meta *meta, uint64_t at, const void *bytes,
                      size_t len, bool *switched, struct qcowfmt_error **errp);

/* The same where after a failure the old bytes stand or the image is poisoned. */
int qcf_header_replace(struct qcf_meta *meta, uint64_t at, const void *bytes,
                       size_t len, struct qcowfmt_error **errp);

#endif
