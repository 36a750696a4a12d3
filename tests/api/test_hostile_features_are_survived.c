/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever the metadata of an image with subclusters, a data file,
 * encryption or of version 1 says, opening, reading, writing, checking,
 * repairing and closing it end in success or an error, in bounded time and
 * memory.
 *
 * Run this under a sanitizer to see what else may go wrong.
 */
#include "hostile.h"

#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)

static const struct hostile_kind kinds[] = {
	{ "subclusters", 3, 16384, .extended_l2 = true },
	{ "data file", 3, 512, .data_file = true },
	{ "data file with subclusters", 3, 16384, .extended_l2 = true,
	  .data_file = true },
	{ "aes", 2, 512, .encryption = QCOWFMT_ENCRYPTION_AES },
	{ "version 1", 1, 4096 },
	{ "version 1 with aes", 1, 4096, .encryption = QCOWFMT_ENCRYPTION_AES },
	{ "luks", 3, 4096, .encryption = QCOWFMT_ENCRYPTION_LUKS },
};

#define KINDS ((int)QCF_ARRAY_LEN(kinds))
#define LUKS  (KINDS - 1)

static struct hostile original;

/* Unlocking takes as long as many images of other kinds. */
static bool is_slow(const struct hostile_kind *kind)
{
	return kind->encryption == QCOWFMT_ENCRYPTION_LUKS;
}

static void begin(int kind)
{
	hostile_make(&original, &kinds[kind]);
}

static void end(void)
{
	hostile_check_memory();
	hostile_fini(&original);
}

static void try_value(uint64_t at, size_t width, uint64_t value)
{
	struct hostile forged = hostile_copy(&original);

	hostile_put(&forged, at, width, value);
	hostile_read(&forged);
	if (!is_slow(original.kind))
		hostile_write(&forged, 0);
	hostile_fini(&forged);
}

/* Also those of header extensions, which begin behind byte 104. */
START_TEST(header_bytes)
{
	static const uint8_t values[] = { 0x00, 0x01, 0x80, 0xff };
	uint64_t count = kinds[_i].version == 1 ? 64 : 176;

	begin(_i);
	for (uint64_t at = 8; at < count; at++) {
		for (size_t j = 0; j < QCF_ARRAY_LEN(values); j++)
			try_value(at, 1, values[j]);
	}
	end();
}

END_TEST

START_TEST(header_words)
{
	uint64_t count = kinds[_i].version == 1 ? 48 : 160;
	uint64_t step = is_slow(&kinds[_i]) ? 8 : 4;

	begin(_i);
	for (uint64_t at = 8; at < count; at += step) {
		for (size_t j = 0; j < hostile_value_count; j++)
			try_value(at, at % 8 == 0 ? 8 : 4, hostile_values[j]);
	}
	end();
}

END_TEST

START_TEST(truncated_files)
{
	uint64_t step = is_slow(&kinds[_i]) ? 8191 : 193;

	begin(_i);
	for (uint64_t len = 24; len < original.image.size;
	     len += len < 200 ? 1 : step) {
		struct hostile forged = hostile_copy(&original);

		forged.image.size = len;
		hostile_read(&forged);
		hostile_write(&forged, 0);
		hostile_fini(&forged);
	}
	end();
}

END_TEST

/* A data file that ends anywhere reads as zeros from there on. */
START_TEST(truncated_data_files)
{
	begin(1);
	for (uint64_t len = 0; len < original.data.size; len += 777) {
		struct hostile forged = hostile_copy(&original);

		forged.data.size = len;
		hostile_try(&forged);
		hostile_fini(&forged);
	}
	end();
}

END_TEST

/* ------------------------------------------------------------------- tables */

static uint64_t l1_at(void)
{
	return hostile_get(&original, API_AT_L1, 8);
}

static uint64_t l2_at(void)
{
	return hostile_get(&original, l1_at(), 8) & OFFSET_MASK;
}

static uint64_t any_bitmap(struct unit_random *random)
{
	switch (unit_random_below(random, 4)) {
	case 0:
		return UINT64_C(1) << unit_random_below(random, 64);
	case 1:
		return UINT64_C(0xffffffff) << unit_random_below(random, 33);
	case 2:
		return UINT64_MAX;
	default:
		return unit_random_u64(random);
	}
}

