/* SPDX-License-Identifier: MIT */
/* extended.h - L2 entries of images with subclusters, as tests write them */
#ifndef QCF_TEST_EXTENDED_H
#define QCF_TEST_EXTENDED_H

#include "l2_entry.h"
#include "unit.h"

#define COPIED     QCF_ENTRY_COPIED
#define COMPRESSED QCF_ENTRY_COMPRESSED
#define CLUSTER    UINT64_C(0x10000) /* 64 KiB */
#define SUB        UINT64_C(0x800)   /* 2 KiB */

/* The bitmap word: subclusters with data, and those that read as zeros. */
#define BITS(data, zeros) ((uint64_t)(zeros) << 32 | (data))
#define ALL               UINT32_MAX

static inline struct qcf_l2_raw extended(uint64_t word, uint64_t bitmap)
{
	return (struct qcf_l2_raw){ qcf_be64_encode(word),
		                    qcf_be64_encode(bitmap) };
}

static inline struct qcf_geometry extended_geometry(void)
{
	struct qcf_geometry g;

	ck_assert_int_eq(qcf_geometry_init(&g, 3, 16, 4, true, NULL), 0);
	return g;
}

#endif
