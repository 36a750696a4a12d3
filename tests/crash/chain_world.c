/* SPDX-License-Identifier: MIT */
/* chain_world.c - an overlay and what is below it */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "auto.h"
#include "chain_world.h"
#include "crash_qemu.h"
#include "image_storage.h"
#include "scratch.h"
#include "thin.h"
#include "unit.h"

static const char secret[] = "hunter2";

void chain_create(struct qcowfmt_storage *storage,
                  const struct chain_image *how, const char *backing,
                  const char *backing_format)
{
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = QCOWFMT_ENCRYPTION_AES,
		.secret = secret,
		.secret_len = sizeof(secret) - 1,
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = how->format,
		.version = how->version,
		.flags = how->flags,
		.cluster_size = how->cluster_size,
		.virtual_size = how->size,
		.backing_filename = backing,
		.backing_format = backing_format,
		.encryption = how->encrypted ? &encryption : NULL,
	};
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_create(storage, &options, &error) == 0, "%s",
	              qcowfmt_error_message(error));
}

/* Every sector of every image has its own bytes. */
static void stamp(uint8_t *bytes, uint8_t seed, uint64_t at, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(seed + (at + i) / CHAIN_SECTOR * 7);
}

void chain_fill(struct qcowfmt_image *image, uint8_t seed, unsigned density)
{
	static uint8_t bytes[CHAIN_MAX_DISK];
	uint64_t size = qcowfmt_get_size(image);
	struct unit_random random = { seed };
	uint64_t at = 0;

	while (at < size) {
		uint64_t len = QCF_MIN(
			size - at,
			CHAIN_SECTOR * (1 + unit_random_below(&random, 24)));
		uint64_t choice = unit_random_below(&random, 8);

		stamp(bytes, seed, at, len);
		if (choice < density)
			ck_assert_int_eq(
				qcowfmt_pwrite(image, bytes, len, at, NULL), 0);
		else if (choice == 7)
			ck_assert_int_eq(
				qcowfmt_write_zeroes(image, at, len, 0, NULL),
				0);
		at += len;
	}
}

static int supply(void *opaque, const struct qcowfmt_reference *reference,
                  struct qcowfmt_storage **storage, int32_t *format)
{
	struct chain_files *files = opaque;

	(void)format;
	for (int i = 0; i < CHAIN_FILES; i++) {
		const struct chain_file *file = &files->files[i];

		if (file->name == NULL ||
		    strcmp(file->name, reference->name) != 0)
			continue;
		*storage = image_storage_new(file->bytes, false);
		return 0;
	}
	return -ENOENT;
}

struct qcowfmt_image *chain_open(struct qcowfmt_storage *storage,
                                 int32_t format, uint32_t flags,
                                 uint32_t chain_limit,
                                 struct chain_files *files)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = format,
		.flags = flags,
		.reference_policy = files == NULL ? QCOWFMT_REFERENCES_IGNORE
		                                  : QCOWFMT_REFERENCES_CALLBACK,
		.reference_callback = supply,
		.reference_opaque = files,
		.undeclared_format = QCOWFMT_UNDECLARED_PROBE,
		.chain_limit = chain_limit,
		.secret = secret,
		.secret_len = sizeof(secret) - 1,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_open(storage, &options, &image, &error) == 0,
	              "%s", qcowfmt_error_message(error));
	return image;
}

uint64_t chain_read(struct qcowfmt_image *image, uint8_t *buffer)
{
	uint64_t size = qcowfmt_get_size(image);
	struct qcowfmt_error *error = NULL;

	ck_assert_uint_le(size, CHAIN_MAX_DISK);
	ck_assert_msg(qcowfmt_pread(image, buffer, size, 0, &error) == 0, "%s",
	              qcowfmt_error_message(error));
	return size;
}

void chain_expect(struct qcowfmt_image *image, const uint8_t *want,
                  uint64_t size, const char *name)
{
	static uint8_t have[CHAIN_MAX_DISK];
	uint64_t length = chain_read(image, have);

	ck_assert_uint_ge(length, size);
	for (uint64_t i = 0; i < length; i++) {
		uint8_t byte = i < size ? want[i] : 0;

		if (have[i] != byte)
			ck_abort_msg("%s: byte %" PRIu64 " is %u, want %u",
			             name, i, have[i], byte);
	}
}

