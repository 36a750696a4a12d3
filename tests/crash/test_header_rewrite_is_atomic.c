/* SPDX-License-Identifier: MIT */
/*
 * Promise: replacing the header with its extensions and the backing file name is
 * one step: after a power cut there is the old header or the new one, and QEMU
 * reads what we wrote.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_qemu.h"
#include "crash_states.h"
#include "header_ext.h"
#include "header_rewrite.h"
#include "image.h"
#include "scratch.h"
#include "thin.h"
#include "unit.h"

#define CAPACITY     (1u << 20)
#define STEPS        40
#define MAX_TEXT     2048
#define UNKNOWN_TYPE 0x7e571e57u

static const char *qemu_img;

static const struct {
	uint32_t version;
	uint64_t cluster_size;
	uint64_t max_name; /* a longer one does not fit twice */
} kinds[] = {
	{ 2, 512, 300 },    { 3, 512, 200 },      { 2, 4096, 700 },
	{ 3, 4096, 700 },   { 2, 65536, 1023 },   { 3, 8192, 1023 },
	{ 3, 65536, 1023 }, { 3, 2097152, 1023 },
};

/* All that a header says, as one text. */
static void describe(const struct qcf_header *h, char *text)
{
	const struct qcf_extension *unknown =
		qcf_header_extension(h, UNKNOWN_TYPE);

	snprintf(text, MAX_TEXT, "%s|%s|%" PRIu32 "|%02x|%" PRIx64,
	         h->backing_name == NULL ? "" : h->backing_name,
	         h->backing_format == NULL ? "" : h->backing_format,
	         unknown == NULL ? 0 : unknown->len,
	         unknown == NULL || unknown->len == 0 ? 0u : unknown->data[0],
	         h->autoclear_features);
}

struct tally {
	char before[MAX_TEXT];
	char after[MAX_TEXT];
	uint64_t old_ones;
	uint64_t new_ones;
};

static bool is_old_or_new(void *opaque, const struct crash_state *state)
{
	struct tally *tally = opaque;
	struct qcf_header header;
	char text[MAX_TEXT];

	if (qcf_header_decode(&header, byte_image_bytes(state->image),
	                      byte_image_size(state->image), NULL) < 0)
		return false;
	describe(&header, text);
	qcf_header_fini(&header);

	bool is_old = strcmp(text, tally->before) == 0;
	bool is_new = strcmp(text, tally->after) == 0;

	tally->old_ones += is_old;
	tally->new_ones += is_new;
	return is_old || is_new;
}

static void random_text(struct unit_random *random, char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + unit_random_u64(random) % 26);
	text[len] = '\0';
}

/* Change one thing or several. */
static void change(struct qcf_header *h, struct unit_random *random,
                   uint64_t max_name)
{
	char name[1024];
	uint8_t data[128];

	memset(data, (int)(unit_random_u64(random) % 256), sizeof(data));
	if (unit_random_u64(random) % 4 == 0) {
		qcf_header_remove_extension(h, UNKNOWN_TYPE);
		ck_assert_int_eq(
			qcf_header_add_extension(
				h, UNKNOWN_TYPE, data,
				(uint32_t)(unit_random_u64(random) % 128),
				NULL),
			0);
	}
	if (unit_random_u64(random) % 8 == 0) {
		ck_assert_int_eq(qcf_header_set_backing(h, NULL, NULL, NULL),
		                 0);
		return;
	}
	random_text(random, name, 1 + unit_random_u64(random) % max_name);
	ck_assert_int_eq(qcf_header_set_backing(
				 h, name,
				 unit_random_u64(random) % 2 ? "raw" : NULL,
				 NULL),
	                 0);
}

static void rewrite(struct qcowfmt_image *image, struct unit_random *random,
                    uint64_t max_name, struct tally *tally)
{
	struct qcf_meta *meta = qcf_image_top(image)->meta;
	struct qcowfmt_error *error = NULL;
	struct qcf_header header;

	ck_assert_int_eq(qcf_header_copy(&meta->header, &header, NULL), 0);
	change(&header, random, max_name);
	describe(&meta->header, tally->before);
	describe(&header, tally->after);
	ck_assert_msg(qcf_header_rewrite(meta, &header, &error) == 0, "%s",
	              qcowfmt_error_message(error));
	qcf_header_fini(&header);
}

