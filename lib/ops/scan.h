/* SPDX-License-Identifier: MIT */
/*
 * scan.h - going through a disk, piece by piece
 *
 * For operations that want to read only what can hold data.  The caller is
 * inside the gate of the image, or has closed it.
 */
#ifndef QCF_SCAN_H
#define QCF_SCAN_H

#include "extent.h"

/* What the bytes of a piece are, as far as tables and file systems know. */
enum qcf_content {
	QCF_CONTENT_ZEROS,
	QCF_CONTENT_DATA,
	QCF_CONTENT_BELOW, /* comes from an image below that is not open */
};

/* A guest range of one content that comes from one place. */
struct qcf_piece {
	enum qcf_content content;
	uint64_t length;
	struct qcf_extent extent;
	bool is_hole; /* zeros because the file has a hole there */
};

struct qcf_scan {
	struct qcowfmt_image *image; /* NULL: a disk of zeros */
	uint64_t size;               /* of the disk, bytes */
	bool *shows_holes; /* by depth: holes of the file mean zeros; owned */
	/* The piece found last and where it begins: what is left of it need not
	 * be looked up again, however small the steps are. */
	struct qcf_piece last;
	uint64_t last_at;
};

/*
 * How much to read at once, into a buffer aligned to QCF_SCAN_ALIGNMENT: what
 * stays in the caches of a processor core until it is looked at; but as much as
 * makes waiting for a disk worth while if nothing reads ahead.
 */
#define QCF_SCAN_CHUNK        (UINT64_C(256) << 10)
#define QCF_SCAN_DIRECT_CHUNK (UINT64_C(2) << 20)
#define QCF_SCAN_ALIGNMENT    4096

uint64_t qcf_scan_chunk(const struct qcowfmt_image *image);

int qcf_scan_init(struct qcf_scan *scan, struct qcowfmt_image *image,
                  struct qcowfmt_error **errp);
void qcf_scan_fini(struct qcf_scan *scan);

/*
 * The piece that begins at guest_offset, at most len bytes.  There are zeros
 * behind the end of the disk.  Nothing may be changed behind guest_offset between
 * two calls but zeros that become data.
 */
int qcf_scan_piece(struct qcf_scan *scan, uint64_t guest_offset, uint64_t len,
                   struct qcf_piece *piece, struct qcowfmt_error **errp);

/* Whether two pieces that begin at the same guest offset are the same bytes of
 * the same file. */
bool qcf_scan_same_place(const struct qcf_scan *a,
                         const struct qcf_piece *piece_a,
                         const struct qcf_scan *b,
                         const struct qcf_piece *piece_b);

/* Read a range, which may reach behind the end of the disk. */
int qcf_scan_read(const struct qcf_scan *scan, void *buffer,
                  uint64_t guest_offset, uint64_t len,
                  struct qcowfmt_error **errp);

#endif
