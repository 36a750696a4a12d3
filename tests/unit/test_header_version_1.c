/* SPDX-License-Identifier: MIT */
/*
 * Promise: every field of a version 1 header is held against its limits, in the
 * order that is documented; nothing that the header names may lie over another;
 * and what it says survives being decoded and encoded, byte for byte.
 */
#include <errno.h>
#include <string.h>

#include "check_id.h"
#include "feature.h"
#include "header.h"
#include "sample_header.h"
#include "unit.h"

#define AREA     65536u
#define L1_AT    4096u
#define CORRUPT  QCOWFMT_ERR_CORRUPT
#define XEN_SEEN UINT64_C(2)

/* 1 MiB in clusters of 4 KiB, 512 entries to a table: one L1 entry. */
static struct sample sample_v1(void)
{
	struct sample sample = { .bytes = calloc(1, AREA), .len = AREA };

	ck_assert_ptr_nonnull(sample.bytes);
	sample_put(&sample, 0, 4, QCF_MAGIC);
	sample_put(&sample, 4, 4, 1);
	sample_put(&sample, 24, 8, SAMPLE_VIRTUAL_SIZE);
	sample_put(&sample, 32, 1, 12);
	sample_put(&sample, 33, 1, 9);
	sample_put(&sample, 40, 8, L1_AT);
	return sample;
}

static void put_name(struct sample *sample, uint64_t offset, const char *name)
{
	sample_put(sample, 8, 8, offset);
	sample_put(sample, 16, 4, strlen(name));
	sample_put_text(sample, offset, name);
}

static void put_xen(struct sample *sample, uint64_t flags)
{
	sample_put(sample, 48, 4, 0x58454efb);
	sample_put(sample, 52, 4, 0x12345678);
	sample_put(sample, 56, 4, 8);
	sample_put(sample, 60, 4, flags);
}

static struct qcf_header decode(const struct sample *sample)
{
	struct qcowfmt_error *error = NULL;
	struct qcf_header h;
	int ret = qcf_header_decode(&h, sample->bytes, sample->len, &error);

	ck_assert_msg(ret == 0, "%s", qcowfmt_error_message(error));
	ck_assert_uint_eq(h.version, 1);
	return h;
}

