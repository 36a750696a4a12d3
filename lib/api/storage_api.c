/* SPDX-License-Identifier: MIT */
/* storage_api.c - exported functions on storage */
#include <errno.h>

#include "options.h"
#include "storage_file.h"
#include "storage_mem.h"
#include "storage_user.h"

int qcowfmt_storage_open_file(const char *path,
                              const struct qcowfmt_file_options *options,
                              struct qcowfmt_storage **storage,
                              struct qcowfmt_error **errp)
{
	struct qcowfmt_file_options o;
	int ret = qcf_options_copy(&o, sizeof(o), options,
	                           "qcowfmt_file_options", errp);

	return ret < 0 ? ret
	               : qcf_storage_file_open(path, NULL, o.flags, storage,
	                                       errp);
}

int qcowfmt_storage_from_fd(int fd, const char *name,
                            const struct qcowfmt_file_options *options,
                            struct qcowfmt_storage **storage,
                            struct qcowfmt_error **errp)
{
	struct qcowfmt_file_options o;
	int ret = qcf_options_copy(&o, sizeof(o), options,
	                           "qcowfmt_file_options", errp);

	return ret < 0 ? ret
	               : qcf_storage_file_from_fd(fd, name, o.flags, storage,
	                                          errp);
}

int qcowfmt_storage_new_memory(uint64_t max_size,
                               struct qcowfmt_storage **storage,
                               struct qcowfmt_error **errp)
{
	return qcf_storage_mem_new(max_size, storage, errp);
}

int qcowfmt_storage_new_custom(const struct qcowfmt_storage_ops *ops,
                               void *opaque, const char *name,
                               struct qcowfmt_storage **storage,
                               struct qcowfmt_error **errp)
{
	struct qcowfmt_storage_ops o;
	int ret = qcf_options_copy(&o, sizeof(o), ops, "qcowfmt_storage_ops",
	                           errp);

	return ret < 0 ? ret
	               : qcf_storage_user_new(&o, opaque, name, storage, errp);
}

int qcowfmt_storage_get_size(struct qcowfmt_storage *storage, uint64_t *size,
                             struct qcowfmt_error **errp)
{
	return qcf_storage_get_size(storage, size, errp);
}

int64_t qcowfmt_storage_pread(struct qcowfmt_storage *storage, void *buffer,
                              size_t len, uint64_t offset,
                              struct qcowfmt_error **errp)
{
	return qcf_storage_pread_padded(storage, buffer, len, offset, errp);
}
