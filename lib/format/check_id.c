/* SPDX-License-Identifier: MIT */
/*
 * check_id.c - texts of the corruption ids, and raising them
 *
 * Everything here is generated from checks.def, so a new id needs no code.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "check_id.h"

/* Whether it is found in the header, so that the image cannot be opened. */
static bool is_header_id(uint32_t id)
{
	return id < 20 || (id >= 80 && id < 110);
}

struct check_info {
	uint32_t id;
	enum qcf_repair_class repair;
	const char *text;
};

static const struct check_info checks[] = {
#define QCF_CHECK(number, name, repair, text) \
	{ (number), QCF_REPAIR_##repair, (text) },
#include "checks.def"
#undef QCF_CHECK
};

static const struct check_info *find(uint32_t id)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(checks); i++) {
		if (checks[i].id == id)
			return &checks[i];
	}
	return NULL;
}

const char *qcf_check_text(uint32_t id)
{
	const struct check_info *info = find(id);

	return info == NULL ? "unknown corruption" : info->text;
}

enum qcf_repair_class qcf_check_repair(uint32_t id)
{
	const struct check_info *info = find(id);

	return info == NULL ? QCF_REPAIR_NONE : info->repair;
}

/* detail is "" or starts with its own separator. */
static int raise_corrupt(struct qcowfmt_error **errp, enum qcf_check id,
                         uint64_t host_offset, const char *detail)
{
	int err = is_header_id(id) ? EINVAL : EIO;

	if (errp == NULL || *errp != NULL)
		return -err;
	if (host_offset == QCOWFMT_NO_OFFSET)
		qcf_fail(errp, err, QCOWFMT_ERR_CORRUPT, "%s%s",
		         qcf_check_text(id), detail);
	else
		qcf_fail(errp, err, QCOWFMT_ERR_CORRUPT,
		         "%s at host offset 0x%" PRIx64 "%s",
		         qcf_check_text(id), host_offset, detail);
	/* Without memory for an error, a shared one stands in: leave it. */
	if ((*errp)->code == QCOWFMT_ERR_CORRUPT)
		(*errp)->corruption_id = id;
	qcf_error_at_host(errp, host_offset);
	return -err;
}

int qcf_corrupt(struct qcowfmt_error **errp, enum qcf_check id,
                uint64_t host_offset)
{
	return raise_corrupt(errp, id, host_offset, "");
}

int qcf_corruptf(struct qcowfmt_error **errp, enum qcf_check id,
                 uint64_t host_offset, const char *fmt, ...)
{
	char detail[256] = ": ";
	va_list args;

	va_start(args, fmt);
	vsnprintf(detail + 2, sizeof(detail) - 2, fmt, args);
	va_end(args);
	return raise_corrupt(errp, id, host_offset, detail);
}
