/* SPDX-License-Identifier: MIT */
/*
 * queue_request.h - a request of a queue, and lists of them
 *
 *   FREE -> NEW (put in) -> KERNEL (data moves) ---------------------> FREE
 *                   |         | what the kernel could not do            ^
 *                   +---------+-> WAITING -> WORKING (a thread) -> DONE-+
 *
 * A request belongs to the owner of the queue but while it is WAITING, WORKING or
 * DONE: then it is in the hands of queue_work.c.
 */
#ifndef QCF_QUEUE_REQUEST_H
#define QCF_QUEUE_REQUEST_H

#include "image.h"

enum qcf_queue_operation {
	QCF_QUEUE_READ,
	QCF_QUEUE_WRITE,
	QCF_QUEUE_ZERO,
	QCF_QUEUE_DISCARD,
	QCF_QUEUE_FLUSH,
};

/* Vectors of up to this many elements are copied without allocating. */
#define QCF_QUEUE_SMALL_IOV 4

struct qcf_queue_request {
	struct qcf_queue_request *next;
	enum qcf_queue_operation operation;
	bool may_unmap; /* ZERO */
	int iovcnt;     /* READ, WRITE */
	struct iovec small_iov[QCF_QUEUE_SMALL_IOV];
	struct iovec *large_iov; /* in place of small_iov; owned */
	uint64_t guest_offset;
	uint64_t len;
	uint64_t user_data;

	/* while in KERNEL */
	uint32_t lane;                   /* guarded by the lanes' lock */
	uint32_t expected;               /* result if all went well */
	struct qcowfmt_storage *storage; /* where data moves; NULL: none does */

	/* once it is over */
	int result;
	struct qcowfmt_error *error; /* owned */
};

static inline const struct iovec *qcf_queue_request_iov(
	const struct qcf_queue_request *r)
{
	return r->large_iov != NULL ? r->large_iov : r->small_iov;
}

/* First in, first out. */
struct qcf_queue_list {
	struct qcf_queue_request *first;
	struct qcf_queue_request *last; /* valid unless first is NULL */
};

static inline void qcf_queue_push(struct qcf_queue_list *list,
                                  struct qcf_queue_request *r)
{
	r->next = NULL;
	if (list->first == NULL)
		list->first = r;
	else
		list->last->next = r;
	list->last = r;
}

/* NULL if the list is empty. */
static inline struct qcf_queue_request *qcf_queue_pop(
	struct qcf_queue_list *list)
{
	struct qcf_queue_request *r = list->first;

	if (r != NULL)
		list->first = r->next;
	return r;
}

#endif
