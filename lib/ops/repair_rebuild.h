/* SPDX-License-Identifier: MIT */
/* repair_rebuild.h - a refcount table and blocks made anew */
#ifndef QCF_REPAIR_REBUILD_H
#define QCF_REPAIR_REBUILD_H

#include "check_image.h"
#include "meta.h"

/*
 * Write blocks with the counts found, and a table of them, to free clusters, and
 * switch the header to it in one write: until then the image is as it was.  The
 * old table and blocks are free afterwards.  checker->counts then says what is
 * stored.  With meta NULL only the plan is made.
 */
int qcf_repair_rebuild(struct qcf_checker *checker, struct qcf_meta *meta,
                       struct qcowfmt_error **errp);

#endif
