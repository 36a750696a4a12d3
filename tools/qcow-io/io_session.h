/* SPDX-License-Identifier: MIT */
/*
 * io_session.h - what the commands of qcow-io work on: at most one open image
 */
#ifndef QCF_IO_SESSION_H
#define QCF_IO_SESSION_H

#include <stdbool.h>

#include "tool_open.h"
#include "tool_util.h"

/* How an image is to be opened. */
struct io_settings {
	const char *path;   /* NULL: opts describe it */
	const char *format; /* NULL: find out */
	/* NULL: none.  The session owns it once it was told to open. */
	struct qcf_image_opts *opts;
	struct qcf_cache_mode cache;
	bool read_only;
	bool force_share;
	bool snapshot;     /* writes go to a temporary overlay */
	bool copy_on_read; /* keep what was read from a backing file */
	bool native_aio;
	bool ignore_discard;
};

struct io_aio_request;

struct io_session {
	struct qcowfmt_image *image; /* NULL: none is open */
	struct io_settings settings; /* of the open image; path and format are
				      * the texts below */
	char *path;
	char *format;
	int overlay_fd;           /* file of the overlay of a snapshot, or -1 */
	uint64_t size;            /* of the disk, bytes */
	uint64_t cluster_size;    /* 0 for raw */
	bool guards_first_sector; /* nobody said that it is raw: see
				   * qcf_io_check_first_sector() */
	bool was_probed_raw;      /* the same, while an image is reopened */
	bool image_opts;          /* what is opened is described, not named */
	bool misalign;            /* put buffers at odd addresses */
	bool has_quit;            /* no more commands */

	/* Requests of aio_read and aio_write that are not reported yet. */
	struct io_aio_request *aio_first;
	unsigned int aio_count;
};

/* For whoever made options and did not open an image with them. */
void qcf_io_free_opts(struct qcf_image_opts *opts);

/* Make opts of what a list says; false with a message. */
bool qcf_io_take_pairs(struct io_settings *settings,
                       const struct qcf_keyval_list *said);

/*
 * Open an image.  On failure prints why and returns false; the session is then
 * without an image.
 */
bool qcf_io_open(struct io_session *session, const struct io_settings *asked);

/*
 * Open the same image again with other settings, whose opts are the session's
 * from then on.  On failure, after a message, it is open as it was before.
 */
bool qcf_io_reopen(struct io_session *session,
                   const struct io_settings *settings);

/* Returns false with a message if something that was written may be lost. */
bool qcf_io_close(struct io_session *session);

/* Names as -d and -i take them; false with a message for others. */
bool qcf_io_parse_cache(const char *name, struct io_settings *settings);
bool qcf_io_parse_discard(const char *name, struct io_settings *settings);
bool qcf_io_parse_aio(const char *name, struct io_settings *settings);

/*
 * An option that the program and its "open" command share: r s n C k i t d U.
 * Any other letter changes nothing.  False with a message for a bad argument.
 */
bool qcf_io_take_setting(int option, const char *argument,
                         struct io_settings *settings);

#endif
