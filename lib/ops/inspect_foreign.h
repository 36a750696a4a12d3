/* SPDX-License-Identifier: MIT */
/* inspect_foreign.h - what else a file could be taken for */
#ifndef QCF_INSPECT_FOREIGN_H
#define QCF_INSPECT_FOREIGN_H

#include <stddef.h>

#include "storage.h"

#define QCF_MAX_FOREIGN 16

/*
 * The names of formats that a file which begins as a qcow image has the marks of,
 * too: whoever looks for those marks first takes it for something else.
 */
int qcf_inspect_foreign(struct qcowfmt_storage *storage, const char **names,
                        size_t *count, struct qcowfmt_error **errp);

#endif
