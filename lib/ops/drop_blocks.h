/* SPDX-License-Identifier: MIT */
/* drop_blocks.h - refcount blocks that nobody needs */
#ifndef QCF_DROP_BLOCKS_H
#define QCF_DROP_BLOCKS_H

#include "meta.h"

/* Remove refcount blocks that count nothing but themselves.  The caller is alone;
 * nothing is dirty, also afterwards. */
int qcf_drop_blocks(struct qcf_meta *meta, struct qcowfmt_error **errp);

#endif
