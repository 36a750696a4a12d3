/* SPDX-License-Identifier: MIT */
/*
 * img_convert_copy.c - moving the data of "convert" from source to target
 *
 * A pipeline over a ring of slots.  Reader threads take the next piece of the
 * source in order, read it and look for zeros in it; the calling thread writes
 * the pieces in the same order.  What is written where therefore depends on
 * the source alone, not on the number of threads.  Only with out_of_order do
 * the readers write as well.
 *
 * Pieces start and end at units, so that a cluster of the target is written as
 * a whole or not at all.  A unit that holds any data counts as data.
 *
 * Rules: the ring's lock guards the planner and all slot states; a slot's other
 * members belong to the thread that made its state BUSY, and once READY to the
 * calling thread.
 */
#include "img_convert_copy.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "img_zero.h"
#include "tool_error.h"

#define BUFFER_SIZE (2 * MIB)

/* Buffers that direct I/O can use as they are. */
#define BUFFER_ALIGNMENT 4096

enum slot_state {
	SLOT_FREE,
	SLOT_BUSY,  /* a reader fills it */
	SLOT_READY, /* waits to be written */
};

struct slot {
	enum slot_state state;
	enum img_content content;
	uint64_t offset;
	uint64_t length;
	uint64_t progress;    /* what it adds to the progress */
	char *buffer;         /* of CONTENT_DATA */
	unsigned char *zeros; /* per unit of the buffer: it is all zeros */
};

struct ring {
	struct img_copy *copy;
	size_t buffer_size; /* a multiple of the unit */
	size_t count;
	struct slot *slots;
	struct img_progress progress; /* of the calling thread */
	struct timespec started;
	uint64_t written; /* for the rate limit, calling thread */

	/* Guarded by lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t position; /* where the next piece starts */
	uint64_t taken;    /* pieces given to readers so far */
	bool is_planned;   /* there are no more pieces */
	int ret;           /* the first failure */
	struct qcowfmt_error *error;
};

/* ----------------------------------------------------------------- planning */

/* Follow one kind of content, from extent to extent, up to limit at most. */
static int extend(struct img_source *source, enum img_content wanted,
                  uint64_t limit, uint64_t *end, struct qcowfmt_error **errp)
{
	while (*end < limit) {
		enum img_content content;
		uint64_t next;
		int ret =
			qcf_source_content(source, *end, &content, &next, errp);

		if (ret < 0)
			return ret;
		if (content != wanted)
			break;
		*end = next;
	}
	return 0;
}

/* Whole units of data, as many as fit a buffer. */
static int plan_data(struct ring *ring, struct slot *piece,
                     struct qcowfmt_error **errp)
{
	struct img_source *source = ring->copy->source;
	uint64_t unit = ring->copy->unit;
	uint64_t limit =
		qcf_min(qcf_round_down(piece->offset, ring->buffer_size) +
	                        ring->buffer_size,
	                source->size);
	uint64_t end = qcf_min(piece->offset + unit, limit);
	uint64_t before = 0;
	int ret = 0;

	if (ring->copy->write_all)
		end = limit;
	while (ret == 0 && end < limit && end != before) {
		before = end;
		ret = extend(source, CONTENT_DATA, limit, &end, errp);
		end = qcf_min(qcf_round_up(end, unit), limit);
	}
	piece->content = CONTENT_DATA;
	piece->length = end - piece->offset;
	return ret;
}

/* The next piece of the source, from ring->position on. */
static int plan_piece(struct ring *ring, struct slot *piece,
                      struct qcowfmt_error **errp)
{
	struct img_source *source = ring->copy->source;
	uint64_t end = ring->position;
	int ret;

	piece->offset = ring->position;
	if (ring->copy->write_all)
		return plan_data(ring, piece, errp);
	ret = qcf_source_content(source, piece->offset, &piece->content, &end,
	                         errp);
	if (ret == 0 && piece->content != CONTENT_DATA)
		ret = extend(source, piece->content, source->size, &end, errp);
	if (ret < 0)
		return ret;
	if (end < source->size)
		end = qcf_round_down(end, ring->copy->unit);
	if (piece->content == CONTENT_DATA || end <= piece->offset)
		return plan_data(ring, piece, errp);
	piece->length = end - piece->offset;
	return 0;
}

