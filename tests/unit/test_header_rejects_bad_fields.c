/* SPDX-License-Identifier: MIT */
/*
 * Promise: every header field outside its limits is refused with its own code
 * and corruption id, values at the limit are accepted, and where several are
 * wrong the documented order decides.
 */
#include <errno.h>
#include <string.h>

#include "check_id.h"
#include "feature.h"
#include "header.h"
#include "sample_header.h"
#include "unit.h"

/* One field of a sample header is overwritten; what decoding must say. */
struct field_case {
	uint32_t version;
	uint32_t cluster_bits;
	size_t at;
	size_t width;
	uint64_t value;
	uint32_t id; /* QCF_CHECK_NONE: accepted */
};

#define V2 2u, 16u
#define V3 3u, 16u

static const struct field_case cases[] = {
	/* cluster_bits */
	{ V3, 20, 4, 8, QCF_CHECK_CLUSTER_BITS },
	{ V3, 20, 4, 22, QCF_CHECK_CLUSTER_BITS },
	{ V3, 20, 4, 0, QCF_CHECK_CLUSTER_BITS },
	{ V3, 20, 4, 63, QCF_CHECK_CLUSTER_BITS },
	{ V3, 20, 4, 64, QCF_CHECK_CLUSTER_BITS },
	{ V3, 20, 4, 0x25252525, QCF_CHECK_CLUSTER_BITS },
	{ V2, 20, 4, UINT32_MAX, QCF_CHECK_CLUSTER_BITS },
	/* header_length */
	{ V3, 100, 4, 0, QCF_CHECK_HEADER_LENGTH },
	{ V3, 100, 4, 72, QCF_CHECK_HEADER_LENGTH },
	{ V3, 100, 4, 103, QCF_CHECK_HEADER_LENGTH },
	{ V3, 100, 4, 104, QCF_CHECK_NONE },
	{ V3, 100, 4, 105, QCF_CHECK_NONE },
	{ V3, 100, 4, 65536, QCF_CHECK_NONE },
	{ V3, 100, 4, 65537, QCF_CHECK_HEADER_LENGTH },
	{ V3, 100, 4, UINT32_MAX, QCF_CHECK_HEADER_LENGTH },
	/* backing_file_offset; without a size it only ends the extensions */
	{ V3, 8, 8, 1, QCF_CHECK_NONE },
	{ V3, 8, 8, 65536, QCF_CHECK_NONE },
	{ V3, 8, 8, 65537, QCF_CHECK_BACKING_OFFSET },
	{ V3, 8, 8, UINT64_MAX, QCF_CHECK_BACKING_OFFSET },
	{ V2, 8, 8, UINT64_C(1) << 63, QCF_CHECK_BACKING_OFFSET },
	/* backing_file_size is ignored without an offset */
	{ V3, 16, 4, UINT32_MAX, QCF_CHECK_NONE },
	/* size; the sample has one L1 entry, which maps 512 MiB */
	{ V3, 24, 8, 0, QCF_CHECK_NONE },
	{ V3, 24, 8, 511, QCF_CHECK_NONE },
	{ V3, 24, 8, UINT64_C(1) << 29, QCF_CHECK_NONE },
	{ V3, 24, 8, (UINT64_C(1) << 29) + 511, QCF_CHECK_NONE },
	{ V3, 24, 8, (UINT64_C(1) << 29) + 512, QCF_CHECK_L1_SIZE },
	{ V3, 24, 8, UINT64_C(1) << 51, QCF_CHECK_L1_SIZE },
	{ V3, 24, 8, (UINT64_C(1) << 51) + 512, QCF_CHECK_VIRTUAL_SIZE },
	{ V3, 24, 8, UINT64_MAX, QCF_CHECK_VIRTUAL_SIZE },
	{ V2, 24, 8, UINT64_C(1) << 63, QCF_CHECK_VIRTUAL_SIZE },
	/* crypt_method is a matter of support, not of form */
	{ V3, 32, 4, 1, QCF_CHECK_NONE },
	{ V3, 32, 4, UINT32_MAX, QCF_CHECK_NONE },
	/* l1_size */
	{ V3, 36, 4, 0, QCF_CHECK_L1_SIZE },
	{ V3, 36, 4, 4194304, QCF_CHECK_NONE },
	{ V3, 36, 4, 4194305, QCF_CHECK_L1_SIZE },
	{ V3, 36, 4, UINT32_MAX, QCF_CHECK_L1_SIZE },
	/* l1_table_offset */
	{ V3, 40, 8, 0, QCF_CHECK_L1_OFFSET },
	{ V3, 40, 8, 0x30200, QCF_CHECK_L1_OFFSET },
	{ V3, 40, 8, 0x30001, QCF_CHECK_L1_OFFSET },
	{ V3, 40, 8, UINT64_C(0x7fffffffffff0000), QCF_CHECK_NONE },
	{ V3, 40, 8, UINT64_C(0x8000000000000000), QCF_CHECK_L1_OFFSET },
	{ V3, 40, 8, UINT64_C(0xffffffffffff0000), QCF_CHECK_L1_OFFSET },
	/* refcount_table_offset */
	{ V3, 48, 8, 0, QCF_CHECK_REFTABLE_OFFSET },
	{ V3, 48, 8, 0x10200, QCF_CHECK_REFTABLE_OFFSET },
	{ V3, 48, 8, UINT64_C(0x7ffffffffffe0000), QCF_CHECK_NONE },
	{ V3, 48, 8, UINT64_C(0x7fffffffffff0000), QCF_CHECK_REFTABLE_OFFSET },
	{ V3, 48, 8, UINT64_C(0xffffffffffff0000), QCF_CHECK_REFTABLE_OFFSET },
	/* refcount_table_clusters */
	{ V3, 56, 4, 128, QCF_CHECK_NONE },
	{ V3, 56, 4, 129, QCF_CHECK_REFTABLE_SIZE },
	{ V3, 56, 4, UINT32_MAX, QCF_CHECK_REFTABLE_SIZE },
	{ 3, 9, 56, 4, 16384, QCF_CHECK_NONE },
	{ 3, 9, 56, 4, 16385, QCF_CHECK_REFTABLE_SIZE },
	{ 3, 21, 56, 4, 4, QCF_CHECK_NONE },
	{ 3, 21, 56, 4, 5, QCF_CHECK_REFTABLE_SIZE },
	/* snapshot_count; the sample's table offset is 0 */
	{ V3, 60, 4, 1, QCF_CHECK_SNAPSHOT_TABLE },
	{ V3, 60, 4, 65537, QCF_CHECK_SNAPSHOT_TABLE },
	{ V3, 60, 4, UINT32_MAX, QCF_CHECK_SNAPSHOT_TABLE },
	/* snapshots_offset */
	{ V3, 64, 8, 0x40000, QCF_CHECK_NONE },
	{ V3, 64, 8, 0x40008, QCF_CHECK_SNAPSHOT_TABLE },
	{ V3, 64, 8, UINT64_C(0xffffffffffff0000), QCF_CHECK_SNAPSHOT_TABLE },
	/* features are a matter of support, except where they contradict */
	{ V3, 72, 8, UINT64_C(1) << 63, QCF_CHECK_NONE },
	{ V3, 80, 8, UINT64_MAX, QCF_CHECK_NONE },
	{ V3, 88, 8, UINT64_MAX, QCF_CHECK_NONE },
	{ V3, 72, 8, QCF_INCOMPAT_COMPRESSION, QCF_CHECK_COMPRESSION_TYPE },
	{ V3, 104, 1, 1, QCF_CHECK_COMPRESSION_TYPE },
	{ V3, 104, 1, 255, QCF_CHECK_COMPRESSION_TYPE },
	{ 3, 14, 72, 8, QCF_INCOMPAT_EXTENDED_L2, QCF_CHECK_NONE },
	{ 3, 13, 72, 8, QCF_INCOMPAT_EXTENDED_L2, QCF_CHECK_CLUSTER_BITS },
	/* refcount_order */
	{ V3, 96, 4, 0, QCF_CHECK_NONE },
	{ V3, 96, 4, 6, QCF_CHECK_NONE },
	{ V3, 96, 4, 7, QCF_CHECK_REFCOUNT_ORDER },
	{ V3, 96, 4, UINT32_MAX, QCF_CHECK_REFCOUNT_ORDER },
	/* version 2 knows none of the fields from 72 on: this is no length */
	{ V2, 100, 4, UINT32_MAX, QCF_CHECK_NONE },
};

