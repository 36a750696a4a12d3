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

/*
 * Write a guest range inside the virtual disk as compressed clusters.  Contract
 * as qcowfmt_pwrite_compressed().
 */
int qcf_write_compressed(struct qcf_request *request, const void *buffer,
                         uint64_t len, uint64_t guest_offset,
                         struct qcowfmt_error **errp);

#endif
