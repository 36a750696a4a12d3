/* SPDX-License-Identifier: MIT */
/* decoded.h - the decompressed clusters used last */
#ifndef QCF_DECODED_H
#define QCF_DECODED_H

#include <stdatomic.h>
#include <stdint.h>

#include "lock.h"

/* A decompressed cluster.  Whoever has a reference may read it. */
struct qcf_decoded {
	_Atomic uint32_t references;
	uint32_t depth;       /* the layer it came from */
	uint64_t host_offset; /* of its compressed form */
	uint64_t reclaims;    /* how often that layer had freed clusters: the
			       * same place may hold other data since */
	uint8_t bytes[];
};

#define QCF_DECODED_KEPT 4

struct qcf_decoded_cache {
	/* guarded by lock */
	struct qcf_mutex lock;
	struct qcf_decoded *kept[QCF_DECODED_KEPT];
	unsigned int next; /* to be replaced */
};

void qcf_decoded_cache_init(struct qcf_decoded_cache *cache);
void qcf_decoded_cache_fini(struct qcf_decoded_cache *cache);

/* A reference to the cluster, or NULL. */
struct qcf_decoded *qcf_decoded_get(struct qcf_decoded_cache *cache,
                                    uint32_t depth, uint64_t host_offset,
                                    uint64_t reclaims);

/* Keep a cluster, in place of the oldest. */
void qcf_decoded_keep(struct qcf_decoded_cache *cache,
                      struct qcf_decoded *decoded);

/* A new cluster with one reference; NULL for lack of memory. */
struct qcf_decoded *qcf_decoded_new(uint64_t cluster_size);

/* Drop a reference; NULL is allowed. */
void qcf_decoded_put(struct qcf_decoded *decoded);

#endif
