/* SPDX-License-Identifier: MIT */
/*
 * convert_pipe.c - pieces of a disk, prepared by many threads and stored in order
 *
 * A ring of slots.  Each worker takes the next piece of the source, reads it,
 * looks for zeros and compresses; the calling thread stores the pieces in the
 * order of their offsets.  What is stored where therefore depends on the source
 * alone, not on the number of threads.  Only with out_of_order do the workers
 * store as well.
 *
 *   FREE -> (worker takes a piece) BUSY -> READY -> (calling thread stores) FREE
 *
 * With in_order workers take turns at reading: piece n is read once the n before
 * it have been.
 *
 * Failure: a worker leaves its failure in its slot and goes on; the calling
 * thread meets it when everything in front of it is stored.  So the failure that
 * is reported is the first one in the order of offsets, and as a rule the same
 * for any number of threads.  Then stop is set, which ends every wait and every
 * search, and the workers are joined.
 *
 * Rules:
 *   - plan_lock guards the planner and is held while metadata of the source is
 *     read; lock is held for moments only.
 *   - taken and the states of slots change under lock.  The rest of a slot
 *     belongs to the thread that made it BUSY, and once READY to the calling
 *     thread.
 *   - no lock is held while callbacks run or data moves.
 */
#include <errno.h>
#include <stdatomic.h>

#include "convert_pipe.h"
#include "thread.h"

/* How long the calling thread waits before it looks whether to go on. */
#define POLL_MSEC 100u

enum slot_state {
	SLOT_FREE,
	SLOT_BUSY,
	SLOT_READY,
};

struct ring_slot {
	struct qcf_slot slot;
	uint64_t number;       /* of its piece */
	enum slot_state state; /* guarded by pipe.lock */
};

struct pipe {
	const struct qcf_pipe_options *o;
	struct ring_slot *ring;
	size_t count;
	uint64_t done_before; /* in the pace */
	atomic_bool stop;
	/* stop is looked at by workers, by the calling thread the pace */
	struct qcf_mutex plan_lock;
	/* guarded by lock */
	struct qcf_mutex lock;
	struct qcf_cond changed;
	uint64_t taken; /* pieces given out so far */
	uint64_t read;  /* of these, read; with in_order */
	bool at_end;    /* there are no more */
};

/* ------------------------------------------------------------------ workers */

static int poll_stop(void *opaque, struct qcowfmt_error **errp)
{
	struct pipe *pipe = opaque;

	if (!atomic_load(&pipe->stop))
		return 0;
	return qcf_fail(errp, ECANCELED, QCOWFMT_ERR_CANCELLED,
	                "another thread failed");
}

static int poll_pace(void *opaque, struct qcowfmt_error **errp)
{
	struct pipe *pipe = opaque;

	return qcf_pace_poll(pipe->o->pace, errp);
}

static void wait_for_turn(struct pipe *pipe, uint64_t number)
{
	QCF_GUARD(&pipe->lock);

	while (pipe->read != number && !atomic_load(&pipe->stop))
		qcf_cond_wait(&pipe->changed, &pipe->lock);
}

static void end_turn(struct pipe *pipe)
{
	QCF_GUARD(&pipe->lock);

	pipe->read++;
	qcf_cond_broadcast(&pipe->changed);
}

static int read_slot(struct pipe *pipe, struct ring_slot *ring)
{
	const struct qcf_pipe_options *o = pipe->o;
	struct qcf_slot *slot = &ring->slot;
	bool is_data = slot->piece.content == QCF_SOURCE_DATA;
	int ret = 0;

	slot->stage = QCOWFMT_CONVERT_READING;
	slot->is_unread = is_data && o->sink->skips_reading != NULL &&
	                  o->sink->skips_reading(o->sink, slot);
	if (o->in_order)
		wait_for_turn(pipe, ring->number);
	if (is_data && !slot->is_unread)
		ret = qcf_slot_read(&o->fill, slot, &slot->error);
	if (o->in_order)
		end_turn(pipe);
	return ret;
}

static int work_on(struct pipe *pipe, struct ring_slot *ring)
{
	const struct qcf_pipe_options *o = pipe->o;
	struct qcf_slot *slot = &ring->slot;
	int ret = read_slot(pipe, ring);

	if (ret < 0 || slot->is_unread ||
	    slot->piece.content != QCF_SOURCE_DATA)
		return ret;
	slot->stage = QCOWFMT_CONVERT_WRITING;
	qcf_slot_find_zeros(&o->fill, slot);
	return o->sink->prepare == NULL
	               ? 0
	               : o->sink->prepare(o->sink, slot, &slot->error);
}

