/* SPDX-License-Identifier: MIT */
/*
 * Promise: a copy of a header has everything the header has, also what this library
 * does not understand, and shares no memory with it; and a header whose parts do
 * not fit is refused before anything is written.
 */
#include <errno.h>
#include <string.h>

#include "header.h"
#include "header_ext.h"
#include "sample_header.h"
#include "unit.h"

#define UNKNOWN_LEN 24u

static struct qcf_header decode(const struct sample *sample)
{
	struct qcowfmt_error *error = NULL;
	struct qcf_header h;
	int ret = qcf_header_decode(&h, sample->bytes, sample->len, &error);

	ck_assert_msg(ret == 0, "%s", qcowfmt_error_message(error));
	return h;
}

/* Fields, extensions and names nobody knows, or knows all of. */
static struct qcf_header rich_header(uint32_t cluster_bits)
{
	struct sample sample = sample_new(3, cluster_bits);
	struct qcf_header h;
	size_t at = 112 + UNKNOWN_LEN;

	sample_put(&sample, 100, 4, at);
	for (size_t i = 0; i < UNKNOWN_LEN; i++)
		sample.bytes[112 + i] = (uint8_t)(0x80 + i);
	at = sample_put_extension(&sample, at, 0x11111111, "abcde", 5);
	sample_put_extension(&sample, at, 0x22222222, "", 0);
	h = decode(&sample);
	ck_assert_int_eq(
		qcf_header_set_backing(&h, "base.qcow2", "qcow2", NULL), 0);
	sample_free(&sample);
	return h;
}

static void encode(const struct qcf_header *h, uint8_t *bytes, size_t len)
{
	ck_assert_int_eq(qcf_header_encode(h, bytes, len, NULL), 0);
}

START_TEST(a_copy_encodes_to_the_same_bytes)
{
	struct qcf_header h = rich_header(12);
	struct qcf_header copy;
	uint8_t before[4096];
	uint8_t after[4096];

	encode(&h, before, sizeof(before));
	ck_assert_int_eq(qcf_header_copy(&h, &copy, NULL), 0);
	ck_assert_uint_eq(copy.unknown_len, UNKNOWN_LEN);
	/* What happens to the first must not show in the second. */
	memset(h.unknown, 0, h.unknown_len);
	memset(h.backing_name, 'x', strlen(h.backing_name));
	memset(h.extensions[0].data, 0, h.extensions[0].len);
	qcf_header_fini(&h);
	encode(&copy, after, sizeof(after));
	ck_assert_mem_eq(before, after, sizeof(before));
	ck_assert_uint_eq(after[112], 0x80);
	ck_assert_uint_eq(after[112 + UNKNOWN_LEN - 1], 0x80 + UNKNOWN_LEN - 1);
	qcf_header_fini(&copy);
}

END_TEST

/* Everything of variable length goes behind the first sector, but the fixed part
 * with what is unknown has to leave room in it for the record that leads there. */
START_TEST(a_tail_needs_room_in_front_of_it)
{
	static uint8_t unknown[400];
	struct qcf_header h = rich_header(16);
	struct qcf_span span = { 0, 0 };
	uint8_t *bytes = malloc(65536);

	ck_assert_ptr_nonnull(bytes);
	ck_assert_int_eq(
		qcf_header_encode_at(&h, bytes, 65536, 1024, &span, NULL), 0);
	ck_assert_uint_ge(span.first, 1024);
	/* The tail is never in the first sector. */
	ck_assert_int_eq(
		qcf_header_encode_at(&h, bytes, 65536, 256, &span, NULL),
		-ENOSPC);
	free(h.unknown);
	h.unknown = unknown;
	for (size_t len = 0; len <= sizeof(unknown); len += 8) {
		struct qcf_header back;
		int ret;

		h.unknown_len = len;
		ret = qcf_header_encode_at(&h, bytes, 65536, 1024, &span, NULL);
		if (ret < 0) {
			ck_assert_int_eq(ret, -ENOSPC);
			ck_assert_uint_gt(len, 300);
			continue;
		}
		ck_assert_int_eq(qcf_header_decode(&back, bytes, 65536, NULL),
		                 0);
		ck_assert_uint_eq(back.unknown_len, len);
		ck_assert_str_eq(back.backing_name, "base.qcow2");
		qcf_header_fini(&back);
	}
	h.unknown = NULL;
	qcf_header_fini(&h);
	free(bytes);
}

END_TEST

START_TEST(what_is_too_long_does_not_fit)
{
	char name[1024];
	struct qcf_header h = rich_header(9);
	uint8_t bytes[512];

	memset(name, 'n', sizeof(name));
	name[1023] = '\0';
	ck_assert_int_eq(qcf_header_set_backing(&h, name, "qcow2", NULL), 0);
	ck_assert_int_eq(qcf_header_encode(&h, bytes, sizeof(bytes), NULL),
	                 -ENOSPC);
	qcf_header_fini(&h);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_copy_encodes_to_the_same_bytes);
	tcase_add_test(tcase, a_tail_needs_room_in_front_of_it);
	tcase_add_test(tcase, what_is_too_long_does_not_fit);
}

int main(void)
{
	return unit_run("header copies are whole", add_tests);
}
