/* SPDX-License-Identifier: MIT */
/* header_switch.c - changing fields of the header that belong together */
#include <string.h>

#include "header_switch.h"

/* After a failed write: whether the bytes are there all the same. */
static bool is_there(struct qcf_meta *meta, uint64_t at, const void *bytes,
                     size_t len, const struct qcowfmt_error *cause)
{
	uint8_t found[QCF_SECTOR_SIZE];

	if (qcf_storage_pread_exact(meta->storage, found, len, at, NULL) < 0) {
		qcf_poison_set(&meta->poison, cause);
		return false;
	}
	return memcmp(found, bytes, len) == 0;
}

int qcf_header_switch(struct qcf_meta *meta, uint64_t at, const void *bytes,
                      size_t len, bool *switched, struct qcowfmt_error **errp)
{
	struct qcowfmt_error *failure = NULL;
	int ret = qcf_storage_pwrite(meta->storage, bytes, len, at, &failure);

	*switched = ret == 0 || is_there(meta, at, bytes, len, failure);
	if (ret == 0)
		ret = qcf_meta_flush(meta, &failure);
	qcf_error_move(errp, failure);
	return qcf_wrap(errp, "updating the header", ret);
}
