/* SPDX-License-Identifier: MIT */
/*
 * Promise: a flush of a file asks the kernel to make it stable, of a new file its
 * directory entry, too; an error of either is told, and the next flush asks again.
 */
#include <errno.h>
#include <sys/stat.h>

#include "storage_test.h"

int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __real_fsync(int fd);
int __real_fdatasync(int fd);

/* What was made stable since the test looked last, and the next that fails. */
static int files, directories;
static int failing_file, failing_directory;

/* The library may use one or the other. */
static int sync_one(int fd, int (*real)(int fd))
{
	struct stat st;
	bool is_directory;
	int *failing;

	ck_assert_int_eq(fstat(fd, &st), 0);
	is_directory = S_ISDIR(st.st_mode);
	failing = is_directory ? &failing_directory : &failing_file;
	if (*failing != 0) {
		errno = *failing;
		*failing = 0;
		return -1;
	}
	*(is_directory ? &directories : &files) += 1;
	return real(fd);
}

int __wrap_fsync(int fd)
{
	return sync_one(fd, __real_fsync);
}

int __wrap_fdatasync(int fd)
{
	return sync_one(fd, __real_fdatasync);
}

static void expect_synced(int want_files, int want_directories)
{
	ck_assert_int_eq(files, want_files);
	ck_assert_int_eq(directories, want_directories);
	files = directories = 0;
}

static struct qcowfmt_storage *open_file(uint32_t flags)
{
	struct qcowfmt_storage *storage = NULL;

	assert_works(qcf_storage_file_open(scratch_path("file"), NULL, flags,
	                                   &storage, errp));
	files = directories = 0;
	return storage;
}

START_TEST(of_a_file)
{
	struct qcowfmt_storage *storage = open_file(QCOWFMT_FILE_CREATE);

	assert_works(qcf_storage_pwrite(storage, "x", 1, 0, errp));
	assert_works(qcf_storage_flush(storage, errp));
	expect_synced(1, 1);
	assert_works(qcf_storage_pwrite(storage, "y", 1, 0, errp));
	assert_works(qcf_storage_flush(storage, errp));
	expect_synced(1, 0);
	qcowfmt_storage_free(storage);
}

END_TEST

START_TEST(only_if_it_is_wanted)
{
	struct qcowfmt_storage *storage =
		open_file(QCOWFMT_FILE_CREATE | QCOWFMT_FILE_NO_FLUSH);

	assert_works(qcf_storage_pwrite(storage, "x", 1, 0, errp));
	assert_works(qcf_storage_flush(storage, errp));
	expect_synced(0, 0);
	qcowfmt_storage_free(storage);
}

END_TEST

START_TEST(again_after_an_error)
{
	struct qcowfmt_storage *storage = open_file(QCOWFMT_FILE_CREATE);

	failing_directory = EIO;
	ck_assert_int_eq(qcf_storage_flush(storage, NULL), -EIO);
	expect_synced(1, 0);
	failing_file = ENOSPC;
	ck_assert_int_eq(qcf_storage_flush(storage, NULL), -ENOSPC);
	expect_synced(0, 0);
	failing_file = EINTR;
	assert_works(qcf_storage_flush(storage, errp));
	expect_synced(1, 1);
	qcowfmt_storage_free(storage);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, of_a_file);
	tcase_add_test(tcase, only_if_it_is_wanted);
	tcase_add_test(tcase, again_after_an_error);
}

int main(void)
{
	return run_with_scratch("flush_reaches_the_disk", add);
}
