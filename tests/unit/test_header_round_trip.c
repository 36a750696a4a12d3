/* SPDX-License-Identifier: MIT */
/*
 * Promise: decoding reads every field of a header, encoding writes them all
 * back, and what this library does not understand survives byte for byte.
 */
#include <errno.h>
#include <string.h>

#include "feature.h"
#include "header.h"
#include "header_ext.h"
#include "sample_header.h"
#include "unit.h"

static struct qcf_header decode(const struct sample *sample)
{
	struct qcowfmt_error *error = NULL;
	struct qcf_header h;
	int ret = qcf_header_decode(&h, sample->bytes, sample->len, &error);

	ck_assert_msg(ret == 0, "%s", qcowfmt_error_message(error));
	return h;
}

static struct sample encode(const struct qcf_header *h)
{
	struct qcowfmt_error *error = NULL;
	struct sample out = { .len = (size_t)1 << h->cluster_bits };

	out.bytes = malloc(out.len);
	ck_assert_ptr_nonnull(out.bytes);
	/* Stale content must not shine through. */
	memset(out.bytes, 0xaa, out.len);

	int ret = qcf_header_encode(h, out.bytes, out.len, &error);

	ck_assert_msg(ret == 0, "%s", qcowfmt_error_message(error));
	return out;
}

