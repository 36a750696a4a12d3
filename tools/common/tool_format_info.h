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
	struct qcowfmt_bitmap_list *bitmaps; /* owned; NULL if they cannot be
					      * read */
};

void qcf_free_facts(struct qcf_image_facts *facts);

/* Ask the top image of a chain.  The result is that of the library; the caller ends
 * with qcf_free_facts() in any case. */
int qcf_get_facts(struct qcowfmt_image *image, struct qcf_image_facts *facts,
                  struct qcowfmt_error **errp);

/* Prints nothing for formats that have none (raw, qcow). */
void qcf_print_format_info(const struct qcf_image_facts *facts);
void qcf_json_format_info(struct qcf_json *json,
                          const struct qcf_image_facts *facts);

#endif
