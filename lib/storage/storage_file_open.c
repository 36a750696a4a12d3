/* SPDX-License-Identifier: MIT */
/*
 * storage_file_open.c - opening files whose names may come from an image
 *
 * Opening a FIFO can hang and opening some devices does something (a watchdog
 * starts, a tape rewinds), so the type is looked at through an O_PATH
 * descriptor first, which opens nothing, and so is the file system.  It is looked at again afterwards,
 * since the name may stand for another file by then; O_NONBLOCK keeps even that
 * case from hanging.
 *
 * "Beneath a directory" is left to the kernel (openat2).  A check in user space
 * could be outrun by whoever renames directories meanwhile, so there is no
 * fallback: without the system call the file is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/openat2.h>

#include "fd_io.h"
#include "storage_file_open.h"

/* Not in every version of the header. */
#ifndef CONFIGFS_MAGIC
#define CONFIGFS_MAGIC 0x62656570
#endif

/* openat2() asks to be called again if a directory was renamed meanwhile. */
#define OPENAT2_TRIES 64

static void close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define AUTO_CLOSE QCF_CLEANUP(close_fd)

/* The descriptor, which the variable then no longer closes. */
static int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

struct place {
	const char *path;
	const char *name; /* for messages */
	int dir;          /* descriptor; AT_FDCWD if not confined */
	bool beneath;
};

/*
 * File systems whose regular files are doors into the kernel or into processes:
 * reading can block for ever (/proc/kmsg), writing can change the memory of this
 * process (/proc/self/mem).  No image lies there.
 */
static bool is_made_up(int fd)
{
	static const uint32_t kinds[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC,        DEBUGFS_MAGIC,
		TRACEFS_MAGIC,    SECURITYFS_MAGIC,   SELINUX_MAGIC,
		SMACK_MAGIC,      CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
		EFIVARFS_MAGIC,   BPF_FS_MAGIC,       PSTOREFS_MAGIC,
		BINFMTFS_MAGIC,   NSFS_MAGIC,         CONFIGFS_MAGIC,
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < QCF_ARRAY_LEN(kinds); i++) {
		if ((uint32_t)fs.f_type == kinds[i])
			return true;
	}
	return false;
}

int qcf_check_file_type(int fd, const char *name, uint32_t flags,
                        struct stat *st, struct qcowfmt_error **errp)
{
	if (fstat(fd, st) < 0)
		return qcf_fail_sys(errp, errno, "'%s'", name);
	if ((flags & QCOWFMT_FILE_ANY_TYPE) == 0 && S_ISREG(st->st_mode) &&
	    is_made_up(fd))
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "'%s' is made up by the kernel and holds no "
		                "image",
		                name);
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	if ((flags & QCOWFMT_FILE_ANY_TYPE) != 0 && !S_ISDIR(st->st_mode))
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "'%s' is not a regular file or block device", name);
}

static int open_beneath(const struct place *p, int mode)
{
#ifdef SYS_openat2
	struct open_how how = {
		.flags = (uint64_t)(unsigned int)mode,
		.mode = (mode & O_CREAT) != 0 ? 0644 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int tries = OPENAT2_TRIES;
	long fd;

	do {
		fd = syscall(SYS_openat2, p->dir, p->path, &how, sizeof(how));
	} while (fd < 0 && (errno == EAGAIN || errno == EINTR) && --tries > 0);
	return (int)fd;
#else
	(void)p;
	(void)mode;
	errno = ENOSYS;
	return -1;
#endif
}

static int open_anywhere(const struct place *p, int mode)
{
	return qcf_fd_open(p->path, mode, 0644);
}

static int open_place(const struct place *p, int mode)
{
	mode |= O_CLOEXEC;
	return p->beneath ? open_beneath(p, mode) : open_anywhere(p, mode);
}

static int fail_open(const struct place *p, int err,
                     struct qcowfmt_error **errp)
{
	if (p->beneath && err == EXDEV)
		return qcf_fail(errp, EACCES, QCOWFMT_ERR_REFUSED,
		                "'%s' leads out of the directory that "
		                "references must stay in",
		                p->name);
	if (p->beneath && err == ENOSYS)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "'%s' cannot be confined to its directory: "
		                "this kernel has no openat2()",
		                p->name);
	return qcf_fail_sys(errp, err, "cannot open '%s'", p->name);
}

/* Look at the type without opening.  A missing file is fine if it will be
 * created. */
static int check_before(const struct place *p, uint32_t flags, bool *missing,
                        struct qcowfmt_error **errp)
{
	int fd AUTO_CLOSE = open_place(p, O_PATH);
	struct stat st;

	*missing = fd < 0 && errno == ENOENT;
	if (*missing && (flags & QCOWFMT_FILE_CREATE) != 0)
		return 0;
	if (fd < 0)
		return fail_open(p, errno, errp);
	return qcf_check_file_type(fd, p->name, flags, &st, errp);
}

