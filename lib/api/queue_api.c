/* SPDX-License-Identifier: MIT */
/* queue_api.c - exported functions for queues */
#include <errno.h>

#include "options.h"
#include "queue.h"

#define DEFAULT_DEPTH   128u
#define DEFAULT_WORKERS 8u

static int check_options(const struct qcowfmt_queue_options *o,
                         struct qcowfmt_error **errp)
{
	if ((o->flags & ~QCOWFMT_QUEUE_NO_URING) != 0 || o->reserved != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown queue flags 0x%x",
		                o->flags & ~QCOWFMT_QUEUE_NO_URING);
	if (o->depth > QCF_QUEUE_MAX_DEPTH)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "a queue can be %u deep at most, have %u",
		                QCF_QUEUE_MAX_DEPTH, o->depth);
	if (o->workers > QCF_QUEUE_MAX_WORKERS)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "a queue can have %d threads at most, have %u",
		                QCF_QUEUE_MAX_WORKERS, o->workers);
	return 0;
}

int qcowfmt_queue_new(struct qcowfmt_image *image,
                      const struct qcowfmt_queue_options *options,
                      struct qcowfmt_queue **queue, struct qcowfmt_error **errp)
{
	struct qcowfmt_queue_options o;
	struct qcf_queue_options ours;
	int ret = qcf_options_copy(&o, sizeof(o), options,
	                           "qcowfmt_queue_options", errp);

	if (ret == 0)
		ret = check_options(&o, errp);
	if (ret < 0)
		return ret;
	ours = (struct qcf_queue_options){
		.depth = o.depth == 0 ? DEFAULT_DEPTH : o.depth,
		.workers = o.workers == 0 ? DEFAULT_WORKERS : o.workers,
		.uring = (o.flags & QCOWFMT_QUEUE_NO_URING) == 0,
	};
	return qcf_queue_new(image, &ours, queue, errp);
}

void qcowfmt_queue_free(struct qcowfmt_queue *queue)
{
	if (queue != NULL)
		qcf_queue_free(queue);
}

static int put_vector(struct qcowfmt_queue *queue,
                      struct qcf_queue_order *order,
                      struct qcowfmt_error **errp)
{
	if (order->iovcnt > QCF_QUEUE_MAX_IOV ||
	    !qcf_iov_len(order->iov, order->iovcnt, &order->len))
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the vector has a bad element count or its "
		                "length overflows");
	return qcf_queue_put(queue, order, errp);
}

int qcowfmt_queue_preadv(struct qcowfmt_queue *queue, const struct iovec *iov,
                         int iovcnt, uint64_t guest_offset, uint64_t user_data,
                         struct qcowfmt_error **errp)
{
	struct qcf_queue_order order = {
		.operation = QCF_QUEUE_READ,
		.iov = iov,
		.iovcnt = iovcnt,
		.guest_offset = guest_offset,
		.user_data = user_data,
	};

	return put_vector(queue, &order, errp);
}

int qcowfmt_queue_pread(struct qcowfmt_queue *queue, void *buffer, size_t len,
                        uint64_t guest_offset, uint64_t user_data,
                        struct qcowfmt_error **errp)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = len };

	return qcowfmt_queue_preadv(queue, &iov, 1, guest_offset, user_data,
	                            errp);
}

int qcowfmt_queue_pwritev(struct qcowfmt_queue *queue, const struct iovec *iov,
                          int iovcnt, uint64_t guest_offset, uint64_t user_data,
                          struct qcowfmt_error **errp)
{
	struct qcf_queue_order order = {
		.operation = QCF_QUEUE_WRITE,
		.iov = iov,
		.iovcnt = iovcnt,
		.guest_offset = guest_offset,
		.user_data = user_data,
	};

	return put_vector(queue, &order, errp);
}

int qcowfmt_queue_pwrite(struct qcowfmt_queue *queue, const void *buffer,
                         size_t len, uint64_t guest_offset, uint64_t user_data,
                         struct qcowfmt_error **errp)
{
	/* An iovec has no const variant; writing only reads from it. */
	struct iovec iov = {
		.iov_base = (void *)(uintptr_t)buffer,
		.iov_len = len,
	};

	return qcowfmt_queue_pwritev(queue, &iov, 1, guest_offset, user_data,
	                             errp);
}

int qcowfmt_queue_write_zeroes(struct qcowfmt_queue *queue,
                               uint64_t guest_offset, uint64_t len,
                               uint32_t flags, uint64_t user_data,
                               struct qcowfmt_error **errp)
{
	struct qcf_queue_order order = {
		.operation = QCF_QUEUE_ZERO,
		.may_unmap = (flags & QCOWFMT_ZERO_MAY_UNMAP) != 0,
		.guest_offset = guest_offset,
		.len = len,
		.user_data = user_data,
	};

	if ((flags & ~QCOWFMT_ZERO_MAY_UNMAP) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown write-zeroes flags 0x%x",
		                flags & ~QCOWFMT_ZERO_MAY_UNMAP);
	return qcf_queue_put(queue, &order, errp);
}

int qcowfmt_queue_discard(struct qcowfmt_queue *queue, uint64_t guest_offset,
                          uint64_t len, uint64_t user_data,
                          struct qcowfmt_error **errp)
{
	struct qcf_queue_order order = {
		.operation = QCF_QUEUE_DISCARD,
		.guest_offset = guest_offset,
		.len = len,
		.user_data = user_data,
	};

	return qcf_queue_put(queue, &order, errp);
}

int qcowfmt_queue_flush(struct qcowfmt_queue *queue, uint64_t user_data,
                        struct qcowfmt_error **errp)
{
	struct qcf_queue_order order = {
		.operation = QCF_QUEUE_FLUSH,
		.user_data = user_data,
	};

	return qcf_queue_put(queue, &order, errp);
}

void qcowfmt_queue_submit(struct qcowfmt_queue *queue)
{
	qcf_queue_submit(queue);
}

int qcowfmt_queue_reap(struct qcowfmt_queue *queue,
                       struct qcowfmt_completion *completions, int max,
                       int timeout)
{
	return qcf_queue_reap(queue, completions, max, timeout);
}

void qcowfmt_queue_cancel(struct qcowfmt_queue *queue)
{
	qcf_queue_cancel(queue);
}

int qcowfmt_queue_event_fd(struct qcowfmt_queue *queue)
{
	return qcf_queue_event_fd(queue);
}

int qcowfmt_queue_uses_uring(const struct qcowfmt_queue *queue)
{
	return queue->kernel.ring != NULL;
}
