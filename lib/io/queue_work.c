/* SPDX-License-Identifier: MIT */
/*
 * queue_work.c - requests of a queue that threads do
 *
 * event_fd is written and read under the lock, so that it is readable if and only
 * if something is done.  It never blocks: its count is 0 or 1.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "guest_io.h"
#include "queue_work.h"
#include "thread.h"

/* ---------------------------------------------------------------- one request */

static int do_request(struct qcowfmt_image *image, struct qcf_queue_request *r,
                      struct qcowfmt_error **errp)
{
	const struct iovec *iov = qcf_queue_request_iov(r);

	switch (r->operation) {
	case QCF_QUEUE_READ:
		return qcf_guest_read(image, iov, r->iovcnt, r->guest_offset,
		                      r->len, errp);
	case QCF_QUEUE_WRITE:
		return qcf_guest_write(image, iov, r->iovcnt, r->guest_offset,
		                       r->len, errp);
	case QCF_QUEUE_ZERO:
		return qcf_guest_write_zeroes(image, r->guest_offset, r->len,
		                              r->may_unmap, errp);
	case QCF_QUEUE_DISCARD:
		return qcf_guest_discard(image, r->guest_offset, r->len, errp);
	case QCF_QUEUE_FLUSH:
		return qcf_image_flush(image, errp);
	}
	return -EINVAL;
}

/* ------------------------------------------------------------- telling of it */

static void set_signal(struct qcf_queue_work *work, bool signalled)
{
	uint64_t count = 1;
	ssize_t moved;

	if (work->signalled == signalled)
		return;
	moved = signalled ? write(work->event_fd, &count, sizeof(count))
	                  : read(work->event_fd, &count, sizeof(count));
	if (moved == (ssize_t)sizeof(count))
		work->signalled = signalled;
}

/* To be called when the list of what is done has changed. */
static void tell_locked(struct qcf_queue_work *work)
{
	bool some = work->done.first != NULL;

	if (work->signals)
		set_signal(work, some);
	if (some && work->waiting)
		qcf_cond_broadcast(&work->is_done);
}

void qcf_queue_work_signal(struct qcf_queue_work *work)
{
	QCF_GUARD(&work->lock);

	work->signals = true;
	tell_locked(work);
}

/* -------------------------------------------------------------------- threads */

/* The next request to do; NULL if the thread is to end. */
static struct qcf_queue_request *next_request(struct qcf_queue_work *work)
{
	QCF_GUARD(&work->lock);

	work->idle++;
	while (work->todo.first == NULL && !work->stop)
		qcf_cond_wait(&work->to_do, &work->lock);
	work->idle--;
	if (work->stop)
		return NULL;
	work->todo_count--;
	return qcf_queue_pop(&work->todo);
}

static void finish(struct qcf_queue_work *work, struct qcf_queue_request *r)
{
	QCF_GUARD(&work->lock);

	qcf_queue_push(&work->done, r);
	tell_locked(work);
}

static void *run(void *argument)
{
	struct qcf_queue_work *work = argument;
	struct qcf_queue_request *r;

	while ((r = next_request(work)) != NULL) {
		r->result = do_request(work->image, r, &r->error);
		finish(work, r);
	}
	return NULL;
}

/* How many more threads would have something to do; wakes those there are. */
static uint32_t hand_over(struct qcf_queue_work *work,
                          struct qcf_queue_list *list)
{
	QCF_GUARD(&work->lock);
	struct qcf_queue_request *r;

	while ((r = qcf_queue_pop(list)) != NULL) {
		qcf_queue_push(&work->todo, r);
		work->todo_count++;
		qcf_cond_signal(&work->to_do);
	}
	return work->todo_count > work->idle ? work->todo_count - work->idle
	                                     : 0;
}

/* Without a thread the owner does it all. */
static void do_all(struct qcf_queue_work *work, struct qcf_queue_list *list)
{
	struct qcf_queue_request *r;

	while ((r = qcf_queue_pop(list)) != NULL) {
		r->result = do_request(work->image, r, &r->error);
		finish(work, r);
	}
}

static bool start_thread(struct qcf_queue_work *work)
{
	if (work->thread_count >= work->max_threads ||
	    !qcf_thread_start(&work->threads[work->thread_count], run, work))
		return false;
	work->thread_count++;
	return true;
}

void qcf_queue_work_add(struct qcf_queue_work *work,
                        struct qcf_queue_list *list)
{
	uint32_t wanted;

	if (list->first == NULL)
		return;
	if (work->thread_count == 0 && !start_thread(work)) {
		do_all(work, list);
		return;
	}
	wanted = hand_over(work, list);
	while (wanted > 0 && start_thread(work))
		wanted--;
}

/* -------------------------------------------------------------------- results */

struct qcf_queue_list qcf_queue_work_take(struct qcf_queue_work *work, int max)
{
	QCF_GUARD(&work->lock);
	struct qcf_queue_list taken = { NULL, NULL };
	struct qcf_queue_request *r;

	while (max-- > 0 && (r = qcf_queue_pop(&work->done)) != NULL)
		qcf_queue_push(&taken, r);
	tell_locked(work);
	return taken;
}

void qcf_queue_work_wait(struct qcf_queue_work *work, uint32_t milliseconds)
{
	QCF_GUARD(&work->lock);

	work->waiting = true;
	if (work->done.first == NULL)
		qcf_cond_wait_for(&work->is_done, &work->lock, milliseconds);
	work->waiting = false;
}

static void cancel_locked(struct qcf_queue_work *work,
                          struct qcf_queue_list *list)
{
	struct qcf_queue_request *r;

	while ((r = qcf_queue_pop(list)) != NULL) {
		r->result =
			qcf_fail(&r->error, ECANCELED, QCOWFMT_ERR_CANCELLED,
		                 "the request was cancelled before it had "
		                 "begun");
		qcf_queue_push(&work->done, r);
	}
}

void qcf_queue_work_cancel(struct qcf_queue_work *work,
                           struct qcf_queue_list *list)
{
	QCF_GUARD(&work->lock);

	cancel_locked(work, &work->todo);
	cancel_locked(work, list);
	work->todo_count = 0;
	tell_locked(work);
}

/* ----------------------------------------------------------------- life cycle */

int qcf_queue_work_init(struct qcf_queue_work *work,
                        struct qcowfmt_image *image, uint32_t max_threads,
                        struct qcowfmt_error **errp)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return qcf_fail_sys(errp, errno, "making an event descriptor");
	*work = (struct qcf_queue_work){
		.image = image,
		.event_fd = fd,
		.max_threads = max_threads,
	};
	qcf_mutex_init(&work->lock, QCF_RANK_QUEUE);
	qcf_cond_init(&work->to_do);
	qcf_cond_init(&work->is_done);
	return 0;
}

static void stop_threads(struct qcf_queue_work *work)
{
	QCF_GUARD(&work->lock);

	work->stop = true;
	qcf_cond_broadcast(&work->to_do);
}

void qcf_queue_work_fini(struct qcf_queue_work *work)
{
	stop_threads(work);
	while (work->thread_count > 0)
		pthread_join(work->threads[--work->thread_count], NULL);
	qcf_cond_fini(&work->is_done);
	qcf_cond_fini(&work->to_do);
	qcf_mutex_fini(&work->lock);
	close(work->event_fd);
}
