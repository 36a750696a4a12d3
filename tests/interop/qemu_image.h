/* SPDX-License-Identifier: MIT */
/* qemu_image.h - how QEMU's programs are told of an image and its secrets */
#ifndef QCF_QEMU_IMAGE_H
#define QCF_QEMU_IMAGE_H

#include "finding.h"

#define QCF_QEMU_MAX_SECRETS 4

struct qcf_qemu_image {
	char spec[3072];                        /* for --image-opts */
	char secrets[QCF_QEMU_MAX_SECRETS][96]; /* for --object */
	int secret_count;
};

/* An image of a format ("qcow2", "qcow", "raw") in a file. */
void qcf_qemu_image_init(struct qcf_qemu_image *image, const char *driver,
                         const char *path);

/*
 * Add a file below, or if prefix is "" more about the image itself: its format
 * and path, either may be NULL, and its secret, NULL if it has none.
 */
void qcf_qemu_image_add(struct qcf_qemu_image *image, const char *prefix,
                        const char *driver, const char *path,
                        const char *secret);

/*
 * Append "--object ..." for each secret and "--image-opts" to the arguments,
 * of which there are count.  Returns how many there are then; the spec goes
 * where the program wants a file name.
 */
int qcf_qemu_image_options(const struct qcf_qemu_image *image,
                           const char *argv[], int count);

/* "qemu-img check" finds neither corruption nor leak. */
bool qcf_qemu_image_approves(const struct qcf_qemu_image *image,
                             struct qcf_finding *finding);

/* QEMU reads from a snapshot what a raw file has.  The copy is a file to make. */
bool qcf_qemu_image_has_snapshot(const struct qcf_qemu_image *image,
                                 const char *name, const char *raw_path,
                                 const char *copy, struct qcf_finding *finding);

#endif
