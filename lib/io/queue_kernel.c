/* SPDX-License-Identifier: MIT */
/*
 * queue_kernel.c - requests of a queue whose data the kernel moves
 *
 * A request is inside the gate from before its place is looked up until its
 * result is there, even if the owner of the queue does not look: see
 * qcf_queue_kernel_settle().  For that, results are taken out of the ring under
 * the lock of the lanes.
 */
#include <poll.h>

#include "queue_kernel.h"
#include "queue_place.h"

/* What one system call moves for certain, and fits the ring. */
#define MAX_TRANSFER (UINT64_C(1) << 30)

void qcf_queue_kernel_init(struct qcf_queue_kernel *k,
                           struct qcowfmt_image *image, uint32_t depth,
                           bool allowed)
{
	*k = (struct qcf_queue_kernel){ .image = image };
	if (!allowed || !qcf_queue_lanes_init(&k->lanes, &image->gate))
		return;
	if (qcf_ring_new(depth, &k->ring) < 0)
		qcf_queue_lanes_fini(&k->lanes);
}

void qcf_queue_kernel_fini(struct qcf_queue_kernel *k)
{
	struct qcf_queue_list done = { NULL, NULL };
	struct qcf_queue_list rest = { NULL, NULL };

	if (k->ring == NULL)
		return;
	while (k->in_ring > 0) {
		qcf_queue_kernel_wait(k, -1, -1);
		(void)qcf_queue_kernel_take(k, INT32_MAX, &done, &rest);
	}
	qcf_ring_free(k->ring);
	qcf_queue_lanes_fini(&k->lanes);
}

/* ------------------------------------------------------------------ putting in */

static bool put_transfer(struct qcf_queue_kernel *k,
                         struct qcf_queue_request *r,
                         struct qcowfmt_storage *storage, uint64_t host_offset)
{
	struct qcf_ring_transfer t = {
		.is_write = r->operation == QCF_QUEUE_WRITE,
		.iov = qcf_queue_request_iov(r),
		.iovcnt = r->iovcnt,
		.offset = host_offset,
	};

	t.fd = qcf_storage_transfer_fd(storage, t.is_write, t.iov, t.iovcnt,
	                               host_offset, r->len);
	if (t.fd < 0)
		return false;
	/* Told before, too: others may look before the result is seen. */
	if (t.is_write)
		qcf_storage_transferred(storage);
	r->storage = storage;
	r->expected = (uint32_t)r->len;
	qcf_ring_put_transfer(k->ring, &t, r);
	return true;
}

static void put_zeros(struct qcf_queue_kernel *k, struct qcf_queue_request *r)
{
	qcf_iov_zero(qcf_queue_request_iov(r), r->iovcnt, 0, r->len);
	r->storage = NULL;
	r->expected = 0;
	qcf_ring_put_nop(k->ring, r);
}

static bool put(struct qcf_queue_kernel *k, struct qcf_queue_request *r)
{
	struct qcowfmt_storage *storage = NULL;
	uint64_t host_offset = 0;

	switch (qcf_queue_find_place(k->image, r, &storage, &host_offset)) {
	case QCF_PLACE_HOST:
		return put_transfer(k, r, storage, host_offset);
	case QCF_PLACE_ZEROS:
		put_zeros(k, r);
		return true;
	case QCF_PLACE_UNKNOWN:
		break;
	}
	return false;
}

bool qcf_queue_kernel_put(struct qcf_queue_kernel *k,
                          struct qcf_queue_request *r)
{
	if (k->ring == NULL || r->operation > QCF_QUEUE_WRITE ||
	    r->len > MAX_TRANSFER)
		return false;
	r->lane = qcf_queue_lanes_join(&k->lanes);
	if (r->lane == 0)
		return false;
	if (!put(k, r)) {
		qcf_queue_lanes_leave(&k->lanes, r->lane);
		return false;
	}
	k->in_ring++;
	qcf_queue_push(&k->fresh, r);
	return true;
}

/* Leave the gate, once; the caller holds the lock of the lanes. */
static void leave_locked(struct qcf_queue_kernel *k,
                         struct qcf_queue_request *r)
{
	if (r->lane == 0)
		return;
	if (r->storage != NULL && r->operation == QCF_QUEUE_WRITE)
		qcf_storage_transferred(r->storage);
	qcf_queue_lanes_leave_locked(&k->lanes, r->lane);
	r->lane = 0;
}

/* Requests the kernel has not taken: all behind the first so many. */
static void withdraw(struct qcf_queue_kernel *k, uint32_t taken,
                     struct qcf_queue_list *rest)
{
	struct qcf_queue_request *r;

	while ((r = qcf_queue_pop(&k->fresh)) != NULL) {
		if (taken > 0) {
			taken--;
			continue;
		}
		qcf_mutex_lock(&k->lanes.lock);
		leave_locked(k, r);
		qcf_mutex_unlock(&k->lanes.lock);
		k->in_ring--;
		qcf_queue_push(rest, r);
	}
}

/* Under the lock, so that what the requests hold is seen by whoever settles. */
static uint32_t count_fresh(struct qcf_queue_kernel *k)
{
	QCF_GUARD(&k->lanes.lock);
	uint32_t count = 0;

	for (struct qcf_queue_request *r = k->fresh.first; r != NULL;
	     r = r->next)
		count++;
	return count;
}

void qcf_queue_kernel_submit(struct qcf_queue_kernel *k,
                             struct qcf_queue_list *rest)
{
	uint32_t count;
	uint32_t taken;

	if (k->fresh.first == NULL)
		return;
	count = count_fresh(k);
	taken = qcf_ring_submit(k->ring);
	if (taken >= count)
		k->fresh.first = NULL;
	else
		withdraw(k, taken, rest);
}

/* ------------------------------------------------------------------ taking out */

int qcf_queue_kernel_take(struct qcf_queue_kernel *k, int max,
                          struct qcf_queue_list *done,
                          struct qcf_queue_list *rest)
{
	uint32_t ready;
	uint32_t i;
	int count = 0;

	if (k->ring == NULL || qcf_ring_ready(k->ring) == 0)
		return 0;
	QCF_GUARD(&k->lanes.lock);
	ready = qcf_ring_ready(k->ring);
	for (i = 0; i < ready && count < max; i++) {
		struct qcf_ring_result result = qcf_ring_look(k->ring, i);
		struct qcf_queue_request *r = result.tag;

		leave_locked(k, r);
		k->in_ring--;
		if (result.value == (int32_t)r->expected) {
			r->result = 0;
			qcf_queue_push(done, r);
			count++;
		} else {
			qcf_queue_push(rest, r);
		}
	}
	qcf_ring_take(k->ring, i);
	return count;
}

bool qcf_queue_kernel_settle(struct qcf_queue_kernel *k)
{
	uint32_t ready;

	if (k->ring == NULL)
		return false;
	QCF_GUARD(&k->lanes.lock);
	ready = qcf_ring_ready(k->ring);
	for (uint32_t i = 0; i < ready; i++) {
		leave_locked(k, qcf_ring_look(k->ring, i).tag);
	}
	return k->lanes.lane[0].count + k->lanes.lane[1].count > 0;
}

void qcf_queue_kernel_wait(struct qcf_queue_kernel *k, int other_fd,
                           int milliseconds)
{
	struct pollfd fds[2] = {
		{ .fd = qcf_ring_fd(k->ring), .events = POLLIN },
		{ .fd = other_fd, .events = POLLIN },
	};

	(void)poll(fds, 2, milliseconds);
}
