/* SPDX-License-Identifier: MIT */
/*
 * tool_file.h - the file that an image lies in
 *
 * Usually that is the library's own storage.  In two cases it is a file of the
 * program's: with cache mode "unsafe", where flushes do nothing, for targets that
 * are made anew if the machine fails half-way; and for an image that is only a
 * part of the file.  Such a file takes the locks that other programs look at,
 * too.
 */
#ifndef QCF_TOOL_FILE_H
#define QCF_TOOL_FILE_H

#include <stdbool.h>

#include "tool_util.h"

/* The part of a file that counts as all of it. */
struct qcf_window {
	uint64_t offset; /* bytes */
	uint64_t size;   /* bytes; only if has_size: else up to the end */
	bool has_size;   /* and it cannot grow or shrink then */
};

struct qcf_tool_file {
	const char *path;
	struct qcf_window window;
	bool writable;
	bool no_lock;
	bool direct;   /* bypass the page cache */
	bool no_flush; /* flushes do nothing */
	/* Of a part of a file: all zeroing gives space back, as if every request
	 * allowed it: the library does not tell a storage which requests do. */
	bool punch_zeros;
};

bool qcf_is_window(const struct qcf_window *window);

/*
 * Open it; the storage is the caller's.  Returns a negative errno value on
 * failure, and in *reason why; the caller frees it.
 */
int qcf_tool_file_open(const struct qcf_tool_file *file,
                       struct qcowfmt_storage **storage, char **reason);

#endif