static bool needs_work(const struct img_copy *copy, const struct slot *piece)
{
	return piece->content == CONTENT_DATA ||
	       (piece->content == CONTENT_ZERO &&
	        piece->offset < copy->zeros_below);
}

/*
 * Plan up to the next piece that needs work, whose members are copied to slot.
 * Returns 0 at the end of the source, 1 for a piece.
 */
static int next_piece(struct ring *ring, struct slot *slot,
                      struct qcowfmt_error **errp)
{
	uint64_t start = ring->position;

	while (ring->position < ring->copy->source->size) {
		struct slot piece;
		int ret = plan_piece(ring, &piece, errp);

		if (ret < 0)
			return ret;
		ring->position = piece.offset + piece.length;
		if (!needs_work(ring->copy, &piece))
			continue;
		slot->content = piece.content;
		slot->offset = piece.offset;
		slot->length = piece.length;
		slot->progress = ring->position - start;
		if (ring->copy->show_progress)
			slot->progress = piece.content == CONTENT_DATA
			                         ? piece.length
			                         : 0;
		return 1;
	}
	return 0;
}

/* How much there is to read: what the progress shown is measured by. */
static int count_data(struct ring *ring, uint64_t *total,
                      struct qcowfmt_error **errp)
{
	struct slot piece;
	int ret;

	*total = 0;
	while ((ret = next_piece(ring, &piece, errp)) > 0)
		*total += piece.progress;
	ring->position = 0;
	return ret;
}

/* ----------------------------------------------------------------- failure */

/* Keep the first failure and let everybody stop. */
static void fail(struct ring *ring, int ret, const char *what, uint64_t offset,
                 struct qcowfmt_error *error)
{
	pthread_mutex_lock(&ring->lock);
	if (ring->ret == 0) {
		ring->ret = ret;
		ring->error = error;
		error = NULL;
		ring->copy->failed_at = what;
		ring->copy->failed_offset = offset;
	}
	pthread_cond_broadcast(&ring->changed);
	pthread_mutex_unlock(&ring->lock);
	qcowfmt_error_free(error);
}

/* ----------------------------------------------------------------- writing */

static int write_zeroes(const struct img_copy *copy, uint64_t offset,
                        uint64_t len, struct qcowfmt_error **errp)
{
	if (offset >= copy->zeros_below)
		return 0;
	len = qcf_min(len, copy->zeros_below - offset);
	return qcowfmt_write_zeroes(copy->target, offset, len,
	                            QCOWFMT_ZERO_MAY_UNMAP, errp);
}

/*
 * Write data compressed if that was asked for.  A cluster that the source fills
 * only in part, with more of the disk behind it, is written plainly.
 */
static int write_data(const struct img_copy *copy, const char *buffer,
                      uint64_t offset, uint64_t len,
                      struct qcowfmt_error **errp)
{
	uint64_t whole = len;
	int ret = 0;

	if (!copy->compress)
		return qcowfmt_pwrite(copy->target, buffer, (size_t)len, offset,
		                      errp);
	if (offset + len != qcowfmt_get_size(copy->target))
		whole = qcf_round_down(len, copy->unit);
	if (whole > 0)
		ret = qcowfmt_pwrite_compressed(copy->target, buffer,
		                                (size_t)whole, offset, errp);
	if (ret == 0 && whole < len)
		ret = qcowfmt_pwrite(copy->target, buffer + whole,
		                     (size_t)(len - whole), offset + whole,
		                     errp);
	return ret;
}

/* Write the units of a buffer, those that are zero apart from the others. */
static int write_units(const struct img_copy *copy, const struct slot *slot,
                       struct qcowfmt_error **errp)
{
	uint64_t start = 0;
	int ret = 0;

