/* SPDX-License-Identifier: MIT */
/* header_switch.c - changing fields of the header that belong together */
#include <string.h>

#include "header_switch.h"

/*
 * After a failed write: which of the bytes are there.  If neither, or if nobody
 * can tell, what both lead to has to stay as it is.
 */
static bool is_there(struct qcf_meta *meta, uint64_t at, const void *new_bytes,
                     const void *old_bytes, size_t len,
                     const struct qcowfmt_error *cause)
{
	uint8_t found[QCF_SECTOR_SIZE];

	if (qcf_storage_pread_padded(meta->storage, found, len, at, NULL) >=
	    0) {
		if (memcmp(found, new_bytes, len) == 0)
			return true;
		if (memcmp(found, old_bytes, len) == 0)
			return false;
	}
	qcf_poison_set(&meta->poison, cause);
	return false;
}

int qcf_header_switch(struct qcf_meta *meta, uint64_t at, const void *bytes,
                      size_t len, bool *switched, struct qcowfmt_error **errp)
{
	struct qcowfmt_error *failure = NULL;
	uint8_t old[QCF_SECTOR_SIZE];
	int64_t got =
		qcf_storage_pread_padded(meta->storage, old, len, at, errp);
	int ret = got < 0 ? (int)got : 0;

	*switched = false;
	if (ret < 0)
		return qcf_wrap(errp, "reading the header", ret);
	ret = qcf_storage_pwrite(meta->storage, bytes, len, at, &failure);
	*switched = ret == 0 || is_there(meta, at, bytes, old, len, failure);
	if (ret == 0)
		ret = qcf_meta_flush(meta, &failure);
	qcf_error_move(errp, failure);
	return qcf_wrap(errp, "updating the header", ret);
}

int qcf_header_replace(struct qcf_meta *meta, uint64_t at, const void *bytes,
                       size_t len, struct qcowfmt_error **errp)
{
	struct qcowfmt_error *failure = NULL;
	bool switched = false;
	int ret = qcf_header_switch(meta, at, bytes, len, &switched, &failure);

	if (ret < 0 && switched)
		qcf_poison_set(&meta->poison, failure);
	qcf_error_move(errp, failure);
	return ret;
}
