/* SPDX-License-Identifier: MIT */
/*
 * Promise: what is compressed decompresses to the same bytes, at every level and
 * cluster size; what does not get smaller is said not to fit.
 */
#include <errno.h>
#include <string.h>

#include "compress.h"
#include "unit.h"

#define MAX_CLUSTER (2u << 20)

static uint8_t in[MAX_CLUSTER];
static uint8_t packed[MAX_CLUSTER];
static uint8_t out[MAX_CLUSTER];

static void fill(struct unit_random *random, size_t len, bool text)
{
	for (size_t i = 0; i < len; i++)
		in[i] = (uint8_t)(text ? 'a' + unit_random_below(random, 4)
		                       : unit_random_u64(random));
}

static void round_trip(uint32_t type, int level, size_t len)
{
	int64_t packed_len =
		qcf_compress(type, level, in, len, packed, len - 1, NULL);

	ck_assert_int_gt(packed_len, 0);
	ck_assert_int_lt(packed_len, (int64_t)len);
	memset(out, 0xee, len);
	ck_assert_int_eq(qcf_decompress(type, packed, (size_t)packed_len, out,
	                                len, NULL),
	                 0);
	ck_assert(memcmp(in, out, len) == 0);
}

START_TEST(test_every_size)
{
	struct unit_random random = unit_random_init();
	uint32_t type = (uint32_t)_i;

	if (!qcf_compression_is_built_in(type))
		return;
	for (size_t len = 512; len <= MAX_CLUSTER; len *= 2) {
		fill(&random, len, true);
		round_trip(type, 0, len);
	}
}

END_TEST

START_TEST(test_every_level)
{
	struct unit_random random = unit_random_init();
	uint32_t type = (uint32_t)_i;
	int lowest;
	int highest;

	if (!qcf_compression_is_built_in(type))
		return;
	qcf_compression_levels(type, &lowest, &highest);
	fill(&random, 4096, true);
	for (int level = lowest; level <= highest; level++)
		round_trip(type, level, 4096);
	ck_assert_int_eq(
		qcf_compress(type, highest + 1, in, 4096, packed, 4095, NULL),
		-EINVAL);
}

END_TEST

START_TEST(test_noise_does_not_fit)
{
	struct unit_random random = unit_random_init();

	if (!qcf_compression_is_built_in((uint32_t)_i))
		return;
	fill(&random, 65536, false);
	ck_assert_int_eq(
		qcf_compress((uint32_t)_i, 0, in, 65536, packed, 65535, NULL),
		0);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, test_every_size, 0, 2);
	tcase_add_loop_test(tcase, test_every_level, 0, 2);
	tcase_add_loop_test(tcase, test_noise_does_not_fit, 0, 2);
}

int main(void)
{
	return unit_run("clusters survive compression", add);
}