/* How many leaks there are, and nothing worse. */
static uint64_t count_leaks(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	ck_assert_int_eq(qcowfmt_get_info(image, 0, &info, NULL), 0);
	/* Nothing is counted there. */
	if (info.version < 2)
		return 0;
	ck_assert_int_eq(qcowfmt_check(image, 0, NULL, NULL, &result, NULL), 0);
	ck_assert_msg(result.corruptions == 0 && result.check_errors == 0,
	              "%s: %" PRIu64 " corruptions", name, result.corruptions);
	return result.leaks;
}

void chain_expect_sound(struct qcowfmt_image *image, const char *name)
{
	(void)count_leaks(image, name);
}

void chain_expect_settled(struct byte_image *bytes, int32_t format,
                          const char *name)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_image *image;

	if (format == QCOWFMT_FORMAT_RAW)
		return;
	image = chain_open(image_storage_new(bytes, false), format, 0, 0, NULL);
	ck_assert_int_eq(qcowfmt_get_info(image, 0, &info, NULL), 0);
	ck_assert_msg((info.flags & QCOWFMT_INFO_DIRTY) == 0,
	              "%s: it has returned and is dirty", name);
	ck_assert_msg(count_leaks(image, name) == 0,
	              "%s: it has returned and there are leaks", name);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

bool chain_is_empty(struct qcowfmt_image *image)
{
	uint64_t size = qcowfmt_get_size(image);
	uint64_t at = 0;

	while (at < size) {
		struct qcowfmt_extent extent;

		ck_assert_int_eq(qcowfmt_map(image, at, size - at,
		                             QCOWFMT_MAP_TOP, &extent, 1, NULL),
		                 1);
		if (extent.kind != QCOWFMT_EXTENT_UNALLOCATED)
			return false;
		at += extent.length;
	}
	return true;
}

/* --------------------------------------------------------------- power cuts */

/* One state in so many is shown to QEMU. */
#define QEMU_EVERY 61u

static bool is_dirty(const uint8_t *header)
{
	return header[7] >= 3 && (header[79] & 1) != 0;
}

void chain_ask_qemu(const struct byte_image *bytes,
                    const struct chain_image *how, uint64_t nth,
                    const char *name)
{
	const char *qemu_img = getenv("QCF_QEMU_IMG");
	const char *path = scratch_path("state");
	char command[1024];
	int status;

	if (qemu_img == NULL || how->format != QCOWFMT_FORMAT_QCOW2 ||
	    how->encrypted || nth % QEMU_EVERY != 0)
		return;
	ck_assert(write_image_file(bytes, path));
	snprintf(command, sizeof(command),
	         "'%s' check -q %s 'json:{\"driver\": \"qcow2\", \"file\": "
	         "{\"driver\": \"file\", \"filename\": \"%s\"}, "
	         "\"backing\": null}' >/dev/null 2>&1",
	         qemu_img, is_dirty(byte_image_bytes(bytes)) ? "-r all" : "",
	         path);
	status = system(command);
	ck_assert_msg(WIFEXITED(status) && (WEXITSTATUS(status) == 0 ||
	                                    WEXITSTATUS(status) == 3),
	              "%s: qemu-img check: %d", name, status);
}

void chain_count(struct chain_tally *tally, size_t position, bool after,
                 const char *name)
{
	if (after)
		tally->after++;
	else
		tally->before++;
	ck_assert_msg(after || position < tally->promised,
	              "%s: it has returned and is undone", name);
}

void chain_promise(struct chain_tally *tally, struct rec_log *log)
{
	rec_log_mark(log);
	tally->promised = log->count;
}

void chain_visit(struct rec_log *log, crash_visitor judge, void *opaque,
                 const struct chain_tally *tally, const char *name, bool ends)
{
	const struct crash_options options = {
		.seed = 1,
		.exhaustive = 10,
		.samples = 256,
		.torn_stride = 2,
		.thin = thin_factor(),
	};
	struct crash_totals totals = { 0 };

	ck_assert(crash_states_visit(log, &options, judge, opaque, &totals));
	printf("%s: %" PRIu64 " states, %" PRIu64 " before, %" PRIu64
	       " after\n",
	       name, totals.states, tally->before, tally->after);
	ck_assert_uint_gt(tally->before, 0);
	if (ends)
		ck_assert_uint_gt(tally->after, 0);
	rec_log_free(log);
}

int chain_main(const char *name, void (*add)(TCase *tcase))
{
	int status;

	scratch_init();
	status = unit_run(name, add);
	scratch_fini();
	return status;
}
