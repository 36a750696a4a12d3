/* SPDX-License-Identifier: MIT */
/* acts.h - carrying out what a script says */
#ifndef QCF_ACTS_H
#define QCF_ACTS_H

#include <qcowfmt.h>

#include "script.h"
#include "stage.h"

/* A call that changes the disk or takes snapshot "base"; nothing is recorded. */
int qcf_act_plain(struct qcowfmt_image *image, const struct qcf_act *act,
                  uint64_t version, struct qcowfmt_error **errp);

/* One snapshot that a thread took. */
struct qcf_taken {
	char name[16];
	uint64_t start;
	uint64_t end;
	bool failed;
};

#define QCF_MAX_TAKEN 32

/* What threads do, and what is known of it. */
struct qcf_acting {
	struct qcf_stage *stage;
	struct qcf_ledger *ledger;
	struct qcf_finding *finding; /* the first one */
	bool touched[QCF_MAX_SECTORS];
	struct qcf_taken taken[QCF_MAX_TAKEN];
	int taken_count;
	struct qcf_taken converted; /* start is 0 if there was none */
	uint64_t flushed;  /* beginning of the last flush that returned... */
	uint64_t failures; /* calls that failed with good reason */
	bool resizes;      /* some script does */
	bool resizes_base;
	bool drops_base; /* the same for deleting "base" */
};

/* Carry out an act of a thread and record it.  False after a finding. */
bool qcf_act(struct qcf_acting *acting, int thread, int number,
             const struct qcf_act *act);

/* Read all sectors of an image as of an interval. */
bool qcf_acts_read_all(struct qcf_acting *acting, struct qcowfmt_image *image,
                       uint64_t start, uint64_t end, enum qcf_ledger_eye eye,
                       const char *what);

#endif
