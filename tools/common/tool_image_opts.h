/* SPDX-License-Identifier: MIT */
/*
 * tool_image_opts.h - images described by options instead of a name
 *
 * As in "driver=qcow2,file.filename=NAME,encrypt.key-secret=ID".  Options of
 * the images below start with "backing." once for every level.
 */
#ifndef QCF_TOOL_IMAGE_OPTS_H
#define QCF_TOOL_IMAGE_OPTS_H

#include "tool_keyval.h"
#include "tool_util.h"

/* The texts are those of the list; NULL what was not said. */
struct qcf_image_opts {
	struct qcf_keyval_list list;
	const char *driver;
	const char *path;
	const char *data_path;      /* of its data file */
	const char *encrypt_format; /* what its header has to say */
};

/*
 * Take over one more list of options.  Returns NULL, or the reason as a text
 * that the caller frees.
 */
char *qcf_image_opts_add(struct qcf_image_opts *opts, const char *text);

/* To be asked after the last list if the path comes from nowhere else. */
char *qcf_image_opts_check_path(const struct qcf_image_opts *opts);

void qcf_image_opts_fini(struct qcf_image_opts *opts);

/* The id of the secret for the image at a depth of the chain, or NULL. */
const char *qcf_image_opts_secret(const struct qcf_image_opts *opts,
                                  uint32_t depth);

#endif
