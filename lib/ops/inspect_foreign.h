/* SPDX-License-Identifier: MIT */
/* inspect_foreign.h - what else a file could be taken for */
#ifndef QCF_INSPECT_FOREIGN_H
#define QCF_INSPECT_FOREIGN_H

#include <stddef.h>

#include "storage.h"

#define QCF_MAX_FOREIGN 32

/*
 * The names of formats that a file has the marks of, beside its own: whoever looks
 * for those marks first takes it for something else.  Of a raw file, which holds
 * partitions and file systems as a matter of course, only image formats count.
 */
int qcf_inspect_foreign(struct qcowfmt_storage *storage, bool is_raw,
                        const char **names, size_t *count,
                        struct qcowfmt_error **errp);

#endif
