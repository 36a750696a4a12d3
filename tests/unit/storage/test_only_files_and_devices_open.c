/* SPDX-License-Identifier: MIT */
/*
 * Promise: only regular files and block devices are opened, quickly and without
 * side effects; descriptors that cannot hold an image are refused; nothing is
 * inherited by programs that are started.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "storage_test.h"

static void assert_refused(const char *path)
{
	struct qcowfmt_storage *s;

	assert_fails(qcf_storage_file_open(path, NULL, 0, &s, errp), EINVAL,
	             QCOWFMT_ERR_USAGE);
	assert_fails(qcf_storage_file_open(path, NULL, QCOWFMT_FILE_READ_ONLY,
	                                   &s, errp),
	             EINVAL, QCOWFMT_ERR_USAGE);
	assert_fails(qcf_storage_file_open(path, NULL, QCOWFMT_FILE_CREATE, &s,
	                                   errp),
	             EINVAL, QCOWFMT_ERR_USAGE);
}

START_TEST(fifo)
{
	ck_assert_int_eq(mkfifo(scratch_path("fifo"), 0600), 0);
	assert_refused(scratch_path("fifo"));
}

END_TEST

START_TEST(directory)
{
	assert_refused(scratch_path("."));
}

END_TEST

START_TEST(character_device)
{
	assert_refused("/dev/null");
	assert_refused("/dev/tty");
}

END_TEST

START_TEST(socket_file)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s",
	         scratch_path("socket"));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)),
	                 0);
	assert_refused(scratch_path("socket"));
	close(fd);
}

END_TEST

START_TEST(any_type_opens_a_character_device)
{
	struct qcowfmt_storage *s;
	uint8_t bytes[16] = { 1, 1, 1 };

	assert_works(qcf_storage_file_open("/dev/zero", NULL,
	                                   QCOWFMT_FILE_ANY_TYPE, &s, errp));
	assert_works(qcf_storage_pread_exact(s, bytes, sizeof(bytes), 0, errp));
	ck_assert_uint_eq(bytes[0], 0);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(missing_and_unnamed)
{
	struct qcowfmt_storage *s;

	assert_fails(
		qcf_storage_file_open(scratch_path("none"), NULL, 0, &s, errp),
		ENOENT, QCOWFMT_ERR_SYSTEM);
	assert_fails(qcf_storage_file_open("", NULL, 0, &s, errp), EINVAL,
	             QCOWFMT_ERR_USAGE);
	assert_fails(qcf_storage_file_open(NULL, NULL, 0, &s, errp), EINVAL,
	             QCOWFMT_ERR_USAGE);
}

END_TEST

START_TEST(flags_that_make_no_sense)
{
	struct qcowfmt_storage *s;

	assert_fails(
		qcf_storage_file_open(scratch_path("x"), NULL, 0x40, &s, errp),
		EINVAL, QCOWFMT_ERR_USAGE);
	assert_fails(qcf_storage_file_open(scratch_path("x"), NULL,
	                                   QCOWFMT_FILE_CREATE |
	                                           QCOWFMT_FILE_READ_ONLY,
	                                   &s, errp),
	             EINVAL, QCOWFMT_ERR_USAGE);
	ck_assert_int_ne(access(scratch_path("x"), F_OK), 0);
}

END_TEST

START_TEST(create_empties)
{
	struct qcowfmt_storage *s = open_scratch("made", QCOWFMT_FILE_CREATE);
	uint64_t size;

	assert_works(qcf_storage_pwrite(s, "hello", 5, 0, errp));
	qcowfmt_storage_free(s);
	s = open_scratch("made", QCOWFMT_FILE_CREATE);
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, 0);
	assert_works(qcf_storage_flush(s, errp));
	qcowfmt_storage_free(s);
}

END_TEST

/* The one descriptor that refers to a file of this name. */
static int find_descriptor(const char *path)
{
	for (int fd = 3; fd < 256; fd++) {
		struct stat a, b;

		if (fstat(fd, &a) == 0 && stat(path, &b) == 0 &&
		    a.st_ino == b.st_ino && a.st_dev == b.st_dev)
			return fd;
	}
	return -1;
}

START_TEST(descriptor_flags)
{
	struct qcowfmt_storage *s = open_scratch("flags", QCOWFMT_FILE_CREATE);
	int fd = find_descriptor(scratch_path("flags"));

	ck_assert_int_ge(fd, 3);
	ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	qcowfmt_storage_free(s);
	ck_assert_int_eq(find_descriptor(scratch_path("flags")), -1);
}

END_TEST

/* Opens a file in a way and hands it over; the descriptor stays ours. */
static int hand_over(int mode, uint32_t flags, struct qcowfmt_storage **s,
                     struct qcowfmt_error **errp)
{
	int fd = open(scratch_path("given"), mode | O_CREAT, 0600);
	int ret = qcf_storage_file_from_fd(fd, NULL, flags, s, errp);

	ck_assert_int_eq(close(fd), 0);
	return ret;
}

START_TEST(useless_descriptors)
{
	struct qcowfmt_storage *s;

	assert_fails(hand_over(O_WRONLY, 0, &s, errp), EINVAL,
	             QCOWFMT_ERR_USAGE);
	assert_fails(hand_over(O_RDWR | O_APPEND, 0, &s, errp), EINVAL,
	             QCOWFMT_ERR_USAGE);
	assert_fails(hand_over(O_PATH, 0, &s, errp), EINVAL, QCOWFMT_ERR_USAGE);
	assert_fails(hand_over(O_RDWR, QCOWFMT_FILE_CREATE, &s, errp), EINVAL,
	             QCOWFMT_ERR_USAGE);
	assert_fails(hand_over(O_RDWR, QCOWFMT_FILE_DIRECT, &s, errp), EINVAL,
	             QCOWFMT_ERR_USAGE);
	assert_fails(qcf_storage_file_from_fd(-1, "gone", 0, &s, errp), EBADF,
	             QCOWFMT_ERR_SYSTEM);
}

END_TEST

START_TEST(useful_descriptors)
{
	struct qcowfmt_storage *s;
	char byte = 0;

	assert_works(hand_over(O_RDWR, 0, &s, errp));
	assert_works(qcf_storage_pwrite(s, "x", 1, 0, errp));
	qcowfmt_storage_free(s);
	assert_works(hand_over(O_RDONLY, 0, &s, errp));
	assert_works(qcf_storage_pread_exact(s, &byte, 1, 0, errp));
	ck_assert_int_eq(byte, 'x');
	assert_fails(qcf_storage_pwrite(s, "y", 1, 0, errp), EROFS,
	             QCOWFMT_ERR_READ_ONLY);
	qcowfmt_storage_free(s);
	assert_works(hand_over(O_RDWR, QCOWFMT_FILE_READ_ONLY, &s, errp));
	assert_fails(qcf_storage_truncate(s, 0, errp), EROFS,
	             QCOWFMT_ERR_READ_ONLY);
	qcowfmt_storage_free(s);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, fifo);
	tcase_add_test(tcase, directory);
	tcase_add_test(tcase, character_device);
	tcase_add_test(tcase, socket_file);
	tcase_add_test(tcase, any_type_opens_a_character_device);
	tcase_add_test(tcase, missing_and_unnamed);
	tcase_add_test(tcase, flags_that_make_no_sense);
	tcase_add_test(tcase, create_empties);
	tcase_add_test(tcase, descriptor_flags);
	tcase_add_test(tcase, useless_descriptors);
	tcase_add_test(tcase, useful_descriptors);
}

int main(void)
{
	return run_with_scratch("only_files_and_devices_open", add);
}
