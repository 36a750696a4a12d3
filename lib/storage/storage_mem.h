/* SPDX-License-Identifier: MIT */
/* storage_mem.h - storage in memory, in chunks so that holes cost nothing */
#ifndef QCF_STORAGE_MEM_H
#define QCF_STORAGE_MEM_H

#include "storage.h"

int qcf_storage_mem_new(uint64_t max_size, struct qcowfmt_storage **storage,
                        struct qcowfmt_error **errp);

#endif
