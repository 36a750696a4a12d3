/* SPDX-License-Identifier: MIT */
/*
 * img_convert_target.h - what "convert" was asked for, and the image it writes
 */
#ifndef QCF_IMG_CONVERT_TARGET_H
#define QCF_IMG_CONVERT_TARGET_H

#include <stdbool.h>

#include "img_convert_source.h"
#include "img_create_options.h"
#include "img_snapshot_choice.h"
#include "tool_keyval.h"
#include "tool_open.h"

struct img_convert_request {
	struct qcf_tool_open source; /* how to open the sources */
	struct qcf_tool_open target;
	struct qcf_image_opts target_opts;
	const char *target_format; /* NULL: raw, or what the target is */
	const char *target_path;
	struct qcf_keyval_list list;
	const char *backing;
	const char *backing_format;
	bool has_backing;   /* the target, by -b or -o */
	uint64_t hole_size; /* 0: no holes */
	uint64_t rate_limit;
	unsigned int parallel;
	bool no_create;
	bool image_opts;
	bool target_image_opts;
	bool compress;
	bool resize;          /* to the length of the input */
	uint64_t reserved;    /* host space that the target has, bytes */
	bool is_preallocated; /* the target is new, and no part of it missing */
	bool target_is_zero;
	bool out_of_order;
	bool copy_range;
	bool salvage;
	struct img_snapshot_choice snapshot;
	bool keep_snapshots;
	bool keep_bitmaps;
	bool skip_broken_bitmaps;
	bool to_pipe;       /* the target is standard output */
	bool has_hole_size; /* by an option */
	int progress;       /* enum img_progress_mode */
	bool quiet;
	char **sources;
	size_t source_count;
};

/* The values of -o and of -b and -F together; NULL, or why they are wrong.  They may
 * say how long the input is. */
char *qcf_target_values(struct img_convert_request *r,
                        struct img_source *source,
                        struct img_create_values *values);

/*
 * Make the target if that was asked for.  Returns whether it can be opened now,
 * after a message if not; *created: it did not exist before.
 */
bool qcf_target_prepare(struct img_convert_request *r,
                        struct img_source *source, bool *created);

/* Whether the target, apart from what a backing file shows, reads as zeros where
 * nothing is written. */
bool qcf_target_is_zero(const struct img_convert_request *r,
                        struct qcowfmt_image *target);

/*
 * Let the file end at a sector, as QEMU's programs do after compression.  This
 * only ever adds to the file, whoever writes to it meanwhile.  False with a
 * message.
 */
bool qcf_target_pad(const char *path);

/* Give back space that was reserved and not needed.  The target is still open, so
 * that nobody else is writing to it. */
void qcf_target_trim(const struct img_convert_request *r);

#endif
