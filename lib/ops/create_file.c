/* SPDX-License-Identifier: MIT */
/*
 * create_file.c - making a new image in a local file, and its data file
 *
 * Options are checked before any file is opened.  What did not exist before is
 * removed again if anything fails.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "create_file.h"
#include "reference.h"
#include "storage_file.h"

/* A file to be made. */
struct target {
	const char *path; /* NULL: there is nothing to make */
	bool existed;
	struct qcowfmt_storage *storage;
};

static struct target target_of(const char *path)
{
	return (struct target){
		.path = path,
		.existed = path != NULL && access(path, F_OK) == 0,
	};
}

static int target_open(struct target *t, struct qcowfmt_error **errp)
{
	return qcf_storage_file_open(t->path, NULL, QCOWFMT_FILE_CREATE,
	                             &t->storage, errp);
}

/* Close it; remove it if it is of no use and was made here. */
static void target_fini(struct target *t, bool keep)
{
	bool made = t->storage != NULL && !t->existed;

	qcowfmt_storage_free(t->storage);
	if (made && !keep)
		(void)unlink(t->path);
}

/* Emptying the one would empty the other. */
static int check_distinct(const char *image, const char *data,
                          struct qcowfmt_error **errp)
{
	struct stat a;
	struct stat b;

	if (image == NULL || data == NULL || stat(image, &a) < 0 ||
	    stat(data, &b) < 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "data file '%s' is the image itself", data);
}

/* Open both files; the second look is for a data file that only came into being
 * with the image. */
static int open_targets(struct target *image, struct target *data,
                        struct qcowfmt_error **errp)
{
	int ret = check_distinct(image->path, data->path, errp);

	if (ret == 0)
		ret = target_open(image, errp);
	if (ret < 0 || data->path == NULL)
		return ret;
	ret = check_distinct(image->path, data->path, errp);
	return ret < 0 ? ret : target_open(data, errp);
}

static int data_file_path(const struct qcowfmt_create_options *o,
                          const char **path, struct qcowfmt_error **errp)
{
	*path = NULL;
	if (o->data_filename == NULL || o->data_storage != NULL)
		return 0;
	return qcf_reference_data_file_path(o->data_filename, path, errp);
}

int qcf_create_file(const char *path,
                    const struct qcowfmt_create_options *options,
                    struct qcowfmt_error **errp)
{
	struct qcowfmt_create_options o = *options;
	const char *data_path = NULL;
	struct target image = target_of(path);
	struct target data;
	int ret = qcf_create_check(&o, errp);

	if (ret == 0)
		ret = data_file_path(&o, &data_path, errp);
	if (ret < 0)
		return ret;
	data = target_of(data_path);
	ret = open_targets(&image, &data, errp);
	if (ret == 0) {
		if (data.storage != NULL)
			o.data_storage = data.storage;
		ret = qcf_create(image.storage, &o, errp);
	}
	target_fini(&data, ret == 0);
	target_fini(&image, ret == 0);
	return ret;
}
