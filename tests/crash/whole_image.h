/* SPDX-License-Identifier: MIT */
/*
 * whole_image.h - operations that rebuild an image, cut short at every moment
 *
 * QEMU's programs make an image with whatever a kind of image can have: old
 * clusters freed, snapshots taken and deleted, zeros, compressed clusters.  An
 * operation runs on it, on storage that records or fails; afterwards the disk
 * and every snapshot have to hold what they held before.
 */
#ifndef QCF_WHOLE_IMAGE_H
#define QCF_WHOLE_IMAGE_H

#include <stdbool.h>

#include "byte_image.h"
#include "crash_states.h"
#include "qcowfmt.h"
#include "whole_extras.h"

#define WHOLE_SNAPSHOTS 3u

enum whole_encryption { WHOLE_PLAIN = 0, WHOLE_AES, WHOLE_LUKS };

/* What image there is to be. */
struct whole_kind {
	const char *name;
	const char *options; /* of "qemu-img create -o" */
	unsigned int kib;    /* virtual size */
	bool backing;
	bool data_file;
	bool no_snapshots;
	bool bitmaps;      /* one that records, one that does not, one that was
			* in use */
	bool late_bitmaps; /* behind all data, most of which is free then; the
			    * file has to get much shorter */
	bool vm_state;     /* a snapshot has some */
	bool resized;      /* it was much larger once: tables are far behind */
	bool emptied;      /* most of the front is free in the end */
	const char *recount; /* change of refcount_bits before; NULL = none */
	bool old_snapshots;  /* whose entries do not say how large the disk
			     * was */
	enum whole_encryption encryption;
	const char *amend; /* for the program of this name: what to change */
};

struct whole_disk {
	uint8_t *bytes;
	uint64_t size;
};

/* The operation under test; returns what the library does. */
typedef int (*whole_operation)(struct qcowfmt_image *image,
                               const struct whole_kind *kind,
                               struct qcowfmt_error **errp);

struct whole_image {
	whole_operation operation;
	const struct whole_kind *kind;
	struct byte_image *image; /* as QEMU left it */
	struct byte_image *data;  /* NULL if there is no data file */
	struct byte_image *base;  /* NULL if there is no backing file */
	struct whole_disk active;
	struct whole_disk snapshots[WHOLE_SNAPSHOTS];
	uint32_t snapshot_count;
	char bitmaps[EXTRAS_TEXT];
	const char *shown;   /* snapshot that an image is opened as */
	uint8_t header[104]; /* before and after the operation */
	uint8_t new_header[104];
	size_t promised; /* from here on in the log the header is one that the
			  * operation left */
	uint8_t promised_header[104];
	uint64_t states;
	uint64_t old_states; /* with the old header */
	uint64_t new_states;
	uint64_t judged_by_qemu;
};

/*
 * The main() of a test of an operation, with each kind of image: on every state
 * that a power cut during it could leave, and once for each call to storage, which
 * fails.  The arguments are the paths of QEMU's programs, and which part of the
 * kinds to try, as in "2/6".  With QCF_KIND in the environment, only kinds with
 * this word in their name.
 */
int whole_image_main(int argc, char **argv, const char *name,
                     const struct whole_kind *kinds, size_t count,
                     whole_operation operation);

#endif
