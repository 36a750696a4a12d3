/* SPDX-License-Identifier: MIT */
/*
 * test_process_is_left_alone.c - the library is a guest in its process
 *
 * While images are made, opened, written by several threads, damaged on purpose
 * and closed: nothing is printed, no signal is blocked or handled, every file
 * descriptor is closed on exec and at the end of the image, no thread stays, and a
 * child that was forked in the middle can use images of its own.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"
#include "scratch.h"
#include "team.h"

#define WRITERS 3
#define WRITES  60

static const struct qcf_rig_shape shape = {
	.cluster_size = 4096,
	.size = 1 << 20,
	.version = 3,
	.refcount_bits = 16,
	.data_file = true,
};

/* What a process has that others may depend on. */
struct belongings {
	uint64_t descriptors; /* number of open ones, the lowest 64 */
	int count;
	int threads;
	sigset_t blocked;
	struct sigaction handlers[NSIG];
	mode_t mask;
};

static int entries_of(const char *directory)
{
	DIR *dir = opendir(directory);
	int count = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void look(struct belongings *b)
{
	memset(b, 0, sizeof(*b));
	for (int fd = 0; fd < 64; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			b->descriptors |= UINT64_C(1) << fd;
	}
	b->count = entries_of("/proc/self/fd");
	b->threads = entries_of("/proc/self/task");
	pthread_sigmask(SIG_SETMASK, NULL, &b->blocked);
	for (int i = 1; i < NSIG; i++)
		sigaction(i, NULL, &b->handlers[i]);
	b->mask = umask(022);
	umask(b->mask);
}

static void expect_same(const struct belongings *before)
{
	struct belongings now;

	look(&now);
	ck_assert_uint_eq(now.descriptors, before->descriptors);
	ck_assert_int_eq(now.count, before->count);
	ck_assert_int_eq(now.threads, before->threads);
	ck_assert_int_eq(now.mask, before->mask);
	for (int i = 1; i < NSIG; i++) {
		ck_assert_int_eq(sigismember(&now.blocked, i),
		                 sigismember(&before->blocked, i));
		ck_assert(now.handlers[i].sa_handler ==
		          before->handlers[i].sa_handler);
	}
}

/* Of what was opened since. */
static void expect_closed_on_exec(const struct belongings *before)
{
	int seen = 0;

	for (int fd = 0; fd < 64; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (flags < 0 || (before->descriptors >> fd & 1) != 0)
			continue;
		ck_assert_msg((flags & FD_CLOEXEC) != 0,
		              "descriptor %d survives exec", fd);
		seen++;
	}
	ck_assert_int_ge(seen, 2);
}

static bool write_much(struct qcf_member *m)
{
	struct qcf_rig *rig = m->job;
	uint8_t bytes[3000];

	qcf_rng_fill(&m->rng, bytes, sizeof(bytes));
	for (int i = 0; i < WRITES; i++) {
		uint64_t at =
			qcf_rng_below(&m->rng, shape.size - sizeof(bytes));

		if (!qcf_rig_write(rig, bytes, sizeof(bytes), at,
		                   &m->finding) ||
		    (i % 16 == 0 && !qcf_rig_flush(rig, &m->finding)))
			return false;
	}
	return true;
}

/* In a child that was forked while other threads used the library. */
static void use_own_image(void)
{
	struct qcf_rig_shape own = shape;
	struct qcf_finding finding = { 0 };
	struct qcf_rig rig;

	alarm(30);
	own.in_memory = true;
	own.data_file = false;
	if (!qcf_rig_init(&rig, &own, &finding) ||
	    !qcf_rig_write(&rig, "x", 1, 5, &finding) ||
	    !qcf_rig_flush(&rig, &finding))
		_exit(1);
	qcowfmt_close(rig.image, NULL);
	_exit(0);
}

static bool fork_meanwhile(struct qcf_member *m)
{
	for (int i = 0; i < 3; i++) {
		pid_t child = fork();
		int status = -1;

		if (child == 0)
			use_own_image();
		if (child < 0 || waitpid(child, &status, 0) != child ||
		    status != 0)
			return qcf_found(&m->finding, QCF_FOUND_ERROR,
			                 "a child ended with 0x%x", status);
	}
	return true;
}

/* Nothing of this may end the process, or be printed. */
static void make_mistakes(const char *path)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	FILE *file = fopen(path, "we");

	ck_assert_ptr_nonnull(file);
	fputs("QFI\xfb and nothing that makes sense", file);
	fclose(file);
	ck_assert_int_lt(qcowfmt_open_file(path, &options, &image, &error), 0);
	qcowfmt_error_free(error);
	error = NULL;
	ck_assert_int_lt(qcowfmt_open_file("/nowhere", NULL, &image, &error),
	                 0);
	qcowfmt_error_free(error);
	unlink(path);
}

static void convert_with_threads(struct qcf_rig *rig)
{
	const struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.threads = 3,
	};
	struct qcf_rig_shape own = shape;
	struct qcf_finding finding = { 0 };
	struct qcf_rig target;

	own.in_memory = true;
	own.data_file = false;
	ck_assert(qcf_rig_init(&target, &own, &finding));
	ck_assert_int_eq(
		qcowfmt_convert(&rig->image, 1, target.image, &options, NULL),
		0);
	ck_assert_int_eq(qcowfmt_close(target.image, NULL), 0);
}

static void use_library(const struct belongings *before)
{
	struct qcf_finding finding = { 0 };
	struct qcf_rig rig;

	ck_assert_msg(qcf_rig_init(&rig, &shape, &finding), "%s", finding.text);
	expect_closed_on_exec(before);
	ck_assert_msg(qcf_team_run(WRITERS, write_much, 1, fork_meanwhile, &rig,
	                           qcf_seed(), &finding),
	              "%s", finding.text);
	convert_with_threads(&rig);
	make_mistakes(scratch_path("mistake"));
	ck_assert_int_eq(qcowfmt_close(rig.image, NULL), 0);
	unlink(rig.path);
	unlink(rig.data_path);
}

START_TEST(process_is_left_alone)
{
	const char *said = scratch_path("said");
	struct belongings before;
	struct stat st;
	int out = dup(STDOUT_FILENO);
	int err = dup(STDERR_FILENO);
	int fd = open(said, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	/* The first use may set libgcrypt up. */
	look(&before);
	use_library(&before);
	fflush(NULL);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	look(&before);
	use_library(&before);
	expect_same(&before);
	fflush(NULL);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_msg(st.st_size == 0, "%d bytes were printed",
	              (int)st.st_size);
	close(fd);
	close(out);
	close(err);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("the process is left alone");
	TCase *tcase = tcase_create("process");

	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_test(tcase, process_is_left_alone);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
