/* SPDX-License-Identifier: MIT */
/* check_refs.h - references to host clusters, and tables that hold them */
#ifndef QCF_CHECK_REFS_H
#define QCF_CHECK_REFS_H

#include "check_image.h"

/* Count n references to each cluster that len bytes touch; what is behind the
 * end of the file is corruption. */
int qcf_check_count_range(struct qcf_checker *checker, uint64_t offset,
                          uint64_t len, uint32_t n,
                          struct qcowfmt_error **errp);

/* Whether an offset can be that of a cluster; if not, that is reported. */
bool qcf_check_offset(struct qcf_checker *checker, enum qcf_check id,
                      const char *what, uint64_t offset);

void qcf_check_report_reserved(struct qcf_checker *checker, enum qcf_check id,
                               const char *what, uint64_t at,
                               uint64_t reserved);

/*
 * Read a table; one that cannot be read is a check error, and *table NULL then.
 * The caller frees it.
 */
int qcf_check_read_table(struct qcf_checker *checker, const char *what,
                         uint64_t offset, uint64_t size,
                         struct qcf_be64 **table, struct qcowfmt_error **errp);

#endif
