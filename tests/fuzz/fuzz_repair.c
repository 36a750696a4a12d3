/* SPDX-License-Identifier: MIT */
/*
 * fuzz_repair.c - target: a tampered image is repaired, and then used
 *
 * Input: fuzz_input.h; the script is one byte of flags, then operations.  What
 * read right before reads right after; the image is sound then, or what is left is
 * beyond repair; a second repair changes not one byte; and a sound image stays
 * sound whatever is done to it.
 */
#include "fuzz_input.h"
#include "fuzz_judge.h"
#include "fuzz_ops.h"

#define RW_REPAIR (QCOWFMT_OPEN_READ_WRITE | QCOWFMT_OPEN_REPAIR)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_bases_make();
	return 0;
}

static void expect_no_change(struct fuzz_image *fi, uint32_t flags)
{
	struct fuzz_bytes once = fuzz_disk_copy(&fi->image);
	struct fuzz_findings f;

	fuzz_judge(fi, RW_REPAIR, flags, &f);
	FUZZ_ASSERT(fuzz_is_sound(&f) && f.result.corruptions_fixed == 0 &&
	                    f.result.leaks_fixed == 0,
	            "a second repair has something to do");
	FUZZ_ASSERT(fuzz_disk_equals(&fi->image, &once),
	            "a second repair has changed something");
	free(once.bytes);
}

/* With bitmaps, bits that are also a table are not noticed. */
static void use(struct fuzz_image *fi, struct fuzz_cursor *script,
                const struct fuzz_findings *found)
{
	struct fuzz_world world = { .fi = fi };

	if (fi->base->kind->bitmaps ||
	    fuzz_open(fi, QCOWFMT_OPEN_READ_WRITE, NULL, &world.image) < 0)
		return;
	if (fuzz_run_script(&world, script))
		fuzz_close(world.image);
	fuzz_expect_sound(fi, found, "use after repair");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_views before;
	static struct fuzz_views after;
	static struct fuzz_image fi;
	static struct fuzz_input in;
	struct fuzz_findings repaired;
	struct fuzz_findings left;
	struct fuzz_cursor script;
	uint32_t flags;

	fuzz_input_parse(&in, data, size);
	fuzz_input_apply(&in, &fi);
	script = (struct fuzz_cursor){ in.script, in.script_len, 0 };
	flags = fuzz_take(&script, 1) % 4 == 3 ? QCOWFMT_CHECK_REPAIR_LEAKS
	                                       : QCOWFMT_CHECK_REPAIR_ALL;
	fuzz_views_read(&fi, QCOWFMT_OPEN_REPAIR, before.disks);
	fuzz_views_keep_right(&before, fi.base);
	fuzz_judge(&fi, RW_REPAIR, flags, &repaired);
	fuzz_views_read(&fi, QCOWFMT_OPEN_REPAIR, after.disks);
	fuzz_views_expect(before.disks, after.disks, 0, "repair");
	if (repaired.ret != 0)
		return 0;
	fuzz_judge(&fi, QCOWFMT_OPEN_REPAIR, 0, &left);
	FUZZ_ASSERT(left.ret == 0, "%d", left.ret);
	if (fuzz_is_sound(&left)) {
		expect_no_change(&fi, flags);
		use(&fi, &script, &left);
	} else if (flags == QCOWFMT_CHECK_REPAIR_ALL) {
		FUZZ_ASSERT(fuzz_is_excused(&fi, &left),
		            "%" PRIu64 " corruptions and %" PRIu64
		            " leaks are left",
		            left.result.corruptions, left.result.leaks);
	}
	return 0;
}
