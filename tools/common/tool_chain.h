/* SPDX-License-Identifier: MIT */
/*
 * tool_chain.h - following what images name, the way QEMU's programs do
 *
 * A name that an image stores is a path, "file:PATH" or a description in JSON;
 * other protocols are refused by name.  What was said of the image on the command
 * line, with "backing." in front, counts more than what it stores.
 */
#ifndef QCF_TOOL_CHAIN_H
#define QCF_TOOL_CHAIN_H

#include "tool_image_opts.h"

struct qcf_chain {
	/* To be set: how files are opened.  Names in it do not matter. */
	struct qcf_tool_file how;
	uint32_t first; /* depth of the first image that the user knows of */
	bool untrusted; /* open nothing that an image names */

	/*
	 * What describes the images from this depth of the chain on; opts may
	 * be NULL.  To be set for the first image, and set anew by a stored name
	 * in JSON.
	 */
	const struct qcf_image_opts *opts;
	uint32_t depth;

	/* What happened. */
	uint32_t asked;  /* depth of the image opened last */
	char *last_path; /* of its file; to be set for the first image, as a
			  * text that is freed */
	char *reason;    /* why a reference or a secret could not be had */
	struct qcf_image_opts *stored; /* description that opts points to */
};

/* Let an image be opened with backing files, data files and secrets from it. */
void qcf_chain_use(struct qcf_chain *chain,
                   struct qcowfmt_open_options *options);

/* NULL if all that was described was also used; otherwise what was not.  A limit
 * other than 0 says how many images of the chain were to be opened. */
char *qcf_chain_check_used(const struct qcf_chain *chain, uint32_t limit);

/* What opening failed for, as a text for the caller to free. */
char *qcf_chain_reason(struct qcf_chain *chain, int ret,
                       const struct qcowfmt_error *error, bool writing);

void qcf_chain_fini(struct qcf_chain *chain);

/*
 * The path that a name stands for: "file:" is taken off.  NULL, with the reason,
 * if it names another protocol.
 */
const char *qcf_tool_path(const char *name, char **reason);

/* The path of a reference, from the path of the image that holds it; the caller
 * frees it. */
char *qcf_resolve_reference(const char *referrer, const char *reference);

#endif
