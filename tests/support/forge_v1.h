/* SPDX-License-Identifier: MIT */
/*
 * forge_v1.h - an empty version 1 image with any geometry
 *
 * The library and QEMU make two geometries only, but have to work with all.
 */
#ifndef QCF_FORGE_V1_H
#define QCF_FORGE_V1_H

#include <stddef.h>
#include <stdint.h>

struct forged_v1 {
	uint32_t cluster_bits; /* 9 ... 16 */
	uint32_t l2_bits;      /* 6 ... 13 */
	uint64_t virtual_size;
	uint64_t l1_offset; /* 0: directly behind header and name */
	uint32_t crypt_method;
	const char *backing; /* NULL: none */
};

/* The bytes of the image, header and L1 table; the caller frees them.  Ends
 * the program without memory. */
uint8_t *forge_v1(const struct forged_v1 *v1, size_t *len);

#endif
