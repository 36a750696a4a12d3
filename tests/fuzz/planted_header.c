/* SPDX-License-Identifier: MIT */
/* planted_header.c - a fault to be found: header fields are not checked */
#include "header_check.h"

int __wrap_qcf_header_check_fields(const struct qcf_header *h,
                                   struct qcowfmt_error **errp);

int __wrap_qcf_header_check_fields(const struct qcf_header *h,
                                   struct qcowfmt_error **errp)
{
	(void)h;
	(void)errp;
	return 0;
}
