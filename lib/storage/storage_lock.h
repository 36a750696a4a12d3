/* SPDX-License-Identifier: MIT */
/*
 * storage_lock.h - image locks that QEMU understands
 *
 * The lock belongs to the open file description of fd.  All calls for one
 * structure come from one thread at a time.
 */
#ifndef QCF_STORAGE_LOCK_H
#define QCF_STORAGE_LOCK_H

#include "storage.h"

struct qcf_file_lock {
	int fd;
	bool off;        /* not wanted, or the file system has no locks */
	uint32_t held;   /* permissions in use, one bit each */
	uint32_t denied; /* permissions denied to others */
};

/*
 * Change the lock held.  -EAGAIN and QCOWFMT_ERR_LOCKED, with a message that
 * names the process if it can be found, when another open file stands in the
 * way; the lock is then what it was before.
 */
int qcf_file_lock_set(struct qcf_file_lock *l, enum qcf_storage_lock lock,
                      const char *name, struct qcowfmt_error **errp);

#endif
