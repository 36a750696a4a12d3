/* SPDX-License-Identifier: MIT */
/* image_api.c - exported functions on whole images */
#include <errno.h>
#include <unistd.h>

#include "check_image.h"
#include "create.h"
#include "describe.h"
#include "open.h"
#include "options.h"
#include "storage_file.h"

int qcowfmt_open(struct qcowfmt_storage *storage,
                 const struct qcowfmt_open_options *options,
                 struct qcowfmt_image **image, struct qcowfmt_error **errp)
{
	struct qcowfmt_open_options o;
	int ret = qcf_options_copy(&o, sizeof(o), options,
	                           "qcowfmt_open_options", errp);

	return ret < 0 ? ret : qcf_open(storage, &o, image, errp);
}

static uint32_t file_flags(uint32_t open_flags)
{
	uint32_t flags = 0;

	if ((open_flags & QCOWFMT_OPEN_READ_WRITE) == 0)
		flags |= QCOWFMT_FILE_READ_ONLY;
	if ((open_flags & QCOWFMT_OPEN_NO_LOCK) != 0)
		flags |= QCOWFMT_FILE_NO_LOCK;
	if ((open_flags & QCOWFMT_OPEN_DIRECT) != 0)
		flags |= QCOWFMT_FILE_DIRECT;
	return flags;
}

int qcowfmt_open_file(const char *path,
                      const struct qcowfmt_open_options *options,
                      struct qcowfmt_image **image, struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_open_options o;
	int ret = qcf_options_copy(&o, sizeof(o), options,
	                           "qcowfmt_open_options", errp);

	if (ret == 0)
		ret = qcf_storage_file_open(path, NULL, file_flags(o.flags),
		                            &storage, errp);
	if (ret < 0)
		return ret;
	ret = qcf_open(storage, &o, image, errp);
	if (ret < 0)
		qcowfmt_storage_free(storage);
	return ret;
}

int qcowfmt_close(struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	return image == NULL ? 0 : qcf_image_close(image, errp);
}

int qcowfmt_create(struct qcowfmt_storage *storage,
                   const struct qcowfmt_create_options *options,
                   struct qcowfmt_error **errp)
{
	struct qcowfmt_create_options o;
	int ret = qcf_options_copy(&o, sizeof(o), options,
	                           "qcowfmt_create_options", errp);

	return ret < 0 ? ret : qcf_create(storage, &o, errp);
}

int qcowfmt_create_file(const char *path,
                        const struct qcowfmt_create_options *options,
                        struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_create_options o;
	bool existed = access(path, F_OK) == 0;
	int ret = qcf_options_copy(&o, sizeof(o), options,
	                           "qcowfmt_create_options", errp);

	if (ret == 0)
		ret = qcf_create_check(&o, errp);
	if (ret == 0)
		ret = qcf_storage_file_open(path, NULL, QCOWFMT_FILE_CREATE,
		                            &storage, errp);
	if (ret < 0)
		return ret;
	ret = qcf_create(storage, &o, errp);
	qcowfmt_storage_free(storage);
	if (ret < 0 && !existed)
		(void)unlink(path);
	return ret;
}

int qcowfmt_get_info(struct qcowfmt_image *image, uint32_t depth,
                     struct qcowfmt_info *info, struct qcowfmt_error **errp)
{
	struct qcowfmt_info ours = { 0 };
	int ret = qcf_describe(image, depth, &ours, errp);

	return ret < 0 ? ret
	               : qcf_result_copy(info, &ours, sizeof(ours),
	                                 "qcowfmt_info", errp);
}

uint64_t qcowfmt_get_size(const struct qcowfmt_image *image)
{
	return qcf_image_top(image)->virtual_size;
}

int qcowfmt_check(struct qcowfmt_image *image, uint32_t flags,
                  qcowfmt_finding_callback callback, void *opaque,
                  struct qcowfmt_check_result *result,
                  struct qcowfmt_error **errp)
{
	const uint32_t known =
		QCOWFMT_CHECK_REPAIR_LEAKS | QCOWFMT_CHECK_REPAIR_ALL;
	struct qcowfmt_check_result ours = { 0 };
	int ret;

	if ((flags & ~known) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown check flags 0x%x", flags & ~known);
	ret = qcf_check(image, flags, callback, opaque, &ours, errp);
	return ret < 0 ? ret
	               : qcf_result_copy(result, &ours, sizeof(ours),
	                                 "qcowfmt_check_result", errp);
}
