/* SPDX-License-Identifier: MIT */
/*
 * img_create_file.c - the file of a new image, with what -o says of it
 *
 * Both hints only work on a file that is still empty, so it is made here; the
 * library then finds it there.
 */
#include "img_create_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tool_error.h"

static bool is_on(const struct img_create_values *values, const char *name)
{
	const struct img_create_value *value = qcf_create_value(values, name);

	return value != NULL && value->number != 0;
}

/* As ioctl(), whose type of request is another in each C library. */
static int control(int fd, unsigned long request, void *argument)
{
	return (int)syscall(SYS_ioctl, fd, request, argument);
}

/* For file systems that would otherwise copy every block that is written. */
static void set_nocow(int fd)
{
	int flags = 0;

	if (control(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return;
	flags |= FS_NOCOW_FL;
	(void)control(fd, FS_IOC_SETFLAGS, &flags);
}

static void set_extent_size(int fd, uint32_t size)
{
	struct fsxattr attributes;

	if (control(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
		return;
	attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
	attributes.fsx_extsize = size;
	if (control(fd, FS_IOC_FSSETXATTR, &attributes) < 0)
		qcf_tool_warning("Failed to set extent size hint: %s",
		                 strerror(errno));
}

/* Make the file with its hints; returns whether it was not there before. */
static bool make_file(const char *path, const struct img_create_values *values)
{
	const struct img_create_value *hint =
		qcf_create_value(values, "extent_size_hint");
	QCF_AUTO_FD int fd =
		qcf_open_fd(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC);
	bool is_new = fd >= 0;

	if (fd < 0)
		fd = qcf_open_fd(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	/* The library will say why. */
	if (fd < 0)
		return false;
	if (is_on(values, "nocow"))
		set_nocow(fd);
	if (hint != NULL && hint->number != 0)
		set_extent_size(fd, (uint32_t)hint->number);
	return is_new;
}

int qcf_create_image_file(const char *path,
                          const struct img_create_values *values,
                          const struct qcowfmt_create_options *create,
                          struct qcowfmt_error **errp)
{
	bool is_new = false;
	int ret;

	if (is_on(values, "nocow") || is_on(values, "extent_size_hint"))
		is_new = make_file(path, values);
	ret = qcowfmt_create_file(path, create, errp);
	if (ret < 0 && is_new)
		(void)unlink(path);
	return ret;
}
