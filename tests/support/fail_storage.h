/* SPDX-License-Identifier: MIT */
/* fail_storage.h - storage whose n-th call of some kind fails */
#ifndef QCF_FAIL_STORAGE_H
#define QCF_FAIL_STORAGE_H

#include <stdatomic.h>

#include "wrap_storage.h"

enum fail_manner {
	FAIL_CLEAN,  /* nothing is done */
	FAIL_PARTLY, /* of a write, the first sectors arrive */
	FAIL_SHORT,  /* not an error: a read gets less than there is */
};

/* How calls fail, for tables of them. */
struct fail_kind {
	enum storage_verb verb;
	int error;
	enum fail_manner manner;
	bool sticky;
};

struct fail_plan {
	uint32_t verbs; /* VERB_BIT() of those that count */
	uint64_t nth;   /* 1 is the first; 0 never fails */
	int error;      /* positive errno value */
	bool sticky;    /* all later calls of these verbs fail too */
	enum fail_manner manner;
	atomic_uint_fast64_t calls;    /* of these verbs so far */
	atomic_uint_fast64_t failures; /* made so far */
};

/* A plan for a kind of failure, which begins with nth = 0. */
struct fail_plan fail_plan_of(const struct fail_kind *kind);

/* The plan is the caller's, outlives the storage, and may be changed between
 * calls.  inner is owned by the new storage. */
struct qcowfmt_storage *fail_storage_new(struct qcowfmt_storage *inner,
                                         struct fail_plan *plan);

#endif
