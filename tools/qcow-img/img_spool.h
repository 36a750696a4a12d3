/* SPDX-License-Identifier: MIT */
/*
 * img_spool.h - an image on standard input
 *
 * The name "-" stands for it.  A file that was redirected is used as it is.  What
 * comes out of a pipe and cannot be used as it comes (img_pipe.h) is copied to a
 * temporary file without a name, in $TMPDIR or /tmp, where zeros take no space.
 * Either way relative names in the image lead nowhere, because it has no
 * directory.
 */
#ifndef QCF_IMG_SPOOL_H
#define QCF_IMG_SPOOL_H

#include <stdbool.h>

#include "tool_util.h"

/* Whether a name stands for standard input or output. */
bool qcf_is_pipe_name(const char *name);

/* Whether standard input is a file that was redirected from its beginning. */
bool qcf_input_is_file(void);

/* Note that standard input is in use; false with a message if it was before. */
bool qcf_input_claim(void);

/*
 * A path by which the image can be opened, read-only, as long as the program
 * runs; for the caller to free.  NULL with a message.  The first head_len bytes
 * were read from a pipe before.
 */
char *qcf_spool_input(const char *head, size_t head_len);

#endif
