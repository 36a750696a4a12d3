/* SPDX-License-Identifier: MIT */
/* img_limits.h - what requests on an image have to keep to */
#ifndef QCF_IMG_LIMITS_H
#define QCF_IMG_LIMITS_H

#include "tool_json.h"
#include "tool_util.h"

/* Any length and alignment can be read and written: these say what is best. */
void qcf_print_limits(const struct qcowfmt_info *info);
void qcf_json_limits(struct qcf_json *json, const struct qcowfmt_info *info);

#endif
