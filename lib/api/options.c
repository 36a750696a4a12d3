/* SPDX-License-Identifier: MIT */
/* options.c - reading option structures of other versions of the library */
#include <errno.h>
#include <string.h>

#include "options.h"

static int size_of(const void *theirs, const char *name, size_t *size,
                   struct qcowfmt_error **errp)
{
	memcpy(size, theirs, sizeof(*size));
	if (*size >= sizeof(*size))
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "struct_size of struct %s is %zu: set it to sizeof the "
	                "structure",
	                name, *size);
}

int qcf_options_copy(void *ours, size_t known, const void *theirs,
                     const char *name, struct qcowfmt_error **errp)
{
	size_t size;
	int ret;

	memset(ours, 0, known);
	if (theirs == NULL)
		return 0;
	ret = size_of(theirs, name, &size, errp);
	if (ret < 0)
		return ret;
	memcpy(ours, theirs, QCF_MIN(size, known));
	for (size_t i = known; i < size; i++) {
		if (((const unsigned char *)theirs)[i] != 0)
			return qcf_fail(errp, E2BIG, QCOWFMT_ERR_USAGE,
			                "struct %s has members that this "
			                "version of the library does not know",
			                name);
	}
	return 0;
}

int qcf_result_copy(void *theirs, const void *ours, size_t known,
                    const char *name, struct qcowfmt_error **errp)
{
	size_t size;
	int ret = size_of(theirs, name, &size, errp);

	if (ret < 0)
		return ret;
	memset((char *)theirs + sizeof(size), 0, size - sizeof(size));
	memcpy((char *)theirs + sizeof(size), (const char *)ours + sizeof(size),
	       QCF_MIN(size, known) - sizeof(size));
	return 0;
}
