/* SPDX-License-Identifier: MIT */
/*
 * header_rewrite.h - replacing the header, its extensions and the backing name
 *
 * Fields that change alone have functions of their own (image_flags.h,
 * writeback.c); this is for changes that need space or several fields at once.
 */
#ifndef QCF_HEADER_REWRITE_H
#define QCF_HEADER_REWRITE_H

#include "meta.h"

/*
 * Make the header on storage what *h says, in one atomic step, and stable; then
 * meta->header takes over the content of *h, and *h gets the old one.  The caller
 * ends *h with qcf_header_fini() in any case.
 *
 * *h is a changed copy of meta->header (qcf_header_copy()).  The dirty and corrupt
 * bits are those of meta->incompatible, whatever *h says.  Everything that *h
 * points to is stable already.  The caller is alone (exclusive.h, opening or
 * closing); nothing is dirty.
 *
 * -ENOSPC, with nothing written, if it does not fit into the first cluster.  After
 * any other failure the old header stands, or, if nobody can tell or it does not,
 * the image is poisoned.
 */
int qcf_header_rewrite(struct qcf_meta *meta, struct qcf_header *h,
                       struct qcowfmt_error **errp);

#endif
