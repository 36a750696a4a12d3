/* SPDX-License-Identifier: MIT */
/* snapshot_list.h - copies of snapshot tables for callers */
#ifndef QCF_SNAPSHOT_LIST_H
#define QCF_SNAPSHOT_LIST_H

#include "image.h"
#include "snapshot_table.h"

struct qcowfmt_snapshot_list {
	struct qcf_snapshot_table table;
};

/* As qcowfmt_snapshot_list(). */
int qcf_snapshot_list(struct qcowfmt_image *image, uint32_t depth,
                      struct qcowfmt_snapshot_list **list,
                      struct qcowfmt_error **errp);

/* As qcowfmt_snapshot_list_get(); the index is below the count. */
void qcf_snapshot_list_get(const struct qcowfmt_snapshot_list *list,
                           uint32_t index, struct qcowfmt_snapshot *snapshot);

#endif
