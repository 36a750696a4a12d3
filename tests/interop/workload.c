/* SPDX-License-Identifier: MIT */
/* workload.c - seeded random operations on a disk and its oracle at once */
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const op_names[QCF_OP_COUNT] = {
	[QCF_OP_READ] = "read",       [QCF_OP_WRITE] = "write",
	[QCF_OP_ZERO] = "zero",       [QCF_OP_ZERO_UNMAP] = "zero+unmap",
	[QCF_OP_DISCARD] = "discard", [QCF_OP_COMPRESS] = "compress",
	[QCF_OP_FLUSH] = "flush",     [QCF_OP_REOPEN] = "reopen",
	[QCF_OP_INSPECT] = "inspect",
};

/* How often each is done, of 1,000. */
static const unsigned int op_weights[QCF_OP_COUNT] = {
	[QCF_OP_READ] = 310,      [QCF_OP_WRITE] = 350,  [QCF_OP_ZERO] = 70,
	[QCF_OP_ZERO_UNMAP] = 70, [QCF_OP_DISCARD] = 90, [QCF_OP_COMPRESS] = 60,
	[QCF_OP_FLUSH] = 10,      [QCF_OP_REOPEN] = 5,   [QCF_OP_INSPECT] = 35,
};

static enum qcf_op any_op(struct qcf_rng *rng)
{
	uint64_t pick = qcf_rng_below(rng, 1000);
	unsigned int op;

	for (op = 0; op < QCF_OP_COUNT - 1; op++) {
		if (pick < op_weights[op])
			break;
		pick -= op_weights[op];
	}
	return (enum qcf_op)op;
}

static void note(struct qcf_workload *w, enum qcf_op op, struct qcf_range range)
{
	char *line = w->log[w->done % QCF_LOG_LINES];

	snprintf(line, QCF_LOG_LINE, "%" PRIu64 ": %s %" PRIu64 " +%" PRIu64,
	         w->done, op_names[op], range.offset, range.len);
	if (getenv("QCF_TRACE"))
		fprintf(stderr, "%s\n", line);
	w->done++;
}

static void append_log(const struct qcf_workload *w,
                       struct qcf_finding *finding)
{
	uint64_t i = w->done > QCF_LOG_LINES ? w->done - QCF_LOG_LINES : 0;
	size_t used = strlen(finding->text);

	for (; i < w->done && used < sizeof(finding->text); i++)
		used += (size_t)snprintf(finding->text + used,
		                         sizeof(finding->text) - used, "\n  %s",
		                         w->log[i % QCF_LOG_LINES]);
}

static bool read_op(struct qcf_workload *w, struct qcf_range range,
                    struct qcf_finding *finding)
{
	/* What a lazy disk leaves in the buffer must not look right. */
	memset(w->buffer, 0xa5, range.len);
	return w->disk->verbs->read(w->disk, w->buffer, range.len, range.offset,
	                            finding) &&
	       qcf_oracle_verify(w->oracle, w->buffer, range.len, range.offset,
	                         finding);
}

static bool write_op(struct qcf_workload *w, struct qcf_range range,
                     struct qcf_finding *finding)
{
	if (qcf_rng_percent(&w->rng, 5))
		memset(w->buffer, 0, range.len);
	else
		qcf_rng_fill(&w->rng, w->buffer, range.len);
	qcf_target_touch(&w->target, range);
	qcf_oracle_write(w->oracle, w->buffer, range.len, range.offset);
	return w->disk->verbs->write(w->disk, w->buffer, range.len,
	                             range.offset, finding);
}

static bool zero_op(struct qcf_workload *w, struct qcf_range range, bool unmap,
                    struct qcf_finding *finding)
{
	qcf_target_touch(&w->target, range);
	qcf_oracle_zero(w->oracle, range.offset, range.len);
	return w->disk->verbs->zero(w->disk, range.offset, range.len, unmap,
	                            finding);
}

