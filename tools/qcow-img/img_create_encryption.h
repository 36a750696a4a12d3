/* SPDX-License-Identifier: MIT */
/*
 * img_create_encryption.h - the options "encryption" and "encrypt.*"
 *
 * The functions return NULL or the reason, for the caller to free.  They are to
 * be called in this order; in between come the checks of other options.  What
 * they find is in values->encryption, whose texts are those of the values and
 * of the secret.
 */
#ifndef QCF_IMG_CREATE_ENCRYPTION_H
#define QCF_IMG_CREATE_ENCRYPTION_H

#include "img_create_options.h"

/* The two ways to ask for it exclude each other. */
char *qcf_create_encryption_check(const struct img_create_values *values);

/* What was asked for; NONE if nothing was. */
char *qcf_create_encryption_parse(struct img_create_values *values);

/* After that, the secret and what else can only be found unusable late. */
char *qcf_create_encryption_secret(struct img_create_values *values);

#endif
