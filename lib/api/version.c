/* SPDX-License-Identifier: MIT */
/* version.c - version and names of formats */
#include <errno.h>
#include <string.h>

#include "auto.h"
#include "probe.h"
#include "qcowfmt.h"

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

static const char *const format_names[] = {
	[QCOWFMT_FORMAT_RAW] = "raw",
	[QCOWFMT_FORMAT_QCOW] = "qcow",
	[QCOWFMT_FORMAT_QCOW2] = "qcow2",
};

const char *qcowfmt_version(void)
{
	return TEXT(QCOWFMT_VERSION_MAJOR) "." TEXT(
		QCOWFMT_VERSION_MINOR) "." TEXT(QCOWFMT_VERSION_MICRO);
}

int qcowfmt_probe(const void *bytes, size_t len)
{
	return qcf_probe(bytes, len);
}

const char *qcowfmt_format_name(int format)
{
	if (format < 0 || (size_t)format >= QCF_ARRAY_LEN(format_names))
		return NULL;
	return format_names[format];
}

int qcowfmt_format_from_name(const char *name)
{
	for (int i = 1; i < (int)QCF_ARRAY_LEN(format_names); i++) {
		if (strcmp(format_names[i], name) == 0)
			return i;
	}
	return -EINVAL;
}
