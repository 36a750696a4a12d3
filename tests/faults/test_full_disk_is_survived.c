/* SPDX-License-Identifier: MIT */
/*
 * Promise: on a file system that is full, in fact, writes and operations fail with
 * ENOSPC, what was there stays, and with space again everything goes on: on the same
 * handle, and on one that is opened later.
 *
 * Needs a small file system of its own, which root can mount in a namespace of the
 * program; otherwise it is skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "figure.h"
#include "qcowfmt.h"
#include "scratch.h"
#include "thin.h"
#include "unit.h"

#define DISK   ((uint64_t)8 << 20)
#define CHUNK  ((size_t)40000) /* not of whole clusters */
#define CHUNKS ((size_t)(DISK / CHUNK))

/* Steps by which the space left is smaller, so that it ends in other places. */
#define STEP_SIZE 1536

static const struct full_kind {
	const char *name;
	int32_t format;
	uint32_t version;
	uint32_t flags;
	uint64_t cluster_size;
	bool snapshots; /* can have some */
} kinds[] = {
	{ "v3_4096", QCOWFMT_FORMAT_QCOW2, 3, 0, 4096, true },
	{ "v3_64k", QCOWFMT_FORMAT_QCOW2, 3, 0, 65536, true },
	{ "v3_512_lazy", QCOWFMT_FORMAT_QCOW2, 3, QCOWFMT_CREATE_LAZY_REFCOUNTS,
	  512, true },
	{ "v3_16k_subclusters", QCOWFMT_FORMAT_QCOW2, 3,
	  QCOWFMT_CREATE_EXTENDED_L2, 16384, true },
	{ "v2_4096", QCOWFMT_FORMAT_QCOW2, 2, 0, 4096, true },
	{ "v1", QCOWFMT_FORMAT_QCOW, 1, 0, 0, false },
	{ "raw", QCOWFMT_FORMAT_RAW, 0, 0, 0, false },
};

/* How many of them are tried. */
static uint64_t steps(void)
{
	return getenv("QCF_LONG") != NULL ? 48 : 4;
}

static const char *image_path(void)
{
	return scratch_path("small/image");
}

static void must(int64_t ret, struct qcowfmt_error *error, const char *what)
{
	ck_assert_msg(ret >= 0, "%s: %s", what, qcowfmt_error_message(error));
}

/* --------------------------------------------------------------------- the space */

/* A file that takes len bytes of the space; 0 removes it. */
static void take_space(uint64_t len)
{
	const char *path = scratch_path("small/filler");
	int fd;

	(void)unlink(path);
	if (len == 0)
		return;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(posix_fallocate(fd, 0, (off_t)len), 0);
	close(fd);
}

/* Let the filler have everything that is left. */
static void take_all_space(void)
{
	static uint8_t bytes[4096];
	int fd = open(scratch_path("small/filler"),
	              O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	while (write(fd, bytes, sizeof(bytes)) > 0)
		;
	close(fd);
}

static int make_space(void)
{
	const char *path = scratch_path("small");
	const char *options = "size=4m";

	if (mkdir(path, 0700) < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", path, "tmpfs", 0, options) < 0)
		return -errno;
	return 0;
}

/* -------------------------------------------------------------------- the image */

static struct qcowfmt_image *open_image(const struct full_kind *k)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = k->format,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	must(qcowfmt_open_file(image_path(), &options, &image, &error), error,
	     "open");
	return image;
}

static struct qcowfmt_image *make_image(const struct full_kind *k)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = k->format,
		.version = k->version,
		.flags = k->flags,
		.cluster_size = k->cluster_size,
		.virtual_size = DISK,
	};
	struct qcowfmt_error *error = NULL;

	take_space(0);
	must(qcowfmt_create_file(image_path(), &options, &error), error,
	     "create");
	return open_image(k);
}

static void check(struct qcowfmt_image *image, const struct full_kind *k)
{
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };

	if (k->version < 2)
		return;
	ck_assert_int_eq(qcowfmt_check(image, 0, NULL, NULL, &r, NULL), 0);
	ck_assert_msg(r.corruptions + r.check_errors == 0,
	              "%s: %" PRIu64 " corruptions", k->name, r.corruptions);
}

static uint8_t stamp_of(size_t chunk)
{
	return (uint8_t)(chunk * 7 + 1);
}

static int write_chunk(struct qcowfmt_image *image, size_t chunk)
{
	static uint8_t bytes[CHUNK];
	struct qcowfmt_error *error = NULL;
	int ret;

	memset(bytes, stamp_of(chunk), CHUNK);
	ret = qcowfmt_pwrite(image, bytes, CHUNK, chunk * CHUNK, &error);
	if (ret < 0) {
		ck_assert_msg(qcowfmt_error_code(error) == QCOWFMT_ERR_NO_SPACE,
		              "%s", qcowfmt_error_message(error));
		figure_add("full-disk-failures", "calls", 1);
	}
	qcowfmt_error_free(error);
	return ret;
}

/* Write chunks until there is no space; returns how many arrived. */
static size_t fill(struct qcowfmt_image *image)
{
	size_t count = 0;

	while (write_chunk(image, count) == 0)
		ck_assert_uint_lt(++count, CHUNKS);
	return count;
}

static void expect_chunks(struct qcowfmt_image *image, size_t count,
                          const char *name)
{
	static uint8_t bytes[CHUNK], want[CHUNK];

	for (size_t i = 0; i < count; i++) {
		int ret = qcowfmt_pread(image, bytes, CHUNK, i * CHUNK, NULL);

		memset(want, stamp_of(i), CHUNK);
		ck_assert_msg(ret == 0 && memcmp(bytes, want, CHUNK) == 0,
		              "%s: chunk %zu is lost: %d", name, i, ret);
	}
}

