/* SPDX-License-Identifier: MIT */
/*
 * queue.c - many requests of one thread at once
 *
 * A request for data whose place is plain to see goes to the kernel, everything
 * else to threads.  Memory is bounded: a queue has as many requests as it is deep,
 * and a completion stays in its request until it is reaped.
 *
 * Everything here belongs to the thread that uses the queue, with two exceptions:
 * queue_work.c, and qcf_queue_kernel_settle(), by which others leave the gate for
 * requests that are over.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "queue.h"

/* ----------------------------------------------------------------- life cycle */

static bool settle_queues(void *opaque)
{
	struct qcowfmt_image *image = opaque;
	QCF_GUARD(&image->queues_lock);
	bool some = false;

	for (struct qcowfmt_queue *q = image->queues; q != NULL; q = q->next)
		some = qcf_queue_kernel_settle(&q->kernel) || some;
	return some;
}

static int link_queue(struct qcowfmt_queue *queue, struct qcowfmt_error **errp)
{
	struct qcowfmt_image *image = queue->image;
	QCF_GUARD(&image->queues_lock);

	if (image->queue_count == QCF_MAX_QUEUES)
		return qcf_fail(errp, EBUSY, QCOWFMT_ERR_LIMIT,
		                "%s has %d queues, which is all it can have",
		                qcf_image_top(image)->storage->name,
		                QCF_MAX_QUEUES);
	qcf_gate_set_settle(&image->gate, settle_queues, image);
	queue->next = image->queues;
	image->queues = queue;
	image->queue_count++;
	return 0;
}

static void unlink_queue(struct qcowfmt_queue *queue)
{
	struct qcowfmt_image *image = queue->image;
	QCF_GUARD(&image->queues_lock);
	struct qcowfmt_queue **at = &image->queues;

	while (*at != queue)
		at = &(*at)->next;
	*at = queue->next;
	image->queue_count--;
}

static void free_memory(struct qcowfmt_queue *queue)
{
	for (uint32_t i = 0; i < queue->depth; i++) {
		free(queue->requests[i].large_iov);
		qcowfmt_error_free(queue->requests[i].error);
	}
	free(queue->requests);
	free(queue);
}

static bool watch(int epoll_fd, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* With a ring, both it and the work are waited for. */
static int join_descriptors(struct qcowfmt_queue *queue,
                            struct qcowfmt_error **errp)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	queue->both_fd = fd;
	if (fd < 0 || !watch(fd, qcf_ring_fd(queue->kernel.ring)) ||
	    !watch(fd, queue->work.event_fd))
		return qcf_fail_sys(errp, errno, "making an event descriptor");
	qcf_queue_work_signal(&queue->work);
	return 0;
}

static void tear_down(struct qcowfmt_queue *queue)
{
	if (queue->both_fd >= 0)
		close(queue->both_fd);
	qcf_queue_kernel_fini(&queue->kernel);
	qcf_queue_work_fini(&queue->work);
}

static int set_up(struct qcowfmt_queue *queue,
                  const struct qcf_queue_options *o,
                  struct qcowfmt_error **errp)
{
	int ret = qcf_queue_work_init(&queue->work, queue->image, o->workers,
	                              errp);

	if (ret < 0)
		return ret;
	queue->both_fd = -1;
	qcf_queue_kernel_init(&queue->kernel, queue->image, o->depth, o->uring);
	if (queue->kernel.ring != NULL)
		ret = join_descriptors(queue, errp);
	if (ret == 0)
		ret = link_queue(queue, errp);
	if (ret < 0)
		tear_down(queue);
	return ret;
}

int qcf_queue_new(struct qcowfmt_image *image,
                  const struct qcf_queue_options *o,
                  struct qcowfmt_queue **queue, struct qcowfmt_error **errp)
{
	struct qcowfmt_queue *q = calloc(1, sizeof(*q));
	int ret;

	if (q == NULL)
		return qcf_fail_oom(errp);
	q->image = image;
	q->depth = o->depth;
	q->requests = calloc(o->depth, sizeof(*q->requests));
	if (q->requests == NULL) {
		free(q);
		return qcf_fail_oom(errp);
	}
	for (uint32_t i = 0; i < o->depth; i++)
		qcf_queue_push(&q->free, &q->requests[i]);
	ret = set_up(q, o, errp);
	if (ret < 0) {
		free_memory(q);
		return ret;
	}
	*queue = q;
	return 0;
}

void qcf_queue_free(struct qcowfmt_queue *queue)
{
	unlink_queue(queue);
	tear_down(queue);
	free_memory(queue);
}

/* ------------------------------------------------------------------ putting in */

static int copy_vector(struct qcf_queue_request *r,
                       const struct qcf_queue_order *order,
                       struct qcowfmt_error **errp)
{
	struct iovec *to = r->small_iov;

	r->iovcnt = order->iovcnt;
	if (order->iovcnt > QCF_QUEUE_SMALL_IOV) {
		r->large_iov = malloc((size_t)order->iovcnt * sizeof(*to));
		if (r->large_iov == NULL)
			return qcf_fail_oom(errp);
		to = r->large_iov;
	}
	for (int i = 0; i < order->iovcnt; i++)
		to[i] = order->iov[i];
	return 0;
}

