/* SPDX-License-Identifier: MIT */
/* image_api.c - exported functions on whole images */
#include <errno.h>

#include "amend.h"
#include "check_image.h"
#include "compact.h"
#include "create_file.h"
#include "describe.h"
#include "measure.h"
#include "open.h"
#include "options.h"
#include "resize.h"
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

/* A caller's options as this library knows them. */
struct create_options {
	struct qcowfmt_create_options o;
	struct qcowfmt_encryption_options encryption;
};

static int copy_create_options(struct create_options *ours,
                               const struct qcowfmt_create_options *theirs,
                               struct qcowfmt_error **errp)
{
	int ret = qcf_options_copy(&ours->o, sizeof(ours->o), theirs,
	                           "qcowfmt_create_options", errp);

	if (ret < 0 || ours->o.encryption == NULL)
		return ret;
	ret = qcf_options_copy(&ours->encryption, sizeof(ours->encryption),
	                       ours->o.encryption, "qcowfmt_encryption_options",
	                       errp);
	ours->o.encryption = &ours->encryption;
	return ret;
}

int qcowfmt_create(struct qcowfmt_storage *storage,
                   const struct qcowfmt_create_options *options,
                   struct qcowfmt_error **errp)
{
	struct create_options ours;
	int ret = copy_create_options(&ours, options, errp);

	return ret < 0 ? ret : qcf_create(storage, &ours.o, errp);
}

int qcowfmt_create_file(const char *path,
                        const struct qcowfmt_create_options *options,
                        struct qcowfmt_error **errp)
{
	struct create_options ours;
	int ret = copy_create_options(&ours, options, errp);

	return ret < 0 ? ret : qcf_create_file(path, &ours.o, errp);
}

int qcowfmt_measure(struct qcowfmt_image *source,
                    const struct qcowfmt_create_options *options,
                    struct qcowfmt_measure_result *result,
                    struct qcowfmt_error **errp)
{
	struct qcowfmt_measure_result measured = { 0 };
	struct create_options ours;
	int ret = copy_create_options(&ours, options, errp);

	if (ret == 0)
		ret = qcf_measure(source, &ours.o, &measured, errp);
	return ret < 0 ? ret
	               : qcf_result_copy(result, &measured, sizeof(measured),
	                                 "qcowfmt_measure_result", errp);
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

int qcowfmt_resize(struct qcowfmt_image *image, uint64_t virtual_size,
                   const struct qcowfmt_resize_options *options,
                   struct qcowfmt_error **errp)
{
	struct qcowfmt_resize_options ours;
	int ret = qcf_options_copy(&ours, sizeof(ours), options,
	                           "qcowfmt_resize_options", errp);

	return ret < 0 ? ret : qcf_resize(image, virtual_size, &ours, errp);
}

int qcowfmt_amend(struct qcowfmt_image *image,
                  const struct qcowfmt_amend_options *options,
                  struct qcowfmt_error **errp)
{
	struct qcowfmt_amend_options ours;
	int ret = qcf_options_copy(&ours, sizeof(ours), options,
	                           "qcowfmt_amend_options", errp);

	return ret < 0 ? ret : qcf_amend(image, &ours, errp);
}

int qcowfmt_compact(struct qcowfmt_image *image,
                    const struct qcowfmt_compact_options *options,
                    struct qcowfmt_compact_result *result,
                    struct qcowfmt_error **errp)
{
	struct qcowfmt_compact_options ours;
	struct qcowfmt_compact_result found = { 0 };
	int ret = qcf_options_copy(&ours, sizeof(ours), options,
	                           "qcowfmt_compact_options", errp);

	if (ret == 0)
		ret = qcf_compact(image, &ours, &found, errp);
	if (ret < 0 || result == NULL)
		return ret;
	return qcf_result_copy(result, &found, sizeof(found),
	                       "qcowfmt_compact_result", errp);
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
	const uint32_t known = QCOWFMT_CHECK_REPAIR_LEAKS |
	                       QCOWFMT_CHECK_REPAIR_ALL | QCOWFMT_CHECK_PLAN;
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
