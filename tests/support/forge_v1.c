/* SPDX-License-Identifier: MIT */
/* forge_v1.c - an empty version 1 image with any geometry */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge_v1.h"

#define HEADER_LEN 48u

static void put(uint8_t *at, size_t width, uint64_t value)
{
	for (size_t i = width; i > 0; i--, value >>= 8)
		at[i - 1] = (uint8_t)value;
}

uint8_t *forge_v1(const struct forged_v1 *v1, size_t *len)
{
	size_t name_len = v1->backing == NULL ? 0 : strlen(v1->backing);
	size_t l1_offset = v1->l1_offset != 0
	                           ? (size_t)v1->l1_offset
	                           : (HEADER_LEN + name_len + 7) / 8 * 8;
	uint32_t shift = v1->cluster_bits + v1->l2_bits;
	uint64_t span = UINT64_C(1) << shift;
	uint64_t l1_count = (v1->virtual_size + span - 1) / span;
	uint8_t *bytes;

	*len = l1_offset + l1_count * 8;
	bytes = calloc(1, *len);
	if (bytes == NULL) {
		fprintf(stderr, "test: out of memory\n");
		exit(EXIT_FAILURE);
	}
	memcpy(bytes, "QFI\xfb", 4);
	put(bytes + 4, 4, 1);
	put(bytes + 8, 8, name_len > 0 ? HEADER_LEN : 0);
	put(bytes + 16, 4, name_len);
	put(bytes + 24, 8, v1->virtual_size);
	bytes[32] = (uint8_t)v1->cluster_bits;
	bytes[33] = (uint8_t)v1->l2_bits;
	put(bytes + 36, 4, v1->crypt_method);
	put(bytes + 40, 8, l1_offset);
	if (name_len > 0)
		memcpy(bytes + HEADER_LEN, v1->backing, name_len);
	return bytes;
}
