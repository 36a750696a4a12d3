/* SPDX-License-Identifier: MIT */
/*
 * Promise: each feature an image may have is accepted or refused as the table
 * says, refusals name the feature, and unknown ones by the image's own name.
 */
#include <errno.h>
#include <string.h>

#include "feature.h"
#include "unit.h"

enum access { NEVER, READ, REPAIR, WRITE };

static void check_one(const struct qcf_header *h, bool writable, bool repair,
                      bool allowed, int code, const char *words)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcf_feature_check(h, writable, repair, &error);

	if (allowed) {
		ck_assert_msg(ret == 0, "%s", qcowfmt_error_message(error));
		return;
	}
	ck_assert_int_lt(ret, 0);
	ck_assert_int_eq(ret, -qcowfmt_error_errno(error));
	ck_assert_int_eq(qcowfmt_error_code(error), code);
	ck_assert_msg(strstr(qcowfmt_error_message(error), words) != NULL,
	              "\"%s\" in \"%s\"", words, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
}

static void check(const struct qcf_header *h, enum access access, int code,
                  const char *words)
{
	check_one(h, false, false, access >= READ, code, words);
	check_one(h, false, true, access >= READ, code, words);
	check_one(h, true, true, access >= REPAIR, code, words);
	check_one(h, true, false, access >= WRITE, code, words);
}

#define UNSUPPORTED QCOWFMT_ERR_UNSUPPORTED

START_TEST(plain_images)
{
	struct qcf_header v2 = { .version = 2 };
	struct qcf_header v3 = { .version = 3 };

	check(&v2, WRITE, 0, "");
	check(&v3, WRITE, 0, "");
}

END_TEST

START_TEST(version_1)
{
	struct qcf_header v1 = { .version = 1 };
	/* Xen's block: magic, checksum, allocation unit, flags */
	uint8_t xen[16] = { 'X', 'E', 'N', 0xfb, [15] = 1 };
	struct qcf_header xen_v1 = { .version = 1,
		                     .unknown = xen,
		                     .unknown_len = sizeof(xen) };

	check(&v1, WRITE, UNSUPPORTED, "");
	check(&xen_v1, NEVER, UNSUPPORTED, "Xen");
}

END_TEST

START_TEST(incompatible_features)
{
	static const struct {
		uint64_t bits;
		enum access access;
		int code;
		const char *words;
	} rows[] = {
		{ QCF_INCOMPAT_DIRTY, WRITE, 0, "" },
		{ QCF_INCOMPAT_CORRUPT, REPAIR, QCOWFMT_ERR_CORRUPT,
		  "corrupt" },
		{ QCF_INCOMPAT_DATA_FILE, WRITE, 0, "" },
		{ QCF_INCOMPAT_COMPRESSION, WRITE, 0, "" },
		{ QCF_INCOMPAT_EXTENDED_L2, WRITE, 0, "" },
		{ UINT64_C(1) << 5, NEVER, UNSUPPORTED,
		  "unknown incompatible feature bit 5" },
		{ UINT64_C(1) << 63, NEVER, UNSUPPORTED,
		  "unknown incompatible feature bit 63" },
		/* An unknown bit comes before everything else. */
		{ UINT64_C(1) << 7 | QCF_INCOMPAT_DATA_FILE, NEVER, UNSUPPORTED,
		  "bit 7" },
		{ UINT64_C(1) << 7 | UINT64_C(1) << 40, NEVER, UNSUPPORTED,
		  "bit 7, unknown incompatible feature bit 40" },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct qcf_header h = { .version = 3,
			                .incompatible_features = rows[i].bits };

		check(&h, rows[i].access, rows[i].code, rows[i].words);
	}
}

END_TEST

START_TEST(encryption_methods)
{
	struct qcf_extension ext = { .type = QCF_EXT_ENCRYPTION };
	struct qcf_header h = { .version = 2, .crypt_method = 1 };

	check(&h, WRITE, 0, "");
	h.crypt_method = 2;
	check(&h, NEVER, UNSUPPORTED, "LUKS encryption without");
	h.extensions = &ext;
	h.extension_count = 1;
	check(&h, WRITE, 0, "");
	h.crypt_method = 1;
	check(&h, NEVER, UNSUPPORTED, "encryption header without");
	h.crypt_method = 0;
	check(&h, NEVER, UNSUPPORTED, "encryption header without");
	h.crypt_method = 3;
	check(&h, NEVER, UNSUPPORTED, "method 3");
	h.crypt_method = UINT32_MAX;
	check(&h, NEVER, UNSUPPORTED, "method 4294967295");
}

END_TEST

START_TEST(compatible_features_never_matter)
{
	struct qcf_header h = { .version = 3,
		                .compatible_features = UINT64_MAX,
		                .snapshot_count = 3 };

	check(&h, WRITE, 0, "");
}

END_TEST

START_TEST(bitmaps_are_kept)
{
	struct qcf_extension ext = { .type = QCF_EXT_BITMAPS };
	struct qcf_header h = { .version = 3,
		                .autoclear_features = QCF_AUTOCLEAR_BITMAPS,
		                .extensions = &ext,
		                .extension_count = 1 };

	check(&h, WRITE, 0, "");
	ck_assert_uint_eq(qcf_feature_autoclear_to_clear(&h), 0);
	h.autoclear_features = 0;
	check(&h, WRITE, 0, "");
	h.autoclear_features = QCF_AUTOCLEAR_BITMAPS;
	h.extension_count = 0;
	check(&h, WRITE, 0, "");
	ck_assert_uint_eq(qcf_feature_autoclear_to_clear(&h),
	                  QCF_AUTOCLEAR_BITMAPS);
}

