/* SPDX-License-Identifier: MIT */
/*
 * scratch.h - a fresh directory for the files of a test program
 *
 * Made by main() before the tests run and removed after, so that a test that
 * fails in a child process leaves nothing behind.
 */
#ifndef QCF_SCRATCH_H
#define QCF_SCRATCH_H

/* Make the directory beneath $TMPDIR, or beneath /tmp if that is not set or would
 * have to be quoted; ends the program on failure. */
void scratch_init(void);

/* Remove it with all that is in it. */
void scratch_fini(void);

/* The path of a name in the directory; valid until called eight times more. */
const char *scratch_path(const char *name);

#endif
