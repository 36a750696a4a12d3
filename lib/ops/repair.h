/* SPDX-License-Identifier: MIT */
/* repair.h - make stored counts and COPIED flags true */
#ifndef QCF_REPAIR_H
#define QCF_REPAIR_H

#include "check_image.h"

/*
 * Bring the image in line with the references a checker has found.  Guest data
 * and mappings are not touched, apart from COPIED flags.  With leaks_only counts
 * are lowered and nothing else.
 */
int qcf_repair(struct qcf_checker *checker, bool leaks_only,
               struct qcowfmt_error **errp);

#endif
