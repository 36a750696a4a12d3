/* SPDX-License-Identifier: MIT */
/*
 * fuzz_inspect.c - target: the verdict on an image, and a copy of its metadata
 *
 * Input: fuzz_input.h; the script is one byte of flags.  What inspection says can
 * be opened opens, and nothing else does; what it finds a check finds; and
 * neither it nor a copy changes the image.
 */
#include <errno.h>

#include "fuzz_input.h"
#include "fuzz_judge.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_bases_make();
	return 0;
}

static void inspect(struct fuzz_image *fi, struct qcowfmt_inspection *seen)
{
	struct qcowfmt_storage *storage = fuzz_disk_storage(&fi->image, false);
	int ret;

	*seen = (struct qcowfmt_inspection){ .struct_size = sizeof(*seen) };
	ret = qcowfmt_inspect(storage, NULL, NULL, seen, NULL);
	FUZZ_ASSERT(ret == 0, "%d", ret);
	FUZZ_ASSERT(memchr(seen->backing_filename, '\0',
	                   sizeof(seen->backing_filename)) != NULL &&
	                    memchr(seen->data_filename, '\0',
	                           sizeof(seen->data_filename)) != NULL,
	            "a name without an end");
	qcowfmt_storage_free(storage);
}

/* Ceilings are smaller here, and a chain may be refused for what is below. */
static bool may_be_refused(int ret)
{
	return ret == -E2BIG || ret == -EKEYREJECTED || ret == -ENOKEY;
}

static void compare(struct fuzz_image *fi,
                    const struct qcowfmt_inspection *seen)
{
	bool can_open = (seen->flags & QCOWFMT_INSPECT_CAN_OPEN) != 0;
	struct fuzz_findings f;

	if ((seen->flags &
	     (QCOWFMT_INSPECT_BACKING | QCOWFMT_INSPECT_DATA_FILE)) != 0 ||
	    seen->format != (fi->base->kind->version == 1
	                             ? QCOWFMT_FORMAT_QCOW
	                             : QCOWFMT_FORMAT_QCOW2))
		return;
	fuzz_judge(fi, QCOWFMT_OPEN_NO_DATA, 0, &f);
	FUZZ_ASSERT(can_open == (f.ret == 0) || may_be_refused(f.ret),
	            "can open: %d, and opening says %d", can_open, f.ret);
	if (f.ret != 0)
		return;
	FUZZ_ASSERT(f.result.corruptions == seen->corruptions &&
	                    f.result.leaks == seen->leaks &&
	                    f.result.check_errors == seen->check_errors,
	            "%" PRIu64 " corruptions, a check finds %" PRIu64,
	            seen->corruptions, f.result.corruptions);
	FUZZ_ASSERT(seen->unsafe != 0 || f.result.corruptions == 0,
	            "safe, with corruptions");
}

static void dehydrate(struct fuzz_image *fi, uint32_t flags)
{
	static struct fuzz_disk copy;
	struct qcowfmt_storage *storage = fuzz_disk_storage(&fi->image, false);
	struct qcowfmt_storage *target;

	fuzz_disk_reset(&copy, NULL, 0);
	target = fuzz_disk_storage(&copy, true);
	(void)qcowfmt_dehydrate(storage, target, flags, NULL);
	qcowfmt_storage_free(storage);
	qcowfmt_storage_free(target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct qcowfmt_inspection seen;
	static struct fuzz_image fi;
	static struct fuzz_input in;
	uint8_t flags;

	fuzz_input_parse(&in, data, size);
	fuzz_input_apply(&in, &fi);
	flags = in.script_len > 0 ? in.script[0] : 0;
	inspect(&fi, &seen);
	compare(&fi, &seen);
	dehydrate(&fi, flags & QCOWFMT_DEHYDRATE_NO_NAMES);
	FUZZ_ASSERT(fi.image.writes == 0, "looking has written");
	return 0;
}
