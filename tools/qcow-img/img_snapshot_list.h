/* SPDX-License-Identifier: MIT */
/* img_snapshot_list.h - the snapshots of an image, as a table and in JSON */
#ifndef QCF_IMG_SNAPSHOT_LIST_H
#define QCF_IMG_SNAPSHOT_LIST_H

#include "tool_json.h"
#include "tool_util.h"

/*
 * Print the snapshots of an image opened, or nothing if it has none.  Returns a
 * negative errno value if they cannot be read.
 */
int qcf_print_snapshots(struct qcowfmt_image *image,
                        struct qcowfmt_error **error);

/* The same as member "snapshots" of the JSON object that is open. */
int qcf_json_snapshots(struct qcf_json *json, struct qcowfmt_image *image,
                       struct qcowfmt_error **error);

#endif
