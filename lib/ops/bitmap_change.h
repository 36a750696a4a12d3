/* SPDX-License-Identifier: MIT */
/* bitmap_change.h - actions on dirty bitmaps, all of them or none */
#ifndef QCF_BITMAP_CHANGE_H
#define QCF_BITMAP_CHANGE_H

#include "image.h"

/* As the exported functions; actions are structures of this library's version. */
int qcf_bitmap_change(const struct qcowfmt_bitmap_action *actions, size_t count,
                      const char *journal, struct qcowfmt_error **errp);
int qcf_bitmap_recover(const char *journal, struct qcowfmt_error **errp);

#endif
