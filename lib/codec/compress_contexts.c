/* SPDX-License-Identifier: MIT */
/* compress_contexts.c - working memory of a compression library */
#include "compress_contexts.h"

void qcf_contexts_init(struct qcf_contexts *contexts)
{
	for (int i = 0; i < QCF_CONTEXTS_KEPT; i++)
		atomic_init(&contexts->kept[i], NULL);
}

void *qcf_contexts_take(struct qcf_contexts *contexts)
{
	void *context = NULL;

	for (int i = 0; i < QCF_CONTEXTS_KEPT && context == NULL; i++)
		context = atomic_exchange(&contexts->kept[i], NULL);
	return context;
}

bool qcf_contexts_keep(struct qcf_contexts *contexts, void *context,
                       size_t size)
{
	if (size > QCF_CONTEXT_MAX_KEPT)
		return false;
	for (int i = 0; i < QCF_CONTEXTS_KEPT; i++) {
		void *none = NULL;

		if (atomic_compare_exchange_strong(&contexts->kept[i], &none,
		                                   context))
			return true;
	}
	return false;
}
