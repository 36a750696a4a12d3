/* SPDX-License-Identifier: MIT */
/*
 * built_with.h - what the library under test was built with, as it says itself
 */
#ifndef TEST_BUILT_WITH_H
#define TEST_BUILT_WITH_H

#include <stdbool.h>

/* Whether it can make images with zstd.  Anything but a refusal by name fails
 * the test. */
bool built_with_zstd(void);

#endif
