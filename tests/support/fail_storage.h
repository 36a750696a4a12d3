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

struct fail_plan {
	uint32_t verbs; /* VERB_BIT() of those that count */
	uint64_t nth;   /* 1 is the first; 0 never fails */
	int error;      /* positive errno value */
	bool sticky;    /* all later calls of these verbs fail too */
	enum fail_manner manner;
	atomic_uint_fast64_t calls;    /* of these verbs so far */
	atomic_uint_fast64_t failures; /* made so far */
};

/* A kind of failure to try at each call. */
struct storage_fault {
	enum storage_verb verb;
	int error;
	enum fail_manner manner;
	bool sticky;
};

/* Nothing fails before nth is set. */
static inline struct fail_plan fail_plan_for(const struct storage_fault *fault)
{
	return (struct fail_plan){
		.verbs = VERB_BIT(fault->verb),
		.error = fault->error,
		.manner = fault->manner,
		.sticky = fault->sticky,
	};
}

/* The plan is the caller's, outlives the storage, and may be changed between
 * calls.  inner is owned by the new storage. */
struct qcowfmt_storage *fail_storage_new(struct qcowfmt_storage *inner,
                                         struct fail_plan *plan);

#endif
