/* SPDX-License-Identifier: MIT */
/*
 * tool_image_opts.h - images described by options instead of a name
 *
 * As in "driver=qcow2,file.filename=NAME,encrypt.key-secret=ID", or the same in
 * JSON.  Options of the images below start with "backing." once for every level.
 * The options are those of QEMU's block drivers qcow2, qcow, raw and file.  What
 * nothing here can act on is refused by name; what only tunes QEMU's caches acts
 * on the one cache of this library, or is checked and has no effect where the
 * library does that well by itself.
 */
#ifndef QCF_TOOL_IMAGE_OPTS_H
#define QCF_TOOL_IMAGE_OPTS_H

#include "tool_file.h"
#include "tool_keyval.h"
#include "tool_util.h"

/* A switch that need not be given. */
enum qcf_choice {
	QCF_CHOICE_NONE = 0,
	QCF_CHOICE_OFF,
	QCF_CHOICE_ON,
};

/* One image of the chain.  The texts are those of the list; NULL what was not
 * said. */
struct qcf_image_node {
	const char *driver;         /* a format, or "file" */
	const char *path;           /* of its file */
	struct qcf_window window;   /* where in the file it is */
	const char *data_path;      /* of its data file */
	const char *encrypt_format; /* what its header has to say */
	const char *secret;         /* the id of its secret */
	const char *only_some; /* a key that not every format has, and ... */
	unsigned int some;     /* ... 1 << enum qcowfmt_format of those */
	bool no_backing;       /* whatever it names */
	bool read_only;
	bool force_share;
	bool no_lock;
	bool native; /* requests that need to bypass the page cache */
	enum qcf_choice direct;
	enum qcf_choice no_flush;
	enum qcf_choice lazy_refcounts;
	enum qcf_choice discard;       /* requests of the guest are obeyed */
	enum qcf_choice pass_discard;  /* ... and its space is given back */
	enum qcf_choice pass_snapshot; /* also that of deleted snapshots */
	enum qcf_choice pass_other;    /* also that of replaced tables */
	enum qcf_choice file_discard;  /* the file does as it is told */
	/* Sizes of caches, bytes; 0 if not given. */
	uint64_t cache_size;
	uint64_t l2_cache_size;
	uint64_t refcount_cache_size;
	uint64_t l2_entry_size;
};

struct qcf_image_opts {
	struct qcf_keyval_list list;
	struct qcf_image_node *nodes; /* the image and those below it */
	uint32_t node_count;
	/* The same as in the first node. */
	const char *driver;
	const char *path;
	const char *data_path;
	const char *encrypt_format;
};

/*
 * Take over one more list of options.  Returns NULL, or the reason as a text
 * that the caller frees.
 */
char *qcf_image_opts_add(struct qcf_image_opts *opts, const char *text);

/* The same for one that was taken apart already; each key has a value. */
char *qcf_image_opts_add_pairs(struct qcf_image_opts *opts,
                               const struct qcf_keyval_list *pairs);

/* Whether a name is a description in JSON. */
bool qcf_is_json_name(const char *name);

/* Take over such a name; a format that was given besides it, or NULL, counts
 * more. */
char *qcf_image_opts_add_json(struct qcf_image_opts *opts, const char *name,
                              const char *format);

/* The same after pairs were appended to the list. */
char *qcf_image_opts_renew(struct qcf_image_opts *opts);

/* To be asked after the last list if the path comes from nowhere else. */
char *qcf_image_opts_check_path(const struct qcf_image_opts *opts);

void qcf_image_opts_fini(struct qcf_image_opts *opts);

/* What the options say of the image at a depth of the chain, or NULL. */
const struct qcf_image_node *qcf_image_opts_node(
	const struct qcf_image_opts *opts, uint32_t depth);

/* The id of the secret for the image at a depth of the chain, or NULL. */
const char *qcf_image_opts_secret(const struct qcf_image_opts *opts,
                                  uint32_t depth);

#endif