START_TEST(every_field_is_read)
{
	struct sample sample = sample_new(3, 16);

	sample_put(&sample, 24, 8, 1000000);
	sample_put(&sample, 32, 4, 2);
	sample_put(&sample, 36, 4, 7);
	sample_put(&sample, 40, 8, 0x50000);
	sample_put(&sample, 48, 8, 0x60000);
	sample_put(&sample, 56, 4, 3);
	sample_put(&sample, 60, 4, 2);
	sample_put(&sample, 64, 8, 0x90000);
	sample_put(&sample, 72, 8, UINT64_C(0x1000000000000008));
	sample_put(&sample, 80, 8, UINT64_C(0x2000000000000001));
	sample_put(&sample, 88, 8, UINT64_C(0x3000000000000001));
	sample_put(&sample, 96, 4, 6);
	sample_put(&sample, 104, 1, 1);

	struct qcf_header h = decode(&sample);

	ck_assert_uint_eq(h.version, 3);
	ck_assert_uint_eq(h.cluster_bits, 16);
	ck_assert_uint_eq(h.virtual_size, 999936);
	ck_assert_uint_eq(h.crypt_method, 2);
	ck_assert_uint_eq(h.l1_size, 7);
	ck_assert_uint_eq(h.l1_table_offset, 0x50000);
	ck_assert_uint_eq(h.refcount_table_offset, 0x60000);
	ck_assert_uint_eq(h.refcount_table_clusters, 3);
	ck_assert_uint_eq(h.snapshot_count, 2);
	ck_assert_uint_eq(h.snapshots_offset, 0x90000);
	ck_assert_uint_eq(h.incompatible_features,
	                  UINT64_C(0x1000000000000008));
	ck_assert_uint_eq(h.compatible_features, UINT64_C(0x2000000000000001));
	ck_assert_uint_eq(h.autoclear_features, UINT64_C(0x3000000000000001));
	ck_assert_uint_eq(h.refcount_order, 6);
	ck_assert_uint_eq(h.header_length, 112);
	ck_assert_uint_eq(h.compression_type, 1);
	ck_assert_ptr_null(h.backing_name);
	ck_assert_ptr_null(h.backing_format);
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

START_TEST(version_2_has_fixed_values)
{
	struct sample sample = sample_new(2, 16);
	/* What would be features in version 3 are extensions here. */
	size_t at = sample_put_extension(&sample, 72, 0x11111111, "abcd", 4);
	struct qcf_header h;

	sample_put_extension(&sample, at, QCF_EXT_BACKING_FORMAT, "raw", 3);
	h = decode(&sample);
	ck_assert_uint_eq(h.incompatible_features, 0);
	ck_assert_uint_eq(h.compatible_features, 0);
	ck_assert_uint_eq(h.autoclear_features, 0);
	ck_assert_uint_eq(h.refcount_order, 4);
	ck_assert_uint_eq(h.header_length, 72);
	ck_assert_uint_eq(h.extension_count, 2);
	ck_assert_str_eq(h.backing_format, "raw");
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

/* Encode, decode and encode again: nothing may change any more. */
static void check_stable(const struct qcf_header *h)
{
	struct sample first = encode(h);
	struct qcf_header again = decode(&first);
	struct sample second = encode(&again);

	ck_assert_mem_eq(first.bytes, second.bytes, first.len);
	qcf_header_fini(&again);
	sample_free(&first);
	sample_free(&second);
}

START_TEST(all_cluster_sizes_round_trip)
{
	for (uint32_t version = 2; version <= 3; version++) {
		for (uint32_t bits = 9; bits <= 21; bits++) {
			struct sample sample = sample_new(version, bits);
			struct qcf_header h = decode(&sample);

			ck_assert_int_eq(qcf_header_set_backing(&h,
			                                        "base.qcow2",
			                                        "qcow2", NULL),
			                 0);
			check_stable(&h);

			struct sample out = encode(&h);
			struct qcf_header back = decode(&out);

			ck_assert_str_eq(back.backing_name, "base.qcow2");
			ck_assert_str_eq(back.backing_format, "qcow2");
			qcf_header_fini(&back);
			sample_free(&out);
			qcf_header_fini(&h);
			sample_free(&sample);
		}
	}
}

END_TEST

START_TEST(header_length_104_becomes_112)
{
	struct sample sample = sample_new(3, 16);

	sample_put(&sample, 100, 4, 104);
	sample_put_extension(&sample, 104, 0x22222222, "hello", 5);

	struct qcf_header h = decode(&sample);
	struct sample out = encode(&h);
	struct qcf_header back = decode(&out);

	ck_assert_uint_eq(h.header_length, 104);
	ck_assert_uint_eq(back.header_length, 112);
	ck_assert_mem_eq(qcf_header_extension(&back, 0x22222222)->data, "hello",
	                 5);
	qcf_header_fini(&back);
	qcf_header_fini(&h);
	sample_free(&out);
	sample_free(&sample);
}

END_TEST

START_TEST(header_length_may_be_odd)
{
	struct sample sample = sample_new(3, 16);

	sample_put(&sample, 100, 4, 108);
	sample_put_extension(&sample, 108, 0x22222222, "x", 1);

	struct qcf_header h = decode(&sample);

	ck_assert_uint_eq(h.extension_count, 1);
	ck_assert_uint_eq(h.unknown_len, 0);
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

START_TEST(unknown_fields_are_kept)
{
	struct sample sample = sample_new(3, 16);
	struct qcf_header h;

	sample_put(&sample, 100, 4, 125);
	sample_put_text(&sample, 112, "thirteen more");
	/* Padding is not kept: it means nothing. */
	sample_put(&sample, 105, 7, UINT64_C(0xffffffffffffff));
	sample_put_extension(&sample, 125, 0x33333333, "ext", 3);
	h = decode(&sample);
	ck_assert_uint_eq(h.unknown_len, 13);
	ck_assert_mem_eq(h.unknown, "thirteen more", 13);

	struct sample out = encode(&h);
	struct qcf_header back = decode(&out);

	ck_assert_uint_eq(back.header_length, 125);
	ck_assert_mem_eq(out.bytes + 112, "thirteen more", 13);
	ck_assert_mem_eq(out.bytes + 105, "\0\0\0\0\0\0\0", 7);
	ck_assert_ptr_nonnull(qcf_header_extension(&back, 0x33333333));
	qcf_header_fini(&back);
	qcf_header_fini(&h);
	sample_free(&out);
	sample_free(&sample);
}

END_TEST

START_TEST(unknown_extensions_keep_bytes_and_order)
{
	static const struct {
		uint32_t type;
		const char *data;
		size_t len;
	} rows[] = {
		{ 0x10000001, "\0\1\2\3\4\5\6\7\xff", 9 },
		{ 0x00000002, "", 0 },
		{ 0x10000001, "same type again", 15 },
		{ QCF_EXT_BITMAPS, "0123456789abcdef01234567", 24 },
		{ 0xffffffff, "last", 4 },
	};
	struct sample sample = sample_new(3, 12);
	size_t at = 112;

	for (size_t i = 0; i < 5; i++)
		at = sample_put_extension(&sample, at, rows[i].type,
		                          rows[i].data, rows[i].len);

	struct qcf_header h = decode(&sample);
	struct sample out = encode(&h);

	/* With 4 KiB clusters nothing is added: the area must be the same. */
	ck_assert_uint_eq(h.extension_count, 5);
	ck_assert_mem_eq(out.bytes, sample.bytes, sample.len);
	for (size_t i = 0; i < 5; i++) {
		ck_assert_uint_eq(h.extensions[i].type, rows[i].type);
		ck_assert_uint_eq(h.extensions[i].len, rows[i].len);
		if (rows[i].len > 0)
			ck_assert_mem_eq(h.extensions[i].data, rows[i].data,
			                 rows[i].len);
	}
	qcf_header_fini(&h);
	sample_free(&out);
	sample_free(&sample);
}

END_TEST

START_TEST(known_extensions_take_their_places)
{
	static const uint32_t order[] = {
		QCF_EXT_BACKING_FORMAT,
		QCF_EXT_DATA_FILE,
		QCF_EXT_ENCRYPTION,
		QCF_EXT_FEATURE_NAMES,
		0x11111111,
		QCF_EXT_BITMAPS,
		0x22222222,
	};
	struct sample sample = sample_new(3, 16);
	size_t at = 112;

	sample_put(&sample, 72, 8, QCF_INCOMPAT_DATA_FILE);
	at = sample_put_extension(&sample, at, 0x11111111, "a", 1);
	at = sample_put_extension(&sample, at, QCF_EXT_BITMAPS, "b", 1);
	at = sample_put_extension(&sample, at, QCF_EXT_ENCRYPTION, "old", 3);
	at = sample_put_extension(&sample, at, QCF_EXT_ENCRYPTION, "new", 3);
	at = sample_put_extension(&sample, at, QCF_EXT_FEATURE_NAMES, "", 0);
	at = sample_put_extension(&sample, at, 0x22222222, "c", 1);
	at = sample_put_extension(&sample, at, QCF_EXT_DATA_FILE, "d.raw", 5);
	sample_put_extension(&sample, at, QCF_EXT_BACKING_FORMAT, "raw", 3);

	struct qcf_header h = decode(&sample);
	struct sample out = encode(&h);
	struct qcf_header back = decode(&out);

	ck_assert_uint_eq(back.extension_count, QCF_ARRAY_LEN(order));
	for (size_t i = 0; i < QCF_ARRAY_LEN(order); i++)
		ck_assert_uint_eq(back.extensions[i].type, order[i]);
	ck_assert_mem_eq(qcf_header_extension(&back, QCF_EXT_ENCRYPTION)->data,
	                 "new", 3);
	ck_assert_uint_eq(
		qcf_header_extension(&back, QCF_EXT_FEATURE_NAMES)->len, 384);
	qcf_header_fini(&back);

	/* Without its feature bit the data file name is dropped. */
	h.incompatible_features = 0;
	sample_free(&out);
	out = encode(&h);
	back = decode(&out);
	ck_assert_ptr_null(qcf_header_extension(&back, QCF_EXT_DATA_FILE));
	qcf_header_fini(&back);
	qcf_header_fini(&h);
	sample_free(&out);
	sample_free(&sample);
}

END_TEST

START_TEST(feature_names_follow_version_and_cluster_size)
{
	for (uint32_t version = 2; version <= 3; version++) {
		for (uint32_t bits = 9; bits <= 21; bits++) {
			struct sample sample = sample_new(version, bits);
			struct qcf_header h = decode(&sample);
			struct sample out = encode(&h);
			struct qcf_header back = decode(&out);
			const struct qcf_extension *names =
				qcf_header_extension(&back,
			                             QCF_EXT_FEATURE_NAMES);

			ck_assert_int_eq(names != NULL,
			                 version == 3 && bits > 12);
			qcf_header_fini(&back);
			qcf_header_fini(&h);
			sample_free(&out);
			sample_free(&sample);
		}
	}
}

END_TEST

START_TEST(backing_name_sits_directly_behind_the_end_record)
{
	static const struct {
		uint32_t version;
		uint32_t cluster_bits;
		uint64_t offset;
	} rows[] = {
		{ 3, 16, 528 }, { 3, 12, 136 }, { 3, 9, 136 }, { 2, 16, 96 }
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct sample sample =
			sample_new(rows[i].version, rows[i].cluster_bits);
		struct qcf_header h = decode(&sample);

		qcf_header_set_backing(&h, "d2.qcow2", "qcow2", NULL);

		struct sample out = encode(&h);
		struct qcf_reader reader = qcf_reader_init(out.bytes + 8, 12);

		ck_assert_uint_eq(qcf_read_u64(&reader), rows[i].offset);
		ck_assert_uint_eq(qcf_read_u32(&reader), 8);
		ck_assert_mem_eq(out.bytes + rows[i].offset, "d2.qcow2", 8);
		qcf_header_fini(&h);
		sample_free(&out);
		sample_free(&sample);
	}
}

END_TEST

START_TEST(backing_name_need_not_be_text)
{
	struct sample sample = sample_new(3, 16);
	const char *name = "\xff\x01 \n\x80";

	sample_put(&sample, 8, 8, 65536 - 5);
	sample_put(&sample, 16, 4, 5);
	sample_put_text(&sample, 65536 - 5, name);

	struct qcf_header h = decode(&sample);

	ck_assert_str_eq(h.backing_name, name);
	check_stable(&h);

	char *dump = qcf_header_dump(&h);

	ck_assert_ptr_nonnull(dump);
	ck_assert_ptr_nonnull(
		strstr(dump, "backing_name: \\xff\\x01 \\x0a\\x80\n"));
	free(dump);
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

START_TEST(set_backing_replaces_removes_and_leaves_alone_on_failure)
{
	struct sample sample = sample_new(3, 16);
	struct qcf_header h = decode(&sample);
	char longest[1025];

	memset(longest, 'n', 1024);
	longest[1024] = '\0';
	ck_assert_int_eq(qcf_header_set_backing(&h, longest, NULL, NULL),
	                 -EINVAL);
	ck_assert_int_eq(qcf_header_set_backing(&h, "", NULL, NULL), -EINVAL);
	longest[1023] = '\0';
	ck_assert_int_eq(qcf_header_set_backing(&h, longest, "raw", NULL), 0);
	check_stable(&h);
	ck_assert_int_eq(
		qcf_header_set_backing(&h, "b", "sixteen-letters-", NULL),
		-EINVAL);
	ck_assert_str_eq(h.backing_name, longest);
	ck_assert_str_eq(h.backing_format, "raw");
	ck_assert_int_eq(
		qcf_header_set_backing(&h, "b", "fifteen-letters", NULL), 0);
	check_stable(&h);
	ck_assert_int_eq(qcf_header_set_backing(&h, NULL, NULL, NULL), 0);
	ck_assert_ptr_null(h.backing_name);
	ck_assert_ptr_null(h.backing_format);
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

START_TEST(what_does_not_fit_is_no_space)
{
	struct sample sample = sample_new(3, 9);
	struct qcf_header h = decode(&sample);
	struct qcowfmt_error *error = NULL;
	uint8_t cluster[512];
	char name[500];

	memset(name, 'n', sizeof(name));
	/* 112 bytes of header, 16 of format, 8 of end record: 376 are left. */
	name[376] = '\0';
	ck_assert_int_eq(qcf_header_set_backing(&h, name, "qcow2", NULL), 0);
	ck_assert_int_eq(qcf_header_encode(&h, cluster, 512, NULL), 0);
	ck_assert_mem_eq(cluster + 136, name, 376);
	name[376] = 'n';
	name[377] = '\0';
	ck_assert_int_eq(qcf_header_set_backing(&h, name, "qcow2", NULL), 0);
	ck_assert_int_eq(qcf_header_encode(&h, cluster, 512, &error), -ENOSPC);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_NO_SPACE);
	qcowfmt_error_free(error);
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

START_TEST(backing_format_reads_like_a_c_string)
{
	static const struct {
		const char *data;
		size_t len;
		const char *format;
	} rows[] = {
		{ "qcow2", 5, "qcow2" },
		{ "raw\0", 4, "raw" },
		{ "fifteen-letters", 15, "fifteen-letters" },
		{ "", 0, NULL },
		{ "\0\0", 2, NULL },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct sample sample = sample_new(3, 16);
		struct qcf_header h;

		sample_put_extension(&sample, 112, QCF_EXT_BACKING_FORMAT,
		                     rows[i].data, rows[i].len);
		h = decode(&sample);
		if (rows[i].format == NULL)
			ck_assert_ptr_null(h.backing_format);
		else
			ck_assert_str_eq(h.backing_format, rows[i].format);
		check_stable(&h);
		qcf_header_fini(&h);
		sample_free(&sample);
	}
}

END_TEST

START_TEST(last_backing_format_wins)
{
	struct sample sample = sample_new(3, 16);
	size_t at = sample_put_extension(&sample, 112, QCF_EXT_BACKING_FORMAT,
	                                 "qcow2", 5);
	struct qcf_header h;

	sample_put_extension(&sample, at, QCF_EXT_BACKING_FORMAT, "raw", 3);
	h = decode(&sample);
	ck_assert_str_eq(h.backing_format, "raw");
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

START_TEST(dump_names_every_field)
{
	static const char *const fields[] = {
		"version: 3\n",
		"cluster_bits: 16\n",
		"virtual_size: 1048576\n",
		"crypt_method: 0\n",
		"l1_size: 1\n",
		"l1_table_offset: 0x30000\n",
		"refcount_table_offset: 0x10000\n",
		"refcount_table_clusters: 1\n",
		"snapshot_count: 0\n",
		"snapshots_offset: 0x0\n",
		"incompatible_features: 0x0\n",
		"compatible_features: 0x0\n",
		"autoclear_features: 0x0\n",
		"refcount_order: 4\n",
		"header_length: 112\n",
		"compression_type: 0\n",
		"extension: type 0xe2792aca (backing format), 3 bytes\n",
		"extension: type 0x12345678 (unknown), 1 bytes\n",
		"extension: type 0x6803f857 (feature names), 0 bytes\n",
		"extension: type 0x23852875 (bitmaps), 2 bytes\n",
		"extension: type 0x0537be77 (encryption header), 3 bytes\n",
		"extension: type 0x44415441 (external data file), 4 bytes\n",
	};
	struct sample sample = sample_new(3, 16);
	size_t at = sample_put_extension(&sample, 112, QCF_EXT_BACKING_FORMAT,
	                                 "raw", 3);
	struct qcf_header h;

	at = sample_put_extension(&sample, at, 0x12345678, "x", 1);
	at = sample_put_extension(&sample, at, QCF_EXT_FEATURE_NAMES, "", 0);
	at = sample_put_extension(&sample, at, QCF_EXT_BITMAPS, "xy", 2);
	at = sample_put_extension(&sample, at, QCF_EXT_ENCRYPTION, "xyz", 3);
	sample_put_extension(&sample, at, QCF_EXT_DATA_FILE, "file", 4);
	h = decode(&sample);

	char *dump = qcf_header_dump(&h);

	for (size_t i = 0; i < QCF_ARRAY_LEN(fields); i++)
		ck_assert_msg(strstr(dump, fields[i]) != NULL, "%s in %s",
		              fields[i], dump);
	free(dump);
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

START_TEST(escaped_text_is_cut_at_whole_characters)
{
	char text[8];

	qcf_escape(text, sizeof(text), "abcdefghij", 10);
	ck_assert_str_eq(text, "abcdefg");
	qcf_escape(text, sizeof(text), "abc\n\n", 5);
	ck_assert_str_eq(text, "abc\\x0a");
	qcf_escape(text, sizeof(text), "abcd\n", 5);
	ck_assert_str_eq(text, "abcd");
	qcf_escape(text, sizeof(text), "~\x7f", 2);
	ck_assert_str_eq(text, "~\\x7f");
	qcf_escape(text, 1, "a", 1);
	ck_assert_str_eq(text, "");
}

END_TEST

static bool is_same(const struct qcf_header *a, const struct qcf_header *b)
{
	if (a->version != b->version || a->l1_size != b->l1_size ||
	    a->header_length != b->header_length ||
	    a->extension_count != b->extension_count ||
	    (a->backing_name == NULL) != (b->backing_name == NULL))
		return false;
	return a->backing_name == NULL ||
	       strcmp(a->backing_name, b->backing_name) == 0;
}

/* Where a header is said to be whole, and that decoding needs no more than that. */
static size_t whole_from(const struct sample *sample)
{
	struct qcf_header all = decode(sample);
	size_t from = sample->len;

	for (size_t len = sample->len; len > 0; len--) {
		struct sample first = { .len = len };
		struct qcf_header h;

		if (!qcf_header_is_whole(sample->bytes, len))
			continue;
		ck_assert_uint_eq(from, len == sample->len ? from : len + 1);
		from = len;
		first.bytes = malloc(len);
		ck_assert_ptr_nonnull(first.bytes);
		memcpy(first.bytes, sample->bytes, len);
		h = decode(&first);
		ck_assert(is_same(&h, &all));
		qcf_header_fini(&h);
		sample_free(&first);
	}
	qcf_header_fini(&all);
	return from;
}

START_TEST(the_first_bytes_can_be_enough)
{
	static const uint8_t data[100] = { 1 };
	struct sample sample = sample_new(3, 12);
	size_t at;

	/* No extension: the mark of their end. */
	ck_assert_uint_eq(whole_from(&sample), 116);
	at = sample_put_extension(&sample, 112, 0xcafe, data, sizeof(data));
	at = sample_put_extension(&sample, at, 0xcaff, data, 13);
	ck_assert_uint_eq(at, 112 + 8 + 104 + 8 + 16);
	ck_assert_uint_eq(whole_from(&sample), at + 4);
	/* A name behind them. */
	sample_put(&sample, 8, 8, at + 100);
	sample_put(&sample, 16, 4, 5);
	sample_put_text(&sample, at + 100, "b.raw");
	ck_assert_uint_eq(whole_from(&sample), at + 105);
	/* A header that is longer itself. */
	sample_free(&sample);
	sample = sample_new(3, 12);
	sample_put(&sample, 100, 4, 1000);
	ck_assert_uint_eq(whole_from(&sample), 1004);
	sample_put(&sample, 8, 8, 200);
	ck_assert_uint_eq(whole_from(&sample), 1000);
	sample_free(&sample);
	sample = sample_new(2, 12);
	ck_assert_uint_eq(whole_from(&sample), 76);
	/* Extensions up to the end of the cluster, without a mark. */
	sample_put(&sample, 72, 4, 0xcafe);
	sample_put(&sample, 76, 4, 4096 - 80);
	ck_assert_uint_eq(whole_from(&sample), 4096);
	ck_assert(!qcf_header_is_whole(sample.bytes, 4096));
	/* And one that claims to be longer than any file. */
	sample_put(&sample, 76, 4, UINT32_MAX);
	ck_assert(!qcf_header_is_whole(sample.bytes, 4096));
	sample_free(&sample);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, the_first_bytes_can_be_enough);
	tcase_add_test(tcase, every_field_is_read);
	tcase_add_test(tcase, version_2_has_fixed_values);
	tcase_add_test(tcase, all_cluster_sizes_round_trip);
	tcase_add_test(tcase, header_length_104_becomes_112);
	tcase_add_test(tcase, header_length_may_be_odd);
	tcase_add_test(tcase, unknown_fields_are_kept);
	tcase_add_test(tcase, unknown_extensions_keep_bytes_and_order);
	tcase_add_test(tcase, known_extensions_take_their_places);
	tcase_add_test(tcase, feature_names_follow_version_and_cluster_size);
	tcase_add_test(tcase, backing_name_sits_directly_behind_the_end_record);
	tcase_add_test(tcase, backing_name_need_not_be_text);
	tcase_add_test(
		tcase,
		set_backing_replaces_removes_and_leaves_alone_on_failure);
	tcase_add_test(tcase, what_does_not_fit_is_no_space);
	tcase_add_test(tcase, backing_format_reads_like_a_c_string);
	tcase_add_test(tcase, last_backing_format_wins);
	tcase_add_test(tcase, dump_names_every_field);
	tcase_add_test(tcase, escaped_text_is_cut_at_whole_characters);
}

int main(void)
{
	return unit_run("header_round_trip", add_tests);
}