/* Flushing may need space for tables; it can be tried again. */
static void flush_on_full_disk(struct qcowfmt_image *image)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_flush(image, &error);

	ck_assert_msg(ret == 0 ||
	                      qcowfmt_error_code(error) == QCOWFMT_ERR_NO_SPACE,
	              "%s", qcowfmt_error_message(error));
	figure_add("full-disk-failures", "calls", ret < 0);
	qcowfmt_error_free(error);
}

/* ------------------------------------------------------------------------- tests */

START_TEST(writes_go_on_with_space)
{
	const struct full_kind *k = &kinds[_i];

	for (uint64_t step = 0; step < steps(); step += thin_factor()) {
		struct qcowfmt_image *image = make_image(k);
		size_t count;

		take_space(((uint64_t)1 << 20) + step * STEP_SIZE);
		count = fill(image);
		expect_chunks(image, count, k->name);
		flush_on_full_disk(image);
		ck_assert_int_lt(write_chunk(image, count), 0);
		take_space(0);
		for (size_t i = 0; i < 5; i++)
			ck_assert_int_eq(write_chunk(image, count + i), 0);
		ck_assert_int_eq(qcowfmt_flush(image, NULL), 0);
		ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
		image = open_image(k);
		check(image, k);
		expect_chunks(image, count + 5, k->name);
		ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	}
}

END_TEST

START_TEST(closing_on_a_full_disk_keeps_what_was_flushed)
{
	const struct full_kind *k = &kinds[_i];

	for (uint64_t step = 0; step < steps(); step += thin_factor()) {
		struct qcowfmt_image *image = make_image(k);
		size_t stable = 10 + step % 5;

		for (size_t i = 0; i < stable; i++)
			ck_assert_int_eq(write_chunk(image, i), 0);
		ck_assert_int_eq(qcowfmt_flush(image, NULL), 0);
		take_space(((uint64_t)1 << 20) + step * STEP_SIZE);
		while (write_chunk(image, stable) == 0 && stable < CHUNKS)
			stable++;
		take_all_space();
		stable = 10 + step % 5;
		(void)qcowfmt_close(image, NULL);
		take_space(0);
		image = open_image(k);
		check(image, k);
		expect_chunks(image, stable, k->name);
		ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	}
}

END_TEST

typedef int (*operation)(struct qcowfmt_image *image,
                         struct qcowfmt_error **errp);

static int take_snapshot(struct qcowfmt_image *image,
                         struct qcowfmt_error **errp)
{
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.id = "7",
	};

	return qcowfmt_snapshot_create(image, &options, errp);
}

static int grow(struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.preallocation = QCOWFMT_PREALLOCATION_FULL,
	};

	return qcowfmt_resize(image, DISK + (1 << 20), &options, errp);
}

static int amend(struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	struct qcowfmt_amend_options options = {
		.struct_size = sizeof(options),
		.refcount_bits = 64,
	};

	return qcowfmt_amend(image, &options, errp);
}

static int add_bitmap(struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.name = "it",
		.kind = QCOWFMT_BITMAP_ADD,
	};

	return qcowfmt_bitmap_change(&action, 1, NULL, errp);
}

static const operation operations[] = { take_snapshot, grow, amend,
	                                add_bitmap };

/* Small operations may find space where it is reserved already. */
static void operate(const struct full_kind *k, operation operate_once)
{
	struct qcowfmt_image *image = make_image(k);
	struct qcowfmt_error *error = NULL;
	int ret;

	for (size_t i = 0; i < 20; i++)
		ck_assert_int_eq(write_chunk(image, i), 0);
	ck_assert_int_eq(qcowfmt_flush(image, NULL), 0);
	take_all_space();
	ret = operate_once(image, &error);
	ck_assert_msg(ret == 0 ||
	                      qcowfmt_error_code(error) == QCOWFMT_ERR_NO_SPACE,
	              "%s: %s", k->name, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	error = NULL;
	figure_add("full-disk-failures", "calls", ret < 0);
	check(image, k);
	expect_chunks(image, 20, k->name);
	take_space(0);
	if (ret < 0)
		must(operate_once(image, &error), error, k->name);
	expect_chunks(image, 20, k->name);
	check(image, k);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

START_TEST(operations_go_on_with_space)
{
	const struct full_kind *k = &kinds[_i];

	if (!k->snapshots || k->version < 3)
		return;
	for (size_t i = 0; i < QCF_ARRAY_LEN(operations); i++)
		operate(k, operations[i]);
}

END_TEST

static void add(TCase *tcase)
{
	int count = (int)QCF_ARRAY_LEN(kinds);

	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, writes_go_on_with_space, 0, count);
	tcase_add_loop_test(
		tcase, closing_on_a_full_disk_keeps_what_was_flushed, 0, count);
	tcase_add_loop_test(tcase, operations_go_on_with_space, 0, count);
}

int main(void)
{
	int status;

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	figure_init();
	scratch_init();
	status = make_space();
	if (status < 0) {
		printf("SKIPPED: a small file system cannot be mounted: %s\n",
		       strerror(-status));
		scratch_fini();
		return UNIT_SKIPPED;
	}
	status = unit_run("full_disk_is_survived", add);
	(void)umount2(scratch_path("small"), MNT_DETACH);
	scratch_fini();
	figure_print();
	return status;
}
