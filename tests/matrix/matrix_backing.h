/* SPDX-License-Identifier: MIT */
/*
 * matrix_backing.h - the backing files of the matrix
 *
 * Made by QEMU once in a program and shared by all images, which must not write
 * to them: they get an old time stamp, so that a write shows.
 */
#ifndef QCF_MATRIX_BACKING_H
#define QCF_MATRIX_BACKING_H

#include "matrix_spec.h"
#include "oracle.h"

/* Images are longer than short backing files and shorter than long ones. */
#define QCF_SHORT_BACKING UINT64_C(700000)
#define QCF_LONG_BACKING  (UINT64_C(9000) << 10)

/* Of the encrypted ones, and what QEMU calls it. */
#define QCF_BACKING_PASSPHRASE "close barley"
#define QCF_BACKING_SECRET_ID  "lower"
#define QCF_BACKING_SECRET \
	"secret,id=" QCF_BACKING_SECRET_ID ",data=" QCF_BACKING_PASSPHRASE

struct qcf_backing {
	char path[QCF_PATH_SIZE];
	const char *format; /* in the words of QEMU */
	bool encrypted;
	struct qcf_oracle oracle; /* size rounded up to a sector */
};

/*
 * The backing file for images of a kind; NULL if they have none.  Made on the
 * first call for it; a test that forks does that before.
 */
bool qcf_backing_get(const struct qcf_traits *traits, uint64_t seed,
                     const struct qcf_backing **backing,
                     struct qcf_finding *finding);

/* Nobody wrote to it. */
bool qcf_backing_is_untouched(const struct qcf_backing *backing,
                              struct qcf_finding *finding);

#endif
