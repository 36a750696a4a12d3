/* SPDX-License-Identifier: MIT */
/*
 * fuzz_base.h - the sound images that inputs are changes of
 *
 * Made by the library when a target starts, the same bytes every time, so an
 * input need only say what is different in it.
 */
#ifndef QCF_FUZZ_BASE_H
#define QCF_FUZZ_BASE_H

#include "fuzz_disk.h"

#define FUZZ_DISK_SIZE     ((uint64_t)256 << 10) /* what the guest sees */
#define FUZZ_VIEW_PIECE    ((uint64_t)4096)
#define FUZZ_VIEW_PIECES   (FUZZ_DISK_SIZE / FUZZ_VIEW_PIECE)
#define FUZZ_MAX_SNAPSHOTS 3u
#define FUZZ_SECRET        "sesame"

struct fuzz_kind {
	const char *name;
	uint32_t version; /* 1, 2 or 3 */
	uint32_t cluster_size;
	uint32_t refcount_bits; /* 0 = 16 */
	uint32_t flags;         /* of creating */
	uint32_t compression;   /* the type */
	uint32_t snapshots;
	int32_t encryption;         /* enum qcowfmt_encryption */
	const char *backing_format; /* NULL: no backing file */
	bool compressed;            /* some clusters are */
	bool bitmaps;
	bool data_file;
	bool vm_state; /* of the first snapshot */
	bool left_dirty;
};

/* What a guest sees of the disk, or of one snapshot. */
struct fuzz_view {
	bool is_there;
	uint64_t size;
	bool is_readable[FUZZ_VIEW_PIECES];
	uint8_t bytes[FUZZ_DISK_SIZE];
};

struct fuzz_base {
	const struct fuzz_kind *kind;
	uint8_t *image;
	size_t image_len;
	uint8_t *data; /* of the data file */
	size_t data_len;
	/* The active disk, then the snapshots with ids 1 and up */
	struct fuzz_view views[1 + FUZZ_MAX_SNAPSHOTS];
};

/* One image and the files that belong to it. */
struct fuzz_image {
	const struct fuzz_base *base;
	struct fuzz_disk image;
	struct fuzz_disk data;
	struct fuzz_disk backing;
};

/* Make all of them; the first call of LLVMFuzzerInitialize(). */
void fuzz_bases_make(void);

size_t fuzz_base_count(void);
const struct fuzz_base *fuzz_base(size_t number);

/* Make the files be those of a base. */
void fuzz_image_reset(struct fuzz_image *fi, const struct fuzz_base *base);

/*
 * Open it, with small ceilings.  A refusal has to have a reason.  Returns what
 * qcowfmt_open() does.
 */
int fuzz_open(struct fuzz_image *fi, uint32_t flags, const char *snapshot_id,
              struct qcowfmt_image **image);

/* Close one that may have failed to write. */
void fuzz_close(struct qcowfmt_image *image);

/* The same with a limit to the chain. */
int fuzz_open_limited(struct fuzz_image *fi, uint32_t flags, uint32_t limit,
                      struct qcowfmt_image **image);

#endif
