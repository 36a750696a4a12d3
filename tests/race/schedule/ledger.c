/* SPDX-License-Identifier: MIT */
/* ledger.c - whether what was read was possible */
#include "ledger.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "stamp.h"

#define MAX_RECORDS 16384u
#define NONE        UINT32_MAX

struct record {
	uint64_t version;
	uint64_t start;
	uint64_t end;
	uint32_t next; /* of the same kind and sector */
	uint32_t sector;
	enum qcf_ledger_eye eye;
	const char *what;
};

struct qcf_ledger {
	uint64_t sectors;
	uint64_t initial[QCF_MAX_SECTORS];
	uint32_t writes_of[QCF_MAX_SECTORS]; /* lists */
	uint32_t reads_of[QCF_MAX_SECTORS];
	uint32_t count;
	struct record records[MAX_RECORDS];
};

struct qcf_ledger *qcf_ledger_new(void)
{
	struct qcf_ledger *ledger = calloc(1, sizeof(*ledger));

	if (ledger == NULL)
		abort();
	return ledger;
}

void qcf_ledger_free(struct qcf_ledger *ledger)
{
	free(ledger);
}

void qcf_ledger_begin(struct qcf_ledger *ledger, const uint64_t *versions,
                      uint64_t sectors)
{
	if (sectors > QCF_MAX_SECTORS)
		abort();
	ledger->sectors = sectors;
	ledger->count = 0;
	memcpy(ledger->initial, versions, sectors * sizeof(versions[0]));
	memset(ledger->writes_of, 0xff, sizeof(ledger->writes_of));
	memset(ledger->reads_of, 0xff, sizeof(ledger->reads_of));
}

static void add(struct qcf_ledger *ledger, uint32_t *list, struct record record)
{
	if (ledger->count == MAX_RECORDS)
		abort();
	record.next = *list;
	*list = ledger->count;
	ledger->records[ledger->count++] = record;
}

void qcf_ledger_write(struct qcf_ledger *ledger, uint64_t first, uint64_t count,
                      uint64_t version, uint64_t start, uint64_t end)
{
	for (uint64_t s = first; s < first + count && s < ledger->sectors; s++)
		add(ledger, &ledger->writes_of[s],
		    (struct record){ .version = version,
		                     .start = start,
		                     .end = end,
		                     .sector = (uint32_t)s });
}

void qcf_ledger_read(struct qcf_ledger *ledger, uint64_t sector,
                     uint64_t version, uint64_t start, uint64_t end,
                     enum qcf_ledger_eye eye, const char *what)
{
	add(ledger, &ledger->reads_of[sector],
	    (struct record){ .version = version,
	                     .start = start,
	                     .end = end,
	                     .sector = (uint32_t)sector,
	                     .eye = eye,
	                     .what = what });
}

/* Some write that began after a moment and ended before another. */
static bool written_between(const struct qcf_ledger *l, uint64_t sector,
                            uint64_t after, uint64_t before)
{
	uint32_t i = l->writes_of[sector];

	for (; i != NONE; i = l->records[i].next) {
		if (l->records[i].start > after && l->records[i].end < before)
			return true;
	}
	return false;
}

static bool is_possible(const struct qcf_ledger *l, const struct record *r)
{
	uint32_t i = l->writes_of[r->sector];

	if (l->initial[r->sector] == r->version &&
	    !written_between(l, r->sector, 0, r->start))
		return true;
	for (; i != NONE; i = l->records[i].next) {
		const struct record *w = &l->records[i];

		if (w->version == r->version && w->start < r->end &&
		    !written_between(l, r->sector, w->end, r->start))
			return true;
	}
	return false;
}

/* Whether every write of one version ended before any of the other began. */
static bool surely_before(const struct qcf_ledger *l, uint64_t sector,
                          uint64_t earlier, uint64_t later)
{
	uint64_t end = 0; /* of the last write of the earlier one */
	uint64_t start = QCF_NEVER;
	uint32_t i = l->writes_of[sector];

	if (l->initial[sector] == later)
		return false;
	for (; i != NONE; i = l->records[i].next) {
		const struct record *w = &l->records[i];

		if (w->version == earlier && w->end > end)
			end = w->end;
		if (w->version == later && w->start < start)
			start = w->start;
	}
	return end < start && start != QCF_NEVER;
}

static bool found(const struct record *r, const char *why,
                  struct qcf_finding *finding)
{
	return qcf_found(finding, QCF_FOUND_CONTENT,
	                 "%s: sector %u has version %d/%" PRIu64 " at %" PRIu64
	                 "-%" PRIu64 ", %s",
	                 r->what, r->sector, qcf_version_thread(r->version),
	                 r->version == 0 ? 0 : qcf_version_sequence(r->version),
	                 r->start, r->end, why);
}

/* A later read that went back in time. */
static bool goes_back(const struct qcf_ledger *l, const struct record *r)
{
	uint32_t i = l->reads_of[r->sector];

	for (; i != NONE && r->eye == QCF_SEEN; i = l->records[i].next) {
		const struct record *before = &l->records[i];

		if (before->eye == QCF_SEEN && before->end < r->start &&
		    before->version != r->version &&
		    surely_before(l, r->sector, r->version, before->version))
			return true;
	}
	return false;
}

bool qcf_ledger_judge(const struct qcf_ledger *l, struct qcf_finding *finding)
{
	for (uint64_t s = 0; s < l->sectors; s++) {
		uint32_t i = l->reads_of[s];

		for (; i != NONE; i = l->records[i].next) {
			const struct record *r = &l->records[i];

			if (!is_possible(l, r))
				return found(r, "which is not possible",
				             finding);
			if (goes_back(l, r))
				return found(r, "older than what was there",
				             finding);
		}
	}
	return true;
}