static void spoil_l2(struct hostile *forged, struct unit_random *random)
{
	uint64_t words = forged->kind->extended_l2 ? 2 : 1;
	uint64_t at = l2_at() + 8 * words * unit_random_below(random, 16);

	if (words == 2 && unit_random_below(random, 2) == 0)
		hostile_put(forged, at + 8, 8, any_bitmap(random));
	else
		hostile_put(forged, at, 8, hostile_entry(forged, random));
}

static void spoil_counts(struct hostile *forged, struct unit_random *random)
{
	uint64_t reftable = hostile_get(&original, API_AT_REFTABLE, 8);
	uint64_t block = hostile_get(&original, reftable, 8);

	if (unit_random_below(random, 3) == 0)
		hostile_put(forged, reftable + 8 * unit_random_below(random, 4),
		            8, hostile_entry(forged, random));
	else
		hostile_put(forged, block + 2 * unit_random_below(random, 256),
		            2, unit_random_below(random, 4));
}

static void spoil_tables(struct hostile *forged, struct unit_random *random)
{
	uint64_t count = 1 + unit_random_below(random, 4);

	for (uint64_t i = 0; i < count; i++) {
		uint64_t what = unit_random_below(random, 8);

		if (what == 0)
			hostile_put(forged, l1_at(), 8,
			            hostile_entry(forged, random));
		else if (what < 3 && forged->kind->version > 1)
			spoil_counts(forged, random);
		else
			spoil_l2(forged, random);
	}
}

START_TEST(random_tables)
{
	struct unit_random random = unit_random_init();
	int rounds = _i == LUKS ? 60 : 700;

	begin(_i);
	for (int i = 0; i < rounds; i++) {
		struct hostile forged = hostile_copy(&original);

		spoil_tables(&forged, &random);
		hostile_try(&forged);
		hostile_fini(&forged);
	}
	end();
}

END_TEST

/* --------------------------------------------------------------------- LUKS */

#define LUKS_EXTENSION 0x0537be77u

/* Where the header extension has the place and the length of the area. */
static uint64_t pointer_at(void)
{
	uint64_t at = hostile_get(&original, API_AT_HEADER_LENGTH, 4);

	while (hostile_get(&original, at, 4) != LUKS_EXTENSION)
		at += 8 + (hostile_get(&original, at + 4, 4) + 7) / 8 * 8;
	return at + 8;
}

START_TEST(luks_pointers)
{
	begin(LUKS);

	uint64_t at = pointer_at();

	for (size_t i = 0; i < hostile_value_count; i++) {
		try_value(at, 8, hostile_values[i]);
		try_value(at + 8, 8, hostile_values[i]);
	}
	for (uint64_t offset = 0; offset < 8; offset++)
		try_value(at, 8, offset * kinds[LUKS].cluster_size);
	end();
}

END_TEST

START_TEST(luks_fields)
{
	static const uint64_t fields[] = { 104, 108, 164, 208, 212,
		                           248, 252, 256, 260, 296,
		                           300, 544, 548, 584, 588 };
	begin(LUKS);

	uint64_t area = hostile_get(&original, pointer_at(), 8);

	for (size_t i = 0; i < QCF_ARRAY_LEN(fields); i++) {
		for (size_t j = 0; j < hostile_value_count; j++)
			try_value(area + fields[i], 4, hostile_values[j]);
	}
	end();
}

END_TEST

START_TEST(luks_names)
{
	static const uint64_t names[] = { 8, 40, 72, 168 };

	begin(LUKS);

	uint64_t area = hostile_get(&original, pointer_at(), 8);

	for (size_t i = 0; i < QCF_ARRAY_LEN(names); i++) {
		for (int byte = 0; byte < 256; byte += 51) {
			struct hostile forged = hostile_copy(&original);

			memset(forged.image.bytes + area + names[i], byte, 32);
			hostile_read(&forged);
			hostile_fini(&forged);
		}
	}
	for (uint64_t at = 0; at < 8; at++)
		try_value(area + at, 1, 0x7f);
	end();
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, header_bytes, 0, KINDS);
	tcase_add_loop_test(tcase, header_words, 0, KINDS);
	tcase_add_loop_test(tcase, truncated_files, 0, KINDS);
	tcase_add_test(tcase, truncated_data_files);
	tcase_add_loop_test(tcase, random_tables, 0, KINDS);
	tcase_add_test(tcase, luks_pointers);
	tcase_add_test(tcase, luks_fields);
	tcase_add_test(tcase, luks_names);
}

int main(int argc, char **argv)
{
	return api_main("hostile_features_are_survived", add_tests, argc, argv);
}
