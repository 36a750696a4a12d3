/* SPDX-License-Identifier: MIT */
/* tool_format_info.h - "Format specific information" of an image */
#ifndef QCF_TOOL_FORMAT_INFO_H
#define QCF_TOOL_FORMAT_INFO_H

#include "tool_json.h"
#include "tool_util.h"

/* Prints nothing for formats that have none (raw). */
void qcf_print_format_info(const struct qcowfmt_info *info);
void qcf_json_format_info(struct qcf_json *json,
                          const struct qcowfmt_info *info);

#endif
