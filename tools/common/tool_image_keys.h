/* SPDX-License-Identifier: MIT */
/* tool_image_keys.h - the single options that describe an image or its file */
#ifndef QCF_TOOL_IMAGE_KEYS_H
#define QCF_TOOL_IMAGE_KEYS_H

#include "tool_image_opts.h"

/* One option, on its way into a node. */
struct qcf_image_pair {
	const char *key; /* all of it, for messages */
	const char *value;
	struct qcf_image_node *node;
};

/*
 * Take an option by the part of its key that tells it from others.  Returns
 * NULL, or the reason as a text that the caller frees.
 */
char *qcf_take_image_key(const struct qcf_image_pair *pair, const char *name);
char *qcf_take_file_key(const struct qcf_image_pair *pair, const char *name);

bool qcf_is_file_key(const char *name);

/* That there is no such option, in the words of QEMU's programs. */
char *qcf_unknown_image_key(const struct qcf_image_node *node, const char *name,
                            bool of_file);

/* The value of an option as a size. */
char *qcf_image_key_size(const struct qcf_image_pair *pair, uint64_t *size);

/* The last part of a key, by which QEMU names it. */
const char *qcf_image_key_name(const char *key);

#endif
