/* SPDX-License-Identifier: MIT */
/*
 * fuzz_read.c - target: an image of any version is opened and read
 *
 * Input: fuzz_input.h; the script is one byte of flags.  Long reads and short ones
 * agree, and nothing is written.
 */
#include "fuzz_input.h"
#include "fuzz_view.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_bases_make();
	return 0;
}

static void look(struct fuzz_image *fi, uint32_t flags)
{
	static const char *const ids[] = { NULL, "1", "2", "3" };
	static struct fuzz_view view;
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };

	for (size_t i = 0; i < QCF_ARRAY_LEN(ids); i++) {
		struct qcowfmt_image *image = NULL;

		if (fuzz_open(fi, flags, ids[i], &image) < 0)
			continue;
		memset(&view, 0, sizeof(view));
		fuzz_view_read(image, &view);
		fuzz_ask_all(image);
		(void)qcowfmt_check(image, 0, NULL, NULL, &r, NULL);
		FUZZ_ASSERT(qcowfmt_close(image, NULL) == 0,
		            "closing what was only read");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t flags[] = { 0, QCOWFMT_OPEN_REPAIR,
		                          QCOWFMT_OPEN_NO_DATA };
	static struct fuzz_image fi;
	static struct fuzz_input in;

	fuzz_input_parse(&in, data, size);
	fuzz_input_apply(&in, &fi);
	look(&fi, flags[in.script_len > 0 ? in.script[0] % 3 : 0]);
	FUZZ_ASSERT(fi.image.writes == 0 && fi.data.writes == 0 &&
	                    fi.backing.writes == 0,
	            "reading has written");
	return 0;
}
