/* SPDX-License-Identifier: MIT */
/*
 * tool_open.h - opening images the way QEMU's programs do
 *
 * Backing files are followed wherever they are on this machine, and probed if
 * the image does not state their format.  That is what users of these programs
 * expect; it is not for images from strangers.
 */
#ifndef QCF_TOOL_OPEN_H
#define QCF_TOOL_OPEN_H

#include <stdbool.h>

#include "tool_image_opts.h"
#include "tool_util.h"

/* What a cache mode comes down to. */
struct qcf_cache_mode {
	bool direct;        /* bypass the page cache */
	bool no_flush;      /* ignore flushes */
	bool write_through; /* flush after every write */
};

/* none, writeback, unsafe, directsync or writethrough; false for others. */
bool qcf_parse_cache_mode(const char *name, struct qcf_cache_mode *mode);

struct qcf_tool_open {
	const char *path;   /* the name as it was given, also in messages */
	const char *format; /* NULL: find out */
	const struct qcf_image_opts *opts; /* NULL: none.  What they say of
					    * path and format counts instead */
	struct qcf_cache_mode cache;
	uint32_t flags;     /* QCOWFMT_OPEN_*; DIRECT comes from cache */
	uint32_t chain_limit; /* as in qcowfmt_open_options */
	bool no_references; /* do not open backing files */
	bool ignore_discard;
	bool punch_zeros; /* with cache.no_flush: zeros need no space */
};

/*
 * Open an image.  On failure returns a negative errno value, and in *reason
 * why, without the name of the image; the caller frees it.
 */
int qcf_tool_open(const struct qcf_tool_open *request,
                  struct qcowfmt_image **image, char **reason);

/* Where the images of a chain get their secrets from. */
struct qcf_secret_source {
	const struct qcf_image_opts *opts; /* NULL: there are none */
	uint32_t depth; /* in the chain, of the image that opts describe */
	uint32_t asked; /* the last image of the chain that needed one */
	char *reason;   /* set if a secret could not be had; to be freed */
};

/*
 * What opening with this source failed for, as a text for the caller to free:
 * its own reason, or the one given, which is freed then.
 */
char *qcf_secret_reason(struct qcf_secret_source *source, int ret,
                        char *reason);

/* Let an image be opened with secrets from a source. */
void qcf_use_secrets(struct qcowfmt_open_options *options,
                     struct qcf_secret_source *source);

/*
 * NULL if the header of an image agrees with what the options say of its
 * encryption, or if that is not known; otherwise why not, for the caller to
 * free.
 */
char *qcf_check_encryption(const struct qcowfmt_info *info,
                           const struct qcf_image_opts *opts);

/*
 * Say what to open: the image named by an argument, or with image_opts
 * described by it.  False with a message, which starts with the argument.
 */
bool qcf_tool_take_image(struct qcf_tool_open *request,
                         struct qcf_image_opts *opts, bool image_opts,
                         const char *argument);

/*
 * The path that a name on the command line stands for: "file:" is taken off.
 * NULL, with the reason, if it names another protocol.
 */
const char *qcf_tool_path(const char *name, char **reason);

/* The path of a reference, from the path of the image that holds it; the caller
 * frees it. */
char *qcf_resolve_reference(const char *referrer, const char *reference);

#endif
