/* SPDX-License-Identifier: MIT */
/*
 * Promise: the reference callback sees each reference as stored, decides what
 * is opened and as which format, and what it supplies is freed exactly once.
 */
#include "api_test.h"

#define SIZE ((size_t)65536)

/* What the callback saw, and what it is to answer. */
struct answers {
	unsigned int calls;
	int32_t kind;
	uint32_t depth;
	int32_t writable;
	char name[64];
	char format[64];
	char referrer[4096];

	int ret;
	bool no_storage;
	int32_t use_format;
	uint8_t fill;
	unsigned int closed; /* storages that were freed */
};

static struct qcowfmt_image *image;

static int64_t fill_pread(void *opaque, void *buffer, size_t len,
                          uint64_t offset)
{
	const struct answers *a = opaque;
	size_t left = offset < SIZE ? SIZE - (size_t)offset : 0;

	len = len < left ? len : left;
	memset(buffer, a->fill, len);
	return (int64_t)len;
}

static int fill_get_size(void *opaque, uint64_t *size)
{
	(void)opaque;
	*size = SIZE;
	return 0;
}

static void fill_close(void *opaque)
{
	struct answers *a = opaque;

	a->closed++;
}

static const struct qcowfmt_storage_ops fill_ops = {
	.struct_size = sizeof(fill_ops),
	.pread = fill_pread,
	.get_size = fill_get_size,
	.close = fill_close,
};

static void copy_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from == NULL ? "(null)" : from);
}

static int answer(void *opaque, const struct qcowfmt_reference *reference,
                  struct qcowfmt_storage **storage, int32_t *format)
{
	struct answers *a = opaque;

	ck_assert_uint_ge(reference->struct_size,
	                  offsetof(struct qcowfmt_reference, reserved));
	a->calls++;
	a->kind = reference->kind;
	a->depth = reference->depth;
	a->writable = reference->writable;
	copy_text(a->name, sizeof(a->name), reference->name);
	copy_text(a->format, sizeof(a->format), reference->format);
	copy_text(a->referrer, sizeof(a->referrer), reference->referrer);
	if (a->ret < 0 || a->no_storage)
		return a->ret;
	if (a->use_format != 0)
		*format = a->use_format;
	return qcowfmt_storage_new_custom(&fill_ops, a, "fill", storage, NULL);
}

static int open_with(struct answers *a, const char *backing, const char *format)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.reference_policy = QCOWFMT_REFERENCES_CALLBACK,
		.reference_callback = answer,
		.reference_opaque = a,
	};

	image = NULL;
	api_create_overlay(scratch_path("o.qcow2"), SIZE, backing, format);
	return qcowfmt_open_file(scratch_path("o.qcow2"), &options, &image,
	                         &api_error);
}

START_TEST(it_sees_the_reference_as_stored)
{
	struct answers a = { .fill = 'f' };

	API_OK(open_with(&a, "nbd://host/ex port", "raw"));
	ck_assert_uint_eq(a.calls, 1);
	ck_assert_int_eq(a.kind, QCOWFMT_REFERENCE_BACKING);
	ck_assert_uint_eq(a.depth, 1);
	ck_assert_int_eq(a.writable, 0);
	ck_assert_str_eq(a.name, "nbd://host/ex port");
	ck_assert_str_eq(a.format, "raw");
	ck_assert_str_eq(a.referrer, scratch_path("o.qcow2"));
	api_expect(image, 0, SIZE, 'f');
	ck_assert_uint_eq(a.closed, 0);
	api_close(image);
	ck_assert_uint_eq(a.closed, 1);
}

END_TEST

START_TEST(it_may_refuse)
{
	struct answers a = { .ret = -EPERM };

	API_FAILS_KEEP(open_with(&a, "secret", "raw"), EPERM,
	               QCOWFMT_ERR_REFUSED);
	API_ERROR_NAMES("secret");
	api_error_reset();
	ck_assert_ptr_null(image);
}

END_TEST

START_TEST(it_may_choose_the_format)
{
	struct answers a = { .fill = 'f', .use_format = QCOWFMT_FORMAT_RAW };

	/* Declared as qcow2, which the storage is not. */
	API_OK(open_with(&a, "x", "qcow2"));
	api_expect(image, 0, SIZE, 'f');
	api_close(image);
	/* Not declared at all */
	API_OK(open_with(&a, "x", NULL));
	ck_assert_str_eq(a.format, "(null)");
	api_close(image);
	ck_assert_uint_eq(a.closed, 2);
}

END_TEST

START_TEST(without_a_choice_the_rules_for_undeclared_formats_hold)
{
	struct answers a = { .fill = 'f' };

	API_FAILS(open_with(&a, "x", NULL), EACCES, QCOWFMT_ERR_REFUSED);
	ck_assert_uint_eq(a.closed, 1);
}

END_TEST

START_TEST(what_it_supplied_is_freed_when_opening_fails)
{
	struct answers a = { .fill = 'f' };

	API_FAILS(open_with(&a, "x", "qcow2"), EINVAL, QCOWFMT_ERR_NOT_QCOW);
	ck_assert_uint_eq(a.closed, 1);
}

END_TEST

START_TEST(success_without_storage_is_an_error)
{
	struct answers a = { .no_storage = true };

	API_FAILS(open_with(&a, "x", "raw"), EINVAL, QCOWFMT_ERR_USAGE);
}

END_TEST

START_TEST(the_policy_needs_a_callback)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.reference_policy = QCOWFMT_REFERENCES_CALLBACK,
	};

	api_create(scratch_path("plain.qcow2"), SIZE, 0);
	API_FAILS(qcowfmt_open_file(scratch_path("plain.qcow2"), &options,
	                            &image, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
}

END_TEST

START_TEST(images_without_references_do_not_call_it)
{
	struct answers a = { .fill = 'f' };
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.reference_policy = QCOWFMT_REFERENCES_CALLBACK,
		.reference_callback = answer,
		.reference_opaque = &a,
	};

	api_create(scratch_path("plain.qcow2"), SIZE, 0);
	API_OK(qcowfmt_open_file(scratch_path("plain.qcow2"), &options, &image,
	                         &api_error));
	ck_assert_uint_eq(a.calls, 0);
	api_close(image);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, it_sees_the_reference_as_stored);
	tcase_add_test(tcase, it_may_refuse);
	tcase_add_test(tcase, it_may_choose_the_format);
	tcase_add_test(tcase,
	               without_a_choice_the_rules_for_undeclared_formats_hold);
	tcase_add_test(tcase, what_it_supplied_is_freed_when_opening_fails);
	tcase_add_test(tcase, success_without_storage_is_an_error);
	tcase_add_test(tcase, the_policy_needs_a_callback);
	tcase_add_test(tcase, images_without_references_do_not_call_it);
}

int main(int argc, char **argv)
{
	return api_main("reference_callback", add_tests, argc, argv);
}
