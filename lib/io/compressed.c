/* SPDX-License-Identifier: MIT */
/*
 * compressed.c - reading compressed clusters
 *
 * How often clusters were freed is read before the mapping's data is: a cluster
 * cannot be freed and reused while the request that decompresses it is inside
 * the gate, so what is remembered under the old number is right, and what may
 * have changed is looked for under a new one.
 */
#include <errno.h>
#include <inttypes.h>

#include "compress.h"
#include "compressed.h"

/* Read and decompress into the cluster's buffer. */
static int decode(struct qcowfmt_image *image, const struct qcf_extent *extent,
                  struct qcf_decoded *decoded, struct qcowfmt_error **errp)
{
	struct qcf_layer *layer = image->layers[extent->depth];
	const struct qcf_run *run = &extent->run;
	QCF_AUTO_FREE uint8_t *in = malloc(run->compressed_len);
	int64_t got;

	if (in == NULL)
		return qcf_fail_oom(errp);
	got = qcf_storage_pread_padded(layer->storage, in, run->compressed_len,
	                               run->host_offset, errp);
	if (got < 0)
		return (int)got;
	return qcf_decompress(&image->compressor,
	                      layer->meta->header.compression_type, in,
	                      (size_t)got, decoded->bytes,
	                      layer->meta->geometry.cluster_size, errp);
}

static int get_cluster(struct qcowfmt_image *image,
                       const struct qcf_extent *extent,
                       struct qcf_decoded **result, struct qcowfmt_error **errp)
{
	struct qcf_layer *layer = image->layers[extent->depth];
	uint64_t reclaims = atomic_load(&layer->meta->reclaims);
	uint64_t host_offset = extent->run.host_offset;
	struct qcf_decoded *decoded = qcf_decoded_get(
		&image->decoded, extent->depth, host_offset, reclaims);
	int ret;

	*result = decoded;
	if (decoded != NULL)
		return 0;
	decoded = qcf_decoded_new(layer->meta->geometry.cluster_size);
	if (decoded == NULL)
		return qcf_fail_oom(errp);
	decoded->depth = extent->depth;
	decoded->host_offset = host_offset;
	decoded->reclaims = reclaims;
	ret = decode(image, extent, decoded, errp);
	if (ret < 0) {
		qcf_decoded_put(decoded);
		qcf_error_at_host(errp, host_offset);
		return qcf_wrapf(errp, ret,
		                 "%s: compressed cluster at host offset "
		                 "0x%" PRIx64,
		                 layer->storage->name, host_offset);
	}
	qcf_decoded_keep(&image->decoded, decoded);
	*result = decoded;
	return 0;
}

int qcf_read_compressed(struct qcowfmt_image *image,
                        const struct qcf_extent *extent,
                        const struct qcf_payload *p,
                        struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g =
		&image->layers[extent->depth]->meta->geometry;
	struct qcf_decoded *decoded = NULL;
	int ret = get_cluster(image, extent, &decoded, errp);

	if (ret < 0)
		return ret;
	qcf_iov_from_buffer(p->iov, p->iovcnt, p->skip,
	                    decoded->bytes +
	                            qcf_offset_in_cluster(g, p->guest_offset),
	                    extent->run.length);
	qcf_decoded_put(decoded);
	return 0;
}
