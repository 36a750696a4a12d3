/* SPDX-License-Identifier: MIT */
/* reclaim_leaks.h - free clusters that are counted and that nothing uses */
#ifndef QCF_RECLAIM_LEAKS_H
#define QCF_RECLAIM_LEAKS_H

#include "check_image.h"

/*
 * Count all references, and set the counts of clusters without any to 0.
 * Counts that are too high for clusters that are referenced stay: correcting
 * those may take flags that cannot change at the same time.  With strict
 * corruption found on the way is an error.  Nothing is dirty, before and after;
 * no request is running.
 */
int qcf_reclaim_leaks(struct qcf_meta *meta, bool strict,
                      struct qcowfmt_error **errp);

#endif