static void check_case_at(const struct field_case *c, uint64_t snapshots_offset)
{
	struct sample sample = sample_new(c->version, c->cluster_bits);
	struct qcowfmt_error *error = NULL;
	struct qcf_header h;

	sample_put(&sample, 64, 8, snapshots_offset);
	sample_put(&sample, c->at, c->width, c->value);

	int ret = qcf_header_decode(&h, sample.bytes, sample.len, &error);

	ck_assert_msg(qcowfmt_error_corruption_id(error) == c->id,
	              "offset %zu, value 0x%" PRIx64 ": id %u, want %u (%s)",
	              c->at, c->value, qcowfmt_error_corruption_id(error),
	              c->id, qcowfmt_error_message(error));
	if (c->id == QCF_CHECK_NONE) {
		ck_assert_int_eq(ret, 0);
		qcf_header_fini(&h);
	} else {
		ck_assert_int_eq(ret, -EINVAL);
		ck_assert_int_eq(qcowfmt_error_code(error),
		                 QCOWFMT_ERR_CORRUPT);
		ck_assert_ptr_nonnull(
			strstr(qcowfmt_error_message(error), "have"));
		ck_assert_ptr_nonnull(
			strstr(qcowfmt_error_message(error), "want"));
	}
	qcowfmt_error_free(error);
	sample_free(&sample);
}

