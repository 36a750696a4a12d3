/* SPDX-License-Identifier: MIT */
/*
 * fuzz_header.c - target: the header of versions 1, 2 and 3, with extensions
 *
 * Input: the first bytes of a file.  What decodes obeys the limits of the format,
 * can be encoded unless it does not fit, and decodes to the same again.
 */
#include <errno.h>

#include "bitmap_entry.h"
#include "feature.h"
#include "fuzz.h"
#include "header.h"
#include "probe.h"

static void check_limits(const struct qcf_header *h,
                         const struct qcf_geometry *g)
{
	FUZZ_ASSERT(h->cluster_bits >= QCF_MIN_CLUSTER_BITS &&
	                    h->cluster_bits <= QCF_MAX_CLUSTER_BITS,
	            "%" PRIu32, h->cluster_bits);
	FUZZ_ASSERT(h->virtual_size % QCF_SECTOR_SIZE == 0, "%" PRIu64,
	            h->virtual_size);
	FUZZ_ASSERT(h->backing_name == NULL ||
	                    strlen(h->backing_name) <= QCF_MAX_BACKING_NAME,
	            "%zu", strlen(h->backing_name));
	if (h->version == 1)
		return;
	FUZZ_ASSERT(h->l1_size <= QCF_MAX_L1_SIZE / 8, "%" PRIu32, h->l1_size);
	FUZZ_ASSERT(qcf_l1_entries_for(g, h->virtual_size) <= h->l1_size,
	            "%" PRIu64 " and %" PRIu32, h->virtual_size, h->l1_size);
	FUZZ_ASSERT(h->l1_table_offset % g->cluster_size == 0, "%" PRIx64,
	            h->l1_table_offset);
	FUZZ_ASSERT((uint64_t)h->refcount_table_clusters * g->cluster_size <=
	                    QCF_MAX_REFTABLE_SIZE,
	            "%" PRIu32, h->refcount_table_clusters);
	FUZZ_ASSERT(h->snapshot_count <= QCF_MAX_SNAPSHOTS, "%" PRIu32,
	            h->snapshot_count);
	FUZZ_ASSERT(h->refcount_order <= QCF_MAX_REFCOUNT_ORDER, "%" PRIu32,
	            h->refcount_order);
}

static void check_extensions(const struct qcf_header *h,
                             const struct qcf_geometry *g)
{
	const struct qcf_extension *raw =
		qcf_header_extension(h, QCF_EXT_BITMAPS);
	struct qcf_bitmap_ext ext;
	char text[256];

	if (raw == NULL || qcf_bitmap_ext_decode(&ext, raw, g, NULL) < 0)
		return;
	FUZZ_ASSERT(ext.count <= QCF_MAX_BITMAPS && ext.count > 0 &&
	                    ext.directory_size <= QCF_MAX_BITMAP_DIRECTORY,
	            "%" PRIu32, ext.count);
	qcf_bitmap_ext_dump(&ext, text, sizeof(text));
}

static void expect_same(const struct qcf_header *h, const uint8_t *cluster,
                        size_t len, uint8_t *other)
{
	struct qcf_header again;
	int ret = qcf_header_decode(&again, cluster, len, NULL);

	FUZZ_ASSERT(ret == 0, "%d", ret);
	FUZZ_ASSERT(again.virtual_size == h->virtual_size &&
	                    again.version == h->version &&
	                    again.l1_table_offset == h->l1_table_offset,
	            "decodes to something else");
	FUZZ_ASSERT((again.backing_name == NULL) == (h->backing_name == NULL),
	            "a name appears or is lost");
	FUZZ_ASSERT(qcf_feature_check(&again, false, false, NULL) ==
	                    qcf_feature_check(h, false, false, NULL),
	            "features changed");
	if (h->version == 1)
		memcpy(other, cluster, len);
	ret = qcf_header_encode(&again, other, len, NULL);
	FUZZ_ASSERT(ret == 0 && memcmp(cluster, other, len) == 0,
	            "encodes to something else");
	qcf_header_fini(&again);
}

static void encode(const struct qcf_header *h, const uint8_t *data, size_t size)
{
	size_t len = (size_t)1 << h->cluster_bits;
	uint8_t *first = fuzz_need(calloc(1, len));
	uint8_t *second = fuzz_need(calloc(1, len));
	int ret;

	if (h->version == 1)
		memcpy(first, data, size < len ? size : len);
	ret = qcf_header_encode(h, first, len, NULL);
	FUZZ_ASSERT(ret == 0 || ret == -ENOSPC, "%d", ret);
	/* A name behind the first cluster is for version 1 only. */
	if (ret == 0 && (h->version > 1 || h->backing_name == NULL))
		expect_same(h, first, len, second);
	free(first);
	free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcowfmt_error *error = NULL;
	struct qcf_geometry g;
	struct qcf_header h;
	uint64_t cluster_size;

	(void)qcf_probe(data, size < 512 ? size : 512);
	(void)qcf_header_peek_cluster_size(data, size, &cluster_size, NULL);
	if (qcf_header_decode(&h, data, size, &error) < 0) {
		FUZZ_ASSERT(error != NULL, "refused without a reason");
		qcowfmt_error_free(error);
		return 0;
	}
	FUZZ_ASSERT(qcf_header_geometry(&h, &g, NULL) == 0, "no geometry");
	check_limits(&h, &g);
	check_extensions(&h, &g);
	(void)qcf_feature_check(&h, true, false, NULL);
	(void)qcf_feature_check(&h, true, true, NULL);
	free(qcf_header_dump(&h));
	encode(&h, data, size);
	qcf_header_fini(&h);
	return 0;
}
