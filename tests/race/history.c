/* SPDX-License-Identifier: MIT */
/* history.c - whether each read was possible */
#include "history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stamp.h"

struct qcf_log {
	struct qcf_write_record *writes; /* index is the sequence number */
	uint64_t write_count;
	uint64_t write_room;
	struct qcf_read_record *reads;
	uint64_t read_count;
	uint64_t read_room;
};

void qcf_history_init(struct qcf_history *history, int threads,
                      uint64_t sectors)
{
	memset(history, 0, sizeof(*history));
	atomic_init(&history->clock, 1);
	history->threads = threads;
	history->sectors = sectors;
	history->logs = calloc((size_t)threads, sizeof(*history->logs));
	if (!history->logs)
		abort();
}

void qcf_history_fini(struct qcf_history *history)
{
	int i;

	for (i = 0; i < history->threads; i++) {
		free(history->logs[i].writes);
		free(history->logs[i].reads);
	}
	free(history->logs);
}

uint64_t qcf_history_now(struct qcf_history *history)
{
	return atomic_fetch_add(&history->clock, 1);
}

uint64_t qcf_history_next(const struct qcf_history *history, int thread)
{
	return history->logs[thread].write_count;
}

static void *grow(void *array, uint64_t *room, size_t item)
{
	*room = *room ? *room * 2 : 1024;
	array = realloc(array, *room * item);
	if (!array)
		abort();
	return array;
}

void qcf_history_add_write(struct qcf_history *history, int thread,
                           const struct qcf_write_record *record)
{
	struct qcf_log *log = &history->logs[thread];

	if (log->write_count == log->write_room)
		log->writes = grow(log->writes, &log->write_room,
		                   sizeof(*log->writes));
	log->writes[log->write_count++] = *record;
}

void qcf_history_add_read(struct qcf_history *history, int thread,
                          const struct qcf_read_record *record)
{
	struct qcf_log *log = &history->logs[thread];

	if (log->read_count == log->read_room)
		log->reads =
			grow(log->reads, &log->read_room, sizeof(*log->reads));
	log->reads[log->read_count++] = *record;
}

static bool covers(const struct qcf_write_record *w, uint64_t sector)
{
	return sector >= w->first_sector && sector - w->first_sector < w->count;
}

/* Some write that begins after a moment and ends before another. */
static const struct qcf_write_record *write_between(
	const struct qcf_history *history, uint64_t sector, uint64_t after,
	uint64_t before)
{
	int t;
	uint64_t i;

	for (t = 0; t < history->threads; t++) {
		const struct qcf_log *log = &history->logs[t];

		for (i = 0; i < log->write_count; i++) {
			const struct qcf_write_record *w = &log->writes[i];

			if (w->start > after && w->end < before &&
			    covers(w, sector))
				return w;
		}
	}
	return NULL;
}

static bool impossible(const struct qcf_read_record *r, const char *why,
                       struct qcf_finding *finding)
{
	return qcf_found(finding, QCF_FOUND_CONTENT,
	                 "read of sector %" PRIu64 " at %" PRIu64 "-%" PRIu64
	                 " returned version %d/%" PRIu64 ", %s",
	                 r->sector, r->start, r->end,
	                 qcf_version_thread(r->version),
	                 qcf_version_sequence(r->version), why);
}

static const struct qcf_write_record *write_of(
	const struct qcf_history *history, uint64_t version)
{
	int thread = qcf_version_thread(version);
	uint64_t sequence = qcf_version_sequence(version);

	if (thread < 0 || thread >= history->threads ||
	    sequence >= history->logs[thread].write_count)
		return NULL;
	return &history->logs[thread].writes[sequence];
}

/*
 * Zeros are possible if any zeroing of the sector, or its state at the start,
 * is possible: the latest one that had begun is the least to be held against.
 */
static bool judge_zero(const struct qcf_history *history,
                       const struct qcf_read_record *r,
                       struct qcf_finding *finding)
{
	int t;
	uint64_t i;

	if (!write_between(history, r->sector, 0, r->start))
		return true;
	for (t = 0; t < history->threads; t++) {
		const struct qcf_log *log = &history->logs[t];

		for (i = log->write_count; i-- > 0;) {
			const struct qcf_write_record *w = &log->writes[i];

			if (w->zeroes && w->start < r->end &&
			    covers(w, r->sector) &&
			    !write_between(history, r->sector, w->end,
			                   r->start))
				return true;
		}
	}
	return impossible(r, "zeros: no zeroing explains it", finding);
}

static bool judge_read(const struct qcf_history *history,
                       const struct qcf_read_record *r,
                       struct qcf_finding *finding)
{
	const struct qcf_write_record *w;
	const struct qcf_write_record *later;
	char why[160];

	if (r->version == QCF_VERSION_ZERO)
		return judge_zero(history, r, finding);
	w = write_of(history, r->version);
	if (!w || w->zeroes || !covers(w, r->sector))
		return impossible(r, "which was never written there", finding);
	if (w->start > r->end)
		return impossible(r, "which was written later", finding);
	later = write_between(history, r->sector, w->end, r->start);
	if (!later)
		return true;
	snprintf(why, sizeof(why),
	         "which ended at %" PRIu64 " and was overwritten from %" PRIu64
	         " to %" PRIu64,
	         w->end, later->start, later->end);
	return impossible(r, why, finding);
}

bool qcf_history_judge(const struct qcf_history *history,
                       struct qcf_finding *finding)
{
	int t;
	uint64_t i;

	for (t = 0; t < history->threads; t++) {
		const struct qcf_log *log = &history->logs[t];

		for (i = 0; i < log->read_count; i++) {
			if (!judge_read(history, &log->reads[i], finding))
				return false;
		}
	}
	return true;
}
