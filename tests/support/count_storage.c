/* SPDX-License-Identifier: MIT */
/* count_storage.c - storage that counts calls and bytes */
#include "count_storage.h"

static int count_hook(void *opaque, struct storage_call *call)
{
	struct storage_counts *counts = opaque;

	atomic_fetch_add(&counts->calls[call->verb], 1);
	atomic_fetch_add(&counts->bytes[call->verb], call->len);
	return 0;
}

struct qcowfmt_storage *count_storage_new(struct qcowfmt_storage *inner,
                                          struct storage_counts *counts)
{
	return wrap_storage_new(inner, count_hook, counts);
}

void storage_counts_reset(struct storage_counts *counts)
{
	for (int verb = 0; verb < VERB_COUNT; verb++) {
		atomic_store(&counts->calls[verb], 0);
		atomic_store(&counts->bytes[verb], 0);
	}
}
