/* SPDX-License-Identifier: MIT */
/*
 * wrap_storage.h - storage that passes every verb on to another one
 *
 * A hook sees each call first and may make it fail.  The storages that fail,
 * delay and count are hooks.
 */
#ifndef QCF_WRAP_STORAGE_H
#define QCF_WRAP_STORAGE_H

#include "storage.h"

enum storage_verb {
	VERB_READ,
	VERB_WRITE,
	VERB_FLUSH,
	VERB_SIZE,
	VERB_TRUNCATE,
	VERB_ZERO,
	VERB_DISCARD,
	VERB_ALLOCATE,
	VERB_EXTENT,
	VERB_LOCK,
	VERB_COUNT
};

#define VERB_BIT(verb) (1u << (verb))
#define VERB_ALL       (VERB_BIT(VERB_COUNT) - 1)

/* Everything that changes storage. */
#define VERB_CHANGES                                      \
	(VERB_BIT(VERB_WRITE) | VERB_BIT(VERB_TRUNCATE) | \
	 VERB_BIT(VERB_ZERO) | VERB_BIT(VERB_DISCARD) |   \
	 VERB_BIT(VERB_ALLOCATE))

/* "read", "write" and so on. */
const char *storage_verb_name(enum storage_verb verb);

struct storage_call {
	enum storage_verb verb;
	uint64_t offset; /* the new size of a truncation */
	uint64_t len;
	/* What the hook may set: how much of it is done.  For a read less than
	 * len is a short read; for a write that fails, what arrives: nothing, if
	 * the hook does not say. */
	uint64_t done_len;
};

/* Returns 0 to let the call through or a negative errno value. */
typedef int (*storage_hook)(void *opaque, struct storage_call *call);

/*
 * The new storage owns inner.  opaque is the caller's and outlives it.  Ends
 * the program without memory.
 */
struct qcowfmt_storage *wrap_storage_new(struct qcowfmt_storage *inner,
                                         storage_hook hook, void *opaque);

#endif
