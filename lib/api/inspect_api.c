/* SPDX-License-Identifier: MIT */
/* inspect_api.c - looking at images that need not be fit to be opened */
#include <errno.h>

#include "dehydrate.h"
#include "inspect.h"
#include "options.h"

int qcowfmt_inspect(struct qcowfmt_storage *storage,
                    qcowfmt_finding_callback callback, void *opaque,
                    struct qcowfmt_inspection *inspection,
                    struct qcowfmt_error **errp)
{
	struct qcowfmt_inspection ours = { 0 };
	int ret = qcf_inspect(storage, callback, opaque, &ours, errp);

	return ret < 0 ? ret
	               : qcf_result_copy(inspection, &ours, sizeof(ours),
	                                 "qcowfmt_inspection", errp);
}

int qcowfmt_dehydrate(struct qcowfmt_storage *source,
                      struct qcowfmt_storage *target, uint32_t flags,
                      struct qcowfmt_error **errp)
{
	if ((flags & ~QCOWFMT_DEHYDRATE_NO_NAMES) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown dehydrate flags 0x%x",
		                flags & ~QCOWFMT_DEHYDRATE_NO_NAMES);
	return qcf_dehydrate(source, target, flags, errp);
}
