/* SPDX-License-Identifier: MIT */
/* check_id.h - corruption ids and the one line that raises them */
#ifndef QCF_CHECK_ID_H
#define QCF_CHECK_ID_H

#include <stdint.h>

#include "error.h"

enum qcf_check {
	QCF_CHECK_NONE = 0,

#define QCF_CHECK(number, name, repair, text) name = (number),
#include "checks.def"
#undef QCF_CHECK
};

enum qcf_repair_class {
	QCF_REPAIR_NONE,
	QCF_REPAIR_COUNT,
	QCF_REPAIR_LEAK,
	QCF_REPAIR_REBUILD,
	QCF_REPAIR_ENTRY,
	QCF_REPAIR_TABLE,
};

/* The text of an id; "unknown corruption" for any other number. */
const char *qcf_check_text(uint32_t id);
enum qcf_repair_class qcf_check_repair(uint32_t id);

/*
 * Raise code CORRUPT: "<text of id> at host offset 0x...".  host_offset may be
 * QCOWFMT_NO_OFFSET.  Returns -EINVAL for ids of the headers (below 20, and 80
 * to 109) and -EIO for those found at run time.
 */
int qcf_corrupt(struct qcowfmt_error **errp, enum qcf_check id,
                uint64_t host_offset);

/* The same with "have X, want Y" behind it. */
int qcf_corruptf(struct qcowfmt_error **errp, enum qcf_check id,
                 uint64_t host_offset, const char *fmt, ...) QCF_PRINTF(4, 5);

#endif
