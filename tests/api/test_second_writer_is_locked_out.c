/* SPDX-License-Identifier: MIT */
/*
 * Promise: an image that is being written is used by nobody else, neither by
 * this library nor by QEMU, unless the caller opts out; the message names the
 * process that is in the way.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "api_test.h"

#define SIZE ((uint64_t)1 << 20)

extern char **environ;

static struct qcowfmt_image *image;
static struct qcowfmt_image *other;

static int open_flags(uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
	};

	other = NULL;
	return qcowfmt_open_file(scratch_path("x.qcow2"), &options, &other,
	                         &api_error);
}

START_TEST(a_writer_excludes_writers_and_readers)
{
	api_create(scratch_path("x.qcow2"), SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), API_RW);
	API_FAILS_KEEP(open_flags(API_RW), EAGAIN, QCOWFMT_ERR_LOCKED);
	API_ERROR_NAMES("this process");
	API_ERROR_NAMES("x.qcow2");
	api_error_reset();
	ck_assert_ptr_null(other);
	API_FAILS(open_flags(0), EAGAIN, QCOWFMT_ERR_LOCKED);
	api_close(image);
	API_OK(open_flags(API_RW));
	api_close(other);
}

END_TEST

START_TEST(readers_exclude_only_writers)
{
	api_create(scratch_path("x.qcow2"), SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), 0);
	API_OK(open_flags(0));
	api_close(other);
	API_FAILS(open_flags(API_RW), EAGAIN, QCOWFMT_ERR_LOCKED);
	api_close(image);
}

END_TEST

START_TEST(a_failed_open_leaves_no_lock)
{
	api_create(scratch_path("x.qcow2"), SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), 0);
	API_FAILS(open_flags(API_RW), EAGAIN, QCOWFMT_ERR_LOCKED);
	api_close(image);
	API_OK(open_flags(API_RW));
	api_close(other);
}

END_TEST

START_TEST(opting_out)
{
	api_create(scratch_path("x.qcow2"), SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), API_RW);
	API_OK(open_flags(QCOWFMT_OPEN_NO_LOCK));
	api_close(other);
	API_OK(open_flags(API_RW | QCOWFMT_OPEN_NO_LOCK));
	api_close(other);
	/* That took no lock away. */
	API_FAILS(open_flags(API_RW), EAGAIN, QCOWFMT_ERR_LOCKED);
	api_close(image);
}

END_TEST

START_TEST(an_image_in_use_is_not_created_anew)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 2 * SIZE,
	};

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), API_RW);
	api_write(image, 0, 1000, 'k');
	API_FAILS(qcowfmt_create_file(scratch_path("x.qcow2"), &options,
	                              &api_error),
	          EAGAIN, QCOWFMT_ERR_LOCKED);
	api_expect(image, 0, 1000, 'k');
	api_close(image);
	image = api_open(scratch_path("x.qcow2"), 0);
	ck_assert_uint_eq(qcowfmt_get_size(image), SIZE);
	api_expect(image, 0, 1000, 'k');
	api_close(image);
}

END_TEST

START_TEST(a_backing_file_in_use_below_cannot_be_written)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	api_create_overlay(scratch_path("o.qcow2"), SIZE, "x.qcow2", "qcow2");
	API_OK(qcowfmt_open_file(scratch_path("o.qcow2"), &options, &image,
	                         &api_error));
	API_FAILS(open_flags(API_RW), EAGAIN, QCOWFMT_ERR_LOCKED);
	API_OK(open_flags(0));
	api_close(other);
	api_close(image);
}

END_TEST

START_TEST(qemu_cannot_open_what_we_write)
{
	const char *path = scratch_path("x.qcow2");

	api_create(path, SIZE, 0);
	image = api_open(path, API_RW);
	ck_assert_int_ne(api_run(api_qemu_io, "-f", "qcow2", "-c", "read 0 512",
	                         path, NULL),
	                 0);
	ck_assert_int_ne(api_run(api_qemu_io, "-r", "-f", "qcow2", "-c",
	                         "read 0 512", path, NULL),
	                 0);
	ck_assert_int_eq(api_run(api_qemu_io, "-U", "-r", "-f", "qcow2", "-c",
	                         "read 0 512", path, NULL),
	                 0);
	api_close(image);
	ck_assert_int_eq(api_run(api_qemu_io, "-f", "qcow2", "-c",
	                         "write 0 512", path, NULL),
	                 0);
}

END_TEST