START_TEST(each_field_at_its_limits)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(cases); i++)
		check_case_at(&cases[i], 0);
}

END_TEST

START_TEST(snapshot_counts_with_a_table)
{
	struct field_case most = { V3, 60, 4, 65536, QCF_CHECK_NONE };
	struct field_case more = { V3, 60, 4, 65537, QCF_CHECK_SNAPSHOT_TABLE };

	check_case_at(&most, 0x40000);
	check_case_at(&more, 0x40000);
}

END_TEST

static void refused(const struct sample *sample, size_t len, int code,
                    uint32_t id, const char *words)
{
	struct qcowfmt_error *error = NULL;
	struct qcf_header h;
	int ret = qcf_header_decode(&h, sample->bytes, len, &error);

	ck_assert_int_lt(ret, 0);
	ck_assert_int_eq(ret, -qcowfmt_error_errno(error));
	ck_assert_int_eq(qcowfmt_error_code(error), code);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(error), id);
	ck_assert_msg(strstr(qcowfmt_error_message(error), words) != NULL,
	              "\"%s\" in \"%s\"", words, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
}

START_TEST(magic_and_version_are_named)
{
	struct sample sample = sample_new(3, 16);

	sample_put(&sample, 0, 4, 0x514649fa);
	refused(&sample, sample.len, QCOWFMT_ERR_NOT_QCOW, 0, "0x514649fa");
	sample_put(&sample, 0, 4, QCF_MAGIC);
	sample_put(&sample, 4, 4, 0);
	refused(&sample, sample.len, QCOWFMT_ERR_UNSUPPORTED, 0, "version 0");
	sample_put(&sample, 4, 4, 4);
	refused(&sample, sample.len, QCOWFMT_ERR_UNSUPPORTED, 0, "version 4");
	sample_put(&sample, 4, 4, UINT32_MAX);
	refused(&sample, sample.len, QCOWFMT_ERR_UNSUPPORTED, 0,
	        "version 4294967295");
	sample_free(&sample);
}

END_TEST

/* The bytes are in a block of exactly that length: overreads are noticed. */
static void check_truncated(const struct sample *whole, size_t len, int code,
                            uint32_t id)
{
	struct sample part = { .bytes = malloc(len > 0 ? len : 1), .len = len };

	ck_assert_ptr_nonnull(part.bytes);
	memcpy(part.bytes, whole->bytes, len);
	refused(&part, len, code, id, "");
	sample_free(&part);
}

