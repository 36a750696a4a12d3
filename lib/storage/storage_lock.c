/* SPDX-License-Identifier: MIT */
/*
 * storage_lock.c - image locks that QEMU understands
 *
 * Each permission has two bytes of the file, which may lie beyond its end:
 * byte 100 + i is read-locked by whoever uses permission i, byte 200 + i by
 * whoever denies it to others.  Nobody takes a write lock: conflicts are found
 * by asking whether a write lock on the opposite byte would be granted.
 *
 * All bytes are taken before the first question.  Of two processes that come at
 * the same time at least one therefore sees the other, and both failing is the
 * worst case.
 *
 * The locks are those of the open file description (F_OFD_*), so a second open
 * in the same process conflicts like one elsewhere, and closing some other
 * descriptor of the file does not drop them.
 */
#include <errno.h>
#include <fcntl.h>

#include "storage_lock.h"
#include "storage_lock_holder.h"

#define USE_BYTE  100
#define DENY_BYTE 200

enum {
	PERM_READ = 1u << 0,
	PERM_WRITE = 1u << 1,
	PERM_RESIZE = 1u << 3,
};

#define PERM_COUNT 4

static const char *const perm_names[PERM_COUNT] = {
	"consistent read",
	"write",
	"write unchanged",
	"resize",
};

static const struct {
	uint32_t use, deny;
} modes[] = {
	[QCF_LOCK_NONE] = { 0, 0 },
	[QCF_LOCK_IMAGE_READ] = { PERM_READ, PERM_WRITE | PERM_RESIZE },
	[QCF_LOCK_IMAGE_WRITE] = { PERM_READ | PERM_WRITE | PERM_RESIZE,
	                           PERM_WRITE | PERM_RESIZE },
	[QCF_LOCK_RAW_READ] = { PERM_READ, 0 },
	[QCF_LOCK_RAW_WRITE] = { PERM_READ | PERM_WRITE, 0 },
	[QCF_LOCK_DATA_FILE_WRITE] = { PERM_READ | PERM_WRITE | PERM_RESIZE,
	                               PERM_RESIZE },
	[QCF_LOCK_TRUNCATE] = { PERM_WRITE | PERM_RESIZE, PERM_RESIZE },
	[QCF_LOCK_DATA_FILE_READ] = { PERM_READ, PERM_RESIZE },
};

static struct flock one_byte(int type, off_t byte)
{
	return (struct flock){
		.l_type = (short)type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};
}

static int set_byte(int fd, int type, off_t byte)
{
	struct flock f = one_byte(type, byte);
	int ret;

	do {
		ret = fcntl(fd, F_OFD_SETLK, &f);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

/* Take or drop one byte for each permission of the set. */
static int set_bytes(int fd, int type, off_t base, uint32_t perms)
{
	for (int i = 0; i < PERM_COUNT; i++) {
		if ((perms & 1u << i) == 0)
			continue;

		int ret = set_byte(fd, type, base + i);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Dropping can fail only for want of memory in the kernel; closing the file
 * drops everything. */
static void drop(int fd, uint32_t use, uint32_t deny)
{
	(void)set_bytes(fd, F_UNLCK, USE_BYTE, use);
	(void)set_bytes(fd, F_UNLCK, DENY_BYTE, deny);
}

/* Which permission of the set somebody has locked at base; -1 if none. */
static int find_conflict(int fd, off_t base, uint32_t perms, int *perm)
{
	*perm = -1;
	for (int i = 0; i < PERM_COUNT; i++) {
		if ((perms & 1u << i) == 0)
			continue;

		struct flock f = one_byte(F_WRLCK, base + i);

		if (fcntl(fd, F_OFD_GETLK, &f) < 0)
			return -errno;
		if (f.l_type != F_UNLCK) {
			*perm = i;
			return 0;
		}
	}
	return 0;
}

static int fail_locked(int fd, off_t base, int perm, const char *name,
                       struct qcowfmt_error **errp)
{
	char holder[QCF_LOCK_HOLDER_SIZE];

	qcf_lock_holder(fd, base + perm, holder);
	return qcf_fail(errp, EAGAIN, QCOWFMT_ERR_LOCKED,
	                "'%s' is locked: permission \"%s\" is %s by %s", name,
	                perm_names[perm],
	                base == USE_BYTE ? "in use" : "denied", holder);
}

static int take(int fd, uint32_t use, uint32_t deny, const char *name,
                struct qcowfmt_error **errp)
{
	int ret = set_bytes(fd, F_RDLCK, USE_BYTE, use);

	if (ret == 0)
		ret = set_bytes(fd, F_RDLCK, DENY_BYTE, deny);
	if (ret == -EAGAIN || ret == -EACCES)
		return qcf_fail(errp, EAGAIN, QCOWFMT_ERR_LOCKED,
		                "'%s' is locked: another process holds a "
		                "write lock on the lock bytes",
		                name);
	return ret;
}

static int test(int fd, off_t base, uint32_t perms, const char *name,
                struct qcowfmt_error **errp)
{
	int perm;
	int ret = find_conflict(fd, base, perms, &perm);

	if (ret < 0 || perm < 0)
		return ret;
	return fail_locked(fd, base, perm, name, errp);
}

/* A kernel or file system without such locks: go on without, as QEMU does. */
static bool no_locks_here(int ret)
{
	return ret == -EINVAL || ret == -ENOLCK || ret == -ENOTSUP;
}

int qcf_file_lock_set(struct qcf_file_lock *l, enum qcf_storage_lock lock,
                      const char *name, struct qcowfmt_error **errp)
{
	uint32_t use = modes[lock].use;
	uint32_t deny = modes[lock].deny;

	if (l->off)
		return 0;

	int ret = take(l->fd, use & ~l->held, deny & ~l->denied, name, errp);

	if (ret == 0)
		ret = test(l->fd, DENY_BYTE, use, name, errp);
	if (ret == 0)
		ret = test(l->fd, USE_BYTE, deny, name, errp);
	if (ret < 0) {
		drop(l->fd, use & ~l->held, deny & ~l->denied);
		l->off = l->held == 0 && l->denied == 0 && no_locks_here(ret);
		return l->off ? 0 : ret;
	}
	drop(l->fd, l->held & ~use, l->denied & ~deny);
	l->held = use;
	l->denied = deny;
	return 0;
}
