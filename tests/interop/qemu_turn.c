/* SPDX-License-Identifier: MIT */
/*
 * qemu_turn.c - random operations as a script for qemu-io
 *
 * Data is either one byte repeated or a pattern file repeated, whose length is
 * prime so that a slip by any power of two shows.
 */
#include "qemu_turn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define PATTERN_LEN 4099u

struct turn {
	FILE *script;
	struct qcf_rng rng;
	const struct qcf_target *target;
	struct qcf_oracle *oracle;
	uint8_t pattern[PATTERN_LEN];
	char pattern_path[QCF_PATH_SIZE];
};

static void say(struct turn *t, const char *command, struct qcf_range range)
{
	fprintf(t->script, "%s %" PRIu64 " %" PRIu64 "\n", command,
	        range.offset, range.len);
}

static void write_byte(struct turn *t, struct qcf_range range)
{
	static const char *const forms[] = { "write -q", "writev -q",
		                             "aio_write -q", "write -q -f" };
	const char *form = forms[qcf_rng_below(&t->rng, 4)];
	unsigned int byte = (unsigned int)qcf_rng_below(&t->rng, 256);
	char command[64];

	snprintf(command, sizeof(command), "%s -P %u", form, byte);
	say(t, command, range);
	if (strncmp(form, "aio", 3) == 0)
		fputs("aio_flush\n", t->script);
	qcf_target_touch(t->target, range);
	memset(t->oracle->bytes + range.offset, (int)byte, range.len);
	snprintf(command, sizeof(command), "read -q -P %u", byte);
	say(t, command, range);
}

static void write_pattern(struct turn *t, struct qcf_range range)
{
	char command[QCF_PATH_SIZE + 32];
	uint64_t i;

	snprintf(command, sizeof(command), "write -q -s %s", t->pattern_path);
	say(t, command, range);
	qcf_target_touch(t->target, range);
	for (i = 0; i < range.len; i++)
		t->oracle->bytes[range.offset + i] =
			t->pattern[i % PATTERN_LEN];
}

static void zero(struct turn *t, struct qcf_range range)
{
	static const char *const forms[] = { "write -q -z", "write -q -z -u",
		                             "aio_write -q -z" };
	const char *form = forms[qcf_rng_below(&t->rng, 3)];

	say(t, form, range);
	if (strncmp(form, "aio", 3) == 0)
		fputs("aio_flush\n", t->script);
	qcf_target_touch(t->target, range);
	qcf_oracle_zero(t->oracle, range.offset, range.len);
}

static void one_op(struct turn *t)
{
	uint64_t pick = qcf_rng_below(&t->rng, 20);
	struct qcf_range range = qcf_target_range(t->target, &t->rng);

	if (pick < 7) {
		write_byte(t, range);
	} else if (pick < 12) {
		write_pattern(t, range);
	} else if (pick < 16) {
		zero(t, qcf_target_long_range(t->target, &t->rng));
	} else if (pick < 19) {
		range = qcf_target_long_range(t->target, &t->rng);
		say(t, "discard -q", range);
		qcf_target_touch(t->target, range);
		qcf_target_discard(t->target, t->oracle, range);
	} else {
		fputs("flush\n", t->script);
	}
}

static bool write_files(struct turn *t, const char *script_path, uint64_t count)
{
	FILE *file = fopen(t->pattern_path, "w");
	bool good;

	if (!file)
		return false;
	good = fwrite(t->pattern, 1, PATTERN_LEN, file) == PATTERN_LEN;
	good = fclose(file) == 0 && good;
	t->script = fopen(script_path, "w");
	if (!t->script)
		return false;
	while (count-- > 0)
		one_op(t);
	return fclose(t->script) == 0 && good;
}

bool qcf_qemu_turn(const struct qcf_tmpdir *dir,
                   const struct qcf_qemu_image *image,
                   const struct qcf_target *target, struct qcf_oracle *oracle,
                   uint64_t count, uint64_t seed, struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = { "qemu-io", "-t", "unsafe", "-d",
		                               "unmap" };
	int n = qcf_qemu_image_options(image, argv, 5);
	char script_path[QCF_PATH_SIZE];
	struct turn turn = {
		.rng = qcf_rng_new(seed, 3),
		.target = target,
		.oracle = oracle,
	};

	argv[n++] = image->spec;
	argv[n] = NULL;
	qcf_tmpdir_path(dir, "pattern", turn.pattern_path);
	qcf_tmpdir_path(dir, "script", script_path);
	qcf_rng_fill(&turn.rng, turn.pattern, PATTERN_LEN);
	if (!write_files(&turn, script_path, count))
		return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s",
		                 script_path, strerror(errno));
	return qcf_run_ok(argv, script_path, QCF_FOUND_METADATA, finding);
}
