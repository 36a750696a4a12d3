/* SPDX-License-Identifier: MIT */
/*
 * storage_direct.h - any offset, length and memory on a file opened O_DIRECT
 */
#ifndef QCF_STORAGE_DIRECT_H
#define QCF_STORAGE_DIRECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lock.h"

/* A range of whole blocks that a running write or zeroing changes.  Exclusive
 * if it also writes back bytes that are not its own. */
struct qcf_direct_claim {
	uint64_t start, end;
	bool exclusive;
	struct qcf_direct_claim *next;
};

struct qcf_direct {
	int fd;
	uint32_t alignment; /* of offset, length and memory: a power of two */
	bool fixed_size;    /* a device: its end is aligned and stays */

	struct qcf_mutex mutex; /* guards what follows */
	struct qcf_cond released;
	struct qcf_direct_claim *claims; /* writes that run now */
};

/* Finds out the alignment.  -errno if the file cannot do direct I/O. */
int qcf_direct_init(struct qcf_direct *d, int fd, bool is_device);
void qcf_direct_fini(struct qcf_direct *d);

/* Whether a transfer needs no help. */
bool qcf_direct_is_aligned(const struct qcf_direct *d, const struct iovec *iov,
                           int iovcnt, uint64_t offset);

/* As qcf_fd_preadv() and qcf_fd_pwritev(). */
int64_t qcf_direct_preadv(struct qcf_direct *d, const struct iovec *iov,
                          int iovcnt, uint64_t offset);
int qcf_direct_pwritev(struct qcf_direct *d, const struct iovec *iov,
                       int iovcnt, uint64_t offset);

/*
 * Keep writes that touch part of a block of the range away while it is changed
 * by other means, for instance zeroed.
 */
void qcf_direct_claim(struct qcf_direct *d, struct qcf_direct_claim *claim,
                      uint64_t offset, uint64_t len);
void qcf_direct_release(struct qcf_direct *d, struct qcf_direct_claim *claim);

#endif
