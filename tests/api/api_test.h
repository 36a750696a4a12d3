/* SPDX-License-Identifier: MIT */
/*
 * api_test.h - what the tests of the public interface share
 *
 * Every call under test gets &api_error.  API_OK() and API_FAILS() look at the
 * result and at the error, and reset it.
 */
#ifndef QCF_API_TEST_H
#define QCF_API_TEST_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "auto.h"
#include "qcowfmt.h"
#include "scratch.h"
#include "unit.h"

extern struct qcowfmt_error *api_error;

/* The call succeeds and leaves the error alone. */
#define API_OK(call)                                             \
	do {                                                     \
		int64_t api_ret_ = (call);                       \
		ck_assert_msg(api_ret_ >= 0, "%s",               \
		              qcowfmt_error_message(api_error)); \
		ck_assert_ptr_null(api_error);                   \
	} while (0)

/* The call returns -err and sets an error that says the same, with a code. */
#define API_FAILS(call, err, code)               \
	do {                                     \
		API_FAILS_KEEP(call, err, code); \
		api_error_reset();               \
	} while (0)

/* The same; the error is kept for a closer look. */
#define API_FAILS_KEEP(call, err, code)                                      \
	do {                                                                 \
		int64_t api_ret_ = (call);                                   \
		ck_assert_msg(api_ret_ == -(err),                            \
		              "returned %" PRId64 ", want %d: %s", api_ret_, \
		              -(err), qcowfmt_error_message(api_error));     \
		ck_assert_ptr_nonnull(api_error);                            \
		ck_assert_int_eq(qcowfmt_error_errno(api_error), err);       \
		ck_assert_msg(qcowfmt_error_code(api_error) == (code),       \
		              "code %d, want %d: %s",                        \
		              qcowfmt_error_code(api_error), code,           \
		              qcowfmt_error_message(api_error));             \
	} while (0)

/* The kept error names something. */
#define API_ERROR_NAMES(words)                                                 \
	ck_assert_msg(strstr(qcowfmt_error_message(api_error), words) != NULL, \
	              "\"%s\" not in \"%s\"", words,                           \
	              qcowfmt_error_message(api_error))

void api_error_reset(void);

void api_take_snapshot(struct qcowfmt_image *image, const char *name);

/* An enabled one of the usual granularity. */
void api_add_bitmap(struct qcowfmt_image *image, const char *name);

#define API_MAX_ID 256 /* no corruption has it */

/* Whether there is one among the ids of corruptions that no repair mends. */
bool api_is_beyond_repair(const bool ids[API_MAX_ID]);

/* main() of a test program; argv may hold the paths of qemu-img and qemu-io. */
int api_main(const char *promise, void (*add)(TCase *), int argc, char **argv);

/* ------------------------------------------------------------------ programs */

/* Whether qemu-img and qemu-io are there; says so loudly if not. */
bool api_has_qemu(void);

extern const char *api_qemu_img;
extern const char *api_qemu_io;

/* Run a program, arguments ended by NULL; its output is thrown away.  Returns
 * its exit status. */
int api_run(const char *program, ...) __attribute__((sentinel));

/* "qemu-img check" finds nothing, or qemu-img is missing. */
void api_qemu_check(const char *path);

/* -------------------------------------------------------------------- images */

#define API_RW QCOWFMT_OPEN_READ_WRITE

/* Create an image of version 3 with 64 KiB clusters; cluster_size 0 is the
 * default. */
void api_create(const char *path, uint64_t virtual_size, uint64_t cluster_size);
void api_create_overlay(const char *path, uint64_t virtual_size,
                        const char *backing, const char *format);

/* Open with flags and default options; must succeed. */
struct qcowfmt_image *api_open(const char *path, uint32_t flags);
void api_close(struct qcowfmt_image *image);

/* Create an image of version 1 and open it for writing. */
struct qcowfmt_image *api_make_version_1(const char *path,
                                         uint64_t virtual_size);

/* Write or expect len bytes of one value. */
void api_write(struct qcowfmt_image *image, uint64_t guest_offset, size_t len,
               uint8_t value);
void api_expect(struct qcowfmt_image *image, uint64_t guest_offset, size_t len,
                uint8_t value);

/* A progress callback that cancels after *opaque more calls, an int. */
int api_cancel_after(void *opaque, uint64_t done, uint64_t total);

/* qcowfmt_check() finds nothing at all. */
void api_check_clean(struct qcowfmt_image *image);

/* --------------------------------------------------------------------- files */

struct api_bytes {
	uint8_t *bytes; /* owned */
	size_t len;
};

struct api_bytes api_read_file(const char *path);
void api_write_file(const char *path, const void *bytes, size_t len);
void api_bytes_free(struct api_bytes *bytes);
bool api_bytes_equal(const struct api_bytes *a, const struct api_bytes *b);

/* Big-endian numbers in a file. */
uint64_t api_get(const char *path, uint64_t offset, size_t width);
void api_put(const char *path, uint64_t offset, size_t width, uint64_t value);

/* Header fields */
#define API_AT_VERSION       4u
#define API_AT_VIRTUAL_SIZE  24u
#define API_AT_CRYPT_METHOD  32u
#define API_AT_L1_SIZE       36u
#define API_AT_L1            40u
#define API_AT_REFTABLE      48u
#define API_AT_SNAPSHOTS     64u
#define API_AT_INCOMPATIBLE  72u
#define API_AT_COMPATIBLE    80u
#define API_AT_AUTOCLEAR     88u
#define API_AT_HEADER_LENGTH 100u

/* Host offset of the L1 and L2 entry of guest offset 0, of the first refcount
 * table entry and of the first refcount block. */
uint64_t api_l1_entry_at(const char *path);
uint64_t api_l2_entry_at(const char *path);
uint64_t api_reftable_at(const char *path);
uint64_t api_block_at(const char *path);

#endif
