/* SPDX-License-Identifier: MIT */
/*
 * tool_secret.h - the secrets that --object defines
 *
 * They live until the program ends, and are wiped then.
 */
#ifndef QCF_TOOL_SECRET_H
#define QCF_TOOL_SECRET_H

#include <stdbool.h>

#include "tool_util.h"

/*
 * Define one object, as in "secret,id=ID,data=TEXT".  The text, which the list
 * of processes would show, is wiped.  False with a message on failure.
 */
bool qcf_secret_define(char *text);

/*
 * Find the bytes of a secret.  They stay valid until the program ends.  Returns
 * NULL, or why there are none, for the caller to free.
 */
char *qcf_secret_find(const char *id, const void **bytes, size_t *len);

/* Wipe and forget them; the end of the program does it, too. */
void qcf_secret_forget_all(void);

#endif