static int mode_of(uint32_t flags)
{
	int mode = O_NONBLOCK | O_NOCTTY;

	mode |= (flags & QCOWFMT_FILE_READ_ONLY) != 0 ? O_RDONLY : O_RDWR;
	if ((flags & QCOWFMT_FILE_CREATE) != 0)
		mode |= O_CREAT;
	if ((flags & QCOWFMT_FILE_DIRECT) != 0)
		mode |= O_DIRECT;
	return mode;
}

static int clear_nonblock(int fd)
{
	int mode = fcntl(fd, F_GETFL);

	if (mode < 0 || fcntl(fd, F_SETFL, mode & ~O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* Open, or create; *created tells whether the file is there because of this:
 * somebody else may have been faster. */
static int open_or_create(const struct place *p, int mode, bool missing,
                          bool *created)
{
	int fd = -1;

	if (missing)
		fd = open_place(p, mode | O_EXCL);
	*created = fd >= 0;
	if (fd < 0 && (!missing || errno == EEXIST))
		fd = open_place(p, mode);
	return fd;
}

static int open_checked(const struct place *p, uint32_t flags,
                        struct qcf_opened_file *opened,
                        struct qcowfmt_error **errp)
{
	bool missing = false;
	int ret = check_before(p, flags, &missing, errp);

	if (ret < 0)
		return ret;

	int fd AUTO_CLOSE =
		open_or_create(p, mode_of(flags), missing, &opened->created);

	if (fd < 0 && errno == EINVAL && (flags & QCOWFMT_FILE_DIRECT) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_SYSTEM,
		                "'%s': its file system cannot do direct I/O",
		                p->name);
	if (fd < 0)
		return fail_open(p, errno, errp);
	ret = qcf_check_file_type(fd, p->name, flags, &opened->st, errp);
	if (ret < 0)
		return ret;
	ret = clear_nonblock(fd);
	if (ret < 0)
		return qcf_fail_sys(errp, -ret, "'%s'", p->name);
	opened->fd = take_fd(&fd);
	return 0;
}

/* The directory that holds a file that was created.  One that may be written to
 * but not read cannot be synced. */
static int open_parent(const char *path, int *parent,
                       struct qcowfmt_error **errp)
{
	const char *slash = strrchr(path, '/');
	QCF_AUTO_FREE char *dir =
		slash == NULL ? strdup(".")
			      : strndup(path, (size_t)(slash - path) + 1);

	if (dir == NULL)
		return qcf_fail_oom(errp);
	*parent = qcf_fd_open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (*parent < 0 && errno != EACCES)
		return qcf_fail_sys(errp, errno, "cannot open directory '%s'",
		                    dir);
	return 0;
}

static char *join(const char *dir, const char *path)
{
	char *name = NULL;

	if (dir == NULL || dir[0] == '\0')
		return strdup(path);
	if (asprintf(&name, "%s%s%s", dir,
	             dir[strlen(dir) - 1] == '/' ? "" : "/", path) < 0)
		return NULL;
	return name;
}

static int check_names(const char *path, const char *dir, uint32_t flags,
                       struct qcowfmt_error **errp)
{
	if (path == NULL || path[0] == '\0')
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the name of a file is missing");
	if (dir != NULL && (flags & QCOWFMT_FILE_CREATE) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "'%s': a referenced file is never created",
		                path);
	return 0;
}

int qcf_open_path(const char *path, const char *dir, uint32_t flags,
                  struct qcf_opened_file *opened, struct qcowfmt_error **errp)
{
	int ret = check_names(path, dir, flags, errp);

	if (ret < 0)
		return ret;

	QCF_AUTO_FREE char *name = join(dir, path);
	int dirfd AUTO_CLOSE = -1;
	struct place p = { path, name, AT_FDCWD, dir != NULL };

	if (name == NULL)
		return qcf_fail_oom(errp);
	if (dir != NULL) {
		dirfd = qcf_fd_open(dir[0] == '\0' ? "." : dir,
		                    O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
		if (dirfd < 0)
			return qcf_fail_sys(errp, errno,
			                    "cannot open directory '%s'", dir);
		p.dir = dirfd;
	}
	*opened = (struct qcf_opened_file){ .fd = -1, .new_in = -1 };
	ret = open_checked(&p, flags, opened, errp);
	if (ret == 0 && (flags & QCOWFMT_FILE_CREATE) != 0)
		ret = open_parent(path, &opened->new_in, errp);
	if (ret < 0) {
		close_fd(&opened->fd);
		if (opened->created)
			(void)unlink(path);
		return ret;
	}
	opened->name = qcf_take(&name);
	return 0;
}
