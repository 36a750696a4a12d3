/* SPDX-License-Identifier: MIT */
/*
 * l2_entry.h - L1 and L2 table entries
 *
 * L1 entry:
 *   bits  9-55  host offset of the L2 table, cluster aligned; 0 = none
 *   bit     63  COPIED: the table's refcount is exactly 1
 *   rest        reserved, 0
 *
 * Standard L2 entry, not compressed (bit 62 clear):
 *   bit      0  version 3: reads as zeros
 *   bits  9-55  host offset of the cluster, cluster aligned; 0 = none
 *   bit     63  COPIED: the cluster's refcount is exactly 1
 *   rest        reserved, 0
 *
 * Compressed (bit 62 set): with x = 62 - (cluster_bits - 8)
 *   bits   0 to x-1   host offset, any alignment
 *   bits   x to 61    number of additional 512-byte sectors
 *   bit    63         0
 *
 * An extended L2 entry has a second word about its 32 subclusters.  The zero
 * flag of the first means nothing there.
 *   bits   0 - 31  subcluster i is allocated: data is in the host cluster
 *   bits  32 - 63  subcluster i reads as zeros
 * Of one subcluster at most one of the two is set, and the first only if there
 * is a host cluster; for a compressed cluster none is.
 *
 * Version 1 entries are plain byte offsets of L2 tables and clusters; in an L2
 * entry bit 63 means compressed, then with x = 63 - cluster_bits
 *   bits   0 to x-1   host offset, any alignment
 *   bits   x to 62    length in bytes
 * Every cluster of version 1 belongs to one entry alone.
 */
#ifndef QCF_L2_ENTRY_H
#define QCF_L2_ENTRY_H

#include "bytes.h"
#include "geometry.h"

#define QCF_ENTRY_COPIED     (UINT64_C(1) << 63)
#define QCF_ENTRY_COMPRESSED (UINT64_C(1) << 62)
#define QCF_ENTRY_ZERO       UINT64_C(1)
#define QCF_ENTRY_OFFSET     UINT64_C(0x00fffffffffffe00)
#define QCF_L1_RESERVED      UINT64_C(0x7f000000000001ff)
#define QCF_L2_RESERVED      UINT64_C(0x3f000000000001fe)
#define QCF_ALL_SUBCLUSTERS  UINT32_MAX

/* What a guest cluster is. */
enum qcf_kind {
	QCF_UNALLOCATED,    /* the backing file, or zeros, show through */
	QCF_DATA,           /* bytes at host_offset */
	QCF_ZERO_PLAIN,     /* reads as zeros, no host cluster */
	QCF_ZERO_ALLOCATED, /* reads as zeros, a host cluster is reserved */
	QCF_COMPRESSED, /* compressed_len bytes at host_offset decode to it */
};

/* An L2 entry as it is on storage. */
struct qcf_l2_raw {
	struct qcf_be64 word;
	struct qcf_be64 bitmap; /* extended L2; 0 otherwise */
};

/*
 * A decoded L2 entry.  With extended L2 entries UNALLOCATED means that there is
 * no host cluster and DATA that there is one; what each subcluster is, the
 * bitmaps say (qcf_mapping_piece() in map_range.h).
 */
struct qcf_mapping {
	enum qcf_kind kind;
	uint64_t host_offset;    /* DATA, ZERO_ALLOCATED: of the cluster;
			       * COMPRESSED: of the first byte; else 0 */
	uint64_t compressed_len; /* COMPRESSED: bytes to the end of the last
				  * sector; version 1: exact; else 0 */
	bool copied;        /* the host cluster belongs to this entry alone */
	uint64_t reserved;  /* reserved bits that are set; ignored by I/O */
	uint32_t allocated; /* extended L2: subclusters with data */
	uint32_t zero;      /* extended L2: subclusters that read as zeros */
};

/* Whether a host cluster is mapped, whatever is in it. */
static inline bool qcf_mapping_has_cluster(const struct qcf_mapping *m)
{
	return m->kind == QCF_DATA || m->kind == QCF_ZERO_ALLOCATED;
}

/* A decoded L1 entry. */
struct qcf_l1_entry {
	uint64_t l2_offset; /* 0 = no table */
	bool copied;
	uint64_t reserved;
};

struct qcf_l1_entry qcf_l1_entry_decode(const struct qcf_geometry *g,
                                        struct qcf_be64 raw);
struct qcf_be64 qcf_l1_entry_encode(const struct qcf_geometry *g,
                                    struct qcf_l1_entry entry);

/*
 * Never fails: what an entry means is always defined.  Whether it makes sense is
 * for qcf_mapping_check() to say.  COPIED with offset 0 is UNALLOCATED, except
 * with a data file, whose first cluster it means.
 */
struct qcf_mapping qcf_l2_entry_decode(const struct qcf_geometry *g,
                                       struct qcf_l2_raw raw);
struct qcf_l2_raw qcf_l2_entry_encode(const struct qcf_geometry *g,
                                      struct qcf_mapping mapping);

/*
 * Whether offsets are aligned and below the format's limit, bitmaps are legal
 * and flags are known to the version.  Returns 0 or the corruption id.
 */
uint32_t qcf_mapping_check(const struct qcf_geometry *g, struct qcf_l2_raw raw);

/* Entry i of a table in memory. */
struct qcf_l2_raw qcf_l2_table_get(const struct qcf_geometry *g,
                                   const struct qcf_be64 *words, uint64_t i);

/* One line for messages and dumps, e.g. "data at 0x50000, copied". */
void qcf_mapping_dump(struct qcf_mapping mapping, char *text, size_t len);

#endif
