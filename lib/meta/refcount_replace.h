/* SPDX-License-Identifier: MIT */
/* refcount_replace.h - another refcount table in place of the one there is */
#ifndef QCF_REFCOUNT_REPLACE_H
#define QCF_REFCOUNT_REPLACE_H

#include "meta.h"

/*
 * Make the header point to a new refcount table, which is stable, as are its
 * blocks; *table has its entries and is taken over.  The new counts say
 * everything, also that the old table and blocks are free.  The caller is alone
 * and nothing is dirty.  If storage may have either header afterwards, the image
 * is poisoned.
 */
int qcf_refcount_replace(struct qcf_meta *meta, uint64_t **table,
                         uint64_t entry_count, uint64_t host_offset,
                         struct qcowfmt_error **errp);

#endif
