/* SPDX-License-Identifier: MIT */
/* cut_file.h - giving back the end of an image file */
#ifndef QCF_CUT_FILE_H
#define QCF_CUT_FILE_H

#include "layer.h"

/*
 * Cut the file behind the last host cluster in use.  The caller is alone
 * (exclusive.h); nothing is dirty or in quarantine.  Not for version 1.
 */
int qcf_cut_file(struct qcf_layer *layer, struct qcowfmt_error **errp);

#endif
