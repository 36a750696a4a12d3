/* SPDX-License-Identifier: MIT */
/* api_test.c - what the tests of the public interface share */
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api_test.h"
#include "l2_entry.h"

#define MAX_ARGS 24

extern char **environ;

struct qcowfmt_error *api_error;
const char *api_qemu_img;
const char *api_qemu_io;

void api_error_reset(void)
{
	qcowfmt_error_free(api_error);
	api_error = NULL;
}

int api_main(const char *promise, void (*add)(TCase *), int argc, char **argv)
{
	api_qemu_img = argc > 2 ? argv[1] : NULL;
	api_qemu_io = argc > 2 ? argv[2] : NULL;
	scratch_init();

	int status = unit_run(promise, add);

	scratch_fini();
	return status;
}

/* ------------------------------------------------------------------ programs */

bool api_has_qemu(void)
{
	if (api_qemu_img != NULL)
		return true;
	printf("SKIPPED: qemu-img or qemu-io is missing\n");
	return false;
}

static int wait_for(pid_t pid)
{
	int status = 0;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int api_run(const char *program, ...)
{
	posix_spawn_file_actions_t actions;
	char *args[MAX_ARGS + 1] = { NULL };
	va_list list;
	pid_t pid = 0;

	va_start(list, program);
	args[0] = strdup(program);
	for (int i = 1; i < MAX_ARGS; i++) {
		const char *arg = va_arg(list, const char *);

		if (arg == NULL)
			break;
		args[i] = strdup(arg);
	}
	va_end(list);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	ck_assert_int_eq(
		posix_spawnp(&pid, program, &actions, NULL, args, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	for (int i = 0; args[i] != NULL; i++)
		free(args[i]);
	return wait_for(pid);
}

void api_qemu_check(const char *path)
{
	if (api_qemu_img != NULL)
		ck_assert_int_eq(api_run(api_qemu_img, "check", "-f", "qcow2",
		                         path, NULL),
		                 0);
}

/* -------------------------------------------------------------------- images */

void api_create(const char *path, uint64_t virtual_size, uint64_t cluster_size)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = virtual_size,
		.cluster_size = cluster_size,
	};

	API_OK(qcowfmt_create_file(path, &options, &api_error));
}

void api_create_overlay(const char *path, uint64_t virtual_size,
                        const char *backing, const char *format)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = virtual_size,
		.backing_filename = backing,
		.backing_format = format,
	};

	API_OK(qcowfmt_create_file(path, &options, &api_error));
}

struct qcowfmt_image *api_open(const char *path, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(path, &options, &image, &api_error));
	ck_assert_ptr_nonnull(image);
	return image;
}

struct qcowfmt_image *api_make_version_1(const char *path,
                                         uint64_t virtual_size)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = virtual_size,
		.format = QCOWFMT_FORMAT_QCOW,
	};
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = QCOWFMT_FORMAT_QCOW,
		.flags = API_RW,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_create_file(path, &create, &api_error));
	API_OK(qcowfmt_open_file(path, &open, &image, &api_error));
	return image;
}

int api_cancel_after(void *opaque, uint64_t done, uint64_t total)
{
	int *left = opaque;

	ck_assert_uint_le(done, total);
	return (*left)-- == 0;
}

void api_close(struct qcowfmt_image *image)
{
	API_OK(qcowfmt_close(image, &api_error));
}

void api_write(struct qcowfmt_image *image, uint64_t guest_offset, size_t len,
               uint8_t value)
{
	uint8_t *bytes = malloc(len);

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, value, len);
	API_OK(qcowfmt_pwrite(image, bytes, len, guest_offset, &api_error));
	free(bytes);
}

void api_expect(struct qcowfmt_image *image, uint64_t guest_offset, size_t len,
                uint8_t value)
{
	uint8_t *bytes = malloc(len);
	size_t at = 0;

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, value ^ 0xff, len);
	API_OK(qcowfmt_pread(image, bytes, len, guest_offset, &api_error));
	while (at < len && bytes[at] == value)
		at++;
	ck_assert_msg(at == len,
	              "guest offset %" PRIu64 " is 0x%02x, want 0x%02x",
	              guest_offset + at, at < len ? bytes[at] : 0, value);
	free(bytes);
}

