/* SPDX-License-Identifier: MIT */
/*
 * history.h - which writes and reads happened when, and whether each read was
 * possible
 *
 * Every sector is taken for a register.  A version that a read returned must
 * have been begun before the read ended, and no other write of the sector may
 * lie wholly between the end of that version's write and the start of the
 * read: that one would have been overwritten in sight of everybody.
 *
 * Each thread records into its own log, so recording takes no lock.  Judging
 * comes after all threads are joined.
 */
#ifndef QCF_HISTORY_H
#define QCF_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "finding.h"

struct qcf_write_record {
	uint64_t first_sector;
	uint64_t count;
	uint64_t start; /* clock before the call */
	uint64_t end;   /* clock after it */
	bool zeroes;    /* leaves QCF_VERSION_ZERO */
};

struct qcf_read_record {
	uint64_t sector;
	uint64_t version;
	uint64_t start;
	uint64_t end;
};

struct qcf_history {
	atomic_uint_least64_t clock;
	int threads;
	uint64_t sectors;
	struct qcf_log *logs; /* one a thread */
};

void qcf_history_init(struct qcf_history *history, int threads,
                      uint64_t sectors);
void qcf_history_fini(struct qcf_history *history);

/* The next moment; 1 is the first. */
uint64_t qcf_history_now(struct qcf_history *history);

/* The sequence number that the next write of a thread will get. */
uint64_t qcf_history_next(const struct qcf_history *history, int thread);

void qcf_history_add_write(struct qcf_history *history, int thread,
                           const struct qcf_write_record *record);
void qcf_history_add_read(struct qcf_history *history, int thread,
                          const struct qcf_read_record *record);

/* Whether every read was possible. */
bool qcf_history_judge(const struct qcf_history *history,
                       struct qcf_finding *finding);

#endif
