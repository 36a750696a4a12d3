/* SPDX-License-Identifier: MIT */
/* check_bitmaps.h - persistent dirty bitmaps */
#ifndef QCF_CHECK_BITMAPS_H
#define QCF_CHECK_BITMAPS_H

#include "bitmap_entry.h"
#include "check_image.h"

/* The bitmap directory, as far as its entries can be told apart. */
struct qcf_bitmap_listing {
	bool present; /* there are bitmaps at all */
	bool broken;  /* not all entries could be read */
	struct qcf_bitmap_ext ext;
	struct qcf_bitmap_entry *entries; /* owned */
	bool *sound; /* of each entry, set by the walk; owned */
	uint32_t count;
};

/* Read what the header says; adds a finding if it is broken as a whole. */
int qcf_bitmap_listing_read(struct qcf_bitmap_listing *view,
                            struct qcf_checker *checker,
                            struct qcowfmt_error **errp);
void qcf_bitmap_listing_fini(struct qcf_bitmap_listing *view);

/* Count the directory, tables and bits; report what makes no sense. */
int qcf_check_walk_bitmaps(struct qcf_checker *checker,
                           struct qcf_bitmap_listing *view,
                           struct qcowfmt_error **errp);

#endif
