/* SPDX-License-Identifier: MIT */
/*
 * Promise: a header decoded from an image of qemu-img encodes to the very bytes
 * that qemu-img wrote, for every version, cluster size and option.
 *
 * Usage: test_header_matches_qemu_img QEMU-IMG
 */
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auto.h"
#include "header.h"
#include "unit.h"

extern char **environ;

static const char *qemu_img;
static char dir[200];

/* Run a program with its output thrown away; returns its exit status. */
static int run(const char *const *args)
{
	posix_spawn_file_actions_t actions;
	pid_t pid = 0;
	int status = 0;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);

	/* The prototype lacks const for historical reasons only. */
	char **argv = NULL;

	memcpy(&argv, &args, sizeof(argv));
	ck_assert_int_eq(
		posix_spawnp(&pid, args[0], &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static size_t read_cluster(const char *path, uint8_t *bytes, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, bytes, size);

	ck_assert_int_ge(len, 512);
	close(fd);
	return (size_t)len;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
	size_t at = 0;

	while (at < len && a[at] == b[at])
		at++;
	return at;
}

static void check_image(const char *path, const char *what)
{
	static uint8_t theirs[2 << 20];
	static uint8_t ours[2 << 20];
	struct qcowfmt_error *error = NULL;
	struct qcf_header h;
	uint64_t size = 0;

	memset(theirs, 0, sizeof(theirs));

	size_t len = read_cluster(path, theirs, sizeof(theirs));

	ck_assert_int_eq(qcf_header_peek_cluster_size(theirs, len, &size, NULL),
	                 0);
	len = QCF_MIN(len, (size_t)size);
	ck_assert_msg(qcf_header_decode(&h, theirs, len, &error) == 0, "%s: %s",
	              what, qcowfmt_error_message(error));
	ck_assert_int_eq(qcf_header_encode(&h, ours, (size_t)size, NULL), 0);

	size_t at = first_difference(ours, theirs, (size_t)size);

	ck_assert_msg(at == size, "%s: byte %zu differs", what, at);
	qcf_header_fini(&h);
}

/* Of a version 1 image the header is what precedes the L1 table. */
static void check_version_1(const char *options, const char *backing,
                            const char *size)
{
	static uint8_t theirs[1 << 16];
	static uint8_t ours[1 << 16];
	char path[sizeof(dir) + 16];
	const char *args[16] = { qemu_img, "create", "-q", "-u", "-f", "qcow" };
	size_t count = 6;
	struct qcowfmt_error *error = NULL;
	struct qcf_header h;

	snprintf(path, sizeof(path), "%s/x.qcow2", dir);
	if (backing != NULL) {
		args[count++] = "-b";
		args[count++] = backing;
		args[count++] = "-F";
		args[count++] = "raw";
	}
	args[count++] = "-o";
	args[count++] = options;
	args[count++] = path;
	args[count++] = size;
	args[count] = NULL;
	ck_assert_int_eq(run(args), 0);

	size_t len = read_cluster(path, theirs, sizeof(theirs));

	unlink(path);
	ck_assert_msg(qcf_header_decode(&h, theirs, len, &error) == 0, "%s",
	              qcowfmt_error_message(error));
	ck_assert_int_eq(qcf_header_encode(&h, ours, sizeof(ours), NULL), 0);
	ck_assert_mem_eq(ours, theirs, (size_t)h.l1_table_offset);
	/* They write the table in whole sectors, which has to be enough. */
	ck_assert_uint_ge(len, QCF_MIN(sizeof(theirs),
	                               (size_t)h.l1_table_offset +
	                                       h.l1_size * sizeof(uint64_t)));
	qcf_header_fini(&h);
}

START_TEST(version_1)
{
	static const char *const sizes[] = { "1",   "513", "1M",
		                             "10G", "1T",  "2199023256064" };
	char name[1024];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t i = 0; i < QCF_ARRAY_LEN(sizes); i++) {
		check_version_1("backing_fmt=raw", "base.raw", sizes[i]);
		check_version_1("backing_fmt=raw", "b", sizes[i]);
		check_version_1("backing_fmt=raw", name, sizes[i]);
	}
	for (size_t i = 0; i < QCF_ARRAY_LEN(sizes); i++) {
		char size[64];

		snprintf(size, sizeof(size), "size=%s", sizes[i]);
		check_version_1(size, NULL, NULL);
	}
}

END_TEST

