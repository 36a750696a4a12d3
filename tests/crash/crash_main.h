/* SPDX-License-Identifier: MIT */
/* crash_main.h - main() of the tests that are run for one kind of image */
#ifndef QCF_CRASH_MAIN_H
#define QCF_CRASH_MAIN_H

#include "crash_world.h"
#include "unit.h"

/* What the arguments said: the kind of image, and where qemu-img is (NULL if
 * nowhere). */
struct crash_arguments {
	const struct geometry *geometry;
	const char *qemu_img;
};

extern struct crash_arguments crash_arguments;

/* Run the tests that add() puts into the case; returns the exit status. */
int crash_main(const char *promise, void (*add)(TCase *), int argc,
               char **argv);

#endif