START_TEST(every_truncation_is_an_error)
{
	struct sample v2 = sample_new(2, 16);
	struct sample v3 = sample_new(3, 16);

	for (size_t len = 0; len < 112; len++) {
		int code = len < 4 ? QCOWFMT_ERR_NOT_QCOW : QCOWFMT_ERR_CORRUPT;
		uint32_t id = len < 4 ? 0u : QCF_CHECK_HEADER_TRUNCATED;

		check_truncated(&v3, len, code, id);
		if (len < 72)
			check_truncated(&v2, len, code, id);
	}
	sample_free(&v2);
	sample_free(&v3);
}

END_TEST

START_TEST(a_file_that_ends_behind_the_header_decodes)
{
	struct sample v2 = sample_new(2, 16);
	struct sample v3 = sample_new(3, 16);
	struct qcf_header h;

	ck_assert_int_eq(qcf_header_decode(&h, v2.bytes, 72, NULL), 0);
	qcf_header_fini(&h);
	ck_assert_int_eq(qcf_header_decode(&h, v3.bytes, 112, NULL), 0);
	qcf_header_fini(&h);
	sample_free(&v2);
	sample_free(&v3);
}

END_TEST

START_TEST(backing_names_are_checked)
{
	struct sample sample = sample_new(3, 16);
	int corrupt = QCOWFMT_ERR_CORRUPT;

	memset(sample.bytes + 64000, 'n', 1536);
	sample_put(&sample, 8, 8, 64000);
	sample_put(&sample, 16, 4, 1024);
	refused(&sample, sample.len, corrupt, QCF_CHECK_BACKING_NAME, "1023");
	sample_put(&sample, 16, 4, UINT32_MAX);
	refused(&sample, sample.len, corrupt, QCF_CHECK_BACKING_NAME, "1023");
	sample_put(&sample, 8, 8, 65530);
	sample_put(&sample, 16, 4, 7);
	refused(&sample, sample.len, corrupt, QCF_CHECK_BACKING_NAME, "6");
	sample_put(&sample, 8, 8, 65536);
	sample_put(&sample, 16, 4, 1);
	refused(&sample, sample.len, corrupt, QCF_CHECK_BACKING_NAME, "0");
	/* Over the fixed header */
	sample_put(&sample, 8, 8, 111);
	refused(&sample, sample.len, corrupt, QCF_CHECK_BACKING_OFFSET, "111");
	/* Behind the end of the file */
	sample_put(&sample, 8, 8, 64000);
	sample_put(&sample, 16, 4, 10);
	refused(&sample, 64009, corrupt, QCF_CHECK_HEADER_TRUNCATED, "64009");
	/* A name in a name */
	sample_put(&sample, 64004, 1, 0);
	refused(&sample, sample.len, corrupt, QCF_CHECK_BACKING_NAME, "NUL");
	sample_free(&sample);
}

END_TEST

