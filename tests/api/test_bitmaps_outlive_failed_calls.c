/* SPDX-License-Identifier: MIT */
/*
 * Promise: a call to storage that fails does not cost a dirty bitmap that could
 * be kept: marks that no write needed are taken back when the image is closed,
 * what a header may lead to that was not made stable stays as it is, and on a full
 * disk bitmaps get the space of what was discarded.
 */
#include "api_test.h"
#include "byte_image.h"
#include "image_storage.h"
#include "wrap_storage.h"

#define CLUSTER  ((uint64_t)65536)
#define SIZE     (64 * CLUSTER)
#define CAPACITY ((size_t)(64 * CLUSTER))

static struct byte_image *bytes;
static struct qcowfmt_image *image;

/* What fails, and whether all of it is done for all that. */
static enum { NOTHING, NEXT_WRITE, FLUSH_OF_HEADER } failing;

static bool arrives;
static bool header_written;

static int disturb(void *opaque, struct storage_call *call)
{
	(void)opaque;
	if (call->verb == VERB_WRITE && call->offset == 0)
		header_written = true;
	if (failing == NEXT_WRITE && call->verb == VERB_WRITE) {
		failing = NOTHING;
		call->done_len = arrives ? call->len : 0;
		return -EIO;
	}
	if (failing == FLUSH_OF_HEADER && call->verb == VERB_FLUSH &&
	    header_written) {
		failing = NOTHING;
		return -EIO;
	}
	return 0;
}

static void open_image(void)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW | QCOWFMT_OPEN_DISCARD_OTHER,
	};
	struct qcowfmt_storage *storage =
		wrap_storage_new(image_storage_new(bytes, true), disturb, NULL);

	header_written = false;
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
}

/* One bitmap, clean. */
static void make_image(void)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.cluster_size = CLUSTER,
	};
	struct qcowfmt_storage *storage;

	bytes = byte_image_new(CAPACITY);
	storage = image_storage_new(bytes, true);
	API_OK(qcowfmt_create(storage, &create, &api_error));
	qcowfmt_storage_free(storage);
	open_image();
	api_add_bitmap(image, "first");
	api_close(image);
	open_image();
}

static void finish(void)
{
	api_check_clean(image);
	api_close(image);
	byte_image_free(bytes);
}

static void expect_bitmap(uint32_t index, const char *name, uint32_t flags)
{
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };
	struct qcowfmt_bitmap_list *list = NULL;

	API_OK(qcowfmt_bitmap_list(image, 0, &list, &api_error));
	ck_assert_uint_gt(qcowfmt_bitmap_list_count(list), index);
	API_OK(qcowfmt_bitmap_list_get(list, index, &bitmap, &api_error));
	ck_assert_str_eq(bitmap.name, name);
	ck_assert_uint_eq(bitmap.flags & QCOWFMT_BITMAP_INCONSISTENT, flags);
	qcowfmt_bitmap_list_free(list);
}

/* Whether a sector is the next one that changed. */
static bool has_changed(uint64_t guest_offset)
{
	uint64_t start = 0;
	uint64_t len = 0;
	int ret = qcowfmt_bitmap_next(image, "first", 0, &start, &len,
	                              &api_error);

	API_OK(ret);
	return ret == 1 && start <= guest_offset && guest_offset < start + len;
}

/* Storage may say "in use" although the write that was to say so failed. */
START_TEST(marks_are_taken_back)
{
	make_image();
	failing = NEXT_WRITE;
	arrives = _i == 0;
	API_FAILS(qcowfmt_pwrite(image, "x", 1, 0, &api_error), EIO,
	          QCOWFMT_ERR_IO);
	api_close(image);
	open_image();
	expect_bitmap(0, "first", 0);
	ck_assert(!has_changed(0));
	finish();
}

END_TEST

/* A later write is recorded as if the failed one had not been. */
START_TEST(marks_are_made_again)
{
	struct byte_image *cut = byte_image_new(CAPACITY);

	make_image();
	failing = NEXT_WRITE;
	arrives = _i == 0;
	API_FAILS(qcowfmt_pwrite(image, "x", 1, 0, &api_error), EIO,
	          QCOWFMT_ERR_IO);
	api_write(image, CLUSTER, 512, 'y');
	byte_image_copy(cut, bytes);
	api_close(image);
	open_image();
	expect_bitmap(0, "first", 0);
	ck_assert(has_changed(CLUSTER));
	finish();

	bytes = cut;
	open_image();
	expect_bitmap(0, "first", QCOWFMT_BITMAP_INCONSISTENT);
	api_close(image);
	byte_image_free(bytes);
}

END_TEST

static int add_second(void)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.name = "second",
		.kind = QCOWFMT_BITMAP_ADD,
	};

	return qcowfmt_bitmap_change(&action, 1, NULL, &api_error);
}

/*
 * The header may lead to the new directory already: it is still there, although
 * the space of what is replaced is given back.
 */
START_TEST(what_the_new_header_leads_to_stays)
{
	make_image();
	api_write(image, CLUSTER, 512, 'y');
	failing = FLUSH_OF_HEADER;
	header_written = false;
	API_FAILS(add_second(), EIO, QCOWFMT_ERR_IO);
	API_FAILS(qcowfmt_close(image, &api_error), EIO, QCOWFMT_ERR_POISONED);
	open_image();
	expect_bitmap(0, "first", 0);
	expect_bitmap(1, "second", 0);
	ck_assert(has_changed(CLUSTER));
	api_expect(image, CLUSTER, 512, 'y');
	api_close(image);
	byte_image_free(bytes);
}

END_TEST

/* What is changed in the middle is marked anew by the next write. */
START_TEST(a_write_after_a_change_marks_again)
{
	struct byte_image *cut = byte_image_new(CAPACITY);

	make_image();
	api_write(image, CLUSTER, 512, 'y');
	API_OK(add_second());
	api_write(image, 2 * CLUSTER, 512, 'z');
	byte_image_copy(cut, bytes);
	api_close(image);
	byte_image_free(bytes);

	bytes = cut;
	open_image();
	expect_bitmap(0, "first", QCOWFMT_BITMAP_INCONSISTENT);
	expect_bitmap(1, "second", QCOWFMT_BITMAP_INCONSISTENT);
	api_close(image);
	byte_image_free(bytes);
}

END_TEST

/* Storing takes a cluster of bits, a table and a directory. */
START_TEST(discarded_space_is_there_for_them)
{
	uint8_t cluster[CLUSTER] = { 'n' };
	uint64_t written = 0;

	make_image();
	while (written < SIZE &&
	       qcowfmt_pwrite(image, cluster, CLUSTER, written, NULL) == 0)
		written += CLUSTER;
	ck_assert_uint_gt(written, 8 * CLUSTER);
	ck_assert_uint_lt(written, SIZE);
	API_OK(qcowfmt_flush(image, &api_error));
	API_OK(qcowfmt_discard(image, 0, 4 * CLUSTER, &api_error));
	api_close(image);
	open_image();
	expect_bitmap(0, "first", 0);
	ck_assert(has_changed(0));
	finish();
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, marks_are_taken_back, 0, 2);
	tcase_add_loop_test(tcase, marks_are_made_again, 0, 2);
	tcase_add_test(tcase, what_the_new_header_leads_to_stays);
	tcase_add_test(tcase, a_write_after_a_change_marks_again);
	tcase_add_test(tcase, discarded_space_is_there_for_them);
}

int main(int argc, char **argv)
{
	return api_main("bitmaps_outlive_failed_calls", add, argc, argv);
}