	while (ret == 0 && start < slot->length) {
		unsigned char is_zero = slot->zeros[start / copy->unit];
		uint64_t end = start;

		while (end < slot->length &&
		       slot->zeros[end / copy->unit] == is_zero)
			end = qcf_min(end + copy->unit, slot->length);
		if (is_zero)
			ret = write_zeroes(copy, slot->offset + start,
			                   end - start, errp);
		else
			ret = write_data(copy, slot->buffer + start,
			                 slot->offset + start, end - start,
			                 errp);
		start = end;
	}
	return ret;
}

static void write_slot(struct ring *ring, const struct slot *slot)
{
	const struct img_copy *copy = ring->copy;
	struct qcowfmt_error *error = NULL;
	int ret;

	if (slot->content == CONTENT_DATA)
		ret = write_units(copy, slot, &error);
	else
		ret = write_zeroes(copy, slot->offset, slot->length, &error);
	if (ret == 0 && copy->write_through)
		ret = qcowfmt_flush(copy->target, &error);
	if (ret < 0)
		fail(ring, ret, "writing", slot->offset, error);
}

/* Wait until as much time has gone by as the data so far may take. */
static void limit_rate(struct ring *ring, uint64_t amount)
{
	uint64_t rate = ring->copy->rate_limit;
	struct timespec due = ring->started;
	uint64_t rest;

	ring->written += amount;
	if (rate == 0)
		return;
	rest = ring->written % rate;
	due.tv_sec += (time_t)(ring->written / rate);
	due.tv_nsec += (long)((double)rest * 1e9 / (double)rate);
	if (due.tv_nsec >= 1000000000) {
		due.tv_nsec -= 1000000000;
		due.tv_sec++;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) ==
	       EINTR)
		continue;
}

/* ----------------------------------------------------------------- reading */

static void find_zeros(const struct img_copy *copy, struct slot *slot)
{
	uint64_t start;

	for (start = 0; start < slot->length; start += copy->unit) {
		uint64_t len = qcf_min(copy->unit, slot->length - start);

		slot->zeros[start / copy->unit] =
			!copy->write_all &&
			qcf_is_zero(slot->buffer + start, (size_t)len);
	}
}

static void read_slot(struct ring *ring, struct slot *slot)
{
	const struct img_copy *copy = ring->copy;
	struct qcowfmt_error *error = NULL;
	int ret;

	if (slot->content == CONTENT_DATA) {
		ret = qcf_source_read(copy->source, slot->buffer,
		                      (size_t)slot->length, slot->offset,
		                      &error);
		if (ret < 0) {
			fail(ring, ret, "reading", slot->offset, error);
			return;
		}
		find_zeros(copy, slot);
	}
	if (copy->out_of_order)
		write_slot(ring, slot);
}

/* The next slot with a piece in it; NULL: there is nothing left to do. */
static struct slot *take_slot(struct ring *ring)
{
	struct qcowfmt_error *error = NULL;
	struct slot *slot = NULL;
	uint64_t position;
	int ret = 0;

	pthread_mutex_lock(&ring->lock);
	while (ring->ret == 0 && !ring->is_planned &&
	       ring->slots[ring->taken % ring->count].state != SLOT_FREE)
		pthread_cond_wait(&ring->changed, &ring->lock);
	if (ring->ret == 0 && !ring->is_planned) {
		slot = &ring->slots[ring->taken % ring->count];
		ret = next_piece(ring, slot, &error);
		if (ret > 0) {
			slot->state = SLOT_BUSY;
			ring->taken++;
		} else {
			slot = NULL;
			ring->is_planned = true;
			pthread_cond_broadcast(&ring->changed);
		}
	}
	position = ring->position;
	pthread_mutex_unlock(&ring->lock);
	if (ret < 0)
		fail(ring, ret, "reading", position, error);
	return slot;
}

static void set_state(struct ring *ring, struct slot *slot,
                      enum slot_state state)
{
	pthread_mutex_lock(&ring->lock);
	slot->state = state;
	pthread_cond_broadcast(&ring->changed);
	pthread_mutex_unlock(&ring->lock);
}

static void *reader(void *argument)
{
	struct ring *ring = argument;
	struct slot *slot;

	while ((slot = take_slot(ring)) != NULL) {
		read_slot(ring, slot);
		set_state(ring, slot, SLOT_READY);
	}
	return NULL;
}

