/* SPDX-License-Identifier: MIT */
/*
 * ring.h - transfers that the kernel makes while no thread waits (io_uring)
 *
 * Operations are put into the ring, submitted together, and end as results that
 * can be looked at and are taken out in their order.  Putting in, submitting and
 * taking out is for one thread at a time; looking is for any thread that keeps
 * the others from taking out.
 */
#ifndef QCF_RING_H
#define QCF_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct qcf_ring;

/* What became of an operation: its tag, and what the system call would return. */
struct qcf_ring_result {
	void *tag;
	int32_t value; /* -errno on failure */
};

/* A transfer on a descriptor.  The vector stays valid until the result. */
struct qcf_ring_transfer {
	bool is_write;
	int fd;
	const struct iovec *iov;
	int iovcnt;
	uint64_t offset;
};

/*
 * A ring for at most so many operations whose results were not taken.  -ENOSYS if
 * it is not built in, or another errno value if the system refuses.
 */
int qcf_ring_new(uint32_t entries, struct qcf_ring **ring);

/* All results have been taken.  NULL is allowed. */
void qcf_ring_free(struct qcf_ring *ring);

/* Readable while there are results. */
int qcf_ring_fd(const struct qcf_ring *ring);

void qcf_ring_put_transfer(struct qcf_ring *ring,
                           const struct qcf_ring_transfer *transfer, void *tag);
/* An operation that does nothing, and succeeds. */
void qcf_ring_put_nop(struct qcf_ring *ring, void *tag);

/*
 * Hand what was put in to the kernel.  Returns how many it took; it takes all
 * unless it is short of something.  The rest, the last ones, are forgotten.
 */
uint32_t qcf_ring_submit(struct qcf_ring *ring);

/* How many results there are now, and result i of them. */
uint32_t qcf_ring_ready(struct qcf_ring *ring);
struct qcf_ring_result qcf_ring_look(const struct qcf_ring *ring, uint32_t i);

/* Wait until there is one, which has to be under way; a signal may end it sooner. */
void qcf_ring_wait(struct qcf_ring *ring);

/* Take the first so many out. */
void qcf_ring_take(struct qcf_ring *ring, uint32_t count);

#endif
