/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever the metadata of an image says, opening, reading, writing,
 * checking, repairing and closing it end in success or an error, in bounded
 * time and memory.
 *
 * Every header field gets every nasty value, and tables get random ones; run
 * this under a sanitizer to see what else may go wrong.
 */
#include "hostile.h"

/* Small clusters make many tables. */
static const struct hostile_kind plain = {
	.name = "plain",
	.version = 3,
	.cluster_size = 512,
};

static struct hostile original;

static void make_original(void)
{
	hostile_make(&original, &plain);
}

static void drop_original(void)
{
	hostile_fini(&original);
}

START_TEST(header_fields)
{
	static const struct {
		uint64_t at;
		size_t width;
	} fields[] = {
		{ 0, 4 },   { 4, 4 },  { 8, 8 },   { 16, 4 },  { 20, 4 },
		{ 24, 8 },  { 32, 4 }, { 36, 4 },  { 40, 8 },  { 48, 8 },
		{ 56, 4 },  { 60, 4 }, { 64, 8 },  { 72, 8 },  { 80, 8 },
		{ 88, 8 },  { 96, 4 }, { 100, 4 }, { 104, 1 }, { 112, 4 },
		{ 116, 4 },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(fields); i++) {
		for (size_t j = 0; j < hostile_value_count; j++) {
			struct hostile forged = hostile_copy(&original);

			hostile_put(&forged, fields[i].at, fields[i].width,
			            hostile_values[j]);
			hostile_try(&forged);
			hostile_fini(&forged);
		}
	}
	hostile_check_memory();
}

END_TEST

START_TEST(header_bytes)
{
	static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };

	for (uint64_t at = 0; at < 120; at++) {
		for (size_t j = 0; j < QCF_ARRAY_LEN(values); j++) {
			struct hostile forged = hostile_copy(&original);

			hostile_put(&forged, at, 1, values[j]);
			hostile_read(&forged);
			hostile_write(&forged, 0);
			hostile_fini(&forged);
		}
	}
	hostile_check_memory();
}

END_TEST

/* Two fields that belong together */
START_TEST(pairs_of_fields)
{
	static const uint64_t pairs[][4] = {
		{ 8, 8, 16, 4 },   { 24, 8, 36, 4 }, { 36, 4, 40, 8 },
		{ 48, 8, 56, 4 },  { 60, 4, 64, 8 }, { 20, 4, 96, 4 },
		{ 72, 8, 104, 1 },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(pairs); i++) {
		for (size_t j = 0; j < hostile_value_count; j++) {
			for (size_t k = 0; k < hostile_value_count; k++) {
				struct hostile forged = hostile_copy(&original);

				hostile_put(&forged, pairs[i][0], pairs[i][1],
				            hostile_values[j]);
				hostile_put(&forged, pairs[i][2], pairs[i][3],
				            hostile_values[k]);
				hostile_read(&forged);
				hostile_write(&forged, 0);
				hostile_fini(&forged);
			}
		}
	}
	hostile_check_memory();
}

END_TEST

START_TEST(truncated_files)
{
	for (uint64_t len = 0; len < original.image.size;
	     len += len < 600 ? 1 : 193) {
		struct hostile forged = hostile_copy(&original);

		forged.image.size = len;
		hostile_read(&forged);
		if (len >= 24)
			hostile_write(&forged, 0);
		hostile_fini(&forged);
	}
	hostile_check_memory();
}

END_TEST

static void spoil_tables(struct hostile *forged, struct unit_random *random)
{
	uint64_t l1 = hostile_get(&original, API_AT_L1, 8);
	uint64_t l1_size = hostile_get(&original, API_AT_L1_SIZE, 4);
	uint64_t reftable = hostile_get(&original, API_AT_REFTABLE, 8);
	uint64_t block = hostile_get(&original, reftable, 8);
	uint64_t l2 =
		hostile_get(&original, l1, 8) & UINT64_C(0x00fffffffffffe00);
	uint64_t count = 1 + unit_random_below(random, 4);

	for (uint64_t i = 0; i < count; i++) {
		uint64_t value = hostile_entry(forged, random);

		switch (unit_random_below(random, 4)) {
		case 0:
			hostile_put(forged,
			            l1 + 8 * unit_random_below(random, l1_size),
			            8, value);
			break;
		case 1:
			hostile_put(forged,
			            l2 + 8 * unit_random_below(random, 64), 8,
			            value);
			break;
		case 2:
			hostile_put(forged,
			            reftable + 8 * unit_random_below(random, 4),
			            8, value);
			break;
		default:
			hostile_put(forged,
			            block + 2 * unit_random_below(random, 256),
			            2, value >> unit_random_below(random, 56));
			break;
		}
	}
}

START_TEST(random_tables)
{
	struct unit_random random = unit_random_init();

	for (int i = 0; i < 3000; i++) {
		struct hostile forged = hostile_copy(&original);

		spoil_tables(&forged, &random);
		hostile_try(&forged);
		hostile_fini(&forged);
	}
	hostile_check_memory();
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, make_original, drop_original);
	tcase_add_test(tcase, header_fields);
	tcase_add_test(tcase, header_bytes);
	tcase_add_test(tcase, pairs_of_fields);
	tcase_add_test(tcase, truncated_files);
	tcase_add_test(tcase, random_tables);
}

int main(int argc, char **argv)
{
	return api_main("hostile_images_are_survived", add_tests, argc, argv);
}