START_TEST(qemu_may_read_what_we_read)
{
	const char *path = scratch_path("x.qcow2");

	api_create(path, SIZE, 0);
	image = api_open(path, 0);
	ck_assert_int_eq(api_run(api_qemu_io, "-r", "-f", "qcow2", "-c",
	                         "read 0 512", path, NULL),
	                 0);
	ck_assert_int_ne(api_run(api_qemu_io, "-f", "qcow2", "-c",
	                         "write 0 512", path, NULL),
	                 0);
	api_close(image);
}

END_TEST

/* qemu-io that waits for commands with the image open, until end_qemu(). */
struct qemu {
	pid_t pid;
	int commands;
};

static struct qemu start_qemu(const char *option)
{
	posix_spawn_file_actions_t actions;
	struct qemu qemu = { 0 };
	char *args[] = { strdup(api_qemu_io),
		         strdup("-f"),
		         strdup("qcow2"),
		         option == NULL ? strdup(scratch_path("x.qcow2"))
		                        : strdup(option),
		         option == NULL ? NULL
		                        : strdup(scratch_path("x.qcow2")),
		         NULL };
	int pipes[2];

	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipes[0], 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	ck_assert_int_eq(
		posix_spawn(&qemu.pid, args[0], &actions, NULL, args, environ),
		0);
	posix_spawn_file_actions_destroy(&actions);
	close(pipes[0]);
	for (size_t i = 0; args[i] != NULL; i++)
		free(args[i]);
	qemu.commands = pipes[1];
	return qemu;
}

static void end_qemu(struct qemu *qemu)
{
	close(qemu->commands);
	ck_assert_int_eq(waitpid(qemu->pid, NULL, 0), qemu->pid);
}

/*
 * Until another process holds the last byte that QEMU locks.  Asking takes no
 * lock, so this cannot be in the way of the other one.
 */
static void wait_until_locked(const char *path)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct flock lock = { .l_type = F_UNLCK };

	ck_assert_int_ge(fd, 0);
	for (int i = 0; i < 500 && lock.l_type == F_UNLCK; i++) {
		nanosleep(&pause, NULL);
		lock = (struct flock){
			.l_type = F_WRLCK,
			.l_whence = SEEK_SET,
			.l_start = 203,
			.l_len = 1,
		};
		ck_assert_int_eq(fcntl(fd, F_OFD_GETLK, &lock), 0);
	}
	ck_assert_int_ne(lock.l_type, F_UNLCK);
	close(fd);
	/* It checks for others only after it has locked its bytes. */
	nanosleep(&pause, NULL);
}

START_TEST(we_cannot_open_what_qemu_writes)
{
	struct qemu qemu;
	char pid[32];

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	qemu = start_qemu(NULL);
	wait_until_locked(scratch_path("x.qcow2"));
	snprintf(pid, sizeof(pid), "%ld", (long)qemu.pid);
	API_FAILS_KEEP(open_flags(0), EAGAIN, QCOWFMT_ERR_LOCKED);
	API_ERROR_NAMES(pid);
	API_ERROR_NAMES("qemu-io");
	api_error_reset();
	API_FAILS(open_flags(API_RW), EAGAIN, QCOWFMT_ERR_LOCKED);
	API_OK(open_flags(QCOWFMT_OPEN_NO_LOCK));
	api_close(other);
	end_qemu(&qemu);
	API_OK(open_flags(API_RW));
	api_close(other);
}

END_TEST

START_TEST(we_may_read_what_qemu_reads)
{
	struct qemu qemu;

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	qemu = start_qemu("-r");
	wait_until_locked(scratch_path("x.qcow2"));
	API_FAILS(open_flags(API_RW), EAGAIN, QCOWFMT_ERR_LOCKED);
	API_OK(open_flags(0));
	api_close(other);
	end_qemu(&qemu);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_writer_excludes_writers_and_readers);
	tcase_add_test(tcase, readers_exclude_only_writers);
	tcase_add_test(tcase, a_failed_open_leaves_no_lock);
	tcase_add_test(tcase, opting_out);
	tcase_add_test(tcase, an_image_in_use_is_not_created_anew);
	tcase_add_test(tcase, a_backing_file_in_use_below_cannot_be_written);
	if (!api_has_qemu())
		return;
	tcase_add_test(tcase, qemu_cannot_open_what_we_write);
	tcase_add_test(tcase, qemu_may_read_what_we_read);
	tcase_add_test(tcase, we_cannot_open_what_qemu_writes);
	tcase_add_test(tcase, we_may_read_what_qemu_reads);
}

int main(int argc, char **argv)
{
	return api_main("second_writer_is_locked_out", add_tests, argc, argv);
}
