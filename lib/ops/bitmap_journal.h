/* SPDX-License-Identifier: MIT */
/*
 * bitmap_journal.h - what several images are about to switch to
 *
 *   byte  0 -  7  magic
 *         8 - 11  images
 *        12 - 15  reserved, 0
 *        16 ...   of each image:
 *                   u32 length of its path, and the path, which is absolute
 *                   the bitmaps extension now and then, 24 bytes each; all
 *                   zero: none
 *                   u64 digest of the directory now, and then
 *   last 8        digest of all that
 *
 * A journal that is not complete was never acted on: it is made stable before the
 * first image changes.
 */
#ifndef QCF_BITMAP_JOURNAL_H
#define QCF_BITMAP_JOURNAL_H

#include "bitmap_draft.h"

/* One image of a journal. */
struct qcf_bitmap_switch {
	char *path; /* owned */
	uint8_t before[QCF_BITMAP_EXT_LEN];
	uint8_t after[QCF_BITMAP_EXT_LEN];
	uint64_t digest_before;
	uint64_t digest_after;
};

struct qcf_bitmap_journal {
	struct qcf_bitmap_switch *switches; /* owned */
	uint32_t count;
};

void qcf_bitmap_journal_fini(struct qcf_bitmap_journal *journal);

/* Add the switch to a draft that is written. */
int qcf_bitmap_journal_add(struct qcf_bitmap_journal *journal,
                           const struct qcf_bitmap_draft *draft,
                           struct qcowfmt_error **errp);

/* Write it to a new file and make that stable. */
int qcf_bitmap_journal_write(const struct qcf_bitmap_journal *journal,
                             const char *path, struct qcowfmt_error **errp);

/* Read it; *complete is false if the file is not a whole journal.  -ENOENT if
 * there is no file. */
int qcf_bitmap_journal_read(struct qcf_bitmap_journal *journal,
                            const char *path, bool *complete,
                            struct qcowfmt_error **errp);

/* Remove the file and make that stable. */
int qcf_bitmap_journal_remove(const char *path, struct qcowfmt_error **errp);

/* Digest of the directory that an extension points to, on storage; 0 for none. */
int qcf_bitmap_directory_digest(struct qcf_meta *meta,
                                const uint8_t ext[QCF_BITMAP_EXT_LEN],
                                uint64_t *digest, struct qcowfmt_error **errp);

/* The extension of an image as 24 bytes; all zero: none that counts. */
void qcf_bitmap_ext_bytes(const struct qcf_header *h,
                          uint8_t ext[QCF_BITMAP_EXT_LEN]);

#endif
