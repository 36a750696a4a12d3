/* SPDX-License-Identifier: MIT */
/*
 * compress_contexts.h - working memory of a compression library, kept for reuse
 *
 * Making such a context costs a tenth of the time that a cluster takes.  A few
 * are kept; a thread that finds none makes its own.  No lock: whoever swaps a
 * pointer out of a slot owns it.
 */
#ifndef QCF_COMPRESS_CONTEXTS_H
#define QCF_COMPRESS_CONTEXTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define QCF_CONTEXTS_KEPT 8

/* A context that grew larger than this is freed instead. */
#define QCF_CONTEXT_MAX_KEPT ((size_t)4 << 20)

struct qcf_contexts {
	_Atomic(void *) kept[QCF_CONTEXTS_KEPT];
};

void qcf_contexts_init(struct qcf_contexts *contexts);

/* One of those kept; NULL if there is none. */
void *qcf_contexts_take(struct qcf_contexts *contexts);

/* Keep one of some size; false: there is no room, the caller frees it. */
bool qcf_contexts_keep(struct qcf_contexts *contexts, void *context,
                       size_t size);

#endif
