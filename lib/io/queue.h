/* SPDX-License-Identifier: MIT */
/* queue.h - many requests of one thread at once */
#ifndef QCF_QUEUE_H
#define QCF_QUEUE_H

#include "queue_kernel.h"
#include "queue_work.h"

#define QCF_QUEUE_MAX_DEPTH 4096u
#define QCF_QUEUE_MAX_IOV   1024 /* IOV_MAX, what one system call takes */
#define QCF_MAX_QUEUES      (QCF_GATE_RESERVED / 2)

struct qcowfmt_queue {
	struct qcowfmt_image *image;
	struct qcowfmt_queue *next; /* of the image, under its lock */
	uint32_t depth;
	struct qcf_queue_request *requests; /* as many as it is deep */
	struct qcf_queue_list free;
	struct qcf_queue_list fresh; /* put in since the last submission */
	uint32_t in_use;             /* requests that are not FREE */
	uint32_t with_threads;       /* of these, given to queue_work */
	int both_fd; /* readable if the ring or the work is; -1: no ring */
	struct qcf_queue_kernel kernel;
	struct qcf_queue_work work;
};

struct qcf_queue_options {
	uint32_t depth;
	uint32_t workers;
	bool uring; /* if it can be had */
};

int qcf_queue_new(struct qcowfmt_image *image,
                  const struct qcf_queue_options *options,
                  struct qcowfmt_queue **queue, struct qcowfmt_error **errp);
void qcf_queue_free(struct qcowfmt_queue *queue);

/* What to do; the vector is copied. */
struct qcf_queue_order {
	enum qcf_queue_operation operation;
	bool may_unmap;
	const struct iovec *iov;
	int iovcnt;
	uint64_t guest_offset;
	uint64_t len;
	uint64_t user_data;
};

/* Put a request in; -EAGAIN if the queue is full. */
int qcf_queue_put(struct qcowfmt_queue *queue,
                  const struct qcf_queue_order *order,
                  struct qcowfmt_error **errp);

void qcf_queue_submit(struct qcowfmt_queue *queue);
int qcf_queue_reap(struct qcowfmt_queue *queue,
                   struct qcowfmt_completion *completions, int max,
                   int timeout);
void qcf_queue_cancel(struct qcowfmt_queue *queue);
int qcf_queue_event_fd(struct qcowfmt_queue *queue);

#endif
