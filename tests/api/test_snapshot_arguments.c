/* SPDX-License-Identifier: MIT */
/*
 * Promise: what a caller says about a snapshot is stored and told again, and what
 * makes no sense is refused and changes nothing.
 */
#include "api_test.h"

static char *long_text(size_t len)
{
	char *text = calloc(1, len + 1);

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', len);
	return text;
}

static struct qcowfmt_snapshot_list *list_of(struct qcowfmt_image *image,
                                             uint32_t count)
{
	struct qcowfmt_snapshot_list *list = NULL;

	API_OK(qcowfmt_snapshot_list(image, 0, &list, &api_error));
	ck_assert_uint_eq(qcowfmt_snapshot_list_count(list), count);
	return list;
}

static struct qcowfmt_snapshot get(const struct qcowfmt_snapshot_list *list,
                                   uint32_t index)
{
	struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };

	API_OK(qcowfmt_snapshot_list_get(list, index, &s, &api_error));
	return s;
}

START_TEST(what_is_said_is_kept)
{
	const char *path = scratch_path("a");
	const uint8_t extra[] = "more to come";
	char *name = long_text(255);
	char *id = long_text(127);
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = name,
		.id = id,
		.vm_state_size = UINT64_C(5) << 32,
		.vm_clock_nsec = 123456789012345,
		.icount = UINT64_MAX,
		.date_sec = 1700000000,
		.date_nsec = 999999999,
		.extra = extra,
		.extra_len = sizeof(extra),
	};
	struct qcowfmt_snapshot_list *list;
	struct qcowfmt_image *image;
	struct qcowfmt_snapshot s;

	api_create(path, 1 << 20, 0);
	image = api_open(path, API_RW);
	API_OK(qcowfmt_snapshot_create(image, &options, &api_error));
	/* Rewriting the table keeps all of it. */
	API_OK(qcowfmt_snapshot_create(image, NULL, &api_error));
	api_close(image);
	api_qemu_check(path);
	image = api_open(path, 0);
	list = list_of(image, 2);
	s = get(list, 0);
	ck_assert_str_eq(s.id, id);
	ck_assert_str_eq(s.name, name);
	ck_assert_uint_eq(s.virtual_size, 1 << 20);
	ck_assert_uint_eq(s.vm_state_size, options.vm_state_size);
	ck_assert_uint_eq(s.vm_clock_nsec, options.vm_clock_nsec);
	ck_assert_uint_eq(s.icount, UINT64_MAX);
	ck_assert_uint_eq(s.date_sec, options.date_sec);
	ck_assert_uint_eq(s.date_nsec, options.date_nsec);
	ck_assert_uint_eq(s.extra_len, sizeof(extra));
	ck_assert_mem_eq(s.extra, extra, sizeof(extra));
	/* The letters of the other id count as 0. */
	s = get(list, 1);
	ck_assert_str_eq(s.id, "1");
	ck_assert_str_eq(s.name, "");
	ck_assert_uint_gt(s.date_sec, 1700000000);
	API_FAILS(qcowfmt_snapshot_list_get(list, 2, &s, &api_error), ENOENT,
	          QCOWFMT_ERR_USAGE);
	qcowfmt_snapshot_list_free(list);
	qcowfmt_snapshot_list_free(NULL);
	API_FAILS(qcowfmt_snapshot_list(image, 1, &list, &api_error), ENOENT,
	          QCOWFMT_ERR_USAGE);
	api_close(image);
	free(name);
	free(id);
}

END_TEST