/* Returns false if qemu-img does not allow the combination. */
static bool create_and_check(const char *options, const char *backing,
                             const char *format)
{
	char path[sizeof(dir) + 16];
	const char *args[16] = { qemu_img, "create", "-q",   "-f",
		                 "qcow2",  "-o",     options };
	size_t count = 7;

	snprintf(path, sizeof(path), "%s/x.qcow2", dir);
	if (backing != NULL) {
		args[count++] = "-u";
		args[count++] = "-b";
		args[count++] = backing;
		args[count++] = "-F";
		args[count++] = format;
	}
	args[count++] = path;
	args[count++] = "100M";
	args[count] = NULL;

	bool created = run(args) == 0;

	if (created)
		check_image(path, options);
	unlink(path);
	return created;
}

START_TEST(all_cluster_sizes)
{
	char options[100];

	for (uint32_t bits = 9; bits <= 21; bits++) {
		for (int version = 2; version <= 3; version++) {
			snprintf(options, sizeof(options),
			         "compat=%s,cluster_size=%u",
			         version == 2 ? "0.10" : "1.1", 1u << bits);
			ck_assert(create_and_check(options, NULL, NULL));
			ck_assert(create_and_check(options, "base.qcow2",
			                           "qcow2"));
			ck_assert(
				create_and_check(options, "a/b/c.img", "raw"));
		}
	}
}

END_TEST

START_TEST(all_options)
{
	static const char *const options[] = {
		"compat=1.1",
		"refcount_bits=1",
		"refcount_bits=64",
		"refcount_bits=8,cluster_size=512",
		"lazy_refcounts=on",
		"extended_l2=on",
		"extended_l2=on,cluster_size=16384",
		"compression_type=zlib",
		"preallocation=metadata",
		"preallocation=falloc,cluster_size=4096",
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(options); i++)
		ck_assert_msg(create_and_check(options[i], NULL, NULL), "%s",
		              options[i]);
	/* Depends on how qemu-img was built. */
	if (!create_and_check("compression_type=zstd", NULL, NULL))
		printf("qemu-img without zstd\n");
}

END_TEST

START_TEST(data_files)
{
	char options[300];
	char path[sizeof(dir) + 16];

	snprintf(path, sizeof(path), "%s/x.raw", dir);
	snprintf(options, sizeof(options), "data_file=%s", path);
	ck_assert(create_and_check(options, NULL, NULL));
	snprintf(options, sizeof(options), "data_file=%s,data_file_raw=on",
	         path);
	ck_assert(create_and_check(options, NULL, NULL));
	unlink(path);
}

END_TEST

START_TEST(long_backing_names)
{
	char name[1024];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert(create_and_check("compat=1.1", name, "qcow2"));
	ck_assert(create_and_check("compat=0.10,cluster_size=4096", name,
	                           "qcow2"));
	/* 376 bytes just fit into a cluster of 512. */
	name[376] = '\0';
	ck_assert(create_and_check("cluster_size=512", name, "qcow2"));
	name[376] = 'n';
	name[377] = '\0';
	ck_assert(!create_and_check("cluster_size=512", name, "qcow2"));
}

END_TEST

START_TEST(snapshots_and_bitmaps)
{
	char path[sizeof(dir) + 16];

	snprintf(path, sizeof(path), "%s/y.qcow2", dir);

	const char *const create[] = { qemu_img, "create", "-q", "-f",
		                       "qcow2",  path,     "1M", NULL };
	const char *const snapshot[] = { qemu_img, "snapshot", "-c",
		                         "one",    path,       NULL };
	const char *const bitmap[] = { qemu_img, "bitmap", "--add",
		                       path,     "b0",     NULL };

	ck_assert_int_eq(run(create), 0);
	ck_assert_int_eq(run(snapshot), 0);
	check_image(path, "with a snapshot");
	ck_assert_int_eq(run(bitmap), 0);
	check_image(path, "with a bitmap");
	unlink(path);
}

END_TEST

static void make_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/qcowfmt-header-XXXXXX",
	         tmp == NULL ? "/tmp" : tmp);
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

/* Also after a failure, so files may be left. */
static void remove_dir(void)
{
	static const char *const names[] = { "x.qcow2", "x.raw", "y.qcow2" };
	char path[sizeof(dir) + 16];

	for (size_t i = 0; i < QCF_ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

static void add_tests(TCase *tcase)
{
	tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
	tcase_add_test(tcase, all_cluster_sizes);
	tcase_add_test(tcase, all_options);
	tcase_add_test(tcase, data_files);
	tcase_add_test(tcase, long_backing_names);
	tcase_add_test(tcase, snapshots_and_bitmaps);
	tcase_add_test(tcase, version_1);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		printf("SKIPPED: qemu-img is missing\n");
		return UNIT_SKIPPED;
	}
	qemu_img = argv[1];
	return unit_run("header_matches_qemu_img", add_tests);
}
