/* SPDX-License-Identifier: MIT */
/* img_convert_target.c - the image that "convert" writes */
#include "img_convert_target.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "img_create_file.h"
#include "tool_error.h"

/*
 * Compressed clusters have no place before they are written.  What can be had is
 * that there will be enough space for all of them.
 */
static bool is_reserving(const struct img_create_values *values)
{
	const char *mode = qcf_create_text(values, "preallocation");

	return values->format == QCOWFMT_FORMAT_QCOW2 && mode != NULL &&
	       (strcmp(mode, "falloc") == 0 || strcmp(mode, "full") == 0);
}

/* What cannot be had together with compression. */
static char *check_compression(const struct img_create_values *values)
{
	const struct img_create_value *old =
		qcf_create_value(values, "encryption");
	const char *mode = qcf_create_text(values, "preallocation");

	if (values->format == QCOWFMT_FORMAT_RAW)
		return qcf_tool_printf("Compression not supported for this "
		                       "file format");
	if ((old != NULL && old->number != 0) ||
	    qcf_create_text(values, "encrypt.format") != NULL)
		return qcf_tool_printf("Compression and encryption not "
		                       "supported at the same time");
	if (mode != NULL && strcmp(mode, "off") != 0 && !is_reserving(values))
		return qcf_tool_printf("Compression and preallocation not "
		                       "supported at the same time");
	return NULL;
}

/* -b and -F are options of the target, too. */
static char *add_backing(struct img_convert_request *r,
                         struct img_create_values *values)
{
	if (r->backing != NULL &&
	    !qcf_create_values_set(values, "backing_file", r->backing))
		return qcf_tool_printf("Backing file not supported for file "
		                       "format '%s'",
		                       r->target_format);
	if (r->backing_format != NULL &&
	    !qcf_create_values_set(values, "backing_fmt", r->backing_format))
		return qcf_tool_printf("Backing file format not supported for "
		                       "file format '%s'",
		                       r->target_format);
	r->has_backing = qcf_create_text(values, "backing_file") != NULL;
	if (r->has_backing && !r->no_create &&
	    qcf_create_text(values, "backing_fmt") == NULL)
		return qcf_tool_printf("Use of backing file requires explicit "
		                       "backing format");
	return NULL;
}

char *qcf_target_values(struct img_convert_request *r,
                        struct img_source *source,
                        struct img_create_values *values)
{
	const struct img_create_value *size;
	char *reason = qcf_create_values_init(values, r->target_format);

	if (reason == NULL)
		reason = qcf_create_values_parse(values, &r->list);
	if (reason == NULL)
		reason = add_backing(r, values);
	if (reason == NULL && r->compress)
		reason = check_compression(values);
	if (reason != NULL)
		return reason;
	size = qcf_create_value(values, "size");
	/* Somebody has to know how long it will be, or nobody does. */
	if (size != NULL && source->is_input)
		source->size = size->number;
	if (size != NULL && size->number != source->size)
		return qcf_tool_printf("Option 'size' must be the size of the "
		                       "source");
	return NULL;
}

/* The secret of the new image is needed to open it, too. */
static char *keep_secret(struct img_convert_request *r,
                         const struct img_create_values *values)
{
	const char *id = qcf_create_text(values, "encrypt.key-secret");
	QCF_AUTO_FREE char *text = NULL;

	if (values->encryption.encryption == QCOWFMT_ENCRYPTION_NONE)
		return NULL;
	text = qcf_tool_printf("encrypt.key-secret=%s", id);
	r->target.opts = &r->target_opts;
	return qcf_image_opts_add(&r->target_opts, text);
}

/* Enough for clusters none of which gets smaller, and their tables: with clusters
 * of 512 bytes and counts of 64 bits these take a 32nd. */
static uint64_t worst_case(uint64_t virtual_size)
{
	return virtual_size + virtual_size / 16 + 16 * MIB;
}

/* A kernel may fill the disk, to the harm of all others on it, before it says that so
 * much does not fit. */
static bool is_beyond_free_space(int fd, uint64_t len)
{
	struct statvfs fs;

	if (fstatvfs(fd, &fs) < 0 || fs.f_blocks == 0 ||
	    len / fs.f_frsize <= fs.f_bfree)
		return false;
	errno = ENOSPC;
	return true;
}

/* Reserve host space for the whole file, which is new. */
static char *reserve_space(struct img_convert_request *r, uint64_t virtual_size)
{
	QCF_AUTO_FD int fd = qcf_open_fd(r->target_path, O_RDWR | O_CLOEXEC);

	r->reserved = worst_case(virtual_size);
	if (fd >= 0 && !is_beyond_free_space(fd, r->reserved) &&
	    qcf_allocate_fd(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)r->reserved) ==
	            0)
		return NULL;
	return qcf_tool_printf("Could not reserve space for '%s': %s",
	                       r->target_path, strerror(errno));
}

