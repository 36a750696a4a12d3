/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever fails during any call of the library, once or from then on,
 * memory, storage of an application or system calls beneath files, the call says
 * so or has done its work, nothing is lost or leaked, the handle goes on or says
 * that it cannot, and the image is sound.  What the system interrupts or does in
 * parts is not noticed.
 *
 * Arguments: a kind of image, and "custom" or "files" for where it is; or "map" and
 * the list of exported functions: each of them is called by some scenario.
 * QCF_SCENARIO in the environment is a name to look at alone.  Without QCF_LONG one
 * point in some is looked at, spread over all.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "auto.h"
#include "fault_trial.h"
#include "scratch.h"
#include "thin.h"
#include "unit.h"

static const struct fault custom_faults[] = {
	{ .site = FAULT_MEMORY, .error = ENOMEM },
	{ .site = FAULT_MEMORY, .error = ENOMEM, .sticky = true },
	{ .site = FAULT_READ, .error = EIO },
	{ .site = FAULT_READ, .error = EIO, .sticky = true },
	{ .site = FAULT_WRITE, .error = EIO },
	{ .site = FAULT_WRITE, .error = EIO, .half = true, .sticky = true },
	{ .site = FAULT_WRITE, .error = ENOSPC, .half = true },
	{ .site = FAULT_WRITE, .error = ENOSPC, .sticky = true },
	{ .site = FAULT_FLUSH, .error = EIO },
	{ .site = FAULT_FLUSH, .error = ENOSPC, .sticky = true },
	{ .site = FAULT_SIZE, .error = EIO },
	{ .site = FAULT_SIZE, .error = EIO, .sticky = true },
	{ .site = FAULT_TRUNCATE, .error = EIO },
	{ .site = FAULT_TRUNCATE, .error = ENOSPC, .sticky = true },
	{ .site = FAULT_ZERO, .error = EIO, .half = true },
	{ .site = FAULT_ZERO, .error = ENOSPC, .sticky = true },
	{ .site = FAULT_DISCARD, .error = EIO, .invisible = true },
	{ .site = FAULT_DISCARD,
	  .error = EIO,
	  .sticky = true,
	  .invisible = true },
	{ .site = FAULT_ALLOCATE, .error = ENOSPC, .half = true },
	{ .site = FAULT_ALLOCATE, .error = EIO, .sticky = true },
	{ .site = FAULT_EXTENT, .error = EIO },
	{ .site = FAULT_EXTENT, .error = EIO, .sticky = true },
	{ .site = FAULT_WRITE, .error = EIO, .burst = 2 },
	{ .site = FAULT_READ, .error = EIO, .any = true },
	{ .site = FAULT_READ, .error = EIO, .any = true, .burst = 2 },
	{ .site = FAULT_READ, .error = ENOSPC, .any = true, .burst = 4 },
	{ .site = FAULT_READ, .error = EIO, .any = true, .sticky = true },
	{ .site = FAULT_SPACE, .error = ENOSPC },
	{ .site = FAULT_SPACE, .error = ENOSPC, .half = true, .sticky = true },
	{ .site = FAULT_READ, .error = ENOMEM, .any = true, .burst = 3 },
};

