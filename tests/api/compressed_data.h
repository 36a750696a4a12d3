/* SPDX-License-Identifier: MIT */
/*
 * compressed_data.h - content for tests of compressed writing
 *
 * Words drawn from a small list: it gets about three times smaller, and no two
 * seeds give the same bytes.
 */
#ifndef QCF_COMPRESSED_DATA_H
#define QCF_COMPRESSED_DATA_H

#include "api_test.h"

static inline void compressed_fill(uint8_t *bytes, size_t len, uint64_t seed)
{
	static const char *const words[] = {
		"cluster ", "table ",  "refcount ", "snapshot ", "backing ",
		"header ",  "offset ", "slice ",    "mapping ",  "sector ",
	};
	struct unit_random random = { seed };
	size_t at = 0;

	while (at < len) {
		char text[40];
		int n = snprintf(text, sizeof(text), "%s%x ",
		                 words[unit_random_below(&random, 10)],
		                 (unsigned int)unit_random_below(&random, 99));

		for (int i = 0; i < n && at < len; i++)
			bytes[at++] = (uint8_t)text[i];
	}
}

/* Expect that a guest range is what compressed_fill() gives. */
static inline void compressed_expect(struct qcowfmt_image *image,
                                     uint64_t guest_offset, size_t len,
                                     uint64_t seed)
{
	uint8_t *want = malloc(len);
	uint8_t *have = malloc(len);

	ck_assert(want != NULL && have != NULL);
	compressed_fill(want, len, seed);
	API_OK(qcowfmt_pread(image, have, len, guest_offset, &api_error));
	ck_assert_msg(memcmp(want, have, len) == 0,
	              "other bytes at guest offset %" PRIu64, guest_offset);
	free(want);
	free(have);
}

static inline void compressed_write(struct qcowfmt_image *image,
                                    uint64_t guest_offset, size_t len,
                                    uint64_t seed)
{
	uint8_t *bytes = malloc(len);

	ck_assert_ptr_nonnull(bytes);
	compressed_fill(bytes, len, seed);
	API_OK(qcowfmt_pwrite_compressed(image, bytes, len, guest_offset,
	                                 &api_error));
	free(bytes);
}

/* The kind of the extent at a guest offset. */
static inline int compressed_kind(struct qcowfmt_image *image,
                                  uint64_t guest_offset)
{
	struct qcowfmt_extent extent;

	ck_assert_int_eq(
		qcowfmt_map(image, guest_offset, 1, 0, &extent, 1, &api_error),
		1);
	return extent.kind;
}

#endif
