/* SPDX-License-Identifier: MIT */
/* ceiling.c - how much memory and time the library takes for an image */
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "ceiling.h"
#include "unit.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *memory);

static atomic_llong used; /* bytes */
static atomic_llong peak;

static long long first;      /* used when it began */
static double began;         /* seconds */
static uint64_t most_memory; /* bytes */
static double most_seconds;

static void *count(void *memory)
{
	long long now;

	if (memory == NULL)
		return NULL;
	now = atomic_fetch_add(&used, (long long)malloc_usable_size(memory)) +
	      (long long)malloc_usable_size(memory);
	if (now > atomic_load(&peak))
		atomic_store(&peak, now);
	return memory;
}

static void discount(void *memory)
{
	if (memory != NULL)
		atomic_fetch_sub(&used, (long long)malloc_usable_size(memory));
}

void *__wrap_malloc(size_t size)
{
	return count(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
	return count(__real_calloc(n, size));
}

/* Both places count while one is copied to the other. */
void *__wrap_realloc(void *memory, size_t size)
{
	size_t old = memory == NULL ? 0 : malloc_usable_size(memory);
	void *moved = count(__real_realloc(memory, size));

	if (moved != NULL)
		atomic_fetch_sub(&used, (long long)old);
	return moved;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return count(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *memory)
{
	discount(memory);
	__real_free(memory);
}

static double processor_seconds(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void ceiling_begin(void)
{
	first = atomic_load(&used);
	atomic_store(&peak, first);
	began = processor_seconds();
}

void ceiling_end(const char *what, uint64_t memory)
{
	double seconds = processor_seconds() - began;
	uint64_t bytes = (uint64_t)(atomic_load(&peak) - first);

	ck_assert_msg(bytes <= memory,
	              "%s: took %" PRIu64 " bytes of memory, want %" PRIu64,
	              what, bytes, memory);
	ck_assert_msg(seconds <= CEILING_SECONDS,
	              "%s: took %.1f s, want %.1f at most", what, seconds,
	              CEILING_SECONDS);
	if (bytes > most_memory)
		most_memory = bytes;
	if (seconds > most_seconds)
		most_seconds = seconds;
}

uint64_t ceiling_most_memory(void)
{
	return most_memory;
}

double ceiling_most_seconds(void)
{
	return most_seconds;
}
