/* SPDX-License-Identifier: MIT */
/* host_data.c - guest data in the file that holds it */
#include <errno.h>

#include "checked.h"
#include "encrypted.h"
#include "host_data.h"

/* Vectors of up to this many elements are cut without allocating. */
#define SMALL_IOV 16

static int read_plain(struct qcf_layer *layer, const struct qcf_payload *p,
                      uint64_t host_offset, uint64_t len,
                      struct qcowfmt_error **errp)
{
	struct iovec small[SMALL_IOV];
	QCF_AUTO_FREE struct iovec *large = NULL;
	struct iovec *part = small;
	int count;

	if (p->iovcnt > SMALL_IOV) {
		large = malloc((size_t)p->iovcnt * sizeof(*large));
		if (large == NULL)
			return qcf_fail_oom(errp);
		part = large;
	}
	count = qcf_iov_slice(p->iov, p->iovcnt, p->skip, len, part);
	return qcf_storage_preadv(layer->data, part, count, host_offset, true,
	                          errp);
}

/* The data file may be unopened, and then nothing of it can be had. */
static int check_data(const struct qcf_layer *layer,
                      struct qcowfmt_error **errp)
{
	if (layer->data != NULL)
		return 0;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_REFUSED,
	                "%s: the data file, which holds the range, was not "
	                "opened",
	                layer->storage->name);
}

int qcf_host_read(struct qcf_layer *layer, const struct qcf_payload *p,
                  uint64_t host_offset, uint64_t len,
                  struct qcowfmt_error **errp)
{
	int ret = check_data(layer, errp);

	if (ret < 0)
		return ret;
	return qcf_layer_crypto(layer) != NULL
	               ? qcf_encrypted_read(layer, p, host_offset, len, errp)
	               : read_plain(layer, p, host_offset, len, errp);
}

int qcf_host_write(struct qcf_layer *layer, const struct qcf_cow *cow,
                   const struct qcf_payload *p, uint64_t host_offset,
                   bool fresh, struct qcowfmt_error **errp)
{
	return qcf_layer_crypto(layer) != NULL
	               ? qcf_encrypted_write(layer, cow, p, host_offset, errp)
	               : qcf_cow_write(layer->data, cow, p, host_offset, fresh,
	                               errp);
}

int qcf_host_find_hole(struct qcf_layer *layer, uint64_t host_offset,
                       uint64_t *len, bool *is_hole,
                       struct qcowfmt_error **errp)
{
	uint64_t sector = qcf_align_down(host_offset, QCF_SECTOR_SIZE);
	uint64_t run = *len;
	int kind =
		qcf_storage_extent(layer->data, host_offset, run, &run, errp);
	uint64_t end = host_offset + run;

	*is_hole = false;
	if (kind < 0)
		return kind;
	if (kind == QCOWFMT_STORAGE_HOLE && run < *len)
		end = qcf_align_down(end, QCF_SECTOR_SIZE);
	if (kind != QCOWFMT_STORAGE_HOLE || end <= host_offset)
		end = qcf_align_up(QCF_MAX(end, sector + 1), QCF_SECTOR_SIZE);
	else
		*is_hole = true;
	*len = QCF_MIN(*len, end - host_offset);
	return 0;
}