static void print_finding(void *opaque, uint32_t id, uint64_t host_offset,
                          const char *message)
{
	(void)opaque;
	printf("finding %u at 0x%" PRIx64 ": %s\n", id, host_offset, message);
}

void api_check_clean(struct qcowfmt_image *image)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	API_OK(qcowfmt_check(image, 0, print_finding, NULL, &result,
	                     &api_error));
	ck_assert_uint_eq(result.corruptions, 0);
	ck_assert_uint_eq(result.leaks, 0);
	ck_assert_uint_eq(result.check_errors, 0);
}

/* --------------------------------------------------------------------- files */

static int open_or_fail(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	ck_assert_msg(fd >= 0, "%s: errno %d", path, errno);
	return fd;
}

struct api_bytes api_read_file(const char *path)
{
	struct api_bytes file = { NULL, 0 };
	struct stat st;
	int fd = open_or_fail(path, O_RDONLY);

	ck_assert_int_eq(fstat(fd, &st), 0);
	file.len = (size_t)st.st_size;
	file.bytes = malloc(file.len + 1);
	ck_assert_ptr_nonnull(file.bytes);
	ck_assert_int_eq(pread(fd, file.bytes, file.len, 0), st.st_size);
	close(fd);
	return file;
}

void api_write_file(const char *path, const void *bytes, size_t len)
{
	int fd = open_or_fail(path, O_WRONLY | O_CREAT | O_TRUNC);

	ck_assert_int_eq(pwrite(fd, bytes, len, 0), (ssize_t)len);
	close(fd);
}

void api_bytes_free(struct api_bytes *bytes)
{
	free(bytes->bytes);
	bytes->bytes = NULL;
}

bool api_bytes_equal(const struct api_bytes *a, const struct api_bytes *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

uint64_t api_get(const char *path, uint64_t offset, size_t width)
{
	uint8_t bytes[8] = { 0 };
	int fd = open_or_fail(path, O_RDONLY);
	ssize_t got = pread(fd, bytes, width, (off_t)offset);
	struct qcf_reader reader = qcf_reader_init(bytes, width);

	ck_assert_int_ge(got, 0);
	close(fd);
	return qcf_read_be(&reader, width);
}

void api_put(const char *path, uint64_t offset, size_t width, uint64_t value)
{
	uint8_t bytes[8] = { 0 };
	struct qcf_writer writer = qcf_writer_init(bytes, sizeof(bytes));
	int fd = open_or_fail(path, O_WRONLY);

	qcf_write_be(&writer, value, width);
	ck_assert_int_eq(pwrite(fd, bytes, width, (off_t)offset),
	                 (ssize_t)width);
	close(fd);
}

uint64_t api_l1_entry_at(const char *path)
{
	return api_get(path, API_AT_L1, 8);
}

uint64_t api_l2_entry_at(const char *path)
{
	uint64_t entry = api_get(path, api_l1_entry_at(path), 8);

	ck_assert_uint_ne(entry & QCF_ENTRY_OFFSET, 0);
	return entry & QCF_ENTRY_OFFSET;
}

uint64_t api_reftable_at(const char *path)
{
	return api_get(path, API_AT_REFTABLE, 8);
}

uint64_t api_block_at(const char *path)
{
	return api_get(path, api_reftable_at(path), 8);
}

bool api_is_beyond_repair(const bool ids[API_MAX_ID])
{
	static const struct {
		uint32_t id;
		const char *repair;
	} kinds[] = {

#define QCF_CHECK(number, name, repair, text) { (number), #repair },
#include "checks.def"
#undef QCF_CHECK
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(kinds); i++) {
		if (ids[kinds[i].id] && strcmp(kinds[i].repair, "NONE") == 0)
			return true;
	}
	return false;
}

void api_take_snapshot(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_snapshot_options o = {
		.struct_size = sizeof(o),
		.name = name,
	};

	API_OK(qcowfmt_snapshot_create(image, &o, &api_error));
}

void api_add_bitmap(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.kind = QCOWFMT_BITMAP_ADD,
		.name = name,
	};

	API_OK(qcowfmt_bitmap_change(&action, 1, NULL, &api_error));
}
