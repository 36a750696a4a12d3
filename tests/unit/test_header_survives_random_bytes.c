/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever bytes a header has, decoding returns; and what it accepts
 * can be encoded, unless it does not fit, to something that decodes the same.
 */
#include <errno.h>
#include <string.h>

#include "feature.h"
#include "header.h"
#include "sample_header.h"
#include "unit.h"

/* Values that are likely to meet a limit. */
static uint64_t nasty(struct unit_random *random)
{
	static const uint64_t values[] = {
		0,         1,          8,          9,          21,
		104,       112,        511,        512,        65535,
		65536,     INT32_MAX,  UINT32_MAX, 0xfffffff9, 0x100000000,
		INT64_MAX, UINT64_MAX,
	};
	uint64_t count = sizeof(values) / sizeof(values[0]);

	if (unit_random_below(random, 3) == 0)
		return unit_random_u64(random);
	return values[unit_random_below(random, count)];
}

static struct sample random_sample(struct unit_random *random)
{
	static const uint32_t types[] = {
		QCF_EXT_BACKING_FORMAT, QCF_EXT_FEATURE_NAMES, QCF_EXT_BITMAPS,
		QCF_EXT_DATA_FILE,      QCF_EXT_ENCRYPTION,    0x12345678
	};
	uint32_t version = 2 + (uint32_t)unit_random_below(random, 2);
	uint32_t bits = 9 + (uint32_t)unit_random_below(random, 5);
	struct sample sample = sample_new(version, bits);
	uint64_t count = unit_random_below(random, 4);
	size_t at = version == 2 ? 72 : 112;

	for (uint64_t i = unit_random_below(random, 4); i > 0; i--)
		at = sample_put_extension(&sample, at,
		                          types[unit_random_below(random, 6)],
		                          "0123456789abcdef0123456789",
		                          unit_random_below(random, 20));
	for (uint64_t i = 0; i < count; i++) {
		size_t width = (size_t)1 << unit_random_below(random, 4);
		size_t place = unit_random_below(random, at + 8) & ~(width - 1);

		sample_put(&sample, place, width, nasty(random));
	}
	return sample;
}

static void check_again(const struct qcf_header *h)
{
	size_t len = (size_t)1 << h->cluster_bits;
	uint8_t *first = malloc(len);
	uint8_t *second = malloc(len);
	struct qcf_header again;
	struct qcf_geometry g;
	int ret = qcf_header_encode(h, first, len, NULL);

	ck_assert(first != NULL && second != NULL);
	ck_assert_int_eq(qcf_header_geometry(h, &g, NULL), 0);
	ck_assert(ret == 0 || ret == -ENOSPC);
	if (ret == 0) {
		ck_assert_int_eq(qcf_header_decode(&again, first, len, NULL),
		                 0);
		ck_assert_int_eq(qcf_header_encode(&again, second, len, NULL),
		                 0);
		ck_assert_mem_eq(first, second, len);
		ck_assert_uint_eq(again.virtual_size, h->virtual_size);
		ck_assert_int_eq(qcf_feature_check(&again, false, false, NULL),
		                 qcf_feature_check(h, false, false, NULL));
		qcf_header_fini(&again);
	}
	free(first);
	free(second);
}

START_TEST(random_headers)
{
	struct unit_random random = unit_random_init();
	uint64_t good = 0;
	uint64_t bad = 0;

	for (int i = 0; i < 30000; i++) {
		struct sample sample = random_sample(&random);
		size_t len = unit_random_below(&random, 8) == 0
		                     ? unit_random_below(&random, sample.len)
		                     : sample.len;
		/* Exactly as long as told: overreads are noticed. */
		uint8_t *bytes = malloc(len + 1);
		struct qcowfmt_error *error = NULL;
		struct qcf_header h;

		ck_assert_ptr_nonnull(bytes);
		bytes = realloc(bytes, len > 0 ? len : 1);
		memcpy(bytes, sample.bytes, len);
		if (qcf_header_decode(&h, bytes, len, &error) == 0) {
			check_again(&h);
			qcf_header_fini(&h);
			good++;
		} else {
			ck_assert_ptr_nonnull(error);
			bad++;
		}
		qcowfmt_error_free(error);
		free(bytes);
		sample_free(&sample);
	}
	/* Both ways must have been exercised for this to mean anything. */
	ck_assert_uint_gt(good, 3000);
	ck_assert_uint_gt(bad, 3000);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, random_headers);
}

int main(void)
{
	return unit_run("header_survives_random_bytes", add_tests);
}