START_TEST(backing_names_at_the_limit_are_read)
{
	struct sample sample = sample_new(3, 16);
	struct qcf_header h;

	memset(sample.bytes + 65536 - 1023, 'n', 1023);
	sample_put(&sample, 8, 8, 65536 - 1023);
	sample_put(&sample, 16, 4, 1023);
	ck_assert_int_eq(qcf_header_decode(&h, sample.bytes, sample.len, NULL),
	                 0);
	ck_assert_uint_eq(strlen(h.backing_name), 1023);
	qcf_header_fini(&h);
	sample_free(&sample);
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
		{ QCF_CHECK_CLUSTER_BITS, 20, 4, 12 },
		{ QCF_CHECK_HEADER_LENGTH, 100, 4, 112 },
		{ QCF_CHECK_BACKING_OFFSET, 8, 8, 4000 },
		{ QCF_CHECK_COMPRESSION_TYPE, 104, 1, 0 },
		{ QCF_CHECK_CLUSTER_BITS, 72, 8, 0 },
		{ QCF_CHECK_REFCOUNT_ORDER, 96, 4, 0 },
		{ QCF_CHECK_REFTABLE_SIZE, 56, 4, 1 },
		{ QCF_CHECK_REFTABLE_OFFSET, 48, 8, 4096 },
		{ QCF_CHECK_SNAPSHOT_TABLE, 60, 4, 0 },
		{ QCF_CHECK_SNAPSHOT_TABLE, 64, 8, 0 },
		{ QCF_CHECK_L1_SIZE, 36, 4, 1 },
		{ QCF_CHECK_L1_OFFSET, 40, 8, 8192 },
		{ QCF_CHECK_VIRTUAL_SIZE, 24, 8, 1 << 22 },
		{ QCF_CHECK_L1_SIZE, 24, 8, 1 << 20 },
		{ QCF_CHECK_EXTENSION, 116, 4, 0 },
		{ QCF_CHECK_BACKING_NAME, 16, 4, 5 },
	};
	struct sample sample = sample_new(3, 16);
	struct qcf_header h;

	memset(sample.bytes + 8, 0xff, sample.len - 8);
	sample_put(&sample, 72, 8, QCF_INCOMPAT_EXTENDED_L2);
	for (size_t i = 0; i < QCF_ARRAY_LEN(steps); i++) {
		refused(&sample, sample.len, QCOWFMT_ERR_CORRUPT, steps[i].id,
		        "");
		sample_put(&sample, steps[i].at, steps[i].width, steps[i].good);
		if (steps[i].id == QCF_CHECK_EXTENSION)
			sample_put(&sample, 112, 4, QCF_EXT_END);
	}
	ck_assert_int_eq(qcf_header_decode(&h, sample.bytes, 4096, NULL), 0);
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

static void peek_refused(const struct sample *sample, size_t len, int code)
{
	struct qcowfmt_error *error = NULL;
	uint64_t size = 4711;

	ck_assert_int_lt(
		qcf_header_peek_cluster_size(sample->bytes, len, &size, &error),
		0);
	ck_assert_int_eq(qcowfmt_error_code(error), code);
	ck_assert_uint_eq(size, 4711);
	qcowfmt_error_free(error);
}

START_TEST(peek_needs_only_24_bytes)
{
	struct sample sample = sample_new(3, 9);
	uint64_t size = 0;

	for (uint32_t bits = 9; bits <= 21; bits++) {
		sample_put(&sample, 20, 4, bits);
		ck_assert_int_eq(qcf_header_peek_cluster_size(sample.bytes, 24,
		                                              &size, NULL),
		                 0);
		ck_assert_uint_eq(size, UINT64_C(1) << bits);
	}
	for (size_t len = 0; len < 24; len++)
		peek_refused(&sample, len,
		             len < 4 ? QCOWFMT_ERR_NOT_QCOW
		                     : QCOWFMT_ERR_CORRUPT);
	sample_put(&sample, 20, 4, 22);
	peek_refused(&sample, 24, QCOWFMT_ERR_CORRUPT);
	sample_put(&sample, 4, 4, 9);
	peek_refused(&sample, 24, QCOWFMT_ERR_UNSUPPORTED);
	sample_put(&sample, 0, 4, 9);
	peek_refused(&sample, 24, QCOWFMT_ERR_NOT_QCOW);
	sample_free(&sample);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, each_field_at_its_limits);
	tcase_add_test(tcase, snapshot_counts_with_a_table);
	tcase_add_test(tcase, magic_and_version_are_named);
	tcase_add_test(tcase, every_truncation_is_an_error);
	tcase_add_test(tcase, a_file_that_ends_behind_the_header_decodes);
	tcase_add_test(tcase, backing_names_are_checked);
	tcase_add_test(tcase, backing_names_at_the_limit_are_read);
	tcase_add_test(tcase, documented_order_decides);
	tcase_add_test(tcase, peek_needs_only_24_bytes);
}

int main(void)
{
	return unit_run("header_rejects_bad_fields", add_tests);
}
