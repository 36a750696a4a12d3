/* SPDX-License-Identifier: MIT */
/* repair.h - make stored counts, COPIED flags and tables true */
#ifndef QCF_REPAIR_H
#define QCF_REPAIR_H

#include "check_image.h"
#include "meta.h"

/*
 * Repair what a checker that has looked was told to (fix_leaks, fix_all), as far
 * as that can be done without touching what the guest sees; tells the callback and
 * moves what it repairs from the found to the repaired members of the result.
 * *rewritten says whether tables were written anew: their old places are leaked
 * then.  With meta NULL nothing is changed: that is the plan.
 *
 * -EIO and CORRUPT if only leaks were to be repaired, and counts are so wrong that
 * freeing would not be safe.
 */
int qcf_repair(struct qcf_checker *checker, struct qcf_meta *meta,
               bool *rewritten, struct qcowfmt_error **errp);

#endif
