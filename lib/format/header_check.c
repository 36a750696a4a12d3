/* SPDX-License-Identifier: MIT */
/*
 * header_check.c - whether the fields of a header are within their limits
 *
 * Errors point at the field and say what it has and what was wanted.  The order
 * of the checks is part of the interface: the first failure is the one that is
 * reported.
 *
 * After these checks every table offset is cluster aligned, lies behind the
 * header, and offset + length fits in 63 bits.
 */
#include <inttypes.h>
#include <string.h>

#include "check_id.h"
#include "checked.h"
#include "feature.h"
#include "header_check.h"

/* Where the fields are that errors point at. */
#define AT_CLUSTER_BITS     20u
#define AT_L1_OFFSET        40u
#define AT_REFTABLE_SIZE    56u
#define AT_SNAPSHOTS_OFFSET 64u
#define AT_REFCOUNT_ORDER   96u
#define AT_HEADER_LENGTH    100u
#define AT_COMPRESSION_TYPE 104u

/* The smallest a snapshot table entry can be. */
#define SNAPSHOT_ENTRY_MIN 40u
#define MAX_L1_ENTRIES     (QCF_MAX_L1_SIZE / sizeof(uint64_t))

static uint64_t cluster_size_of(const struct qcf_header *h)
{
	return UINT64_C(1) << h->cluster_bits;
}

int qcf_header_truncated(struct qcowfmt_error **errp, size_t have, size_t want)
{
	return qcf_corruptf(errp, QCF_CHECK_HEADER_TRUNCATED, have,
	                    "have %zu bytes, want %zu", have, want);
}

int qcf_header_decode_name(struct qcf_header *h, const uint8_t *bytes,
                           size_t len, uint64_t offset, size_t name_len,
                           struct qcowfmt_error **errp)
{
	if (!qcf_range_within(offset, name_len, len))
		return qcf_header_truncated(errp, len,
		                            (size_t)offset + name_len);
	if (memchr(bytes + offset, '\0', name_len) != NULL)
		return qcf_corruptf(errp, QCF_CHECK_BACKING_NAME, offset,
		                    "have a NUL byte in it, want none");
	h->backing_name = strndup((const char *)bytes + offset, name_len);
	return h->backing_name == NULL ? qcf_fail_oom(errp) : 0;
}

int qcf_header_check_cluster_bits(uint32_t cluster_bits,
                                  struct qcowfmt_error **errp)
{
	if (cluster_bits >= QCF_MIN_CLUSTER_BITS &&
	    cluster_bits <= QCF_MAX_CLUSTER_BITS)
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_CLUSTER_BITS, AT_CLUSTER_BITS,
	                    "have %" PRIu32 ", want %u to %u", cluster_bits,
	                    (unsigned)QCF_MIN_CLUSTER_BITS,
	                    (unsigned)QCF_MAX_CLUSTER_BITS);
}

int qcf_header_check_length(const struct qcf_header *h,
                            struct qcowfmt_error **errp)
{
	if (h->version == 2 || (h->header_length >= QCF_HEADER_LEN_V3_MIN &&
	                        h->header_length <= cluster_size_of(h)))
		return 0;
	return qcf_corruptf(
		errp, QCF_CHECK_HEADER_LENGTH, AT_HEADER_LENGTH,
		"header_length, have %" PRIu32 ", want %u to %" PRIu64,
		h->header_length, QCF_HEADER_LEN_V3_MIN, cluster_size_of(h));
}

static int check_compression_type(const struct qcf_header *h,
                                  struct qcowfmt_error **errp)
{
	bool flagged =
		(h->incompatible_features & QCF_INCOMPAT_COMPRESSION) != 0;

	if (flagged == (h->compression_type != 0))
		return 0;
	return qcf_corruptf(
		errp, QCF_CHECK_COMPRESSION_TYPE, AT_COMPRESSION_TYPE,
		"compression_type, have %u, want %s", h->compression_type,
		flagged ? "another than 0" : "0");
}

static int check_extended_l2(const struct qcf_header *h,
                             struct qcowfmt_error **errp)
{
	if ((h->incompatible_features & QCF_INCOMPAT_EXTENDED_L2) == 0 ||
	    h->cluster_bits >= QCF_MIN_CLUSTER_BITS_EXTENDED_L2)
		return 0;
	return qcf_corruptf(
		errp, QCF_CHECK_CLUSTER_BITS, AT_CLUSTER_BITS,
		"have %" PRIu32 " with extended L2 entries, want %u to %u",
		h->cluster_bits, (unsigned)QCF_MIN_CLUSTER_BITS_EXTENDED_L2,
		(unsigned)QCF_MAX_CLUSTER_BITS);
}

