/* SPDX-License-Identifier: MIT */
/* decoded.c - the decompressed clusters used last */
#include <stdbool.h>
#include <stdlib.h>

#include "decoded.h"

void qcf_decoded_cache_init(struct qcf_decoded_cache *cache)
{
	*cache = (struct qcf_decoded_cache){ .next = 0 };
	qcf_mutex_init(&cache->lock, QCF_RANK_DECODED);
}

void qcf_decoded_cache_fini(struct qcf_decoded_cache *cache)
{
	for (int i = 0; i < QCF_DECODED_KEPT; i++)
		qcf_decoded_put(cache->kept[i]);
	qcf_mutex_fini(&cache->lock);
}

struct qcf_decoded *qcf_decoded_new(uint64_t cluster_size)
{
	struct qcf_decoded *decoded = malloc(sizeof(*decoded) + cluster_size);

	if (decoded != NULL)
		atomic_init(&decoded->references, 1);
	return decoded;
}

void qcf_decoded_put(struct qcf_decoded *decoded)
{
	if (decoded != NULL && atomic_fetch_sub(&decoded->references, 1) == 1)
		free(decoded);
}

static bool is_wanted(const struct qcf_decoded *decoded, uint32_t depth,
                      uint64_t host_offset, uint64_t reclaims)
{
	return decoded != NULL && decoded->depth == depth &&
	       decoded->host_offset == host_offset &&
	       decoded->reclaims == reclaims;
}

struct qcf_decoded *qcf_decoded_get(struct qcf_decoded_cache *cache,
                                    uint32_t depth, uint64_t host_offset,
                                    uint64_t reclaims)
{
	QCF_GUARD(&cache->lock);

	for (int i = 0; i < QCF_DECODED_KEPT; i++) {
		struct qcf_decoded *decoded = cache->kept[i];

		if (is_wanted(decoded, depth, host_offset, reclaims)) {
			atomic_fetch_add(&decoded->references, 1);
			return decoded;
		}
	}
	return NULL;
}

void qcf_decoded_keep(struct qcf_decoded_cache *cache,
                      struct qcf_decoded *decoded)
{
	struct qcf_decoded *old;

	atomic_fetch_add(&decoded->references, 1);
	qcf_mutex_lock(&cache->lock);
	old = cache->kept[cache->next];
	cache->kept[cache->next] = decoded;
	cache->next = (cache->next + 1) % QCF_DECODED_KEPT;
	qcf_mutex_unlock(&cache->lock);
	qcf_decoded_put(old);
}
