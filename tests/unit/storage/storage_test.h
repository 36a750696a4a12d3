/* SPDX-License-Identifier: MIT */
/* storage_test.h - what the tests of the storage layer share */
#ifndef QCF_TEST_STORAGE_TEST_H
#define QCF_TEST_STORAGE_TEST_H

#include <errno.h>
#include <string.h>

#include "scratch.h"
#include "storage.h"
#include "storage_file.h"
#include "unit.h"

/* A call must fail with an errno value and an error code, and say so. */
#define assert_fails(call, errno_value, error_code)                           \
	do {                                                                  \
		struct qcowfmt_error *error_ = NULL;                          \
		struct qcowfmt_error **errp = &error_;                        \
                                                                              \
		ck_assert_int_eq((call), -(errno_value));                     \
		ck_assert_ptr_nonnull(error_);                                \
		ck_assert_int_eq(qcowfmt_error_errno(error_), (errno_value)); \
		ck_assert_int_eq(qcowfmt_error_code(error_), (error_code));   \
		qcowfmt_error_free(error_);                                   \
	} while (0)

/* A call must succeed; if not, the message of its error is shown. */
#define assert_works(call)                                    \
	do {                                                  \
		struct qcowfmt_error *error_ = NULL;          \
		struct qcowfmt_error **errp = &error_;        \
		int64_t ret_ = (call);                        \
                                                              \
		ck_assert_msg(ret_ >= 0, "%s: %s", #call,     \
		              qcowfmt_error_message(error_)); \
		ck_assert_ptr_null(error_);                   \
	} while (0)

/*
 * Functions replaced at link time.  Those with offsets have a name of their own
 * in glibc's objects when a 64-bit off_t is asked for.
 */
#ifdef __GLIBC__
#define WRAPPED(function) __wrap_##function##64
#define REAL(function)    __real_##function##64
#else
#define WRAPPED(function) __wrap_##function
#define REAL(function)    __real_##function
#endif

static inline struct qcowfmt_storage *open_scratch(const char *name,
                                                   uint32_t flags)
{
	struct qcowfmt_storage *s = NULL;

	assert_works(qcf_storage_file_open(scratch_path(name), NULL, flags, &s,
	                                   errp));
	return s;
}

/* main() of a test with a scratch directory. */
static inline int run_with_scratch(const char *promise, void (*add)(TCase *))
{
	scratch_init();

	int status = unit_run(promise, add);

	scratch_fini();
	return status;
}

#endif
