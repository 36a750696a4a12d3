/* SPDX-License-Identifier: MIT */
/* count_storage.h - storage that counts calls and bytes */
#ifndef QCF_COUNT_STORAGE_H
#define QCF_COUNT_STORAGE_H

#include <stdatomic.h>

#include "wrap_storage.h"

struct storage_counts {
	atomic_uint_fast64_t calls[VERB_COUNT];
	atomic_uint_fast64_t bytes[VERB_COUNT];
};

/* The counts are the caller's and outlive the storage, which owns inner. */
struct qcowfmt_storage *count_storage_new(struct qcowfmt_storage *inner,
                                          struct storage_counts *counts);

void storage_counts_reset(struct storage_counts *counts);

#endif
