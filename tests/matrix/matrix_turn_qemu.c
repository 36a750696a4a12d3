/* SPDX-License-Identifier: MIT */
/* matrix_turn_qemu.c - a turn as a script for one qemu-io */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "matrix_turn.h"
#include "run.h"

static const char *any_of(struct qcf_rng *rng, const char *const forms[3])
{
	return forms[qcf_rng_below(rng, 3)];
}

static void say_bytes(const struct qcf_turn_op *op, const char *form,
                      FILE *script)
{
	fprintf(script, "%s -P %u %" PRIu64 " %" PRIu64 "\n", form, op->byte,
	        op->range.offset, op->range.len);
}

static void say_plain(const struct qcf_turn_op *op, const char *form,
                      FILE *script)
{
	fprintf(script, "%s %" PRIu64 " %" PRIu64 "\n", form, op->range.offset,
	        op->range.len);
}

static void say_op(const struct qcf_turn_op *op, const char *pattern_path,
                   struct qcf_rng *rng, FILE *script)
{
	static const char *const writes[] = { "write -q", "writev -q",
		                              "write -q -f" };
	static const char *const zeros[] = { "write -q -z", "aio_write -q -z",
		                             "write -q -z" };
	char form[QCF_PATH_SIZE + 32];

	switch (op->kind) {
	case QCF_TURN_WRITE_BYTE:
		say_bytes(op, any_of(rng, writes), script);
		break;
	case QCF_TURN_COMPRESS_BYTE:
		say_bytes(op, "write -q -c", script);
		break;
	case QCF_TURN_WRITE_PATTERN:
	case QCF_TURN_COMPRESS_PATTERN:
		snprintf(form, sizeof(form), "write -q %s-s %s",
		         op->kind == QCF_TURN_WRITE_PATTERN ? "" : "-c ",
		         pattern_path);
		say_plain(op, form, script);
		break;
	case QCF_TURN_ZERO:
		say_plain(op, any_of(rng, zeros), script);
		fputs("aio_flush\n", script);
		break;
	case QCF_TURN_ZERO_UNMAP:
		say_plain(op, "write -q -z -u", script);
		break;
	case QCF_TURN_DISCARD:
		say_plain(op, "discard -q", script);
		break;
	case QCF_TURN_FLUSH:
	case QCF_TURN_OP_KINDS:
		fputs("flush\n", script);
		break;
	}
}

static bool write_pattern(const struct qcf_turn *turn, const char *path)
{
	FILE *file = fopen(path, "w");
	bool good;

	if (!file)
		return false;
	good = fwrite(turn->pattern, 1, QCF_PATTERN_LEN, file) ==
	       QCF_PATTERN_LEN;
	return fclose(file) == 0 && good;
}

static bool write_script(const struct qcf_turn *turn, const char *path,
                         const char *pattern_path)
{
	struct qcf_rng rng = qcf_rng_new(turn->seed, 3);
	FILE *script = fopen(path, "w");
	int i;

	if (!script)
		return false;
	for (i = 0; i < turn->count; i++)
		say_op(&turn->ops[i], pattern_path, &rng, script);
	return fclose(script) == 0;
}

bool qcf_turn_by_qemu(const struct qcf_turn *turn,
                      const struct qcf_matrix_image *image,
                      struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = { NULL };
	char options[QCF_QEMU_OPTIONS_SIZE];
	char pattern_path[QCF_PATH_SIZE];
	char script_path[QCF_PATH_SIZE];
	int n = qcf_qemu_argv(image, "qemu-io", NULL, argv);

	qcf_tmpdir_path(&image->dir, "pattern", pattern_path);
	qcf_tmpdir_path(&image->dir, "script", script_path);
	if (!write_pattern(turn, pattern_path) ||
	    !write_script(turn, script_path, pattern_path))
		return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s",
		                 script_path, strerror(errno));
	qcf_matrix_qemu_options(image, options);
	argv[n++] = "-t";
	argv[n++] = "unsafe";
	argv[n++] = "-d";
	argv[n++] = "unmap";
	argv[n++] = "--image-opts";
	argv[n++] = options;
	return qcf_run_ok(argv, script_path, QCF_FOUND_ERROR, finding);
}
