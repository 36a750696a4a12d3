/* SPDX-License-Identifier: MIT */
/*
 * ledger.h - what was written when, and whether what was read was possible
 *
 * Every sector is a register.  A version is possible for a read if some write of
 * it began before the read ended, and no other write began after that one ended
 * and ended before the read began.  Two reads one after the other must not see
 * two writes in the wrong order.
 *
 * Everything else that shows content is put in as a read: a snapshot reads all
 * sectors while it is taken, a power cut reads them between the beginning of
 * the last flush that returned and the cut.  Going back to a snapshot writes them.
 */
#ifndef QCF_LEDGER_H
#define QCF_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "finding.h"

#define QCF_MAX_SECTORS 4096u

/* The end of something that may still take effect at any time: it failed. */
#define QCF_NEVER UINT64_MAX

struct qcf_ledger;

struct qcf_ledger *qcf_ledger_new(void);
void qcf_ledger_free(struct qcf_ledger *ledger);

/* Start again, with a version in each sector, which was written at 0. */
void qcf_ledger_begin(struct qcf_ledger *ledger, const uint64_t *versions,
                      uint64_t sectors);

void qcf_ledger_write(struct qcf_ledger *ledger, uint64_t first, uint64_t count,
                      uint64_t version, uint64_t start, uint64_t end);

/* Somebody saw it, or it is what was found after a crash, which may show a write
 * before anybody could see it. */
enum qcf_ledger_eye {
	QCF_SEEN,
	QCF_REMAINS,
};

/* what is a literal, for messages. */
void qcf_ledger_read(struct qcf_ledger *ledger, uint64_t sector,
                     uint64_t version, uint64_t start, uint64_t end,
                     enum qcf_ledger_eye eye, const char *what);

bool qcf_ledger_judge(const struct qcf_ledger *ledger,
                      struct qcf_finding *finding);

#endif
