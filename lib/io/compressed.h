/* SPDX-License-Identifier: MIT */
/*
 * compressed.h - reading compressed clusters
 *
 * A cluster is decompressed as a whole.  The last few are remembered, so that
 * reading one in small pieces decompresses it once.
 */
#ifndef QCF_COMPRESSED_H
#define QCF_COMPRESSED_H

#include "extent.h"

/*
 * Read extent->run.length bytes of a compressed cluster; the payload says where
 * the guest range begins and where its bytes go.
 */
int qcf_read_compressed(struct qcowfmt_image *image,
                        const struct qcf_extent *extent,
                        const struct qcf_payload *payload,
                        struct qcowfmt_error **errp);

#endif
