/* SPDX-License-Identifier: MIT */
/* storage_lock_holder.h - who holds an image lock, for error messages */
#ifndef QCF_STORAGE_LOCK_HOLDER_H
#define QCF_STORAGE_LOCK_HOLDER_H

#include <sys/types.h>

/* Enough for "process 4194304 (fifteen letters)" and the like. */
#define QCF_LOCK_HOLDER_SIZE 80

/*
 * Describe in words a process other than the caller's open file that has a lock
 * on one byte of the file: "process 123 (qemu-img)", "this process", or
 * "another process" if it cannot be found.
 */
void qcf_lock_holder(int fd, off_t byte, char text[QCF_LOCK_HOLDER_SIZE]);

#endif
