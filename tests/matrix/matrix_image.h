/* SPDX-License-Identifier: MIT */
/*
 * matrix_image.h - one image of the matrix: making it, opening it
 *
 * Both sides can do everything: QEMU's programs are started for one turn or one
 * judgement at a time, the library is called in this process.
 */
#ifndef QCF_MATRIX_IMAGE_H
#define QCF_MATRIX_IMAGE_H

#include <qcowfmt.h>

#include "disk.h"
#include "matrix_backing.h"
#include "matrix_spec.h"
#include "oracle.h"
#include "rng.h"
#include "tmpdir.h"
#include "workload.h"

/* Room for all that QEMU wants to know to open an image. */
#define QCF_QEMU_OPTIONS_SIZE (3 * QCF_PATH_SIZE)

/* QEMU's name for the passphrase, and the argument that defines it. */
#define QCF_QEMU_SECRET_ID "key"

enum qcf_side {
	QCF_SIDE_QEMU,
	QCF_SIDE_LIBRARY,
};

struct qcf_matrix_image {
	struct qcf_traits traits;
	uint64_t seed;
	uint64_t size; /* of the virtual disk */
	struct qcf_tmpdir dir;
	char path[QCF_PATH_SIZE];
	char data_path[QCF_PATH_SIZE];     /* with a data file only */
	const struct qcf_backing *backing; /* NULL: none */
	struct qcf_target target;
	struct qcf_oracle oracle;
	/* For each guest cluster, whether it may have a host cluster. */
	uint8_t *touched;
};

/* Choose size and content; the image itself is not made yet. */
bool qcf_matrix_image_init(struct qcf_matrix_image *image,
                           const struct qcf_traits *traits, uint64_t seed,
                           struct qcf_finding *finding);

/* Remove the files unless they shall be kept. */
void qcf_matrix_image_fini(struct qcf_matrix_image *image, bool keep);

/*
 * Make it, or by hand if neither side can.  If a fresh image of the kind reads as noise, the oracle takes what
 * QEMU reads.
 */
bool qcf_matrix_image_create(struct qcf_matrix_image *image, enum qcf_side side,
                             struct qcf_finding *finding);

/*
 * Start an argument vector with a program, and the passphrase if there is one.
 * Returns how many arguments it has.
 */
int qcf_qemu_argv(const struct qcf_matrix_image *image, const char *program,
                  const char *command, const char *argv[]);

/* What stands behind --image-opts. */
void qcf_matrix_qemu_options(const struct qcf_matrix_image *image,
                             char out[QCF_QEMU_OPTIONS_SIZE]);

/* Open it with the library; flags as in struct qcowfmt_open_options. */
bool qcf_library_open(const struct qcf_matrix_image *image, uint32_t flags,
                      uint64_t cache_size, struct qcowfmt_image **opened,
                      struct qcf_finding *finding);

#endif
