/* SPDX-License-Identifier: MIT */
/*
 * write_compressed.h - writing compressed clusters
 *
 * One cluster at a time: compress it, reserve bytes behind the cluster packed
 * before, write them, publish the mapping.
 */
#ifndef QCF_WRITE_COMPRESSED_H
#define QCF_WRITE_COMPRESSED_H

#include "image.h"

/* A cluster of guest data and its compressed form. */
struct qcf_packed {
	uint64_t guest_offset;
	const uint8_t *data; /* a whole cluster */
	uint64_t guest_len;  /* less than a cluster at the virtual end */
	uint8_t *bytes;      /* room for a cluster less one byte */
	uint64_t len;        /* of bytes; 0: it does not get smaller */
};

/* Whether an image can have compressed clusters; -ENOTSUP if not. */
int qcf_check_compressed(const struct qcowfmt_image *image,
                         struct qcowfmt_error **errp);

/*
 * Compress a cluster: from data, which the caller has set, to bytes and len.
 * Takes no lock and needs no request, for any number of threads.
 */
int qcf_pack(struct qcowfmt_image *image, struct qcf_packed *packed,
             struct qcowfmt_error **errp);

/*
 * Write a cluster that was packed.  Host space is given out in the order of the
 * calls.
 */
int qcf_write_packed(struct qcf_request *request,
                     const struct qcf_packed *packed,
                     struct qcowfmt_error **errp);

/*
 * Write a guest range inside the virtual disk as compressed clusters.  Contract
 * as qcowfmt_pwrite_compressed().
 */
int qcf_write_compressed(struct qcf_request *request, const void *buffer,
                         uint64_t len, uint64_t guest_offset,
                         struct qcowfmt_error **errp);

#endif
