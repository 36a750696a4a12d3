/* SPDX-License-Identifier: MIT */
/* tool_format_info.h - "Format specific information" of an image */
#ifndef QCF_TOOL_FORMAT_INFO_H
#define QCF_TOOL_FORMAT_INFO_H

#include "tool_json.h"
#include "tool_util.h"

/* What is known about one image. */
struct qcf_image_facts {
	struct qcowfmt_info info;
	struct qcowfmt_encryption_info encryption;
};

/* Ask the top image of a chain.  The result is that of the library. */
int qcf_get_facts(struct qcowfmt_image *image, struct qcf_image_facts *facts,
                  struct qcowfmt_error **errp);

/* Prints nothing for formats that have none (raw, qcow). */
void qcf_print_format_info(const struct qcf_image_facts *facts);
void qcf_json_format_info(struct qcf_json *json,
                          const struct qcf_image_facts *facts);

#endif