static void fill_slot(struct pipe *pipe, struct ring_slot *ring)
{
	struct qcf_slot *slot = &ring->slot;

	slot->ret = work_on(pipe, ring);
	if (slot->ret < 0 || !pipe->o->out_of_order)
		return;
	slot->stage = QCOWFMT_CONVERT_WRITING;
	slot->ret = pipe->o->sink->store(pipe->o->sink, slot, &slot->error);
}

/* Wait until the next slot of the ring is free; NULL if all is over. */
static struct ring_slot *wait_for_free(struct pipe *pipe)
{
	QCF_GUARD(&pipe->lock);
	struct ring_slot *next = &pipe->ring[pipe->taken % pipe->count];

	while (!atomic_load(&pipe->stop) && !pipe->at_end &&
	       next->state != SLOT_FREE)
		qcf_cond_wait(&pipe->changed, &pipe->lock);
	return atomic_load(&pipe->stop) || pipe->at_end ? NULL : next;
}

/* Plan into the next slot: a piece, a failure, or nothing any more. */
static struct ring_slot *take_slot(struct pipe *pipe)
{
	QCF_GUARD(&pipe->plan_lock);
	struct ring_slot *next = wait_for_free(pipe);
	int ret;

	if (next == NULL)
		return NULL;
	qcf_slot_reset(&next->slot);
	ret = qcf_plan_next(pipe->o->planner, poll_stop, pipe,
	                    &next->slot.piece, &next->slot.error);
	if (ret < 0) {
		next->slot.ret = ret;
		next->slot.stage = QCOWFMT_CONVERT_READING;
		next->slot.piece.offset = pipe->o->planner->position;
	}
	QCF_GUARD(&pipe->lock);
	pipe->at_end = ret <= 0;
	if (ret != 0) {
		next->state = ret > 0 ? SLOT_BUSY : SLOT_READY;
		next->number = pipe->taken++;
	}
	qcf_cond_broadcast(&pipe->changed);
	return ret > 0 ? next : NULL;
}

static void set_state(struct pipe *pipe, struct ring_slot *slot,
                      enum slot_state state)
{
	QCF_GUARD(&pipe->lock);

	slot->state = state;
	qcf_cond_broadcast(&pipe->changed);
}

static void *worker(void *argument)
{
	struct pipe *pipe = argument;
	struct ring_slot *slot;

	while ((slot = take_slot(pipe)) != NULL) {
		fill_slot(pipe, slot);
		set_state(pipe, slot, SLOT_READY);
	}
	return NULL;
}

/* ------------------------------------------------------- the calling thread */

static void report_lost(const struct qcf_pipe_options *o,
                        const struct qcf_slot *slot)
{
	for (size_t i = 0; i < slot->lost_count; i++) {
		const struct qcf_lost *lost = &slot->lost[i];
		const struct qcf_source_image *image =
			qcf_source_image_at(o->fill.source, lost->offset);

		o->result->lost_bytes += lost->len;
		if (o->salvage != NULL)
			o->salvage(o->salvage_opaque,
			           (size_t)(image - o->fill.source->images),
			           lost->offset - image->start, lost->len,
			           lost->message);
	}
}

/* What became of a slot whose turn has come. */
static int finish_slot(struct pipe *pipe, struct qcf_slot *slot,
                       struct qcowfmt_error **errp)
{
	const struct qcf_pipe_options *o = pipe->o;

	if (slot->ret == 0)
		report_lost(o, slot);
	/* Input may have ended in front of it. */
	if (slot->ret == 0 && !o->out_of_order && slot->piece.length > 0) {
		slot->stage = QCOWFMT_CONVERT_WRITING;
		slot->ret = o->sink->store(o->sink, slot, &slot->error);
	}
	if (slot->ret < 0) {
		o->result->failed_stage = slot->stage;
		o->result->failed_offset = slot->piece.offset;
		qcf_error_move(errp, qcf_take(&slot->error));
		return slot->ret;
	}
	return qcf_pace_add(o->pace,
	                    o->in_order
	                            ? pipe->done_before + slot->piece.offset +
	                                      slot->piece.length - o->pace->done
	                            : slot->piece.progress,
	                    slot->piece.length, errp);
}

/*
 * Wait for the slot of piece number n.  Returns 1 once it is ready, 0 if there
 * is no such piece.
 */
static int wait_for_slot(struct pipe *pipe, uint64_t n,
                         struct qcowfmt_error **errp)
{
	struct ring_slot *slot = &pipe->ring[n % pipe->count];

