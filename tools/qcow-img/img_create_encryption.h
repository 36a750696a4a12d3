/* SPDX-License-Identifier: MIT */
/*
 * img_create_encryption.h - the options "encryption" and "encrypt.*"
 *
 * Both functions fill in values->encryption; its texts are those of the values
 * and of the secret.  They return NULL or the reason, for the caller to free.
 */
#ifndef QCF_IMG_CREATE_ENCRYPTION_H
#define QCF_IMG_CREATE_ENCRYPTION_H

#include "img_create_options.h"

/* What was asked for; NONE if nothing was. */
char *qcf_create_encryption_parse(struct img_create_values *values);

/* After that, the secret and what else can only be found unusable late. */
char *qcf_create_encryption_secret(struct img_create_values *values);

#endif
