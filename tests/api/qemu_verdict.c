/* SPDX-License-Identifier: MIT */
/* qemu_verdict.c - what qemu-img says of an image with a changed field */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "qemu_verdict.h"

#include "api_test.h"

/* Differences that are meant: words in the name of the image, and why. */
static const struct difference {
	const char *kind;
	const char *field;
	enum verdict ours;
	enum verdict qemu;
	const char *why;
} differences[] = {
	{ "", "", VERDICT_CORRUPT, VERDICT_REFUSED,
	  "QEMU does not open images with a damaged snapshot table, bitmap or "
	  "L1 table; a check of ours tells what is wrong" },
	{ "", "header", VERDICT_REFUSED, VERDICT_CORRUPT,
	  "an L1 or snapshot table that is not in the file: QEMU takes what is "
	  "not there for zeros" },
	{ "data file", "L2 entry", VERDICT_CORRUPT, VERDICT_CLEAN,
	  "a cluster that is not at its place in the data file, or compressed: "
	  "QEMU's check does not look, and reading fails" },
	{ "version 2", "snapshot extra_len", VERDICT_CORRUPT, VERDICT_CLEAN,
	  "the next snapshot begins elsewhere then, or the L1 table of what is "
	  "taken for one is none: QEMU's check of version 2 does not look" },
	{ "version 2", "nb_snapshots", VERDICT_CORRUPT, VERDICT_CLEAN,
	  "zeros are taken for a snapshot, which has no L1 table: the same" },
	{ "", "extension 0x00000000 length", VERDICT_CLEAN, VERDICT_REFUSED,
	  "the end of the extensions needs no length, and QEMU wants one that "
	  "fits" },
	{ "data file", "extension 0x44415441 type", VERDICT_CLEAN,
	  VERDICT_REFUSED,
	  "without a name the data file has to be given, which the test does" },
};

static const char *const names[] = { "clean", "leaks", "corrupt", "refused" };

enum verdict verdict_of(int ret, const struct qcowfmt_check_result *result)
{
	if (ret < 0)
		return VERDICT_REFUSED;
	if (result->corruptions > 0 || result->check_errors > 0)
		return VERDICT_CORRUPT;
	return result->leaks > 0 ? VERDICT_LEAKS : VERDICT_CLEAN;
}

static enum verdict ask_qemu(const struct api_disk *disk)
{
	int status;

	api_write_file("judged", disk->bytes, disk->size);
	status =
		api_run("timeout", "20", api_qemu_img, "check", "judged", NULL);
	ck_assert_msg(status != 124, "qemu-img does not end");
	switch (status) {
	case 0:
		return VERDICT_CLEAN;
	case 2:
		return VERDICT_CORRUPT;
	case 3:
		return VERDICT_LEAKS;
	default:
		return VERDICT_REFUSED;
	}
}

void qemu_verdict_begin(const struct api_disk *data_file, uint64_t disk_size)
{
	api_write_file("data", data_file->bytes, data_file->size);
	api_write_file("base", "", 0);
	ck_assert_int_eq(truncate("base", (off_t)disk_size), 0);
}

static bool is_meant(const char *what, enum verdict ours, enum verdict qemu)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(differences); i++) {
		const struct difference *d = &differences[i];

		if (d->ours == ours && d->qemu == qemu &&
		    strncmp(what, d->kind, strlen(d->kind)) == 0 &&
		    strstr(what, d->field) != NULL)
			return true;
	}
	return false;
}

static void expect_same(const char *what, const char *when, enum verdict ours,
                        enum verdict qemu)
{
	ck_assert_msg(ours == qemu || is_meant(what, ours, qemu),
	              "%s, %s: %s, and %s to qemu-img", what, when, names[ours],
	              names[qemu]);
}

void qemu_verdict_compare(const char *what, const struct api_disk *damaged,
                          enum verdict check, const struct api_disk *repaired,
                          enum verdict after)
{
	enum verdict qemu = ask_qemu(damaged);

	expect_same(what, "damaged", check, qemu);
	if (after == VERDICT_CLEAN || after == VERDICT_LEAKS) {
		qemu = ask_qemu(repaired);
		expect_same(what, "repaired", after, qemu);
	}
}
