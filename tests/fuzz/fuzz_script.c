/* SPDX-License-Identifier: MIT */
/*
 * fuzz_script.c - target: operations on a sound image against flat arrays
 *
 * Input: fuzz_input.h; patches are not applied, the script is operations.  Disk
 * and snapshots read as the arrays say at every step and when opened again, and
 * the image is sound at the end.
 */
#include "fuzz_input.h"
#include "fuzz_ops.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_bases_make();
	return 0;
}

static void look_again(struct fuzz_image *fi, const struct fuzz_model *model)
{
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };
	struct qcowfmt_image *image;
	char id[8];

	FUZZ_ASSERT(fuzz_open(fi, 0, NULL, &image) == 0, "does not open");
	fuzz_model_expect_all(&model->disk, image, "at the end");
	FUZZ_ASSERT(qcowfmt_check(image, 0, NULL, NULL, &r, NULL) == 0 &&
	                    r.corruptions == 0 && r.leaks == 0 &&
	                    r.check_errors == 0,
	            "%" PRIu64 " corruptions, %" PRIu64 " leaks", r.corruptions,
	            r.leaks);
	fuzz_close(image);
	for (uint32_t i = 0; i < model->snapshot_count; i++) {
		const struct fuzz_model_snapshot *s = &model->snapshots[i];

		(void)snprintf(id, sizeof(id), "%" PRIu32, s->id);
		FUZZ_ASSERT(fuzz_open(fi, 0, id, &image) == 0, "snapshot %s",
		            id);
		fuzz_model_expect_all(s->disk, image, id);
		fuzz_close(image);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_model model;
	static struct fuzz_image fi;
	static struct fuzz_input in;
	struct fuzz_world world = { .fi = &fi, .model = &model };
	struct fuzz_cursor script;

	fuzz_input_parse(&in, data, size);
	in.patch_count = 0;
	fuzz_input_apply(&in, &fi);
	FUZZ_ASSERT(fuzz_model_begin(&model, fi.base->views,
	                             fi.base->kind->snapshots),
	            "%s", fi.base->kind->name);
	FUZZ_ASSERT(fuzz_open(&fi, QCOWFMT_OPEN_READ_WRITE, NULL,
	                      &world.image) == 0,
	            "%s", fi.base->kind->name);
	script = (struct fuzz_cursor){ in.script, in.script_len, 0 };
	if (fuzz_run_script(&world, &script))
		FUZZ_ASSERT(qcowfmt_close(world.image, NULL) == 0, "close");
	look_again(&fi, &model);
	return 0;
}
