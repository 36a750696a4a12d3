/* SPDX-License-Identifier: MIT */
/* tool_size.c - sizes as people type and read them */
#include "tool_size.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tool_error.h"

/* Small and large letters of what each is 1024 times the one before. */
static const char suffixes[] = "BbKkMmGgTtPpEe";

/* log2 of what a suffix stands for, or -1. */
static int suffix_shift(char suffix)
{
	for (int i = 0; suffixes[i] != '\0'; i++) {
		if (suffixes[i] == suffix)
			return i / 2 * 10;
	}
	return -1;
}

/*
 * The value of the digits behind a decimal point.  A text so close to 1 that
 * it rounds to 1 counts as 0, as in QEMU's programs.
 */
static double parse_fraction(const char **text)
{
	const char *point = *text;
	double fraction = 0;

	(*text)++;
	while (isdigit((unsigned char)**text))
		(*text)++;
	if (*text > point + 1) {
		QCF_AUTO_FREE char *digits =
			strndup(point, (size_t)(*text - point));

		if (digits != NULL)
			fraction = strtod(digits, NULL);
	}
	return fraction < 1 ? fraction : 0;
}

static bool parse_whole(const char **text, bool *is_hex, uint64_t *whole)
{
	const char *start = *text;
	char *end;

	while (isspace((unsigned char)*start))
		start++;
	if (*start == '+')
		start++;
	if (!isdigit((unsigned char)*start))
		return false;
	*is_hex = start[0] == '0' && (start[1] == 'x' || start[1] == 'X');
	if (*is_hex && !isxdigit((unsigned char)start[2]))
		return false;
	errno = 0;
	*whole = strtoull(start, &end, *is_hex ? 16 : 10);
	*text = end;
	return true;
}

int qcf_parse_size(const char *text, uint64_t *size)
{
	const char *rest = text;
	double fraction = 0;
	uint64_t whole;
	bool too_large;
	bool is_hex;
	int shift = 0;

	if (!parse_whole(&rest, &is_hex, &whole))
		return -EINVAL;
	too_large = errno == ERANGE;
	if (*rest == '.' && !is_hex)
		fraction = parse_fraction(&rest);
	if (*rest != '\0') {
		shift = suffix_shift(*rest);
		if (shift < 0 || rest[1] != '\0')
			return -EINVAL;
	}
	if (fraction != 0 && shift == 0)
		return -EINVAL;
	if (too_large || (shift > 0 && whole >> (64 - shift) != 0))
		return -ERANGE;
	if (is_hex && shift > 0)
		qcf_tool_warning("Using a multiplier suffix on hex numbers is "
		                 "deprecated: %s",
		                 text);
	*size = (whole << shift) +
	        (uint64_t)(fraction * (double)((uint64_t)1 << shift));
	return 0;
}

bool qcf_parse_size_argument(const char *text, const char *what, uint64_t *size)
{
	int ret = qcf_parse_size(text, size);

	if (ret == 0 && *size <= INT64_MAX)
		return true;
	if (ret == -EINVAL) {
		qcf_tool_error("Invalid %s specified. You may use k, M, G, T, "
		               "P or E suffixes for",
		               what);
		qcf_tool_error("kilobytes, megabytes, gigabytes, terabytes, "
		               "petabytes and exabytes.");
	} else {
		qcf_tool_error("Invalid %s specified. Must be between 0 and "
		               "%" PRId64 ".",
		               what, INT64_MAX);
	}
	return false;
}

static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };

/* A unit is used from 1000 of the next smaller one on. */
const char *qcf_format_size(char text[QCF_SIZE_TEXT], uint64_t size)
{
	double value = (double)size;
	size_t unit = 0;

	while (value >= 1000 && unit + 1 < QCF_ARRAY_LEN(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(text, QCF_SIZE_TEXT, "%0.3g %sB", value, units[unit]);
	return text;
}

const char *qcf_format_size_long(char text[QCF_SIZE_TEXT], double size)
{
	static const char zeros[] = ".000";
	char number[QCF_SIZE_TEXT];
	double value = size;
	size_t unit = 0;
	size_t len;

	while (value >= 1024 && unit + 1 < QCF_ARRAY_LEN(units)) {
		value /= 1024;
		unit++;
	}
	if (unit == 0) {
		snprintf(text, QCF_SIZE_TEXT,
		         value == floor(value) ? "%.0f bytes" : "%f bytes",
		         value);
		return text;
	}
	len = (size_t)snprintf(number, sizeof(number), "%.3f", value);
	if (len > strlen(zeros) &&
	    strcmp(number + len - strlen(zeros), zeros) == 0)
		number[len - strlen(zeros)] = '\0';
	snprintf(text, QCF_SIZE_TEXT, "%.32s %sB", number, units[unit]);
	return text;
}