/*
 * Whole subclusters may have become zeros where the clusters are not compressed:
 * take over what the disk says, if it is zeros.
 */
static bool learn_subclusters(struct qcf_workload *w, struct qcf_range range,
                              struct qcf_finding *finding)
{
	uint64_t unit = w->target.unit;
	uint64_t at = (range.offset + unit - 1) / unit * unit;
	uint64_t end = range.offset + range.len;

	for (; at < end; at += unit) {
		uint64_t len = end - at < unit ? end - at : unit;
		uint64_t i = 0;

		/* Only the disk's last one may be cut short. */
		if (len < unit && end != w->target.size)
			return true;
		if (!w->disk->verbs->read(w->disk, w->buffer, len, at, finding))
			return false;
		while (i < len && w->buffer[i] == 0)
			i++;
		if (i == len)
			qcf_oracle_zero(w->oracle, at, len);
	}
	return true;
}

static bool discard_op(struct qcf_workload *w, struct qcf_range range,
                       struct qcf_finding *finding)
{
	qcf_target_touch(&w->target, range);
	qcf_target_discard(&w->target, w->oracle, range);
	if (!w->disk->verbs->discard(w->disk, range.offset, range.len, finding))
		return false;
	return w->target.unit == w->target.cluster_size ||
	       !w->target.discard_works || learn_subclusters(w, range, finding);
}

typedef bool (*range_work)(struct qcf_workload *w, struct qcf_range range,
                           struct qcf_finding *finding);

static bool for_each_piece(struct qcf_workload *w, uint64_t start, uint64_t end,
                           range_work work, struct qcf_finding *finding)
{
	struct qcf_range range = { .offset = start };

	for (; range.offset < end; range.offset += range.len) {
		range.len = end - range.offset;
		if (range.len > w->target.max_len)
			range.len = w->target.max_len;
		if (!work(w, range, finding))
			return false;
	}
	return true;
}

/* Windows and their margins. */
static bool for_each_range(struct qcf_workload *w, range_work work,
                           struct qcf_finding *finding)
{
	uint64_t margin = w->target.cluster_size + 4096;
	int i;

	for (i = 0; i < w->target.window_count; i++) {
		struct qcf_window v = w->target.windows[i];
		uint64_t start = v.start > margin ? v.start - margin : 0;
		uint64_t end = v.end + margin;

		if (end > w->target.size)
			end = w->target.size;
		if (!for_each_piece(w, start, end, work, finding))
			return false;
	}
	return true;
}

/* Half of it compresses well, the rest hardly or not at all. */
static void fill_compressible(struct qcf_workload *w, uint64_t len)
{
	uint64_t piece = len / 8 + 1;
	uint64_t done;
	uint64_t part;

	for (done = 0; done < len; done += part) {
		part = len - done < piece ? len - done : piece;
		if (qcf_rng_percent(&w->rng, 50))
			memset(w->buffer + done, (int)qcf_rng_below(&w->rng, 4),
			       part);
		else
			qcf_rng_fill(&w->rng, w->buffer + done, part);
	}
}

static bool compress_op(struct qcf_workload *w, struct qcf_finding *finding)
{
	struct qcf_range range = qcf_target_clusters(&w->target, &w->rng);

	note(w, QCF_OP_COMPRESS, range);
	fill_compressible(w, range.len);
	qcf_target_touch(&w->target, range);
	qcf_oracle_write(w->oracle, w->buffer, range.len, range.offset);
	if (w->disk->verbs->compress && w->target.compress_works)
		return w->disk->verbs->compress(w->disk, w->buffer, range.len,
		                                range.offset, finding);
	return w->disk->verbs->write(w->disk, w->buffer, range.len,
	                             range.offset, finding);
}

/* Read as the file is, where it ends before the disk zeros. */
static bool read_raw(struct qcf_workload *w, struct qcf_range range,
                     struct qcf_finding *finding)
{
	int fd = open(w->target.raw_path, O_RDONLY | O_CLOEXEC);
	uint64_t done = 0;
	ssize_t got = 1;