/* qemu-img info names the backing file, if there is one. */
static void check_with_qemu(const struct rec_log *log,
                            const struct qcf_header *h)
{
	const char *path = scratch_path("image");
	char command[512];
	char output[8192] = "";
	char want[1200];

	if (qemu_img == NULL)
		return;
	ck_assert(write_image_file(log->now[REC_IMAGE], path));
	snprintf(command, sizeof(command),
	         h->backing_name == NULL
	                 ? "'%s' info --output=json -f qcow2 '%s' && "
	                   "'%s' check -q -f qcow2 '%s'"
	                 : "'%s' info --output=json -f qcow2 '%s'",
	         qemu_img, path, qemu_img, path);

	FILE *pipe = popen(command, "r");

	ck_assert_ptr_nonnull(pipe);
	(void)!fread(output, 1, sizeof(output) - 1, pipe);
	snprintf(want, sizeof(want), "\"backing-filename\": \"%s\"",
	         h->backing_name == NULL ? "" : h->backing_name);
	ck_assert_msg((strstr(output, want) != NULL) ==
	                      (h->backing_name != NULL),
	              "want %s in %s", want, output);
	ck_assert_int_eq(pclose(pipe), 0);
}

static struct qcowfmt_image *open_new(struct rec_log *log, int kind)
{
	struct qcowfmt_storage *storage = rec_storage_new(log);
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = 65536,
		.version = kinds[kind].version,
		.cluster_size = kinds[kind].cluster_size,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};

	ck_assert_int_eq(qcowfmt_create(storage, &create, NULL), 0);
	ck_assert_int_eq(qcowfmt_open(storage, &options, &image, NULL), 0);
	return image;
}

START_TEST(each_state_is_old_or_new)
{
	struct unit_random random = unit_random_init();
	struct rec_log *log = rec_log_new(CAPACITY * 16);
	struct qcowfmt_image *image = open_new(log, _i);
	struct crash_options crash = { .seed = random.state,
		                       .thin = thin_factor() };
	struct crash_totals totals = { 0 };
	uint64_t old_ones = 0;
	uint64_t new_ones = 0;

	for (int step = 0; step < STEPS; step++) {
		struct tally tally = { .old_ones = 0 };

		rec_log_restart(log);
		rewrite(image, &random, kinds[_i].max_name, &tally);
		ck_assert_msg(crash_states_visit(log, &crash, is_old_or_new,
		                                 &tally, &totals),
		              "torn: %s -> %s", tally.before, tally.after);
		old_ones += tally.old_ones;
		new_ones += tally.new_ones;
		if (step % 4 == 0)
			check_with_qemu(log,
			                &qcf_image_top(image)->meta->header);
	}
	printf("version %" PRIu32 ", clusters of %" PRIu64 ": %" PRIu64
	       " states, %" PRIu64 " old, %" PRIu64 " new\n",
	       kinds[_i].version, kinds[_i].cluster_size, totals.states,
	       old_ones, new_ones);
	ck_assert_uint_gt(old_ones, STEPS / 2);
	ck_assert_uint_gt(new_ones, STEPS / 2);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	rec_log_free(log);
}

END_TEST

START_TEST(what_does_not_fit_changes_nothing)
{
	struct rec_log *log = rec_log_new(CAPACITY);
	struct qcowfmt_image *image = open_new(log, 0);
	struct qcf_meta *meta = qcf_image_top(image)->meta;
	uint64_t before = byte_image_fingerprint(log->now[REC_IMAGE]);
	struct qcf_header header;
	char name[601];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(qcf_header_copy(&meta->header, &header, NULL), 0);
	ck_assert_int_eq(qcf_header_set_backing(&header, name, NULL, NULL), 0);
	ck_assert_int_eq(qcf_header_rewrite(meta, &header, NULL), -ENOSPC);
	qcf_header_fini(&header);
	ck_assert(byte_image_fingerprint(log->now[REC_IMAGE]) == before);
	ck_assert_ptr_null(meta->header.backing_name);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	rec_log_free(log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, each_state_is_old_or_new, 0,
	                    (int)QCF_ARRAY_LEN(kinds));
	tcase_add_test(tcase, what_does_not_fit_changes_nothing);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	qemu_img = argc > 1 ? argv[1] : NULL;
	scratch_init();

	int status = unit_run("header_rewrite_is_atomic", add);

	scratch_fini();
	return status;
}