END_TEST

START_TEST(autoclear_features)
{
	struct qcf_header h = { .version = 3,
		                .autoclear_features =
		                        QCF_AUTOCLEAR_RAW_DATA_FILE };

	check(&h, NEVER, UNSUPPORTED, "raw external data file without");
	ck_assert_uint_eq(qcf_feature_autoclear_to_clear(&h), 0);
	h.incompatible_features = QCF_INCOMPAT_DATA_FILE;
	check(&h, WRITE, 0, "");
	ck_assert_uint_eq(qcf_feature_autoclear_to_clear(&h), 0);
	h.snapshot_count = 1;
	check(&h, READ, UNSUPPORTED, "snapshots");
	h.snapshot_count = 0;
	h.autoclear_features = UINT64_C(0xfffffffffffffffc);
	check(&h, WRITE, 0, "");
	ck_assert_uint_eq(qcf_feature_autoclear_to_clear(&h),
	                  UINT64_C(0xfffffffffffffffc));
	h.autoclear_features = 0;
	ck_assert_uint_eq(qcf_feature_autoclear_to_clear(&h), 0);
}

END_TEST

START_TEST(extensions)
{
	static const struct {
		uint32_t type;
		enum access access;
	} rows[] = {
		{ QCF_EXT_BACKING_FORMAT, WRITE },
		{ QCF_EXT_FEATURE_NAMES, WRITE },
		{ QCF_EXT_BITMAPS, WRITE },
		{ QCF_EXT_DATA_FILE, WRITE },
		{ QCF_EXT_ENCRYPTION, NEVER },
		{ 0x12345678, WRITE },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct qcf_extension ext = { .type = rows[i].type };
		struct qcf_header h = { .version = 3,
			                .extensions = &ext,
			                .extension_count = 1 };

		check(&h, rows[i].access, UNSUPPORTED, "encryption header");
	}
}

END_TEST

/* A header with one unknown bit and a feature name table. */
static void check_own_names(const uint8_t *names, size_t len, uint32_t bit,
                            const char *words)
{
	struct qcf_extension ext = { .type = QCF_EXT_FEATURE_NAMES,
		                     .len = (uint32_t)len };
	struct qcf_header h = { .version = 3,
		                .incompatible_features = UINT64_C(1) << bit,
		                .extensions = &ext,
		                .extension_count = 1 };

	ext.data = malloc(len);
	ck_assert_ptr_nonnull(ext.data);
	memcpy(ext.data, names, len);
	check(&h, NEVER, UNSUPPORTED, words);
	free(ext.data);
}

START_TEST(unknown_bits_have_the_name_the_image_gives)
{
	uint8_t names[5 * 48] = { 0 };

	memcpy(names, "\1\7compatible seven", 18);
	memcpy(names + 48, "\0\6six", 5);
	memcpy(names + 96, "\0\7esc\033[31m\xff", 11);
	memcpy(names + 144, "\0\10", 2);
	memset(names + 146, 'y', 46);
	/* Entry 4 has no name and so ends the table; its set is not text. */
	names[192] = 'z';

	check_own_names(names, sizeof(names), 6, "\"six\"");
	check_own_names(names, sizeof(names), 7, "\"esc\\x1b[31m\\xff\"");
	check_own_names(names, sizeof(names), 8,
	                "\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"");
	check_own_names(names, sizeof(names), 9, "bit 9");
	/* An entry that is cut off does not count. */
	check_own_names(names, 48 + 47, 6, "bit 6");
	check_own_names(names, 1, 6, "bit 6");
	/* Nor does one behind the end of the table. */
	names[48 + 2] = '\0';
	check_own_names(names, sizeof(names), 7, "bit 7");
}

END_TEST

START_TEST(written_name_table)
{
	static const struct {
		uint8_t set;
		uint8_t bit;
		const char *name;
	} rows[] = {
		{ 0, 0, "dirty bit" },
		{ 0, 1, "corrupt bit" },
		{ 0, 2, "external data file" },
		{ 0, 3, "compression type" },
		{ 0, 4, "extended L2 entries" },
		{ 1, 0, "lazy refcounts" },
		{ 2, 0, "bitmaps" },
		{ 2, 1, "raw external data" },
	};

	size_t len = 0;
	const uint8_t *table = qcf_feature_name_table(&len);

	ck_assert_uint_eq(len, 48 * QCF_ARRAY_LEN(rows));
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		char name[46] = { 0 };

		memcpy(name, rows[i].name, strlen(rows[i].name));
		ck_assert_uint_eq(table[i * 48], rows[i].set);
		ck_assert_uint_eq(table[i * 48 + 1], rows[i].bit);
		ck_assert_mem_eq(table + i * 48 + 2, name, sizeof(name));
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, plain_images);
	tcase_add_test(tcase, version_1);
	tcase_add_test(tcase, incompatible_features);
	tcase_add_test(tcase, encryption_methods);
	tcase_add_test(tcase, compatible_features_never_matter);
	tcase_add_test(tcase, bitmaps_are_kept);
	tcase_add_test(tcase, autoclear_features);
	tcase_add_test(tcase, extensions);
	tcase_add_test(tcase, unknown_bits_have_the_name_the_image_gives);
	tcase_add_test(tcase, written_name_table);
}

int main(void)
{
	return unit_run("feature_refusals", add_tests);
}
