/* SPDX-License-Identifier: MIT */
/*
 * ring.c - transfers by io_uring
 *
 * The submission queue has room for everything that may be in the ring, and the
 * completion queue for twice as much, so neither is ever full.
 */
#include <errno.h>
#include <stdlib.h>

#include <liburing.h>

#include "ring.h"

/*
 * The thread that put something in is not interrupted for a result while it runs;
 * the kernel sees to it when that thread next enters it, or at the next tick of the
 * clock, and says meanwhile that there is something to see to.
 */
#define UNINTERRUPTED (IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG)

struct qcf_ring {
	struct io_uring ring;
};

int qcf_ring_new(uint32_t entries, struct qcf_ring **ring)
{
	struct qcf_ring *new_ring = calloc(1, sizeof(*new_ring));
	int ret;

	if (new_ring == NULL)
		return -ENOMEM;
	ret = io_uring_queue_init(entries, &new_ring->ring, UNINTERRUPTED);
	/* Before Linux 5.19 */
	if (ret == -EINVAL)
		ret = io_uring_queue_init(entries, &new_ring->ring, 0);
	if (ret < 0) {
		free(new_ring);
		return ret;
	}
	*ring = new_ring;
	return 0;
}

void qcf_ring_free(struct qcf_ring *ring)
{
	if (ring == NULL)
		return;
	io_uring_queue_exit(&ring->ring);
	free(ring);
}

int qcf_ring_fd(const struct qcf_ring *ring)
{
	return ring->ring.ring_fd;
}

void qcf_ring_put_transfer(struct qcf_ring *ring,
                           const struct qcf_ring_transfer *t, void *tag)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
	unsigned int count = (unsigned int)t->iovcnt;

	if (t->iovcnt == 1 && t->is_write)
		io_uring_prep_write(sqe, t->fd, t->iov->iov_base,
		                    (unsigned int)t->iov->iov_len, t->offset);
	else if (t->iovcnt == 1)
		io_uring_prep_read(sqe, t->fd, t->iov->iov_base,
		                   (unsigned int)t->iov->iov_len, t->offset);
	else if (t->is_write)
		io_uring_prep_writev(sqe, t->fd, t->iov, count, t->offset);
	else
		io_uring_prep_readv(sqe, t->fd, t->iov, count, t->offset);
	io_uring_sqe_set_data(sqe, tag);
}

void qcf_ring_put_nop(struct qcf_ring *ring, void *tag)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);

	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data(sqe, tag);
}

/* Without a kernel thread that polls the queue, the kernel looks at it only when
 * it is entered: what was not taken can be withdrawn. */
static void forget_rest(struct io_uring_sq *sq)
{
	unsigned int head = io_uring_smp_load_acquire(sq->khead);

	sq->sqe_head = head;
	sq->sqe_tail = head;
	io_uring_smp_store_release(sq->ktail, head);
}

uint32_t qcf_ring_submit(struct qcf_ring *ring)
{
	uint32_t left = io_uring_sq_ready(&ring->ring);
	uint32_t taken = 0;

	while (left > 0) {
		int ret = io_uring_submit(&ring->ring);

		if (ret == -EINTR)
			continue;
		if (ret <= 0) {
			forget_rest(&ring->ring.sq);
			break;
		}
		taken += (uint32_t)ret;
		left -= (uint32_t)ret;
	}
	return taken;
}

void qcf_ring_wait(struct qcf_ring *ring)
{
	struct io_uring_cqe *cqe;

	(void)io_uring_wait_cqe(&ring->ring, &cqe);
}

uint32_t qcf_ring_ready(struct qcf_ring *ring)
{
	unsigned int ready = io_uring_cq_ready(&ring->ring);

	if (ready > 0 || (IO_URING_READ_ONCE(*ring->ring.sq.kflags) &
	                  IORING_SQ_TASKRUN) == 0)
		return ready;
	(void)io_uring_get_events(&ring->ring);
	return io_uring_cq_ready(&ring->ring);
}

struct qcf_ring_result qcf_ring_look(const struct qcf_ring *ring, uint32_t i)
{
	const struct io_uring_cq *cq = &ring->ring.cq;
	const struct io_uring_cqe *cqe =
		&cq->cqes[(*cq->khead + i) & cq->ring_mask];

	return (struct qcf_ring_result){
		.tag = io_uring_cqe_get_data(cqe),
		.value = cqe->res,
	};
}

void qcf_ring_take(struct qcf_ring *ring, uint32_t count)
{
	io_uring_cq_advance(&ring->ring, count);
}
