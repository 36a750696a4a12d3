/* SPDX-License-Identifier: MIT */
/*
 * tool_unsafe.h - cache mode "unsafe": a file whose flushes do nothing
 *
 * For targets that are made anew if the machine fails half-way.  The image
 * lies in a storage of the program's own, which is a plain file without
 * flush(); it takes the locks that other programs look at.
 */
#ifndef QCF_TOOL_UNSAFE_H
#define QCF_TOOL_UNSAFE_H

#include <stdbool.h>

#include "tool_util.h"

/*
 * As qcowfmt_open_file() with QCOWFMT_OPEN_READ_WRITE, without flushes.  With
 * punch_zeros all zeroing gives space back, as if every request allowed it: the
 * library does not tell a storage which requests do.  On failure *reason says
 * why, for the caller to free.
 */
int qcf_open_without_flush(const char *path,
                           const struct qcowfmt_open_options *options,
                           bool punch_zeros, struct qcowfmt_image **image,
                           char **reason);

#endif
