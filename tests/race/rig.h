/* SPDX-License-Identifier: MIT */
/* rig.h - an image under stress, in a file or in memory */
#ifndef QCF_RIG_H
#define QCF_RIG_H

#include <stdint.h>

#include "finding.h"

#define QCF_RIG_PATH 512

struct qcf_rig_shape {
	bool in_memory;
	uint64_t cluster_size;
	uint64_t size;
	uint32_t version;
	uint32_t refcount_bits;
	bool lazy_refcounts;
	uint64_t cache_size; /* 0: default */
	bool extended_l2;
	bool data_file;
	int32_t encryption; /* enum qcowfmt_encryption */
};

struct qcf_rig {
	struct qcf_rig_shape shape;
	char path[QCF_RIG_PATH]; /* of a file */
	char data_path[QCF_RIG_PATH + 8];
	struct qcowfmt_image *image; /* NULL when closed */
};

/* The shapes that every kind of stress runs on, and those with features that
 * matter to some. */
extern const struct qcf_rig_shape qcf_rig_shapes[];
extern const int qcf_rig_shape_count;
extern const struct qcf_rig_shape qcf_rig_feature_shapes[];
extern const int qcf_rig_feature_shape_count;

/* Whether clusters can be written compressed. */
bool qcf_rig_compresses(const struct qcf_rig *rig);

/* Make an image and open it. */
bool qcf_rig_init(struct qcf_rig *rig, const struct qcf_rig_shape *shape,
                  struct qcf_finding *finding);

/* Close an image in a file and open it again; does nothing in memory. */
bool qcf_rig_reopen(struct qcf_rig *rig, struct qcf_finding *finding);

/*
 * Close the image.  One in memory is checked just before, one in a file
 * after, there by QEMU too if it is installed.
 */
bool qcf_rig_fini(struct qcf_rig *rig, struct qcf_finding *finding);

/* A shape in words, for messages. */
void qcf_rig_print(const struct qcf_rig_shape *shape, char *out, size_t size);

/* The calls that the tests make, with findings for errors. */
bool qcf_rig_read(struct qcf_rig *rig, void *buffer, size_t len,
                  uint64_t offset, struct qcf_finding *finding);
bool qcf_rig_write(struct qcf_rig *rig, const void *buffer, size_t len,
                   uint64_t offset, struct qcf_finding *finding);
/* Whole clusters, or up to the end. */
bool qcf_rig_compress(struct qcf_rig *rig, const void *buffer, size_t len,
                      uint64_t offset, struct qcf_finding *finding);
bool qcf_rig_zero(struct qcf_rig *rig, uint64_t offset, uint64_t len,
                  bool may_unmap, struct qcf_finding *finding);
bool qcf_rig_discard(struct qcf_rig *rig, uint64_t offset, uint64_t len,
                     struct qcf_finding *finding);
bool qcf_rig_flush(struct qcf_rig *rig, struct qcf_finding *finding);

#endif
