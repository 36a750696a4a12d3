/* SPDX-License-Identifier: MIT */
/* crypto_absent.c - stands in while reserving space is being written */
#include <errno.h>

#include "storage.h"

__attribute__((weak)) int qcf_storage_allocate(struct qcowfmt_storage *s,
                                               uint64_t offset, uint64_t len,
                                               struct qcowfmt_error **errp)
{
	(void)s, (void)offset, (void)len;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED, "absent");
}
