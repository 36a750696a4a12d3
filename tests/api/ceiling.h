/* SPDX-License-Identifier: MIT */
/*
 * ceiling.h - how much memory and time the library takes for an image
 *
 * A program that uses it is linked with --wrap for the functions in ceiling.c, so
 * that what the library allocates is counted.
 */
#ifndef QCF_CEILING_H
#define QCF_CEILING_H

#include <stdint.h>

/* What opening or checking an image may take, beside its L1 table and refcount
 * table and four bytes for each cluster in use. */
#define CEILING_MEMORY (UINT64_C(64) << 20)

/* What anything done with a hostile image may take, of the processor. */
#define CEILING_SECONDS 10.0

/* What is measured begins. */
void ceiling_begin(void);

/* It has ended: fails the test, which names the image, if it took too much. */
void ceiling_end(const char *what, uint64_t memory);

/* The most that any took. */
uint64_t ceiling_most_memory(void);
double ceiling_most_seconds(void);

#endif