/* A way to spoil options. */
static void refuse(struct qcowfmt_image *image,
                   struct qcowfmt_snapshot_options options)
{
	options.struct_size = sizeof(options);
	API_FAILS(qcowfmt_snapshot_create(image, &options, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
}

START_TEST(nonsense_is_refused)
{
	const char *path = scratch_path("b");
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.id = "7",
		.name = "seven",
	};
	char *name = long_text(256);
	struct qcowfmt_image *image;

	api_create(path, 1 << 20, 0);
	image = api_open(path, API_RW);
	API_OK(qcowfmt_snapshot_create(image, &options, &api_error));
	API_FAILS(qcowfmt_snapshot_create(image, &options, &api_error), EEXIST,
	          QCOWFMT_ERR_USAGE);
	refuse(image, (struct qcowfmt_snapshot_options){ .name = name });
	refuse(image, (struct qcowfmt_snapshot_options){ .id = name + 128 });
	refuse(image, (struct qcowfmt_snapshot_options){ .id = "" });
	refuse(image, (struct qcowfmt_snapshot_options){ .extra_len = 1 });
	refuse(image, (struct qcowfmt_snapshot_options){ .extra = name,
	                                                 .extra_len = 1001 });
	refuse(image,
	       (struct qcowfmt_snapshot_options){ .date_nsec = 1000000000 });
	options.id = "18446744073709551615";
	API_OK(qcowfmt_snapshot_create(image, &options, &api_error));
	API_FAILS(qcowfmt_snapshot_create(image, NULL, &api_error), EOVERFLOW,
	          QCOWFMT_ERR_LIMIT);
	API_FAILS(qcowfmt_snapshot_apply(image, NULL, NULL, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_snapshot_delete(image, NULL, NULL, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_snapshot_apply(image, "7", "eight", &api_error),
	          ENOENT, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_snapshot_delete(image, "8", NULL, &api_error), ENOENT,
	          QCOWFMT_ERR_USAGE);
	api_check_clean(image);
	API_OK(qcowfmt_snapshot_apply(image, "7", "seven", &api_error));
	API_OK(qcowfmt_snapshot_delete(image, "7", "seven", &api_error));
	qcowfmt_snapshot_list_free(list_of(image, 1));
	api_close(image);
	free(name);
}

END_TEST

START_TEST(other_images_have_none)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 1 << 20,
		.data_filename = "data",
	};
	struct qcowfmt_open_options raw = {
		.struct_size = sizeof(raw),
		.format = QCOWFMT_FORMAT_RAW,
		.flags = API_RW,
	};
	const char *path = scratch_path("c");
	struct qcowfmt_image *image = NULL;
	char bytes[512] = "";

	api_write_file(path, bytes, sizeof(bytes));
	API_OK(qcowfmt_open_file(path, &raw, &image, &api_error));
	API_FAILS(qcowfmt_snapshot_create(image, NULL, &api_error), ENOTSUP,
	          QCOWFMT_ERR_UNSUPPORTED);
	API_FAILS(qcowfmt_vm_state_pread(image, bytes, 1, 0, &api_error),
	          ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	API_FAILS(qcowfmt_vm_state_pwrite(image, bytes, 1, 0, &api_error),
	          ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	qcowfmt_snapshot_list_free(list_of(image, 0));
	api_close(image);
	options.data_filename = NULL;
	options.format = QCOWFMT_FORMAT_QCOW;
	API_OK(qcowfmt_create_file(path, &options, &api_error));
	raw.format = QCOWFMT_FORMAT_QCOW;
	API_OK(qcowfmt_open_file(path, &raw, &image, &api_error));
	API_FAILS(qcowfmt_snapshot_delete(image, "1", NULL, &api_error),
	          ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	qcowfmt_snapshot_list_free(list_of(image, 0));
	api_close(image);
}

END_TEST

START_TEST(reading_changes_nothing)
{
	const char *path = scratch_path("d");
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.snapshot_name = "x",
	};
	struct qcowfmt_image *image;
	char byte = 1;

	api_create(path, 1 << 20, 0);
	API_FAILS(qcowfmt_open_file(path, &options, &image, &api_error), ENOENT,
	          QCOWFMT_ERR_USAGE);
	image = api_open(path, 0);
	API_FAILS(qcowfmt_snapshot_create(image, NULL, &api_error), EROFS,
	          QCOWFMT_ERR_READ_ONLY);
	API_FAILS(qcowfmt_vm_state_pwrite(image, &byte, 1, 0, &api_error),
	          EROFS, QCOWFMT_ERR_READ_ONLY);
	API_OK(qcowfmt_vm_state_pread(image, &byte, 1, UINT64_MAX, &api_error));
	ck_assert_int_eq(byte, 0);
	api_close(image);
	options.flags = API_RW;
	API_FAILS(qcowfmt_open_file(path, &options, &image, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	image = api_open(path, API_RW);
	API_FAILS(qcowfmt_vm_state_pwrite(image, &byte, 1, UINT64_MAX,
	                                  &api_error),
	          EFBIG, QCOWFMT_ERR_NO_SPACE);
	API_OK(qcowfmt_vm_state_pwrite(image, &byte, 0, 0, &api_error));
	api_close(image);
}

END_TEST

/* Counts that cannot hold one more leave everything as it is. */
START_TEST(narrow_counts_change_nothing)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 1 << 20,
		.cluster_size = 4096,
		.refcount_bits = 1,
	};
	const char *path = scratch_path("e");
	struct qcowfmt_image *image;
	struct api_bytes before;
	struct api_bytes after;

	API_OK(qcowfmt_create_file(path, &options, &api_error));
	image = api_open(path, API_RW);
	api_write(image, 0, 100000, 3);
	api_close(image);
	before = api_read_file(path);
	image = api_open(path, API_RW);
	API_FAILS(qcowfmt_snapshot_create(image, NULL, &api_error), EOVERFLOW,
	          QCOWFMT_ERR_LIMIT);
	api_check_clean(image);
	api_close(image);
	after = api_read_file(path);
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

END_TEST

/* A snapshot of an image in a chain shows the chain below. */
START_TEST(snapshots_in_a_chain)
{
	const char *base = scratch_path("base");
	const char *top = scratch_path("top");
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.flags = API_RW,
	};
	struct qcowfmt_image *image = NULL;

	api_create(base, 1 << 20, 0);
	image = api_open(base, API_RW);
	api_write(image, 0, 1 << 20, 1);
	api_close(image);
	api_create_overlay(top, 1 << 20, base, "qcow2");
	API_OK(qcowfmt_open_file(top, &options, &image, &api_error));
	api_write(image, 100000, 1000, 2);
	API_OK(qcowfmt_vm_state_pwrite(image, "state", 6, 70000, &api_error));
	API_OK(qcowfmt_snapshot_create(image, NULL, &api_error));
	api_write(image, 0, 1 << 20, 3);
	API_OK(qcowfmt_resize(image, 3 << 20, NULL, &api_error));
	api_close(image);
	options.flags = 0;
	options.snapshot_id = "1";
	API_OK(qcowfmt_open_file(top, &options, &image, &api_error));
	ck_assert_uint_eq(qcowfmt_get_size(image), 1 << 20);
	api_expect(image, 0, 100000, 1);
	api_expect(image, 100000, 1000, 2);
	api_expect(image, 101000, 1000, 1);
	{
		char state[100];

		API_OK(qcowfmt_vm_state_pread(image, state, sizeof(state),
		                              70000, &api_error));
		ck_assert_str_eq(state, "state");
		ck_assert_int_eq(state[99], 0);
	}
	API_FAILS(qcowfmt_check(image, 0, NULL, NULL,
	                        &(struct qcowfmt_check_result){
					.struct_size = sizeof(
						struct qcowfmt_check_result) },
	                        &api_error),
	          ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	api_close(image);
	api_qemu_check(top);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, what_is_said_is_kept);
	tcase_add_test(tcase, nonsense_is_refused);
	tcase_add_test(tcase, other_images_have_none);
	tcase_add_test(tcase, reading_changes_nothing);
	tcase_add_test(tcase, narrow_counts_change_nothing);
	tcase_add_test(tcase, snapshots_in_a_chain);
}

int main(int argc, char **argv)
{
	return api_main("snapshot_arguments", add, argc, argv);
}
