/* SPDX-License-Identifier: MIT */
/*
 * scenarios_queue.c - the requests of a queue, while something fails
 *
 * One request at a time, so that what fails is the same each time.  A completion
 * that tells of a failure is one of the call that put the request in.
 */
#include "auto.h"
#include "fault_images.h"

static uint8_t bytes[TRIAL_MAX_DISK];

static uint64_t cluster(const struct trial *t, uint64_t number)
{
	return t->kind->cluster_size * number;
}

static struct qcowfmt_queue *start(struct trial *t, uint32_t flags)
{
	struct qcowfmt_queue_options options = {
		.struct_size = sizeof(options),
		.depth = 4,
		.workers = 1,
		.flags = flags,
	};
	struct qcowfmt_queue *queue = NULL;

	if (TRY(t, qcowfmt_queue_new, t->image, &options, &queue, &t->error) <
	    0)
		return NULL;
	if (TRY_VALUE(t, qcowfmt_queue_event_fd, queue) < 0 ||
	    TRY_VALUE(t, qcowfmt_queue_uses_uring, queue) < 0)
		trial_incomplete(t);
	return queue;
}

static void end(struct trial *t, struct qcowfmt_queue *queue)
{
	TRY_VOID(t, qcowfmt_queue_free, queue);
}

/* The completion of the one request that was put in with this result. */
static int64_t reap(struct trial *t, struct qcowfmt_queue *queue, int64_t ret)
{
	struct qcowfmt_completion completion;

	if (ret < 0)
		return ret;
	TRY_VOID(t, qcowfmt_queue_submit, queue);
	if (TRY_VALUE(t, qcowfmt_queue_reap, queue, &completion, 1, -1) != 1) {
		trial_incomplete(t);
		return -1;
	}
	t->error = completion.error;
	return trial_returned(t, completion.result);
}

#define ASK(t, queue, function, ...) \
	reap(t, queue, TRY(t, function, queue, __VA_ARGS__, 0, &(t)->error))

static int64_t ask_flush(struct trial *t, struct qcowfmt_queue *queue)
{
	return reap(t, queue, TRY(t, qcowfmt_queue_flush, queue, 0, &t->error));
}

static int64_t write_all(struct trial *t, struct qcowfmt_queue *queue)
{
	size_t half = (size_t)cluster(t, 1) / 2;
	struct iovec iov[] = { { bytes, half }, { bytes + half, half } };
	int64_t ret;

	trial_stamp(bytes, (size_t)cluster(t, 1), 140);
	ret = ASK(t, queue, qcowfmt_queue_pwrite, bytes, 300,
	          cluster(t, 8) + 100);
	if (ret >= 0)
		ret = ASK(t, queue, qcowfmt_queue_pwritev, iov, 2,
		          cluster(t, 3) + 512);
	if (ret >= 0)
		ret = ASK(t, queue, qcowfmt_queue_write_zeroes, cluster(t, 2),
		          cluster(t, 1), 0);
	if (ret >= 0)
		ret = ASK(t, queue, qcowfmt_queue_discard, cluster(t, 5),
		          cluster(t, 1));
	return ret < 0 ? ret : ask_flush(t, queue);
}

static void change(struct trial *t, uint32_t flags)
{
	struct qcowfmt_queue *queue = start(t, flags);

	if (queue == NULL)
		return;
	write_all(t, queue);
	end(t, queue);
}

static void change_by_kernel(struct trial *t)
{
	change(t, 0);
}

static void change_by_threads(struct trial *t)
{
	change(t, QCOWFMT_QUEUE_NO_URING);
}

static void read_disk(struct trial *t)
{
	struct qcowfmt_queue *queue = start(t, 0);
	size_t len = (size_t)trial_disk_size(t->kind);
	struct iovec iov[] = { { bytes, 1000 }, { bytes + 1000, len - 1000 } };

	if (queue == NULL)
		return;
	if (ASK(t, queue, qcowfmt_queue_pread, bytes, len, 0) >= 0)
		trial_put(t, bytes, len);
	if (t->failures == 0 &&
	    ASK(t, queue, qcowfmt_queue_preadv, iov, 2, 0) >= 0)
		trial_put(t, bytes, len);
	end(t, queue);
}

/* Nothing of what was put in is begun, but something may fail meanwhile. */
static void take_back(struct trial *t)
{
	struct qcowfmt_queue *queue = start(t, 0);
	struct qcowfmt_completion completion;
	int64_t ret;

	if (queue == NULL)
		return;
	ret = TRY(t, qcowfmt_queue_pread, queue, bytes, 512, 0, 0, &t->error);
	TRY_VOID(t, qcowfmt_queue_cancel, queue);
	if (ret >= 0 &&
	    (TRY_VALUE(t, qcowfmt_queue_reap, queue, &completion, 1, -1) != 1 ||
	     completion.result == 0))
		trial_incomplete(t);
	else if (ret >= 0)
		qcowfmt_error_free(completion.error);
	end(t, queue);
}

const struct scenario queue_scenarios[] = {
	{ "change by a queue", 0, DIRTY, change_by_kernel },
	{ "change by threads of a queue", 0, DIRTY, change_by_threads },
	{ "read by a queue", 0, READS_ONLY, read_disk },
	{ "take back from a queue", 0, READS_ONLY, take_back },
};
const size_t queue_scenario_count = QCF_ARRAY_LEN(queue_scenarios);
