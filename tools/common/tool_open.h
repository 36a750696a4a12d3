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

#include "tool_chain.h"
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
	const char *path;   /* the name as it was given, also in messages: a
			     * path, file:PATH or json:{...} */
	const char *format; /* NULL: find out */
	/* NULL: none, but for what path may say.  What they say counts more
	 * than the other members. */
	const struct qcf_image_opts *opts;
	struct qcf_cache_mode cache;
	uint32_t flags;       /* QCOWFMT_OPEN_*; DIRECT comes from cache */
	uint32_t chain_limit; /* these are as in qcowfmt_open_options */
	const char *snapshot_id;
	const char *snapshot_name;
	/* In place of the file at path, whose name only shows; it belongs to
	 * whoever opens.  NULL: the file. */
	struct qcowfmt_storage *storage;
	bool no_references; /* do not open what the image names */
	bool is_stored;     /* path is not from the user, but from an image */
	bool ignore_discard;
	bool in_order; /* tables are gone through in order: few of them need to
			* be in memory at a time */
	bool punch_zeros; /* with cache.no_flush: zeros need no space */
};

/*
 * Open an image.  On failure returns a negative errno value, and in *reason
 * why, without the name of the image; the caller frees it.
 */
int qcf_tool_open(const struct qcf_tool_open *request,
                  struct qcowfmt_image **image, char **reason);

/*
 * NULL if the header of an image agrees with what the options say of its
 * encryption, or if that is not known; otherwise why not, for the caller to
 * free.
 */
char *qcf_check_encryption(const struct qcowfmt_info *info,
                           const struct qcf_image_opts *opts);

/*
 * Say what to open: the image named by an argument, which may be a description
 * in JSON, or with image_opts described by it.  False with a message, which
 * starts with the argument.
 */
bool qcf_tool_take_image(struct qcf_tool_open *request,
                         struct qcf_image_opts *opts, bool image_opts,
                         const char *argument);

/*
 * From now on open nothing that an image names, and allow an image little
 * memory: for images from strangers.
 */
void qcf_tool_set_untrusted(void);
bool qcf_tool_is_untrusted(void);

#endif
