/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what every fuzz target shares
 *
 * A target is a program that takes any bytes as input and ends by a signal when
 * the library breaks a promise.  FUZZ_ASSERT() says which one.
 */
#ifndef QCF_FUZZ_H
#define QCF_FUZZ_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef QCF_ARRAY_LEN
#define QCF_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))
#endif

/* What libFuzzer, AFL++ and fuzz_main.c call.  The second may be missing. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed) __attribute__((weak));
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1,
                                 const uint8_t *data2, size_t size2,
                                 uint8_t *out, size_t max_out_size,
                                 unsigned int seed) __attribute__((weak));

/* What they offer. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* Not through stderr, which may be closed. */
#define FUZZ_ASSERT(condition, ...)                                      \
	do {                                                             \
		if (!(condition)) {                                      \
			dprintf(STDERR_FILENO,                           \
			        "%s:%d: broken promise: %s: ", __FILE__, \
			        __LINE__, #condition);                   \
			dprintf(STDERR_FILENO, __VA_ARGS__);             \
			dprintf(STDERR_FILENO, "\n");                    \
			abort();                                         \
		}                                                        \
	} while (0)

/* Takes numbers from an input, and zeros behind its end. */
struct fuzz_cursor {
	const uint8_t *bytes;
	size_t len;
	size_t pos;
};

static inline bool fuzz_is_done(const struct fuzz_cursor *c)
{
	return c->pos >= c->len;
}

static inline uint64_t fuzz_take(struct fuzz_cursor *c, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | (fuzz_is_done(c) ? 0 : c->bytes[c->pos++]);
	return value;
}

/* The input as a text ended by NUL; the caller frees it. */
char *fuzz_text(const uint8_t *data, size_t size);

/* Memory or the end of the program. */
void *fuzz_need(void *memory);

/* splitmix64 */
static inline uint64_t fuzz_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* In [0, limit); limit is not 0. */
static inline uint64_t fuzz_below(uint64_t *state, uint64_t limit)
{
	return fuzz_random(state) % limit;
}

/* A value that is likely to meet a limit. */
uint64_t fuzz_nasty(uint64_t *state);

/* From now on what is printed goes nowhere; reports of sanitizers still come. */
void fuzz_be_quiet(void);

#endif
