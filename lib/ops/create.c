/* SPDX-License-Identifier: MIT */
/* create.c - making a new image of any format */
#include <errno.h>
#include <inttypes.h>

#include "create.h"
#include "create_options.h"
#include "create_qcow2.h"
#include "create_v1.h"
#include "preallocate.h"

static int check_format(const struct qcowfmt_create_options *o,
                        struct qcowfmt_error **errp)
{
	switch (o->format) {
	case QCOWFMT_FORMAT_PROBE:
	case QCOWFMT_FORMAT_QCOW2:
	case QCOWFMT_FORMAT_RAW:
	case QCOWFMT_FORMAT_QCOW:
		return 0;
	default:
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown image format %d", o->format);
	}
}

int qcf_create_check(const struct qcowfmt_create_options *o,
                     struct qcowfmt_error **errp)
{
	int ret = check_format(o, errp);

	if (ret == 0)
		ret = qcf_create_check_options(o, errp);
	if (ret == 0 && o->format != QCOWFMT_FORMAT_RAW &&
	    o->format != QCOWFMT_FORMAT_QCOW)
		ret = qcf_create_qcow2_check(o, errp);
	return ret;
}

/* A block device keeps its size and, unless it is to be filled, its content: it
 * only has to be large enough. */
static int create_raw(struct qcowfmt_storage *storage,
                      const struct qcowfmt_create_options *o,
                      struct qcowfmt_error **errp)
{
	uint64_t size = 0;
	int ret;

	if (storage->fixed_size) {
		ret = qcf_storage_get_size(storage, &size, errp);
		if (ret < 0)
			return ret;
		if (size < o->virtual_size)
			return qcf_fail(errp, ENOSPC, QCOWFMT_ERR_NO_SPACE,
			                "the device has %" PRIu64
			                " bytes, the image needs %" PRIu64,
			                size, o->virtual_size);
		if (o->preallocation == QCOWFMT_PREALLOCATION_OFF)
			return 0;
	}
	ret = qcf_preallocate_space(storage, o->virtual_size, 0,
	                            o->preallocation, errp);
	return ret < 0 ? ret : qcf_storage_flush(storage, errp);
}

int qcf_create(struct qcowfmt_storage *storage,
               const struct qcowfmt_create_options *o,
               struct qcowfmt_error **errp)
{
	int ret = qcf_create_check(o, errp);

	if (ret < 0)
		return ret;
	if (o->format == QCOWFMT_FORMAT_RAW)
		ret = create_raw(storage, o, errp);
	else if (o->format == QCOWFMT_FORMAT_QCOW)
		ret = qcf_create_v1(storage, o, errp);
	else
		ret = qcf_create_qcow2(storage, o, errp);
	return qcf_wrap(errp, storage->name, ret);
}
