/* SPDX-License-Identifier: MIT */
/*
 * figure.h - what a test program has counted, over all of its processes
 *
 * Tests run in processes of their own, so the sums are in memory they share.
 */
#ifndef QCF_FIGURE_H
#define QCF_FIGURE_H

#include <stdint.h>

/* Before the tests begin; ends the program on failure. */
void figure_init(void);

/* Add to a figure; name and unit are constants. */
void figure_add(const char *name, const char *unit, uint64_t count);

/* Print "figure: NAME NUMBER UNIT" for each, when the tests have ended. */
void figure_print(void);

#endif