static int check_refcount_order(const struct qcf_header *h,
                                struct qcowfmt_error **errp)
{
	if (h->refcount_order <= QCF_MAX_REFCOUNT_ORDER)
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_REFCOUNT_ORDER, AT_REFCOUNT_ORDER,
	                    "refcount_order, have %" PRIu32 ", want 0 to %u",
	                    h->refcount_order,
	                    (unsigned)QCF_MAX_REFCOUNT_ORDER);
}

/*
 * Whether a table may be where the header says: aligned, ending below 2^63,
 * and not over the header, unless it is empty.
 */
static bool table_place_ok(const struct qcf_header *h, uint64_t offset,
                           uint64_t len)
{
	return qcf_is_aligned(offset, cluster_size_of(h)) &&
	       qcf_range_within(offset, len, INT64_MAX) &&
	       (offset != 0 || len == 0);
}

static int bad_table_place(const struct qcf_header *h, enum qcf_check id,
                           uint64_t at, const char *field, uint64_t offset,
                           struct qcowfmt_error **errp)
{
	return qcf_corruptf(errp, id, at,
	                    "%s, have 0x%" PRIx64
	                    ", want a multiple of %" PRIu64
	                    " that is neither 0 nor beyond 2^63",
	                    field, offset, cluster_size_of(h));
}

static int check_reftable(const struct qcf_header *h,
                          struct qcowfmt_error **errp)
{
	uint64_t max = QCF_MAX_REFTABLE_SIZE >> h->cluster_bits;
	uint64_t clusters = h->refcount_table_clusters;

	if (clusters > max)
		return qcf_corruptf(errp, QCF_CHECK_REFTABLE_SIZE,
		                    AT_REFTABLE_SIZE,
		                    "refcount_table_clusters, have %" PRIu64
		                    ", want at most %" PRIu64,
		                    clusters, max);
	if (!table_place_ok(h, h->refcount_table_offset,
	                    clusters << h->cluster_bits))
		return bad_table_place(h, QCF_CHECK_REFTABLE_OFFSET,
		                       QCF_HEADER_AT_REFTABLE,
		                       "refcount_table_offset",
		                       h->refcount_table_offset, errp);
	return 0;
}

static int check_snapshots(const struct qcf_header *h,
                           struct qcowfmt_error **errp)
{
	uint64_t min_len = h->snapshot_count * (uint64_t)SNAPSHOT_ENTRY_MIN;

	if (h->snapshot_count > QCF_MAX_SNAPSHOTS)
		return qcf_corruptf(
			errp, QCF_CHECK_SNAPSHOT_TABLE, QCF_HEADER_AT_SNAPSHOTS,
			"snapshot_count, have %" PRIu32 ", want at most %u",
			h->snapshot_count, QCF_MAX_SNAPSHOTS);
	if (!table_place_ok(h, h->snapshots_offset, min_len))
		return bad_table_place(h, QCF_CHECK_SNAPSHOT_TABLE,
		                       AT_SNAPSHOTS_OFFSET, "snapshots_offset",
		                       h->snapshots_offset, errp);
	return 0;
}

static int check_l1_size(const struct qcf_header *h, uint64_t min,
                         struct qcowfmt_error **errp)
{
	if (h->l1_size >= min && h->l1_size <= MAX_L1_ENTRIES)
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_L1_SIZE, QCF_HEADER_AT_L1,
	                    "l1_size, have %" PRIu32 ", want %" PRIu64
	                    " to %" PRIu64,
	                    h->l1_size, min, MAX_L1_ENTRIES);
}

static int check_l1(const struct qcf_header *h, struct qcowfmt_error **errp)
{
	struct qcf_geometry g;
	int ret = qcf_header_geometry(h, &g, errp);

	if (ret == 0)
		ret = check_l1_size(h, 0, errp);
	if (ret < 0)
		return ret;
	if (!table_place_ok(h, h->l1_table_offset,
	                    h->l1_size * (uint64_t)sizeof(uint64_t)))
		return bad_table_place(h, QCF_CHECK_L1_OFFSET, AT_L1_OFFSET,
		                       "l1_table_offset", h->l1_table_offset,
		                       errp);
	if (h->virtual_size > g.max_virtual_size)
		return qcf_corruptf(errp, QCF_CHECK_VIRTUAL_SIZE,
		                    QCF_HEADER_AT_VIRTUAL_SIZE,
		                    "size, have %" PRIu64
		                    ", want at most %" PRIu64,
		                    h->virtual_size, g.max_virtual_size);
	return check_l1_size(h, qcf_l1_entries_for(&g, h->virtual_size), errp);
}

int qcf_header_check_fields(const struct qcf_header *h,
                            struct qcowfmt_error **errp)
{
	int ret = check_compression_type(h, errp);

	if (ret == 0)
		ret = check_extended_l2(h, errp);
	if (ret == 0)
		ret = check_refcount_order(h, errp);
	if (ret == 0)
		ret = check_reftable(h, errp);
	if (ret == 0)
		ret = check_snapshots(h, errp);
	if (ret == 0)
		ret = check_l1(h, errp);
	return ret;
}