int qcf_queue_put(struct qcowfmt_queue *queue,
                  const struct qcf_queue_order *order,
                  struct qcowfmt_error **errp)
{
	struct qcf_queue_request *r = queue->free.first;
	int ret;

	if (r == NULL)
		return qcf_fail(errp, EAGAIN, QCOWFMT_ERR_LIMIT,
		                "the queue is full: completions have to be "
		                "reaped first");
	ret = copy_vector(r, order, errp);
	if (ret < 0)
		return ret;
	(void)qcf_queue_pop(&queue->free);
	r->operation = order->operation;
	r->may_unmap = order->may_unmap;
	r->guest_offset = order->guest_offset;
	r->len = order->len;
	r->user_data = order->user_data;
	qcf_queue_push(&queue->fresh, r);
	queue->in_use++;
	return 0;
}

static void give_to_threads(struct qcowfmt_queue *queue,
                            struct qcf_queue_list *list)
{
	for (struct qcf_queue_request *r = list->first; r != NULL; r = r->next)
		queue->with_threads++;
	qcf_queue_work_add(&queue->work, list);
}

/* Threads begin before the kernel is asked, which may copy data meanwhile. */
void qcf_queue_submit(struct qcowfmt_queue *queue)
{
	struct qcf_queue_list rest = { NULL, NULL };
	struct qcf_queue_request *r;

	while ((r = qcf_queue_pop(&queue->fresh)) != NULL) {
		if (!qcf_queue_kernel_put(&queue->kernel, r))
			qcf_queue_push(&rest, r);
	}
	give_to_threads(queue, &rest);
	qcf_queue_kernel_submit(&queue->kernel, &rest);
	give_to_threads(queue, &rest);
}

/* --------------------------------------------------------------------- reaping */

/* Make completions of requests, which are FREE afterwards. */
static int complete(struct qcowfmt_queue *queue, struct qcf_queue_list *done,
                    struct qcowfmt_completion *completions)
{
	struct qcf_queue_request *r;
	int count = 0;

	while ((r = qcf_queue_pop(done)) != NULL) {
		completions[count++] = (struct qcowfmt_completion){
			.user_data = r->user_data,
			.error = qcf_take(&r->error),
			.result = r->result,
		};
		free(qcf_take(&r->large_iov));
		qcf_queue_push(&queue->free, r);
		queue->in_use--;
	}
	return count;
}

static int reap_now(struct qcowfmt_queue *queue,
                    struct qcowfmt_completion *completions, int max)
{
	struct qcf_queue_list done = { NULL, NULL };
	struct qcf_queue_list rest = { NULL, NULL };
	int count = 0;

	if (queue->with_threads > 0) {
		done = qcf_queue_work_take(&queue->work, max);
		count = complete(queue, &done, completions);
		queue->with_threads -= (uint32_t)count;
	}
	(void)qcf_queue_kernel_take(&queue->kernel, max - count, &done, &rest);
	count += complete(queue, &done, completions + count);
	give_to_threads(queue, &rest);
	return count;
}

static int64_t now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* msec < 0: as long as it takes. */
static void wait_for_some(struct qcowfmt_queue *queue, int64_t msec)
{
	int most =
		(int)QCF_MIN(msec < 0 ? INT32_MAX : msec, (int64_t)INT32_MAX);

	/* No other thread can put something in meanwhile. */
	if (msec < 0 && queue->with_threads == 0 && queue->kernel.in_ring > 0)
		qcf_ring_wait(queue->kernel.ring);
	else if (queue->kernel.ring != NULL)
		qcf_queue_kernel_wait(&queue->kernel, queue->work.event_fd,
		                      most);
	else
		qcf_queue_work_wait(&queue->work, (uint32_t)most);
}

int qcf_queue_reap(struct qcowfmt_queue *queue,
                   struct qcowfmt_completion *completions, int max, int timeout)
{
	int64_t end = 0;
	int count;

	qcf_queue_submit(queue);
	count = reap_now(queue, completions, max);
	if (timeout > 0 && count == 0)
		end = now_msec() + timeout;
	while (count == 0 && max > 0 && queue->in_use > 0 && timeout != 0) {
		int64_t left = timeout < 0 ? -1 : end - now_msec();

		if (timeout > 0 && left <= 0)
			break;
		wait_for_some(queue, left);
		count = reap_now(queue, completions, max);
	}
	return count;
}

void qcf_queue_cancel(struct qcowfmt_queue *queue)
{
	for (struct qcf_queue_request *r = queue->fresh.first; r != NULL;
	     r = r->next)
		queue->with_threads++;
	qcf_queue_work_cancel(&queue->work, &queue->fresh);
}

int qcf_queue_event_fd(struct qcowfmt_queue *queue)
{
	if (queue->both_fd >= 0)
		return queue->both_fd;
	qcf_queue_work_signal(&queue->work);
	return queue->work.event_fd;
}
