/* SPDX-License-Identifier: MIT */
/* options.h - reading option structures of other versions of the library */
#ifndef QCF_OPTIONS_H
#define QCF_OPTIONS_H

#include "error.h"

/*
 * Copy a caller's option structure, which starts with a size_t struct_size,
 * into ours of known size.  NULL gives all zeros.  A shorter one leaves the tail
 * zero; of a longer one the tail must be zero, else -E2BIG; one that has no room
 * for struct_size is -EINVAL.
 */
int qcf_options_copy(void *ours, size_t known, const void *theirs,
                     const char *name, struct qcowfmt_error **errp);

/*
 * The other direction, for structures the library fills in: copy as much as
 * the caller's struct_size says, and zero what it knows and we do not.
 */
int qcf_result_copy(void *theirs, const void *ours, size_t known,
                    const char *name, struct qcowfmt_error **errp);

#endif
