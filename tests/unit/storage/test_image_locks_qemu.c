/* SPDX-License-Identifier: MIT */
/*
 * Promise: QEMU and this library keep each other out exactly where two QEMU
 * processes would, and take the same bytes.
 */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage_test.h"

/* qemu-io with an image open until its input ends. */
struct qemu {
	pid_t pid;
	int input;
};

static int run(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void set_up(void)
{
	char command[1024];

	snprintf(command, sizeof(command),
	         "%s create -q -f qcow2 %s 1M && %s create -q -f raw %s 1M && "
	         "%s create -q -f qcow %s 1M && "
	         "%s create -q -f qcow2 -o data_file=%s %s 1M",
	         QEMU_IMG, scratch_path("a.qcow2"), QEMU_IMG,
	         scratch_path("a.raw"), QEMU_IMG, scratch_path("a.qcow"),
	         QEMU_IMG, scratch_path("d.raw"), scratch_path("d.qcow2"));
	ck_assert_int_eq(run(command), 0);
}

static void wait_for_prompt(int output)
{
	char text[16] = "";
	size_t have = 0;

	while (strstr(text, "qemu-io>") == NULL) {
		ssize_t got = read(output, text + have, 1);

		ck_assert_int_eq(got, 1);
		if (++have == sizeof(text) - 1) {
			memmove(text, text + 1, have);
			have--;
		}
	}
}

static struct qemu start_qemu(const char *format, const char *path, bool rw)
{
	int in[2], out[2];

	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);

	pid_t pid = fork();

	if (pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execlp(QEMU_IO, "qemu-io", "-f", format, path,
		       rw ? (char *)NULL : "-r", (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	wait_for_prompt(out[0]);
	close(out[0]);
	return (struct qemu){ pid, in[1] };
}

static void stop_qemu(struct qemu q)
{
	close(q.input);
	waitpid(q.pid, NULL, 0);
}

/* Bit i: byte 100 + i for i < 8, byte 200 + i - 8 above. */
static uint32_t locked(const char *path)
{
	int fd = open(path, O_RDWR);
	uint32_t bits = 0;

	ck_assert_int_ge(fd, 0);
	for (int i = 0; i < 16; i++) {
		struct flock f = {
			.l_type = F_WRLCK,
			.l_whence = SEEK_SET,
			.l_start = (i < 8 ? 100 : 192) + i,
			.l_len = 1,
		};

		ck_assert_int_eq(fcntl(fd, F_OFD_GETLK, &f), 0);
		bits |= f.l_type == F_UNLCK ? 0 : 1u << i;
	}
	close(fd);
	return bits;
}

static const struct {
	const char *format, *image, *file; /* opened; looked at */
	bool rw;
	enum qcf_storage_lock lock;
} users[] = {
	{ "qcow2", "a.qcow2", "a.qcow2", true, QCF_LOCK_IMAGE_WRITE },
	{ "qcow2", "a.qcow2", "a.qcow2", false, QCF_LOCK_IMAGE_READ },
	{ "qcow", "a.qcow", "a.qcow", true, QCF_LOCK_IMAGE_WRITE },
	{ "qcow", "a.qcow", "a.qcow", false, QCF_LOCK_IMAGE_READ },
	{ "raw", "a.raw", "a.raw", true, QCF_LOCK_RAW_WRITE },
	{ "raw", "a.raw", "a.raw", false, QCF_LOCK_RAW_READ },
	{ "qcow2", "d.qcow2", "d.raw", true, QCF_LOCK_DATA_FILE_WRITE },
	{ "qcow2", "d.qcow2", "d.raw", false, QCF_LOCK_DATA_FILE_READ },
};

START_TEST(same_bytes)
{
	const char *path = scratch_path(users[_i].file);
	struct qemu q = start_qemu(users[_i].format,
	                           scratch_path(users[_i].image), users[_i].rw);
	uint32_t theirs = locked(path);

	stop_qemu(q);

	struct qcowfmt_storage *s = open_scratch(users[_i].file, 0);

	assert_works(qcf_storage_lock(s, users[_i].lock, errp));
	ck_assert_uint_eq(locked(path), theirs);
	ck_assert_uint_ne(theirs, 0);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(they_keep_us_out)
{
	const char *path = scratch_path("a.qcow2");
	struct qemu q = start_qemu("qcow2", path, true);
	struct qcowfmt_storage *s = open_scratch("a.qcow2", 0);
	struct qcowfmt_storage *made = NULL;
	struct qcowfmt_error *error = NULL;

	assert_fails(qcf_storage_lock(s, QCF_LOCK_IMAGE_READ, errp), EAGAIN,
	             QCOWFMT_ERR_LOCKED);
	assert_fails(qcf_storage_file_open(path, NULL, QCOWFMT_FILE_CREATE,
	                                   &made, errp),
	             EAGAIN, QCOWFMT_ERR_LOCKED);
	ck_assert_int_eq(qcf_storage_lock(s, QCF_LOCK_IMAGE_WRITE, &error),
	                 -EAGAIN);
	ck_assert_msg(strstr(qcowfmt_error_message(error), "qemu-io") != NULL,
	              "%s", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	stop_qemu(q);
	assert_works(qcf_storage_lock(s, QCF_LOCK_IMAGE_WRITE, errp));
	qcowfmt_storage_free(s);
}

END_TEST

static int qemu_reads(const char *path, const char *options)
{
	char command[512];

	snprintf(command, sizeof(command),
	         "%s %s -f qcow2 -c 'read 0 512' %s >/dev/null 2>&1", QEMU_IO,
	         options, path);
	return run(command);
}

START_TEST(we_keep_them_out)
{
	const char *path = scratch_path("a.qcow2");
	struct qcowfmt_storage *s = open_scratch("a.qcow2", 0);

	assert_works(qcf_storage_lock(s, QCF_LOCK_IMAGE_WRITE, errp));
	ck_assert_int_ne(qemu_reads(path, "-r"), 0);
	ck_assert_int_ne(qemu_reads(path, ""), 0);
	ck_assert_int_eq(qemu_reads(path, "-U -r"), 0);
	assert_works(qcf_storage_lock(s, QCF_LOCK_IMAGE_READ, errp));
	ck_assert_int_eq(qemu_reads(path, "-r"), 0);
	ck_assert_int_ne(qemu_reads(path, ""), 0);
	qcowfmt_storage_free(s);
	ck_assert_int_eq(qemu_reads(path, ""), 0);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_add_loop_test(tcase, same_bytes, 0, QCF_ARRAY_LEN(users));
	tcase_add_test(tcase, they_keep_us_out);
	tcase_add_test(tcase, we_keep_them_out);
}

int main(void)
{
	if (QEMU_IO[0] == '\0' || QEMU_IMG[0] == '\0') {
		printf("skipped: qemu-io or qemu-img is missing\n");
		return UNIT_SKIPPED;
	}
	return run_with_scratch("image_locks_qemu", add);
}
