/* SPDX-License-Identifier: MIT */
/* repair_tables.h - the snapshot table and the bitmap directory written anew */
#ifndef QCF_REPAIR_TABLES_H
#define QCF_REPAIR_TABLES_H

#include "check_image.h"
#include "meta.h"

/*
 * Write the tables that a checker wants to be written anew to free clusters, and
 * switch the header to each in one write.  All counts are right and nothing is
 * dirty.  *rewritten says whether old places are leaked now.
 */
int qcf_repair_tables(struct qcf_checker *checker, struct qcf_meta *meta,
                      bool *rewritten, struct qcowfmt_error **errp);

#endif
