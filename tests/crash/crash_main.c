/* SPDX-License-Identifier: MIT */
/* crash_main.c - main() of the tests that are run for one kind of image */
#include <stdio.h>

#include "crash_main.h"
#include "scratch.h"

struct crash_arguments crash_arguments;

int crash_main(const char *promise, void (*add)(TCase *), int argc, char **argv)
{
	if (argc > 1)
		crash_arguments.geometry = crash_geometry_find(argv[1]);
	if (argc > 2)
		crash_arguments.qemu_img = argv[2];
	if (crash_arguments.geometry == NULL) {
		fprintf(stderr, "usage: %s KIND [QEMU-IMG]\n", argv[0]);
		return EXIT_FAILURE;
	}
	if ((crash_arguments.geometry->snapshot ||
	     crash_arguments.geometry->compressed) &&
	    crash_arguments.qemu_img == NULL) {
		printf("skipped: qemu-img is needed to make this kind\n");
		return UNIT_SKIPPED;
	}
	/* A test that fails ends its process without flushing. */
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	scratch_init();

	int status = unit_run(promise, add);

	scratch_fini();
	return status;
}
