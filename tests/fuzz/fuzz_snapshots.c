/* SPDX-License-Identifier: MIT */
/*
 * fuzz_snapshots.c - target: snapshots, bitmaps and properties of a tampered image
 *
 * Input: fuzz_input.h; the script is operations that do not touch guest data.  In
 * an image that was sound the guest sees the same, and it stays sound.
 */
#include "fuzz_input.h"
#include "fuzz_judge.h"
#include "fuzz_ops.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_bases_make();
	return 0;
}

/* Snapshots that are gone were deleted, or their ids given to new ones. */
static void expect_same(struct fuzz_image *fi, struct fuzz_views *before,
                        const struct fuzz_findings *found)
{
	static struct fuzz_views after;

	fuzz_views_read(fi, 0, after.disks);
	for (size_t i = 1; i <= FUZZ_MAX_SNAPSHOTS; i++)
		before->disks[i].is_there = false;
	fuzz_views_expect(before->disks, after.disks, 0, "operations");
	fuzz_expect_sound(fi, found, "operations");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_views before;
	static struct fuzz_image fi;
	static struct fuzz_input in;
	struct fuzz_world world = { .fi = &fi, .only = FUZZ_OPS_METADATA };
	struct fuzz_cursor script;
	struct fuzz_findings f;

	fuzz_input_parse(&in, data, size);
	fuzz_input_apply(&in, &fi);
	script = (struct fuzz_cursor){ in.script, in.script_len, 0 };
	fuzz_judge(&fi, 0, 0, &f);
	if (fuzz_is_sound(&f))
		fuzz_views_read(&fi, 0, before.disks);
	if (fuzz_open(&fi, QCOWFMT_OPEN_READ_WRITE, NULL, &world.image) < 0)
		return 0;
	if (fuzz_run_script(&world, &script))
		fuzz_close(world.image);
	if (fuzz_is_sound(&f))
		expect_same(&fi, &before, &f);
	return 0;
}