static void refused(const struct sample *sample, uint32_t id, const char *words)
{
	struct qcowfmt_error *error = NULL;
	struct qcf_header h;
	int ret = qcf_header_decode(&h, sample->bytes, sample->len, &error);

	ck_assert_int_eq(ret, -EINVAL);
	ck_assert_int_eq(qcowfmt_error_errno(error), EINVAL);
	ck_assert_int_eq(qcowfmt_error_code(error), CORRUPT);
	ck_assert_msg(qcowfmt_error_corruption_id(error) == id,
	              "id %u, want %u: %s", qcowfmt_error_corruption_id(error),
	              id, qcowfmt_error_message(error));
	ck_assert_msg(strstr(qcowfmt_error_message(error), words) != NULL,
	              "\"%s\" in \"%s\"", words, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
}

/* ------------------------------------------------------------------- limits */

static const struct {
	size_t at;
	size_t width;
	uint64_t value;
	uint32_t id; /* QCF_CHECK_NONE: accepted */
} cases[] = {
	{ 20, 4, UINT32_MAX, QCF_CHECK_NONE },
	{ 24, 8, 0, QCF_CHECK_VIRTUAL_SIZE },
	{ 24, 8, 1, QCF_CHECK_VIRTUAL_SIZE },
	{ 24, 8, 2, QCF_CHECK_NONE },
	{ 24, 8, 513, QCF_CHECK_NONE },
	/* 2^28 - 1 entries of 2 MiB */
	{ 24, 8, ((UINT64_C(1) << 28) - 1) << 21, QCF_CHECK_NONE },
	{ 24, 8, (((UINT64_C(1) << 28) - 1) << 21) + 1, QCF_CHECK_L1_SIZE },
	{ 24, 8, INT64_MAX, QCF_CHECK_L1_SIZE },
	{ 24, 8, UINT64_C(1) << 63, QCF_CHECK_VIRTUAL_SIZE },
	{ 24, 8, UINT64_MAX, QCF_CHECK_VIRTUAL_SIZE },
	{ 32, 1, 8, QCF_CHECK_CLUSTER_BITS },
	{ 32, 1, 9, QCF_CHECK_NONE },
	{ 32, 1, 16, QCF_CHECK_NONE },
	{ 32, 1, 17, QCF_CHECK_CLUSTER_BITS },
	{ 32, 1, 255, QCF_CHECK_CLUSTER_BITS },
	{ 33, 1, 5, QCF_CHECK_V1_L2_BITS },
	{ 33, 1, 6, QCF_CHECK_NONE },
	{ 33, 1, 13, QCF_CHECK_NONE },
	{ 33, 1, 14, QCF_CHECK_V1_L2_BITS },
	{ 34, 2, UINT16_MAX, QCF_CHECK_NONE },
	{ 36, 4, 1, QCF_CHECK_NONE },
	{ 36, 4, 2, QCF_CHECK_V1_CRYPT_METHOD },
	{ 36, 4, UINT32_MAX, QCF_CHECK_V1_CRYPT_METHOD },
	{ 40, 8, 0, QCF_CHECK_V1_L1_OFFSET },
	{ 40, 8, 47, QCF_CHECK_V1_L1_OFFSET },
	{ 40, 8, 48, QCF_CHECK_NONE },
	{ 40, 8, 4711, QCF_CHECK_NONE },
	{ 40, 8, INT64_MAX - 8, QCF_CHECK_NONE },
	{ 40, 8, INT64_MAX - 7, QCF_CHECK_V1_L1_OFFSET },
	{ 40, 8, UINT64_MAX - 7, QCF_CHECK_V1_L1_OFFSET },
	/* Without a length there is no name, wherever. */
	{ 8, 8, 1, QCF_CHECK_NONE },
	{ 8, 8, UINT64_MAX, QCF_CHECK_NONE },
	/* And without an offset, however long. */
	{ 16, 4, UINT32_MAX, QCF_CHECK_NONE },
};

START_TEST(each_field_at_its_limits)
{
	struct sample sample = sample_v1();

	sample_put(&sample, cases[_i].at, cases[_i].width, cases[_i].value);
	if (cases[_i].id != QCF_CHECK_NONE) {
		refused(&sample, cases[_i].id, "have");
	} else {
		struct qcf_header h = decode(&sample);

		qcf_header_fini(&h);
	}
	sample_free(&sample);
}

END_TEST

START_TEST(every_geometry_decodes)
{
	for (uint32_t bits = 9; bits <= 16; bits++) {
		for (uint32_t l2_bits = 6; l2_bits <= 13; l2_bits++) {
			struct sample sample = sample_v1();
			struct qcf_geometry g;
			struct qcf_header h;

			sample_put(&sample, 32, 1, bits);
			sample_put(&sample, 33, 1, l2_bits);
			sample_put(&sample, 24, 8,
			           (UINT64_C(7) << (bits + l2_bits)) + 1);
			h = decode(&sample);
			ck_assert_int_eq(qcf_header_geometry(&h, &g, NULL), 0);
			ck_assert_uint_eq(g.version, 1);
			ck_assert_uint_eq(g.cluster_size, 1u << bits);
			ck_assert_uint_eq(g.l2_entry_count, 1u << l2_bits);
			/* The last byte has an entry; the guest has it not. */
			ck_assert_uint_eq(h.l1_size, 8);
			ck_assert_uint_eq(h.virtual_size,
			                  UINT64_C(7) << (bits + l2_bits));
			qcf_header_fini(&h);
			sample_free(&sample);
		}
	}
}

END_TEST

/* Everything is wrong at once; mend one field after the other. */
START_TEST(documented_order_decides)
{
	static const struct {
		uint32_t id;
		size_t at;
		size_t width;
		uint64_t good;
	} steps[] = {
		{ QCF_CHECK_VIRTUAL_SIZE, 24, 8, INT64_MAX },
		{ QCF_CHECK_CLUSTER_BITS, 32, 1, 9 },
		{ QCF_CHECK_V1_L2_BITS, 33, 1, 6 },
		{ QCF_CHECK_V1_CRYPT_METHOD, 36, 4, 1 },
		{ QCF_CHECK_L1_SIZE, 24, 8, 1 << 20 },
		{ QCF_CHECK_BACKING_NAME, 16, 4, 2 },
		{ QCF_CHECK_V1_BACKING_OFFSET, 8, 8, 48 },
		{ QCF_CHECK_V1_L1_OFFSET, 40, 8, 512 },
	};
	struct sample sample = sample_v1();
	struct qcf_header h;

	memset(sample.bytes + 8, 0xff, sample.len - 8);
	for (size_t i = 0; i < QCF_ARRAY_LEN(steps); i++) {
		refused(&sample, steps[i].id, "");
		sample_put(&sample, steps[i].at, steps[i].width, steps[i].good);
	}
	h = decode(&sample);
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

START_TEST(every_truncation_is_an_error)
{
	struct sample whole = sample_v1();
	struct qcf_header h;

	for (size_t len = 4; len < 48; len++) {
		/* Exactly as long as told: overreads are noticed. */
		struct sample part = { .bytes = malloc(len), .len = len };

		ck_assert_ptr_nonnull(part.bytes);
		memcpy(part.bytes, whole.bytes, len);
		refused(&part, QCF_CHECK_HEADER_TRUNCATED, "");
		sample_free(&part);
	}
	whole.len = 48;
	h = decode(&whole);
	qcf_header_fini(&h);
	sample_free(&whole);
}

END_TEST

/* ------------------------------------------------------------------- places */

START_TEST(names_have_their_place)
{
	static const struct {
		uint64_t offset;
		uint32_t len;
		uint64_t l1;
		uint32_t id;
	} rows[] = {
		{ 47, 5, L1_AT, QCF_CHECK_V1_BACKING_OFFSET },
		{ 48, 5, L1_AT, QCF_CHECK_NONE },
		{ 1, 5, L1_AT, QCF_CHECK_V1_BACKING_OFFSET },
		{ AREA - 5, 5, L1_AT, QCF_CHECK_NONE },
		{ AREA - 4, 5, L1_AT, QCF_CHECK_V1_BACKING_OFFSET },
		{ UINT64_MAX, 5, L1_AT, QCF_CHECK_V1_BACKING_OFFSET },
		{ UINT64_MAX - 4, 5, L1_AT, QCF_CHECK_V1_BACKING_OFFSET },
		{ 100, 1023, L1_AT, QCF_CHECK_NONE },
		{ 100, 1024, L1_AT, QCF_CHECK_BACKING_NAME },
		{ 100, UINT32_MAX, L1_AT, QCF_CHECK_BACKING_NAME },
		/* Over the L1 table, which is 8 bytes */
		{ 100, 20, 119, QCF_CHECK_V1_L1_OFFSET },
		{ 100, 20, 120, QCF_CHECK_NONE },
		{ 100, 20, 93, QCF_CHECK_V1_L1_OFFSET },
		{ 100, 20, 92, QCF_CHECK_NONE },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct sample sample = sample_v1();

		memset(sample.bytes + 48, 'n', AREA - 48);
		sample_put(&sample, 8, 8, rows[i].offset);
		sample_put(&sample, 16, 4, rows[i].len);
		sample_put(&sample, 40, 8, rows[i].l1);
		if (rows[i].id != QCF_CHECK_NONE) {
			refused(&sample, rows[i].id, "have");
		} else {
			struct qcf_header h = decode(&sample);

			ck_assert_uint_eq(strlen(h.backing_name), rows[i].len);
			ck_assert_ptr_null(h.backing_format);
			qcf_header_fini(&h);
		}
		sample_free(&sample);
	}
}

END_TEST

START_TEST(names_are_whole_and_have_no_nul)
{
	struct sample sample = sample_v1();

	put_name(&sample, 5000, "base.raw");
	sample.len = 5007;
	refused(&sample, QCF_CHECK_HEADER_TRUNCATED, "5007");
	sample.len = 5008;

	struct qcf_header h = decode(&sample);

	ck_assert_str_eq(h.backing_name, "base.raw");
	qcf_header_fini(&h);
	sample.len = AREA;
	sample_put(&sample, 5004, 1, 0);
	refused(&sample, QCF_CHECK_BACKING_NAME, "NUL");
	sample_free(&sample);
}

END_TEST

START_TEST(peek_asks_for_all_a_name_may_take)
{
	struct sample sample = sample_v1();
	uint64_t size = 4711;

	for (size_t len = 8; len < 33; len++)
		ck_assert_int_eq(qcf_header_peek_cluster_size(sample.bytes, len,
		                                              &size, NULL),
		                 -EINVAL);
	sample_put(&sample, 32, 1, 17);
	ck_assert_int_eq(
		qcf_header_peek_cluster_size(sample.bytes, 48, &size, NULL),
		-EINVAL);
	ck_assert_uint_eq(size, 4711);
	sample_put(&sample, 32, 1, 9);
	ck_assert_int_eq(
		qcf_header_peek_cluster_size(sample.bytes, 33, &size, NULL), 0);
	ck_assert_uint_eq(size, AREA);
	sample_free(&sample);
}

END_TEST

/* ---------------------------------------------------------------------- Xen */

/* What qcf_feature_check() says about the L1 table's byte order. */
static bool is_native(const struct sample *sample)
{
	struct qcf_header h = decode(sample);
	struct qcowfmt_error *error = NULL;
	int ret = qcf_feature_check(&h, false, false, &error);
	bool native = ret < 0 && strstr(qcowfmt_error_message(error),
	                                "byte order") != NULL;

	if (native) {
		ck_assert_int_eq(ret, -ENOTSUP);
		ck_assert_int_eq(qcowfmt_error_code(error),
		                 QCOWFMT_ERR_UNSUPPORTED);
		ck_assert_ptr_nonnull(
			strstr(qcowfmt_error_message(error), "Xen"));
	}
	qcowfmt_error_free(error);
	qcf_header_fini(&h);
	return native;
}

START_TEST(xen_tables_in_native_order_are_refused_by_name)
{
	for (uint32_t flags = 0; flags < 8; flags++) {
		struct sample sample = sample_v1();

		put_xen(&sample, flags);
		ck_assert_int_eq(is_native(&sample), (flags & XEN_SEEN) == 0);
		put_name(&sample, 64, "/a/b");
		ck_assert_int_eq(is_native(&sample), (flags & XEN_SEEN) == 0);
		sample_free(&sample);
	}
}

END_TEST

START_TEST(what_only_looks_like_xen_is_not)
{
	struct sample sample = sample_v1();

	/* A name that begins so */
	put_xen(&sample, 0);
	sample_put(&sample, 60, 4, 0x6c6c6c6c);
	sample_put(&sample, 52, 4, 0x6e6e6e6e);
	sample_put(&sample, 56, 4, 0x6e6e6e6e);
	sample_put(&sample, 8, 8, 48);
	sample_put(&sample, 16, 4, 16);
	ck_assert(!is_native(&sample));
	/* A table that begins so */
	sample_put(&sample, 8, 8, 0);
	sample_put(&sample, 40, 8, 48);
	ck_assert(!is_native(&sample));
	sample_put(&sample, 40, 8, 63);
	ck_assert(!is_native(&sample));
	/* And a file that ends inside */
	sample_put(&sample, 40, 8, L1_AT);
	sample.len = 63;
	ck_assert(!is_native(&sample));
	sample.len = 64;
	ck_assert(is_native(&sample));
	sample_free(&sample);
}

END_TEST

/* --------------------------------------------------------------- round trip */

START_TEST(every_field_survives)
{
	struct sample sample = sample_v1();
	uint8_t *again = malloc(AREA);
	struct qcf_header h;

	ck_assert_ptr_nonnull(again);
	sample_put(&sample, 20, 4, 0xdeadbeef);
	sample_put(&sample, 24, 8, SAMPLE_VIRTUAL_SIZE + 77);
	sample_put(&sample, 34, 2, 0xabcd);
	sample_put(&sample, 36, 4, 1);
	put_xen(&sample, 3);
	put_name(&sample, 64, "/var/lib/base.img");
	h = decode(&sample);
	ck_assert_uint_eq(h.mtime, 0xdeadbeef);
	ck_assert_uint_eq(h.reserved, 0xabcd);
	ck_assert_uint_eq(h.virtual_size, SAMPLE_VIRTUAL_SIZE);
	ck_assert_uint_eq(h.crypt_method, 1);
	ck_assert_uint_eq(h.l1_table_offset, L1_AT);
	ck_assert_uint_eq(h.unknown_len, 16);
	/* What lies behind is not for the header to change. */
	memset(sample.bytes + L1_AT, 0x5a, AREA - L1_AT);
	memset(again, 0xaa, L1_AT);
	memset(again + L1_AT, 0x5a, AREA - L1_AT);
	ck_assert_int_eq(qcf_header_encode(&h, again, AREA, NULL), 0);
	ck_assert_mem_eq(again, sample.bytes, AREA);
	qcf_header_fini(&h);
	free(again);
	sample_free(&sample);
}

END_TEST

START_TEST(sizes_below_a_sector_stay_valid)
{
	for (uint64_t size = 2; size <= 1025; size += 511) {
		struct sample sample = sample_v1();
		struct qcf_header h;

		sample_put(&sample, 24, 8, size);
		h = decode(&sample);
		ck_assert_uint_eq(h.virtual_size, size / 512 * 512);
		ck_assert_int_eq(
			qcf_header_encode(&h, sample.bytes, AREA, NULL), 0);
		qcf_header_fini(&h);
		h = decode(&sample);
		ck_assert_uint_eq(h.virtual_size, size / 512 * 512);
		qcf_header_fini(&h);
		sample_free(&sample);
	}
}

END_TEST

START_TEST(a_name_fits_in_front_of_the_table_or_is_no_space)
{
	struct sample sample = sample_v1();
	struct qcowfmt_error *error = NULL;
	struct qcf_header h;

	sample_put(&sample, 40, 8, 56);
	h = decode(&sample);
	ck_assert_int_eq(qcf_header_set_backing(&h, "base.raw", NULL, NULL), 0);
	ck_assert_int_eq(qcf_header_encode(&h, sample.bytes, AREA, NULL), 0);
	ck_assert_mem_eq(sample.bytes + 48, "base.raw", 8);
	ck_assert_int_eq(qcf_header_encode(&h, sample.bytes, 55, &error),
	                 -ENOSPC);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_NO_SPACE);
	qcowfmt_error_free(error);
	ck_assert_int_eq(qcf_header_set_backing(&h, "base2.raw", NULL, NULL),
	                 0);
	ck_assert_int_eq(qcf_header_encode(&h, sample.bytes, AREA, NULL),
	                 -ENOSPC);
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

START_TEST(dump_names_every_field)
{
	static const char *const fields[] = {
		"version: 1\n",         "cluster_bits: 12\n",
		"l2_bits: 9\n",         "virtual_size: 1048576\n",
		"crypt_method: 1\n",    "l1_size: 1\n",
		"mtime: 0xdeadbeef\n",  "l1_table_offset: 0x1000\n",
		"reserved: 0xabcd\n",   "header_length: 64\n",
		"backing_name: base\n",
	};
	struct sample sample = sample_v1();
	struct qcf_header h;

	sample_put(&sample, 20, 4, 0xdeadbeef);
	sample_put(&sample, 34, 2, 0xabcd);
	sample_put(&sample, 36, 4, 1);
	put_xen(&sample, 2);
	put_name(&sample, 64, "base");
	h = decode(&sample);

	char *dump = qcf_header_dump(&h);

	for (size_t i = 0; i < QCF_ARRAY_LEN(fields); i++)
		ck_assert_msg(strstr(dump, fields[i]) != NULL, "%s in %s",
		              fields[i], dump);
	ck_assert_ptr_null(strstr(dump, "refcount"));
	free(dump);
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

/* ------------------------------------------------------------------- random */

static struct sample random_sample(struct unit_random *random)
{
	static const uint64_t nasty[] = {
		0,         1,         2,          9,         13,
		16,        48,        56,         64,        512,
		1023,      1024,      65535,      65536,     65537,
		INT32_MAX, INT64_MAX, UINT64_MAX, UINT32_MAX
	};
	struct sample sample = sample_v1();
	uint64_t count = unit_random_below(random, 5);

	put_name(&sample, 48 + unit_random_below(random, 30), "backing.file");
	if (unit_random_below(random, 2) == 0)
		put_xen(&sample, unit_random_below(random, 4));
	for (uint64_t i = 0; i < count; i++) {
		size_t width = (size_t)1 << unit_random_below(random, 4);
		size_t at = 8 + (unit_random_below(random, 56) & ~(width - 1));
		uint64_t value = unit_random_u64(random);

		if (unit_random_below(random, 3) != 0)
			value = nasty[value % QCF_ARRAY_LEN(nasty)];
		sample_put(&sample, at, width, value);
	}
	return sample;
}

static void check_again(const struct qcf_header *h)
{
	uint8_t *first = calloc(1, AREA);
	uint8_t *second = calloc(1, AREA);
	int ret = qcf_header_encode(h, first, AREA, NULL);
	struct qcf_header again;

	ck_assert(first != NULL && second != NULL);
	ck_assert(ret == 0 || ret == -ENOSPC);
	if (ret == 0) {
		ck_assert_int_eq(qcf_header_decode(&again, first, AREA, NULL),
		                 0);
		ck_assert_int_eq(qcf_header_encode(&again, second, AREA, NULL),
		                 0);
		ck_assert_mem_eq(first, second, AREA);
		ck_assert_uint_eq(again.virtual_size, h->virtual_size);
		ck_assert_uint_eq(again.l1_size, h->l1_size);
		qcf_header_fini(&again);
	}
	free(first);
	free(second);
}

START_TEST(random_headers)
{
	struct unit_random random = unit_random_init();
	unsigned int good = 0;
	unsigned int bad = 0;

	for (int i = 0; i < 5000; i++) {
		struct sample sample = random_sample(&random);
		size_t len = unit_random_below(&random, 8) == 0
		                     ? 4 + unit_random_below(&random, 92)
		                     : AREA;
		uint8_t *bytes = malloc(len);
		struct qcowfmt_error *error = NULL;
		struct qcf_header h;

		ck_assert_ptr_nonnull(bytes);
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
	ck_assert_uint_gt(good, 500);
	ck_assert_uint_gt(bad, 500);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, each_field_at_its_limits, 0,
	                    QCF_ARRAY_LEN(cases));
	tcase_add_test(tcase, every_geometry_decodes);
	tcase_add_test(tcase, documented_order_decides);
	tcase_add_test(tcase, every_truncation_is_an_error);
	tcase_add_test(tcase, names_have_their_place);
	tcase_add_test(tcase, names_are_whole_and_have_no_nul);
	tcase_add_test(tcase, peek_asks_for_all_a_name_may_take);
	tcase_add_test(tcase, xen_tables_in_native_order_are_refused_by_name);
	tcase_add_test(tcase, what_only_looks_like_xen_is_not);
	tcase_add_test(tcase, every_field_survives);
	tcase_add_test(tcase, sizes_below_a_sector_stay_valid);
	tcase_add_test(tcase, a_name_fits_in_front_of_the_table_or_is_no_space);
	tcase_add_test(tcase, dump_names_every_field);
	tcase_add_test(tcase, random_headers);
}

int main(void)
{
	return unit_run("header_version_1", add_tests);
}