static const struct fault file_faults[] = {
	{ .site = FAULT_MEMORY, .error = ENOMEM },
	{ .site = FAULT_MEMORY, .error = ENOMEM, .sticky = true },
	{ .site = FAULT_SYS_PREADV, .error = EINTR, .invisible = true },
	{ .site = FAULT_SYS_PREADV, .invisible = true },
	{ .site = FAULT_SYS_PREADV, .sticky = true, .invisible = true },
	{ .site = FAULT_SYS_PREADV, .error = EIO },
	{ .site = FAULT_SYS_PREADV, .error = EIO, .sticky = true },
	{ .site = FAULT_SYS_PWRITEV, .error = EINTR, .invisible = true },
	{ .site = FAULT_SYS_PWRITEV, .invisible = true },
	{ .site = FAULT_SYS_PWRITEV, .sticky = true, .invisible = true },
	{ .site = FAULT_SYS_PWRITEV, .error = EIO },
	{ .site = FAULT_SYS_PWRITEV, .error = EIO, .sticky = true },
	{ .site = FAULT_SYS_PWRITEV, .error = ENOSPC, .half = true },
	{ .site = FAULT_SYS_FDATASYNC, .error = EINTR, .invisible = true },
	{ .site = FAULT_SYS_FDATASYNC, .error = EIO },
	{ .site = FAULT_SYS_FDATASYNC, .error = ENOSPC, .sticky = true },
	{ .site = FAULT_SYS_FSYNC, .error = EINTR, .invisible = true },
	{ .site = FAULT_SYS_FSYNC, .error = EIO },
	{ .site = FAULT_SYS_FTRUNCATE, .error = EINTR, .invisible = true },
	{ .site = FAULT_SYS_FTRUNCATE, .error = EIO },
	{ .site = FAULT_SYS_FTRUNCATE, .error = ENOSPC, .sticky = true },
	{ .site = FAULT_SYS_FALLOCATE, .error = EINTR, .invisible = true },
	{ .site = FAULT_SYS_FALLOCATE, .error = EIO },
	{ .site = FAULT_SYS_FALLOCATE, .error = ENOSPC, .sticky = true },
	{ .site = FAULT_SYS_FALLOCATE, .error = EOPNOTSUPP, .invisible = true },
	{ .site = FAULT_SYS_LSEEK, .error = EIO },
	{ .site = FAULT_SYS_FSTAT, .error = EIO },
	{ .site = FAULT_SYS_FSTAT, .error = EIO, .sticky = true },
	{ .site = FAULT_SYS_OPEN, .error = EINTR, .invisible = true },
	{ .site = FAULT_SYS_OPEN, .error = EMFILE },
	{ .site = FAULT_SYS_OPEN, .error = EIO, .sticky = true },
	{ .site = FAULT_SYS_FCNTL, .error = EIO },
	{ .site = FAULT_SYS_COPY, .error = EINTR, .invisible = true },
	{ .site = FAULT_SYS_COPY, .invisible = true },
	{ .site = FAULT_SYS_COPY, .error = EXDEV, .invisible = true },
	{ .site = FAULT_SYS_COPY, .error = EIO },
	{ .site = FAULT_SYS_WRITE, .error = EINTR, .invisible = true },
	{ .site = FAULT_SYS_WRITE, .invisible = true },
	{ .site = FAULT_SYS_WRITE, .error = ENOSPC },
	{ .site = FAULT_SYS_UNLINK, .error = EIO },
	{ .site = FAULT_SYS_PWRITEV, .error = EIO, .burst = 2 },
	{ .site = FAULT_SYS_PREADV, .error = EIO, .any = true },
	{ .site = FAULT_SYS_PREADV, .error = EIO, .any = true, .burst = 3 },
	{ .site = FAULT_SYS_PREADV, .error = EIO, .any = true, .sticky = true },
	{ .site = FAULT_SYS_SPACE, .error = ENOSPC },
	{ .site = FAULT_SYS_SPACE,
	  .error = ENOSPC,
	  .half = true,
	  .sticky = true },
	{ .site = FAULT_SYS_PREADV,
	  .error = EINTR,
	  .burst = 3,
	  .invisible = true },
	{ .site = FAULT_SYS_PWRITEV,
	  .error = EINTR,
	  .burst = 3,
	  .invisible = true },
	{ .site = FAULT_SYS_FDATASYNC,
	  .error = EINTR,
	  .burst = 3,
	  .invisible = true },
	{ .site = FAULT_SYS_FTRUNCATE,
	  .error = EINTR,
	  .burst = 3,
	  .invisible = true },
	{ .site = FAULT_SYS_FALLOCATE,
	  .error = EINTR,
	  .burst = 3,
	  .invisible = true },
	{ .site = FAULT_SYS_OPEN,
	  .error = EINTR,
	  .burst = 3,
	  .invisible = true },
	{ .site = FAULT_SYS_COPY, .sticky = true, .invisible = true },
	{ .site = FAULT_SYS_COPY,
	  .error = EINTR,
	  .burst = 3,
	  .invisible = true },
	{ .site = FAULT_SYS_COPY, .error = ENOSPC, .sticky = true },
	{ .site = FAULT_SYS_WRITE, .sticky = true, .invisible = true },
	{ .site = FAULT_SYS_FDATASYNC, .error = EIO, .sticky = true },
	{ .site = FAULT_SYS_FSYNC, .error = EIO, .sticky = true },
	{ .site = FAULT_SYS_LSEEK, .error = EIO, .sticky = true },
	{ .site = FAULT_SYS_FCNTL, .error = EIO, .sticky = true },
	{ .site = FAULT_SYS_PREADV, .error = ENOSPC, .any = true, .burst = 2 },
	{ .site = FAULT_SYS_PREADV, .error = EIO, .any = true, .burst = 6 },
};

/* What was looked at, by all processes of the test. */
static struct totals {
	uint64_t memory;
	uint64_t storage;
	uint64_t system;
} * totals;

static const struct trial_kind *kind;
static bool in_files;
static const char *map_path;

