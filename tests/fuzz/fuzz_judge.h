/* SPDX-License-Identifier: MIT */
/* fuzz_judge.h - what a check says of an image */
#ifndef QCF_FUZZ_JUDGE_H
#define QCF_FUZZ_JUDGE_H

#include "fuzz_view.h"

struct fuzz_findings {
	int ret; /* of opening and checking */
	bool ids[256];
	bool bad_flag; /* COPIED is wrong in a table that is nothing else,
			      * and so can be mended */
	const struct fuzz_image *fi;
	uint64_t first_leak; /* host offset */
	uint64_t end;        /* of the image file */
	struct qcowfmt_check_result result;
};

/* Open with flags, and check with others. */
void fuzz_judge(struct fuzz_image *fi, uint32_t open_flags,
                uint32_t check_flags, struct fuzz_findings *f);

/* Nothing at all was found. */
bool fuzz_is_sound(const struct fuzz_findings *f);

/* No corruption was found but of kinds that no repair mends. */
bool fuzz_is_excused(const struct fuzz_image *fi,
                     const struct fuzz_findings *f);

/*
 * The image, which was sound before, still is.  Not a finding: that of two entries
 * of the same cluster one is alone once the other has been written to, and does
 * not know; and counts behind what was the end of the file, at which nobody
 * looks.
 */
void fuzz_expect_sound(struct fuzz_image *fi,
                       const struct fuzz_findings *before, const char *why);

#endif
