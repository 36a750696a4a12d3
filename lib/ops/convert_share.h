/* SPDX-License-Identifier: MIT */
/*
 * convert_share.h - letting storage copy data itself
 *
 * A file system may share the blocks of both files, or at least copy without a
 * detour through memory.
 */
#ifndef QCF_CONVERT_SHARE_H
#define QCF_CONVERT_SHARE_H

#include "convert_target.h"

/*
 * Copy a piece that was not read.  What storage cannot copy is read and written
 * here; once it turns out that it can copy nothing, target->cannot_share is set.
 */
int qcf_share_piece(struct qcf_target *target, struct qcf_slot *slot,
                    struct qcowfmt_error **errp);

#endif