static void count(const struct fault *fault)
{
	if (fault->site == FAULT_MEMORY)
		totals->memory++;
	else if (fault->site >= FAULT_SYS_PREADV)
		totals->system++;
	else
		totals->storage++;
}

/* One point in so many is looked at.  Keys take long to try. */
static uint64_t stride(void)
{
	uint64_t every = getenv("QCF_LONG") != NULL ? 1 : 7;

	if (kind->encryption == QCOWFMT_ENCRYPTION_LUKS)
		every *= in_files ? 20 : 7;
	return every * thin_factor();
}

static void sweep(struct trial *t, size_t scenario, size_t number,
                  const struct fault *fault)
{
	uint64_t every = stride();
	uint64_t nth = 1 + (scenario * 5 + number * 3) % every;

	for (; trial_run(t, fault, nth); nth += every)
		count(fault);
}

static bool is_chosen(const struct scenario *s)
{
	const char *name = getenv("QCF_SCENARIO");

	return trial_applies(s, kind, in_files) &&
	       (name == NULL || strcmp(name, s->name) == 0);
}

START_TEST(faults_are_survived)
{
	static struct trial t;
	const struct scenario *s = trial_scenario((size_t)_i);
	const struct fault *faults = in_files ? file_faults : custom_faults;
	size_t fault_count = in_files ? QCF_ARRAY_LEN(file_faults)
	                              : QCF_ARRAY_LEN(custom_faults);

	if (!is_chosen(s))
		return;
	trial_init(&t, kind, in_files);
	trial_rehearse(&t, s);
	for (size_t i = 0; i < fault_count; i++)
		sweep(&t, (size_t)_i, i, &faults[i]);
	trial_fini(&t);
}

END_TEST

/* -------------------------------------------------------- the list of functions */

static void rehearse_all(const struct trial_kind *k, bool files)
{
	static struct trial t;
	const struct scenario *s;

	trial_init(&t, k, files);
	for (size_t i = 0; (s = trial_scenario(i)) != NULL; i++) {
		if (trial_applies(s, k, files))
			trial_rehearse(&t, s);
	}
	trial_fini(&t);
}

/* Lines of names ended by semicolons. */
START_TEST(every_function_is_called)
{
	FILE *map = fopen(map_path, "re");
	char line[128], name[128];
	int functions = 0;
	int missing = 0;

	ck_assert_ptr_nonnull(map);
	for (size_t i = 0; i < trial_kind_count; i++)
		rehearse_all(&trial_kinds[i], true);
	rehearse_all(&trial_kinds[0], false);
	while (fgets(line, sizeof(line), map) != NULL) {
		if (sscanf(line, " %127[a-z0-9_];", name) != 1 ||
		    strncmp(name, "qcowfmt_", 8) != 0)
			continue;
		functions++;
		if (trial_was_called(name))
			continue;
		printf("%s is in no scenario\n", name);
		missing++;
	}
	fclose(map);
	ck_assert_int_eq(missing, 0);
	ck_assert_int_gt(functions, 60);
	printf("figure: functions-under-faults %d functions\n", functions);
}

END_TEST

static void add(TCase *tcase)
{
	int count = 0;

	tcase_set_timeout(tcase, 0);
	if (map_path != NULL) {
		tcase_add_test(tcase, every_function_is_called);
		return;
	}
	while (trial_scenario((size_t)count) != NULL)
		count++;
	tcase_add_loop_test(tcase, faults_are_survived, 0, count);
}

static int run(void)
{
	int status;

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	totals = mmap(NULL, sizeof(*totals), PROT_READ | PROT_WRITE,
	              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (totals == MAP_FAILED)
		return EXIT_FAILURE;
	scratch_init();
	status = unit_run("every_call_survives_faults", add);
	scratch_fini();
	if (map_path != NULL)
		return status;
	printf("figure: allocation-faults %" PRIu64 " points\n",
	       totals->memory);
	if (in_files)
		printf("figure: system-call-faults %" PRIu64 " points\n",
		       totals->system);
	else
		printf("figure: storage-faults %" PRIu64 " points\n",
		       totals->storage);
	return status;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: %s KIND custom|files, or map FILE\n",
		        argv[0]);
		return EXIT_FAILURE;
	}
	if (strcmp(argv[1], "map") == 0)
		map_path = argv[2];
	in_files = strcmp(argv[2], "files") == 0;
	for (size_t i = 0; i < trial_kind_count; i++) {
		if (strcmp(argv[1], trial_kinds[i].name) == 0)
			kind = &trial_kinds[i];
	}
	if (kind == NULL && map_path == NULL) {
		fprintf(stderr, "no kind '%s'\n", argv[1]);
		return EXIT_FAILURE;
	}
	return run();
}
