/* SPDX-License-Identifier: MIT */
/*
 * fuzz_write.c - target: operations on an image that somebody has tampered with
 *
 * Input: fuzz_input.h; the script is one byte of flags, then operations.  Anything
 * may become of the data, but the image can be opened as before, and what was
 * sound stays sound.
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t flags[] = { 0, 0, QCOWFMT_OPEN_REPAIR,
		                          QCOWFMT_OPEN_LAZY_REFCOUNTS_ON };
	static struct fuzz_image fi;
	static struct fuzz_input in;
	struct fuzz_world world = { .fi = &fi };
	struct fuzz_cursor script;
	struct fuzz_findings before;

	fuzz_input_parse(&in, data, size);
	fuzz_input_apply(&in, &fi);
	script = (struct fuzz_cursor){ in.script, in.script_len, 0 };
	world.flags = flags[fuzz_take(&script, 1) % QCF_ARRAY_LEN(flags)];
	fuzz_judge(&fi, 0, 0, &before);
	if (fuzz_open(&fi, QCOWFMT_OPEN_READ_WRITE | world.flags, NULL,
	              &world.image) < 0)
		return 0;
	if (fuzz_run_script(&world, &script))
		fuzz_close(world.image);
	if (fuzz_is_sound(&before))
		fuzz_expect_sound(&fi, &before, "operations");
	return 0;
}