	for (;;) {
		int ret;

		qcf_mutex_lock(&pipe->lock);
		if (slot->state != SLOT_READY &&
		    !(pipe->at_end && n == pipe->taken))
			qcf_cond_wait_for(&pipe->changed, &pipe->lock,
			                  POLL_MSEC);
		ret = slot->state == SLOT_READY          ? 1
		      : pipe->at_end && n == pipe->taken ? 0
		                                         : -EAGAIN;
		qcf_mutex_unlock(&pipe->lock);
		if (ret >= 0)
			return ret;
		ret = qcf_pace_poll(pipe->o->pace, errp);
		if (ret < 0)
			return ret;
	}
}

static int store_all(struct pipe *pipe, struct qcowfmt_error **errp)
{
	int ret;

	for (uint64_t n = 0; (ret = wait_for_slot(pipe, n, errp)) > 0; n++) {
		struct ring_slot *slot = &pipe->ring[n % pipe->count];

		ret = finish_slot(pipe, &slot->slot, errp);
		if (ret < 0)
			return ret;
		set_state(pipe, slot, SLOT_FREE);
	}
	return ret;
}

/* Without workers. */
static int do_all(struct pipe *pipe, struct qcowfmt_error **errp)
{
	struct ring_slot *ring = &pipe->ring[0];
	struct qcf_slot *slot = &ring->slot;
	int ret;

	for (;;) {
		qcf_slot_reset(slot);
		ret = qcf_plan_next(pipe->o->planner, poll_pace, pipe,
		                    &slot->piece, errp);
		if (ret < 0) {
			pipe->o->result->failed_stage = QCOWFMT_CONVERT_READING;
			pipe->o->result->failed_offset =
				pipe->o->planner->position;
		}
		if (ret <= 0)
			return ret;
		fill_slot(pipe, ring);
		ring->number++;
		ret = finish_slot(pipe, slot, errp);
		if (ret < 0)
			return ret;
	}
}

/* ------------------------------------------------------------------ threads */

static void stop_all(struct pipe *pipe)
{
	QCF_GUARD(&pipe->lock);

	atomic_store(&pipe->stop, true);
	qcf_cond_broadcast(&pipe->changed);
}

static uint32_t start_workers(struct pipe *pipe, pthread_t *threads,
                              uint32_t wanted)
{
	uint32_t count = 0;

	while (count < wanted &&
	       qcf_thread_start(&threads[count], worker, pipe))
		count++;
	return count;
}

/* Fewer workers than wanted, or none, do the same work. */
static int run_pipe(struct pipe *pipe, struct qcowfmt_error **errp)
{
	pthread_t threads[QCF_MAX_WORKERS];
	uint32_t count = start_workers(
		pipe, threads, QCF_MIN(pipe->o->threads, QCF_MAX_WORKERS));
	int ret;

	if (count == 0)
		return do_all(pipe, errp);
	ret = store_all(pipe, errp);
	if (ret < 0)
		stop_all(pipe);
	while (count > 0)
		pthread_join(threads[--count], NULL);
	return ret;
}

static int make_slots(struct pipe *pipe, struct qcowfmt_error **errp)
{
	const struct qcf_pipe_options *o = pipe->o;
	/* One for each worker, and two so that neither side waits for the
	 * other. */
	size_t count =
		o->threads == 0 ? 1 : QCF_MIN(o->threads, QCF_MAX_WORKERS) + 2;
	int ret = 0;

	pipe->ring = calloc(count, sizeof(*pipe->ring));
	if (pipe->ring == NULL)
		return qcf_fail_oom(errp);
	while (ret == 0 && pipe->count < count) {
		ret = qcf_slot_init(&pipe->ring[pipe->count].slot,
		                    o->planner->buffer_size, o->fill.unit,
		                    o->pack, errp);
		if (ret == 0)
			pipe->count++;
	}
	return ret;
}

int qcf_pipe_run(const struct qcf_pipe_options *options,
                 struct qcowfmt_error **errp)
{
	struct pipe pipe = {
		.o = options,
		.done_before = options->pace->done,
	};
	int ret;

	qcf_mutex_init(&pipe.plan_lock, QCF_RANK_PLAN);
	qcf_mutex_init(&pipe.lock, QCF_RANK_PIPE);
	qcf_cond_init(&pipe.changed);
	ret = make_slots(&pipe, errp);
	if (ret == 0)
		ret = run_pipe(&pipe, errp);
	for (size_t i = 0; i < pipe.count; i++)
		qcf_slot_fini(&pipe.ring[i].slot);
	free(pipe.ring);
	qcf_cond_fini(&pipe.changed);
	qcf_mutex_fini(&pipe.lock);
	qcf_mutex_fini(&pipe.plan_lock);
	return ret;
}