/* The slot of piece number n once it is ready; NULL at the end. */
static struct slot *wait_for_slot(struct ring *ring, uint64_t n)
{
	struct slot *slot = &ring->slots[n % ring->count];

	pthread_mutex_lock(&ring->lock);
	while (ring->ret == 0 && !(ring->is_planned && n == ring->taken) &&
	       slot->state != SLOT_READY)
		pthread_cond_wait(&ring->changed, &ring->lock);
	if (ring->ret != 0 || slot->state != SLOT_READY)
		slot = NULL;
	pthread_mutex_unlock(&ring->lock);
	return slot;
}

static void write_all_slots(struct ring *ring)
{
	struct slot *slot;
	uint64_t n;

	for (n = 0; (slot = wait_for_slot(ring, n)) != NULL; n++) {
		if (!ring->copy->out_of_order)
			write_slot(ring, slot);
		qcf_progress_add(&ring->progress, slot->progress);
		limit_rate(ring, slot->length);
		set_state(ring, slot, SLOT_FREE);
	}
}

/* -------------------------------------------------------------------- ring */

static void ring_init(struct ring *ring, struct img_copy *copy)
{
	size_t i;

	*ring = (struct ring){
		.copy = copy,
		.buffer_size = (size_t)qcf_round_up(BUFFER_SIZE, copy->unit),
		.count = copy->parallel + 1,
	};
	pthread_mutex_init(&ring->lock, NULL);
	pthread_cond_init(&ring->changed, NULL);
	clock_gettime(CLOCK_MONOTONIC, &ring->started);
	ring->slots = qcf_tool_alloc(ring->count * sizeof(*ring->slots));
	for (i = 0; i < ring->count; i++) {
		struct slot *slot = &ring->slots[i];
		void *buffer;

		if (posix_memalign(&buffer, BUFFER_ALIGNMENT,
		                   ring->buffer_size) != 0) {
			qcf_tool_error("Cannot allocate memory");
			exit(EXIT_FAILURE);
		}
		slot->buffer = buffer;
		slot->zeros = qcf_tool_alloc(ring->buffer_size / copy->unit);
	}
}

static void ring_fini(struct ring *ring)
{
	size_t i;

	for (i = 0; i < ring->count; i++) {
		free(ring->slots[i].buffer);
		free(ring->slots[i].zeros);
	}
	free(ring->slots);
	pthread_cond_destroy(&ring->changed);
	pthread_mutex_destroy(&ring->lock);
}

/* More readers than processors only help to keep a slow disk busy. */
static unsigned int reader_count(const struct img_copy *copy)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	return (unsigned int)qcf_min(
		copy->parallel,
		qcf_max(2, processors > 0 ? (uint64_t)processors : 1));
}

static void run_pipeline(struct ring *ring)
{
	unsigned int wanted = reader_count(ring->copy);
	QCF_AUTO_FREE pthread_t *threads =
		qcf_tool_alloc(wanted * sizeof(*threads));
	unsigned int count = 0;
	int err = 0;

	while (count < wanted && err == 0) {
		err = pthread_create(&threads[count], NULL, reader, ring);
		if (err == 0)
			count++;
	}
	/* Fewer readers than wanted do the same work. */
	if (count == 0)
		fail(ring, -err, "reading", 0, NULL);
	write_all_slots(ring);
	while (count > 0)
		pthread_join(threads[--count], NULL);
}

int qcf_copy(struct img_copy *copy, struct qcowfmt_error **errp)
{
	uint64_t total = copy->source->size;
	struct ring ring;
	int ret = 0;

	ring_init(&ring, copy);
	if (copy->show_progress)
		ret = count_data(&ring, &total, errp);
	if (ret == 0) {
		qcf_progress_begin(&ring.progress, copy->show_progress, total);
		run_pipeline(&ring);
		qcf_progress_end(&ring.progress, ring.ret == 0);
		ret = ring.ret;
		*errp = ring.error;
	}
	ring_fini(&ring);
	return ret;
}
