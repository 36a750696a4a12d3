/* SPDX-License-Identifier: MIT */
/*
 * reference.h - from the name an image stores to a file that may be opened
 *
 * The one place that decides whether the library opens what an image names.
 */
#ifndef QCF_REFERENCE_H
#define QCF_REFERENCE_H

#include "image.h"

/* How references are followed; from the open options. */
struct qcf_reference_rules {
	int policy;     /* enum qcowfmt_reference_policy */
	int undeclared; /* enum qcowfmt_undeclared_format */
	qcowfmt_reference_callback callback;
	void *opaque;
	uint32_t chain_limit;  /* images of the chain to be opened at most */
	uint32_t max_depth;    /* images in a chain */
	uint32_t file_flags;   /* QCOWFMT_FILE_* for files of the chain */
	char *first_directory; /* of the image opened first; owned */
};

/*
 * The backing name of a layer as it would be opened: "file:" taken off, relative
 * names joined to the directory of the layer's file.  NULL in *path if there is
 * no backing file.  Does not judge or open anything.
 */
int qcf_reference_path(const struct qcf_layer *layer, char **path,
                       struct qcowfmt_error **errp);

/*
 * Open the backing file of a layer under the rules.  *format gets the format to
 * open it as, *beneath its directory below the first image's (or NULL).
 */
int qcf_reference_open(const struct qcf_reference_rules *rules,
                       const struct qcf_layer *layer,
                       struct qcowfmt_storage **storage, int *format,
                       char **beneath, struct qcowfmt_error **errp);

/*
 * The path that the name of a data file stands for: "file:" taken off.  Points
 * into name.  -ENOTSUP for the names that are never opened.
 */
int qcf_reference_data_file_path(const char *name, const char **path,
                                 struct qcowfmt_error **errp);

/*
 * Open the data file of a layer under the same rules.  A relative name starts
 * where the process is, as in QEMU; with the policy "beneath", in the directory
 * of the layer's file.  *storage, which no lock is taken on yet, is the
 * caller's; NULL if the policy is to ignore references.  On failure nothing is
 * left open.
 */
int qcf_reference_open_data_file(const struct qcf_reference_rules *rules,
                                 const struct qcf_layer *layer, bool writable,
                                 struct qcowfmt_storage **storage,
                                 struct qcowfmt_error **errp);

#endif
