/* SPDX-License-Identifier: MIT */
/* img_amend_keys.h - adding and erasing keys with "qcow-img amend" */
#ifndef QCF_IMG_AMEND_KEYS_H
#define QCF_IMG_AMEND_KEYS_H

#include <stdbool.h>

#include "tool_util.h"

/* What is to become of which keys; the texts are those of the options, NULL
 * where there was none. */
struct img_key_change {
	const char *state;
	const char *old_secret;
	const char *new_secret;
	const char *keyslot;   /* a number */
	const char *iter_time; /* a number */
};

/* Add or erase a key.  Returns NULL, or the reason for the caller to free. */
char *img_amend_keys(struct qcowfmt_image *image,
                     const struct img_key_change *change, bool force);

#endif
