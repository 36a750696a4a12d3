/* SPDX-License-Identifier: MIT */
/* limits.h - ceilings of the format, checked before any memory is allocated */
#ifndef QCF_LIMITS_H
#define QCF_LIMITS_H

#define QCF_MIN_CLUSTER_BITS             9
#define QCF_MAX_CLUSTER_BITS             21
#define QCF_MIN_CLUSTER_BITS_EXTENDED_L2 14 /* a subcluster is a sector */
#define QCF_SUBCLUSTER_INDEX_BITS        5  /* 32 in a cluster */
#define QCF_MAX_CLUSTER_BITS_V1          16
#define QCF_MIN_L2_BITS_V1               6
#define QCF_MAX_L2_BITS_V1               13
/* The largest table QEMU opens has 2^31 - 1 bytes. */
#define QCF_MAX_L1_ENTRIES_V1 (INT32_MAX / 8)
/* The backing file name of a version 1 header lies in so many bytes: in the
 * first cluster if that is of the largest size. */
#define QCF_HEADER_AREA_V1 (UINT64_C(1) << QCF_MAX_CLUSTER_BITS_V1)
#define QCF_SECTOR_BITS    9
#define QCF_SECTOR_SIZE    UINT64_C(512)

#define QCF_MAX_REFCOUNT_ORDER 6
#define QCF_MAX_L1_SIZE        (UINT64_C(32) << 20) /* bytes */
#define QCF_MAX_REFTABLE_SIZE  (UINT64_C(8) << 20)  /* bytes */
#define QCF_MAX_SNAPSHOTS      65536u
#define QCF_MAX_SNAPSHOT_TABLE (UINT64_C(64) << 20) /* bytes */
#define QCF_MAX_BACKING_NAME   1023u
#define QCF_MAX_FORMAT_NAME    15u

/* L1 and L2 entries hold bits 9 to 55 of a host offset. */
#define QCF_HOST_OFFSET_LIMIT (UINT64_C(1) << 56)

#define QCF_HEADER_LEN_V1     48u
#define QCF_HEADER_LEN_V2     72u
#define QCF_HEADER_LEN_V3_MIN 104u
#define QCF_HEADER_LEN_V3     112u

/* The L2 cache and the refcount cache work in slices of at most this. */
#define QCF_SLICE_BITS 12

#endif
