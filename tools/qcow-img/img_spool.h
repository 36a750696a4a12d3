/* SPDX-License-Identifier: MIT */
/*
 * img_spool.h - an image on standard input
 *
 * The name "-" stands for it.  A file that was redirected is used as it is; what
 * comes out of a pipe is copied to a temporary file without a name, in $TMPDIR
 * or /tmp, where zeros take no space.  Either way relative names in the image
 * lead nowhere, because it has no directory.
 */
#ifndef QCF_IMG_SPOOL_H
#define QCF_IMG_SPOOL_H

#include <stdbool.h>

#include "tool_util.h"

/* Whether a name stands for standard input or output. */
bool qcf_is_pipe_name(const char *name);

/*
 * A path by which the image can be opened, read-only, as long as the program
 * runs; for the caller to free.  NULL with a message.  Standard input can be
 * had once.
 */
char *qcf_spool_input(void);

#endif
