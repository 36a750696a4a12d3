/* SPDX-License-Identifier: MIT */
/*
 * Promise: requests beyond the virtual size are refused as a whole and change
 * nothing; requests of no length do nothing; vectors are added up safely.
 */
#include "api_test.h"

#define SIZE (((uint64_t)1 << 20) + 512)

static struct qcowfmt_image *image;

static void open_image(void)
{
	api_create(scratch_path("x.qcow2"), SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), API_RW);
	api_write(image, 0, (size_t)SIZE, 'a');
}

static const struct {
	uint64_t offset;
	uint64_t len;
} beyond[] = {
	{ SIZE, 1 },
	{ SIZE - 1, 2 },
	{ 0, SIZE + 1 },
	{ SIZE + 1, 0 },
	{ SIZE + 1, 1 },
	{ UINT64_MAX, 1 },
	{ UINT64_MAX, 0 },
	{ UINT64_MAX - 511, 512 },
	{ (uint64_t)1 << 63, 512 },
	{ 512, UINT64_MAX },
	{ 512, UINT64_MAX - 511 },
	{ 0, UINT64_MAX },
};

START_TEST(every_call_refuses_ranges_beyond_the_end)
{
	struct qcowfmt_extent extent;
	uint8_t *bytes = malloc((size_t)SIZE + 1);

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 'b', (size_t)SIZE + 1);
	open_image();
	for (size_t i = 0; i < QCF_ARRAY_LEN(beyond); i++) {
		uint64_t offset = beyond[i].offset;
		uint64_t len = beyond[i].len;

		API_FAILS(qcowfmt_pread(image, bytes, (size_t)len, offset,
		                        &api_error),
		          EINVAL, QCOWFMT_ERR_USAGE);
		API_FAILS(qcowfmt_pwrite(image, bytes, (size_t)len, offset,
		                         &api_error),
		          EINVAL, QCOWFMT_ERR_USAGE);
		API_FAILS(
			qcowfmt_write_zeroes(image, offset, len, 0, &api_error),
			EINVAL, QCOWFMT_ERR_USAGE);
		API_FAILS(qcowfmt_discard(image, offset, len, &api_error),
		          EINVAL, QCOWFMT_ERR_USAGE);
		API_FAILS(qcowfmt_map(image, offset, len, 0, &extent, 1,
		                      &api_error),
		          EINVAL, QCOWFMT_ERR_USAGE);
	}
	free(bytes);
	api_expect(image, 0, (size_t)SIZE, 'a');
	api_close(image);
}

END_TEST

START_TEST(the_last_byte_is_reachable)
{
	open_image();
	api_write(image, SIZE - 1, 1, 'z');
	api_expect(image, SIZE - 1, 1, 'z');
	api_expect(image, 0, (size_t)SIZE - 1, 'a');
	api_close(image);
}

END_TEST

START_TEST(no_length_does_nothing)
{
	const uint64_t offsets[] = { 0, 1, 65536, SIZE - 1, SIZE };
	struct qcowfmt_extent extent;

	open_image();
	for (size_t i = 0; i < QCF_ARRAY_LEN(offsets); i++) {
		API_OK(qcowfmt_pread(image, NULL, 0, offsets[i], &api_error));
		API_OK(qcowfmt_pwrite(image, NULL, 0, offsets[i], &api_error));
		API_OK(qcowfmt_preadv(image, NULL, 0, offsets[i], &api_error));
		API_OK(qcowfmt_pwritev(image, NULL, 0, offsets[i], &api_error));
		API_OK(qcowfmt_write_zeroes(image, offsets[i], 0, 0,
		                            &api_error));
		API_OK(qcowfmt_discard(image, offsets[i], 0, &api_error));
		ck_assert_int_eq(qcowfmt_map(image, offsets[i], 0, 0, &extent,
		                             1, &api_error),
		                 0);
	}
	api_expect(image, 0, (size_t)SIZE, 'a');
	api_close(image);
}

END_TEST

START_TEST(vectors_with_gaps)
{
	uint8_t one = 'x';
	uint8_t two[3] = { 'y', 'y', 'y' };
	uint8_t in[6] = { 0 };
	const struct iovec out[] = {
		{ NULL, 0 }, { &one, 1 }, { NULL, 0 }, { two, 3 }, { two, 0 },
	};
	const struct iovec back[] = {
		{ in, 2 },
		{ NULL, 0 },
		{ in + 2, 1 },
		{ in + 3, 3 },
	};

	open_image();
	API_OK(qcowfmt_pwritev(image, out, 5, 65535, &api_error));
	API_OK(qcowfmt_preadv(image, back, 4, 65534, &api_error));
	ck_assert_mem_eq(in, "axyyya", 6);
	api_close(image);
}

END_TEST

START_TEST(vectors_that_overflow)
{
	uint8_t byte = 0;
	const struct iovec huge[] = {
		{ &byte, SIZE_MAX },
		{ &byte, 1 },
		{ &byte, SIZE_MAX },
	};

	open_image();
	for (int count = 2; count <= 3; count++) {
		API_FAILS(qcowfmt_preadv(image, huge, count, 0, &api_error),
		          EINVAL, QCOWFMT_ERR_USAGE);
		API_FAILS(qcowfmt_pwritev(image, huge, count, 0, &api_error),
		          EINVAL, QCOWFMT_ERR_USAGE);
	}
	API_FAILS(qcowfmt_preadv(image, huge, -1, 0, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_pwritev(image, huge, -1, 0, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	api_expect(image, 0, (size_t)SIZE, 'a');
	api_close(image);
}

END_TEST

/* More elements than one system call takes. */
START_TEST(long_vectors)
{
	enum { COUNT = 3000 };

	static uint8_t bytes[COUNT];
	static uint8_t back[COUNT];
	struct iovec out[COUNT];
	struct iovec in[COUNT];

	open_image();
	for (int i = 0; i < COUNT; i++) {
		bytes[i] = (uint8_t)(i * 7);
		out[i] = (struct iovec){ &bytes[i], 1 };
		in[i] = (struct iovec){ &back[COUNT - 1 - i], 1 };
	}
	API_OK(qcowfmt_pwritev(image, out, COUNT, 65000, &api_error));
	API_OK(qcowfmt_preadv(image, in, COUNT, 65000, &api_error));
	for (int i = 0; i < COUNT; i++)
		ck_assert_uint_eq(back[COUNT - 1 - i], bytes[i]);
	api_close(image);
}

END_TEST

START_TEST(errors_need_not_be_asked_for)
{
	uint8_t byte = 0;

	open_image();
	ck_assert_int_eq(qcowfmt_pread(image, &byte, 1, SIZE, NULL), -EINVAL);
	ck_assert_int_eq(qcowfmt_pwrite(image, &byte, 1, SIZE, NULL), -EINVAL);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	ck_assert_int_eq(qcowfmt_close(NULL, NULL), 0);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, every_call_refuses_ranges_beyond_the_end);
	tcase_add_test(tcase, the_last_byte_is_reachable);
	tcase_add_test(tcase, no_length_does_nothing);
	tcase_add_test(tcase, vectors_with_gaps);
	tcase_add_test(tcase, vectors_that_overflow);
	tcase_add_test(tcase, long_vectors);
	tcase_add_test(tcase, errors_need_not_be_asked_for);
}

int main(int argc, char **argv)
{
	return api_main("io_past_end", add_tests, argc, argv);
}
