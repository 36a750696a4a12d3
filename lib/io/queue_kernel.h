/* SPDX-License-Identifier: MIT */
/*
 * queue_kernel.h - requests of a queue whose data the kernel moves
 *
 * Only transfers to and from places that are plain to see.  Whatever does not end
 * in full success goes to a thread, which does the request again from the
 * beginning: there short transfers, the end of the file and errors are told from
 * each other.
 */
#ifndef QCF_QUEUE_KERNEL_H
#define QCF_QUEUE_KERNEL_H

#include "queue_lanes.h"
#include "queue_request.h"
#include "ring.h"

struct qcf_queue_kernel {
	struct qcowfmt_image *image;
	struct qcf_ring *ring; /* NULL: the kernel is not asked */
	uint32_t in_ring;      /* requests put into it and not taken out */
	struct qcf_queue_list fresh; /* put in since the last submission */
	struct qcf_queue_lanes lanes;
};

/* Without io_uring nothing can ever be put in. */
void qcf_queue_kernel_init(struct qcf_queue_kernel *k,
                           struct qcowfmt_image *image, uint32_t depth,
                           bool allowed);

/* Waits for what is in the kernel. */
void qcf_queue_kernel_fini(struct qcf_queue_kernel *k);

/* Put a request in; false if it is one for a thread. */
bool qcf_queue_kernel_put(struct qcf_queue_kernel *k,
                          struct qcf_queue_request *r);

/* Submit what was put in.  What the kernel does not take is for threads and goes
 * to rest. */
void qcf_queue_kernel_submit(struct qcf_queue_kernel *k,
                             struct qcf_queue_list *rest);

/* Take up to max results: requests that succeeded go to done, others to rest. */
int qcf_queue_kernel_take(struct qcf_queue_kernel *k, int max,
                          struct qcf_queue_list *done,
                          struct qcf_queue_list *rest);

/* Leave the gate for requests that are over; returns whether there are others in
 * it.  Any thread. */
bool qcf_queue_kernel_settle(struct qcf_queue_kernel *k);

/* Wait until there are results or other_fd, if it is not negative, is readable, at
 * most so many milliseconds. */
void qcf_queue_kernel_wait(struct qcf_queue_kernel *k, int other_fd,
                           int milliseconds);

#endif
