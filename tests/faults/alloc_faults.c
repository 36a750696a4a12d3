/* SPDX-License-Identifier: MIT */
/*
 * alloc_faults.c - memory allocation that fails when told to
 *
 * Functions of the C library that allocate do so without going through the
 * wrapped malloc(), so those that the library uses are wrapped as well.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_faults.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
char *__real_realpath(const char *path, char *resolved);
void __real_free(void *memory);
int __real_vasprintf(char **text, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
char *__wrap_realpath(const char *path, char *resolved);
void __wrap_free(void *memory);
int __wrap_vasprintf(char **text, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **text, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int __wrap___vasprintf_chk(char **text, int flag, const char *fmt, va_list args)
	__attribute__((format(printf, 3, 0)));
int __wrap___asprintf_chk(char **text, int flag, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A conversion allocates in threads of its own. */
static atomic_uint_fast64_t calls, refused;
static atomic_int_fast64_t live;
static uint64_t fail_at;
static bool fail_on;
static atomic_bool is_inside;

void alloc_faults_set(uint64_t nth, bool sticky)
{
	fail_at = nth;
	fail_on = sticky;
	calls = 0;
	refused = 0;
	is_inside = false;
}

uint64_t alloc_faults_calls(void)
{
	return calls;
}

uint64_t alloc_faults_refused(void)
{
	return refused;
}

int64_t alloc_faults_live(void)
{
	return live;
}

void alloc_faults_inside(bool inside)
{
	is_inside = inside;
}

static bool is_refused(void)
{
	uint64_t number;

	if (!is_inside || fail_at == 0)
		return false;
	number = ++calls;
	if (fail_on ? number < fail_at : number != fail_at)
		return false;
	refused++;
	errno = ENOMEM;
	return true;
}

static void *counted(void *memory)
{
	live += memory != NULL;
	return memory;
}

void *__wrap_malloc(size_t size)
{
	return is_refused() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return is_refused() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
	void *moved;

	if (is_refused())
		return NULL;
	moved = __real_realloc(memory, size);
	live += memory == NULL && moved != NULL;
	return moved;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return is_refused() ? NULL
	                    : counted(__real_aligned_alloc(alignment, size));
}

/* Of libgcrypt, thousands of times for each key: only counted, to be given back. */
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
	int err = __real_posix_memalign(memory, alignment, size);

	live += err == 0;
	return err;
}

char *__wrap_strdup(const char *text)
{
	return is_refused() ? NULL : counted(__real_strdup(text));
}

char *__wrap_strndup(const char *text, size_t size)
{
	return is_refused() ? NULL : counted(__real_strndup(text, size));
}

char *__wrap_realpath(const char *path, char *resolved)
{
	if (resolved != NULL)
		return __real_realpath(path, resolved);
	return is_refused() ? NULL : counted(__real_realpath(path, NULL));
}

void __wrap_free(void *memory)
{
	live -= memory != NULL;
	__real_free(memory);
}

int __wrap_vasprintf(char **text, const char *fmt, va_list args)
{
	int len = is_refused() ? -1 : __real_vasprintf(text, fmt, args);

	live += len >= 0;
	return len;
}

int __wrap_asprintf(char **text, const char *fmt, ...)
{
	va_list args;
	int ret;

	va_start(args, fmt);
	ret = __wrap_vasprintf(text, fmt, args);
	va_end(args);
	return ret;
}

int __wrap___vasprintf_chk(char **text, int flag, const char *fmt, va_list args)
{
	(void)flag;
	return __wrap_vasprintf(text, fmt, args);
}

int __wrap___asprintf_chk(char **text, int flag, const char *fmt, ...)
{
	va_list args;
	int ret;

	(void)flag;
	va_start(args, fmt);
	ret = __wrap_vasprintf(text, fmt, args);
	va_end(args);
	return ret;
}
