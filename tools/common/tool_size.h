/* SPDX-License-Identifier: MIT */
/*
 * tool_size.h - sizes as people type and read them
 *
 * A size is a decimal number, with a fraction only if a suffix other than b
 * follows, or a hexadecimal number after 0x; then one of b k K M G T P E,
 * powers of 1024.  Lower and upper case are the same.
 */
#ifndef QCF_TOOL_SIZE_H
#define QCF_TOOL_SIZE_H

#include <stdbool.h>

#include "tool_util.h"

/* Longest result of the functions that format, with its NUL. */
#define QCF_SIZE_TEXT 64

/* Parse a whole string.  -EINVAL: not a size; -ERANGE: 2^64 or more. */
int qcf_parse_size(const char *text, uint64_t *size);

/*
 * The same for a size given on the command line, which must fit a signed
 * 64-bit number.  What names the value in the message that is printed on
 * failure, as in "Invalid image size specified".
 */
bool qcf_parse_size_argument(const char *text, const char *what,
                             uint64_t *size);

/* Three significant digits: "1.5 GiB".  Returns text. */
const char *qcf_format_size(char text[QCF_SIZE_TEXT], uint64_t size);

/* Three decimals, none where they are zeros: "1.500 GiB".  Returns text. */
const char *qcf_format_size_long(char text[QCF_SIZE_TEXT], double size);

#endif
