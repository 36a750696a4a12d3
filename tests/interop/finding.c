/* SPDX-License-Identifier: MIT */
/* finding.c - what a test found wrong, as a value that travels up */
#include "finding.h"

#include <stdarg.h>
#include <stdio.h>

bool qcf_found(struct qcf_finding *finding, enum qcf_finding_kind kind,
               const char *format, ...)
{
	va_list args;

	finding->kind = kind;
	va_start(args, format);
	vsnprintf(finding->text, sizeof(finding->text), format, args);
	va_end(args);
	return false;
}

static const char *contract_breach(int ret, struct qcowfmt_error *error)
{
	if (!error)
		return " [no error object]";
	if (qcowfmt_error_errno(error) != -ret)
		return " [errno of the error object differs]";
	if (qcowfmt_error_code(error) == QCOWFMT_ERR_NONE)
		return " [error object without a code]";
	return "";
}

bool qcf_found_error(struct qcf_finding *finding, const char *what, int ret,
                     struct qcowfmt_error *error)
{
	qcf_found(finding, QCF_FOUND_ERROR, "%s: returned %d, code %d: %s%s",
	          what, ret, qcowfmt_error_code(error),
	          error ? qcowfmt_error_message(error) : "no message",
	          contract_breach(ret, error));
	qcowfmt_error_free(error);
	return false;
}