static char *create_target(struct img_convert_request *r,
                           struct img_create_values *values,
                           const struct img_source *source)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_create_options create;
	char *reason = qcf_create_values_resolve(values, &create);
	bool reserve;
	int ret;

	if (reason != NULL)
		return reason;
	if (create.data_filename != NULL &&
	    qcf_source_uses_file(source, create.data_filename))
		return qcf_tool_reason(-EAGAIN, NULL, create.data_filename,
		                       true);
	create.virtual_size = source->size;
	reserve = r->compress && is_reserving(values);
	if (reserve)
		create.preallocation = QCOWFMT_PREALLOCATION_OFF;
	r->is_preallocated =
		create.preallocation != QCOWFMT_PREALLOCATION_OFF ||
		(create.flags & QCOWFMT_CREATE_DATA_FILE_RAW) != 0;
	ret = qcf_create_image_file(r->target_path, values, &create, &error);
	if (ret < 0)
		return qcf_create_reason(ret, error, r->target_path,
		                         values->format);
	if (reserve) {
		reason = reserve_space(r, source->size);
		if (reason != NULL)
			(void)unlink(r->target_path);
	}
	return reason != NULL ? reason : keep_secret(r, values);
}

bool qcf_target_prepare(struct img_convert_request *r,
                        struct img_source *source, bool *created)
{
	struct img_create_values values = { 0 };
	const char *path = r->target_path;
	QCF_AUTO_FREE char *reason = NULL;
	bool with_context = false;
	struct stat st;

	if (!r->target_image_opts)
		reason = qcf_target_values(r, source, &values);
	if (reason == NULL) {
		with_context = true;
		if (qcf_source_uses_file(source, path))
			reason = qcf_tool_reason(-EAGAIN, NULL, path, true);
	}
	if (reason == NULL && !r->no_create) {
		*created = stat(path, &st) < 0 && errno == ENOENT;
		qcf_tool_making(*created ? path : NULL);
		reason = create_target(r, &values, source);
		if (*created && reason != NULL)
			(void)unlink(path);
		*created = *created && reason == NULL;
	}
	qcf_create_values_fini(&values);
	if (reason != NULL && with_context && r->no_create)
		qcf_tool_error("Could not open '%s': %s", r->target.path,
		               reason);
	else if (reason != NULL && with_context)
		qcf_tool_error("%s: error while converting %s: %s",
		               r->target.path, r->target_format, reason);
	else if (reason != NULL)
		qcf_tool_error("%s", reason);
	return reason == NULL;
}

static bool is_block_device(const char *path)
{
	struct stat st;

	return path != NULL && stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/*
 * Whether what is not written may be anything.  Clusters that are allocated
 * already are noise once they are decrypted.
 */
static bool is_undefined(const struct img_convert_request *r,
                         const struct qcowfmt_info *info)
{
	if (r->is_preallocated && info->encryption != QCOWFMT_ENCRYPTION_NONE)
		return true;
	if (r->target_is_zero)
		return false;
	if (r->is_preallocated && is_block_device(info->data_filename))
		return true;
	return info->format == QCOWFMT_FORMAT_RAW &&
	       is_block_device(r->target_path);
}

bool qcf_target_is_zero(const struct img_convert_request *r,
                        struct qcowfmt_image *target)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	if (r->no_create && !r->target_is_zero)
		return false;
	return qcowfmt_get_info(target, 0, &info, NULL) == 0 &&
	       !is_undefined(r, &info);
}

void qcf_target_trim(const struct img_convert_request *r)
{
	QCF_AUTO_FD int fd = -1;
	struct stat st;

	if (r->reserved == 0)
		return;
	fd = qcf_open_fd(r->target_path, O_RDWR | O_CLOEXEC);
	/* Cutting a file to the length it has frees what is behind its end. */
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		(void)qcf_truncate_fd(fd, st.st_size);
}

bool qcf_target_pad(const char *path)
{
	QCF_AUTO_FD int fd = qcf_open_fd(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	off_t missing;

	if (fd < 0 || fstat(fd, &st) < 0) {
		qcf_tool_error("Could not open '%s': %s", path,
		               strerror(errno));
		return false;
	}
	missing = (512 - st.st_size % 512) % 512;
	if (!S_ISREG(st.st_mode) || missing == 0 ||
	    qcf_allocate_fd(fd, 0, st.st_size, missing) == 0)
		return true;
	/* Readers take what lies behind the end for zeros: without support by
	 * the file system it stays as it is. */
	if (errno == EOPNOTSUPP)
		return true;
	qcf_tool_error("error while writing '%s': %s", path, strerror(errno));
	return false;
}
