/* SPDX-License-Identifier: MIT */
/*
 * Promise: each lock takes the bytes that QEMU takes, two users conflict
 * exactly when one denies what the other does, a refusal changes nothing and
 * names the holder, and closing releases.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage_test.h"

/* One more byte of the file that somebody else could not write-lock. */
static void append_locked(int fd, off_t byte, char *text, size_t size)
{
	struct flock f = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};
	size_t used = strlen(text);

	ck_assert_int_eq(fcntl(fd, F_OFD_GETLK, &f), 0);
	if (f.l_type != F_UNLCK)
		snprintf(text + used, size - used, "%s%d", used > 0 ? " " : "",
		         (int)byte);
}

/* The bytes locked by others than the open file made here. */
static const char *locked_bytes(const char *name)
{
	static char text[256];
	int fd = open(scratch_path(name), O_RDWR);

	ck_assert_int_ge(fd, 0);
	text[0] = '\0';
	for (off_t byte = 0; byte < 300; byte++)
		append_locked(fd, byte, text, sizeof(text));
	close(fd);
	return text;
}

static const char *const bytes_of[] = {
	[QCF_LOCK_NONE] = "",
	[QCF_LOCK_IMAGE_READ] = "100 201 203",
	[QCF_LOCK_IMAGE_WRITE] = "100 101 103 201 203",
	[QCF_LOCK_RAW_READ] = "100",
	[QCF_LOCK_RAW_WRITE] = "100 101",
	[QCF_LOCK_DATA_FILE_WRITE] = "100 101 103 203",
	[QCF_LOCK_TRUNCATE] = "101 103 203",
	[QCF_LOCK_DATA_FILE_READ] = "100 203",
};

#define LOCK_COUNT ((int)QCF_ARRAY_LEN(bytes_of))

/* Whether two locks may be held at once. */
static const bool compatible[8][8] = {
	/*		     none  iread  iwrite rread  rwrite dwrite trunc
	 *                   dread */
	[QCF_LOCK_NONE] = { true, true, true, true, true, true, true, true },
	[QCF_LOCK_IMAGE_READ] = { true, true, false, true, false, false, false,
	                          true },
	[QCF_LOCK_IMAGE_WRITE] = { true, false, false, true, false, false,
	                           false, false },
	[QCF_LOCK_RAW_READ] = { true, true, true, true, true, true, true,
	                        true },
	[QCF_LOCK_RAW_WRITE] = { true, false, false, true, true, true, true,
	                         true },
	[QCF_LOCK_DATA_FILE_WRITE] = { true, false, false, true, true, false,
	                               false, false },
	[QCF_LOCK_TRUNCATE] = { true, false, false, true, true, false, false,
	                        false },
	[QCF_LOCK_DATA_FILE_READ] = { true, true, false, true, true, false,
	                              false, true },
};

static void set_up(void)
{
	struct qcowfmt_storage *s = open_scratch("image", QCOWFMT_FILE_CREATE);

	assert_works(qcf_storage_pwrite(s, "content", 7, 0, errp));
	qcowfmt_storage_free(s);
}

static struct qcowfmt_storage *open_image(void)
{
	return open_scratch("image", 0);
}

START_TEST(bytes)
{
	struct qcowfmt_storage *s = open_image();

	/* From each to each: what is not needed any more is dropped. */
	for (int from = 0; from < LOCK_COUNT; from++) {
		for (int to = 0; to < LOCK_COUNT; to++) {
			assert_works(qcf_storage_lock(
				s, (enum qcf_storage_lock)from, errp));
			ck_assert_str_eq(locked_bytes("image"), bytes_of[from]);
			assert_works(qcf_storage_lock(
				s, (enum qcf_storage_lock)to, errp));
			ck_assert_str_eq(locked_bytes("image"), bytes_of[to]);
		}
	}
	qcowfmt_storage_free(s);
	ck_assert_str_eq(locked_bytes("image"), "");
}

END_TEST

static void try_pair(struct qcowfmt_storage *a, struct qcowfmt_storage *b,
                     enum qcf_storage_lock held, enum qcf_storage_lock wanted)
{
	assert_works(qcf_storage_lock(b, QCF_LOCK_NONE, errp));
	assert_works(qcf_storage_lock(a, held, errp));
	if (compatible[held][wanted]) {
		assert_works(qcf_storage_lock(b, wanted, errp));
		return;
	}
	assert_fails(qcf_storage_lock(b, wanted, errp), EAGAIN,
	             QCOWFMT_ERR_LOCKED);
	/* Nothing is left behind. */
	ck_assert_str_eq(locked_bytes("image"), bytes_of[held]);
}

START_TEST(conflicts)
{
	struct qcowfmt_storage *a = open_image();
	struct qcowfmt_storage *b = open_image();

	for (int held = 0; held < LOCK_COUNT; held++) {
		for (int wanted = 0; wanted < LOCK_COUNT; wanted++)
			try_pair(a, b, (enum qcf_storage_lock)held,
			         (enum qcf_storage_lock)wanted);
	}
	qcowfmt_storage_free(a);
	qcowfmt_storage_free(b);
}

END_TEST

START_TEST(refused_change_keeps_the_old_lock)
{
	struct qcowfmt_storage *a = open_image();
	struct qcowfmt_storage *b = open_image();

	assert_works(qcf_storage_lock(a, QCF_LOCK_IMAGE_READ, errp));
	assert_works(qcf_storage_lock(b, QCF_LOCK_IMAGE_READ, errp));
	assert_fails(qcf_storage_lock(b, QCF_LOCK_IMAGE_WRITE, errp), EAGAIN,
	             QCOWFMT_ERR_LOCKED);
	qcowfmt_storage_free(a);
	ck_assert_str_eq(locked_bytes("image"), "100 201 203");
	assert_works(qcf_storage_lock(b, QCF_LOCK_IMAGE_WRITE, errp));
	qcowfmt_storage_free(b);
}