	memset(w->buffer, 0, range.len);
	while (fd >= 0 && done < range.len && got > 0) {
		got = pread(fd, w->buffer + done, range.len - done,
		            (off_t)(range.offset + done));
		done += got > 0 ? (uint64_t)got : 0;
	}
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && got >= 0)
		return qcf_oracle_verify(w->oracle, w->buffer, range.len,
		                         range.offset, finding);
	return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s",
	                 w->target.raw_path, strerror(errno));
}

static bool raw_file_matches(struct qcf_workload *w,
                             struct qcf_finding *finding)
{
	return !w->target.raw_path || for_each_range(w, read_raw, finding);
}

static bool flush_op(struct qcf_workload *w, struct qcf_finding *finding)
{
	return w->disk->verbs->flush(w->disk, finding) &&
	       raw_file_matches(w, finding);
}

static bool reopen_op(struct qcf_workload *w, struct qcf_finding *finding)
{
	return w->disk->verbs->close(w->disk, finding) &&
	       w->disk->verbs->open(w->disk, finding) &&
	       qcf_workload_verify(w, finding);
}

static bool inspect_op(struct qcf_workload *w, struct qcf_range range,
                       struct qcf_finding *finding)
{
	if (!w->disk->verbs->inspect)
		return true;
	return w->disk->verbs->inspect(w->disk, w->oracle, range.offset,
	                               range.len, finding);
}

static bool range_op(struct qcf_workload *w, enum qcf_op op,
                     struct qcf_finding *finding)
{
	bool may_be_long = op == QCF_OP_ZERO || op == QCF_OP_ZERO_UNMAP ||
	                   op == QCF_OP_DISCARD;
	struct qcf_range range =
		may_be_long ? qcf_target_long_range(&w->target, &w->rng)
			    : qcf_target_range(&w->target, &w->rng);

	note(w, op, range);
	switch (op) {
	case QCF_OP_READ:
		return read_op(w, range, finding);
	case QCF_OP_WRITE:
		return write_op(w, range, finding);
	case QCF_OP_ZERO:
		return zero_op(w, range, false, finding);
	case QCF_OP_ZERO_UNMAP:
		return zero_op(w, range, true, finding);
	case QCF_OP_DISCARD:
		return discard_op(w, range, finding);
	case QCF_OP_FLUSH:
		return flush_op(w, finding);
	case QCF_OP_REOPEN:
		return reopen_op(w, finding);
	case QCF_OP_INSPECT:
	case QCF_OP_COMPRESS:
	case QCF_OP_COUNT:
		break;
	}
	return inspect_op(w, range, finding);
}

static bool one_op(struct qcf_workload *w, struct qcf_finding *finding)
{
	enum qcf_op op = any_op(&w->rng);

	return op == QCF_OP_COMPRESS ? compress_op(w, finding)
	                             : range_op(w, op, finding);
}

void qcf_workload_init(struct qcf_workload *w, struct qcf_disk *disk,
                       struct qcf_oracle *oracle,
                       const struct qcf_target *target, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->disk = disk;
	w->oracle = oracle;
	w->target = *target;
	w->rng = qcf_rng_new(seed, 2);
	w->buffer = malloc(target->max_len);
	if (!w->buffer)
		abort();
}

void qcf_workload_fini(struct qcf_workload *w)
{
	free(w->buffer);
	w->buffer = NULL;
}

bool qcf_workload_run(struct qcf_workload *w, uint64_t count,
                      struct qcf_finding *finding)
{
	uint64_t i;

	for (i = 0; i < count; i++) {
		if (!one_op(w, finding)) {
			append_log(w, finding);
			return false;
		}
	}
	return true;
}

bool qcf_workload_verify(struct qcf_workload *w, struct qcf_finding *finding)
{
	return for_each_range(w, read_op, finding);
}