END_TEST

START_TEST(message_names_permission_and_this_process)
{
	struct qcowfmt_storage *a = open_image();
	struct qcowfmt_storage *b = open_image();
	struct qcowfmt_error *error = NULL;
	const char *text;

	assert_works(qcf_storage_lock(a, QCF_LOCK_IMAGE_WRITE, errp));
	ck_assert_int_eq(qcf_storage_lock(b, QCF_LOCK_RAW_WRITE, &error),
	                 -EAGAIN);
	text = qcowfmt_error_message(error);
	ck_assert_ptr_nonnull(strstr(text, scratch_path("image")));
	ck_assert_ptr_nonnull(
		strstr(text, "permission \"write\" is denied by this process"));
	qcowfmt_error_free(error);
	qcowfmt_storage_free(a);
	qcowfmt_storage_free(b);
}

END_TEST

/* A child that holds a lock until its input ends; returns its pid. */
static pid_t start_holder(enum qcf_storage_lock lock, int *hold)
{
	int ready[2], end[2];
	char byte = 0;

	ck_assert_int_eq(pipe(ready), 0);
	ck_assert_int_eq(pipe(end), 0);

	pid_t pid = fork();

	if (pid == 0) {
		struct qcowfmt_storage *s = open_image();

		close(end[1]);
		if (qcf_storage_lock(s, lock, NULL) == 0)
			byte = 1;
		if (write(ready[1], &byte, 1) != 1 ||
		    read(end[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 1);
	close(ready[0]);
	close(ready[1]);
	close(end[0]);
	*hold = end[1];
	return pid;
}

START_TEST(message_names_the_other_process)
{
	int hold;
	pid_t pid = start_holder(QCF_LOCK_RAW_WRITE, &hold);
	struct qcowfmt_storage *s = open_image();
	struct qcowfmt_error *error = NULL;
	char wanted[64];

	ck_assert_int_eq(qcf_storage_lock(s, QCF_LOCK_IMAGE_READ, &error),
	                 -EAGAIN);
	snprintf(wanted, sizeof(wanted),
	         "\"write\" is in use by process %d (test_image_lock", pid);
	ck_assert_msg(strstr(qcowfmt_error_message(error), wanted) != NULL,
	              "%s", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	close(hold);
	waitpid(pid, NULL, 0);
	assert_works(qcf_storage_lock(s, QCF_LOCK_IMAGE_READ, errp));
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(create_does_not_empty_an_image_in_use)
{
	struct qcowfmt_storage *user = open_image();
	struct qcowfmt_storage *s = NULL;
	uint64_t size;

	assert_works(qcf_storage_lock(user, QCF_LOCK_IMAGE_READ, errp));
	assert_fails(qcf_storage_file_open(scratch_path("image"), NULL,
	                                   QCOWFMT_FILE_CREATE, &s, errp),
	             EAGAIN, QCOWFMT_ERR_LOCKED);
	ck_assert_ptr_null(s);
	assert_works(qcf_storage_get_size(user, &size, errp));
	ck_assert_uint_eq(size, 7);
	qcowfmt_storage_free(user);
}

END_TEST

START_TEST(no_lock_takes_none)
{
	struct qcowfmt_storage *a = open_image();
	struct qcowfmt_storage *b = open_scratch("image", QCOWFMT_FILE_NO_LOCK);

	assert_works(qcf_storage_lock(a, QCF_LOCK_IMAGE_WRITE, errp));
	assert_works(qcf_storage_lock(b, QCF_LOCK_IMAGE_WRITE, errp));
	qcowfmt_storage_free(a);
	ck_assert_str_eq(locked_bytes("image"), "");
	qcowfmt_storage_free(b);
}

END_TEST

START_TEST(closing_releases_although_a_duplicate_is_open)
{
	struct qcowfmt_storage *s;
	int fd = open(scratch_path("image"), O_RDWR);

	assert_works(qcf_storage_file_from_fd(fd, NULL, 0, &s, errp));
	assert_works(qcf_storage_lock(s, QCF_LOCK_IMAGE_WRITE, errp));
	qcowfmt_storage_free(s);
	ck_assert_str_eq(locked_bytes("image"), "");
	close(fd);
}

END_TEST

START_TEST(read_only_file_can_be_locked)
{
	struct qcowfmt_storage *s =
		open_scratch("image", QCOWFMT_FILE_READ_ONLY);

	assert_works(qcf_storage_lock(s, QCF_LOCK_IMAGE_READ, errp));
	ck_assert_str_eq(locked_bytes("image"), "100 201 203");
	qcowfmt_storage_free(s);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_add_test(tcase, bytes);
	tcase_add_test(tcase, conflicts);
	tcase_add_test(tcase, refused_change_keeps_the_old_lock);
	tcase_add_test(tcase, message_names_permission_and_this_process);
	tcase_add_test(tcase, message_names_the_other_process);
	tcase_add_test(tcase, create_does_not_empty_an_image_in_use);
	tcase_add_test(tcase, no_lock_takes_none);
	tcase_add_test(tcase, closing_releases_although_a_duplicate_is_open);
	tcase_add_test(tcase, read_only_file_can_be_locked);
}

int main(void)
{
	return run_with_scratch("image_locks", add);
}
