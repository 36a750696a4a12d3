/* SPDX-License-Identifier: MIT */
/*
 * Promise: where the kernel or file system lacks a feature, zeroing still
 * zeroes, discarding does nothing, locking goes on without locks, and a name
 * that cannot be confined is refused rather than opened.
 *
 * The C library's functions are replaced at link time.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "array_ops.h"
#include "storage_test.h"

int WRAPPED(fallocate)(int fd, int mode, off_t offset, off_t len);
int REAL(fallocate)(int fd, int mode, off_t offset, off_t len);
int __wrap_fdatasync(int fd);
int __real_fdatasync(int fd);
off_t WRAPPED(lseek)(int fd, off_t offset, int whence);
off_t REAL(lseek)(int fd, off_t offset, int whence);
int WRAPPED_FCNTL(int fd, int command, ...);
int REAL_FCNTL(int fd, int command, ...);
long __wrap_syscall(long number, ...);

static int fallocate_errno, fdatasync_errno, lseek_errno, lock_errno;
static int fallocate_calls, fdatasync_calls;
static bool lock_fails_later; /* the first lock call works */

int WRAPPED(fallocate)(int fd, int mode, off_t offset, off_t len)
{
	fallocate_calls++;
	if (fallocate_errno == 0)
		return REAL(fallocate)(fd, mode, offset, len);
	errno = fallocate_errno;
	return -1;
}

int __wrap_fdatasync(int fd)
{
	fdatasync_calls++;
	if (fdatasync_errno == 0)
		return __real_fdatasync(fd);
	errno = fdatasync_errno;
	if (fdatasync_errno == EINTR)
		fdatasync_errno = 0;
	return -1;
}

off_t WRAPPED(lseek)(int fd, off_t offset, int whence)
{
	if (lseek_errno == 0)
		return REAL(lseek)(fd, offset, whence);
	errno = lseek_errno;
	return -1;
}

int WRAPPED_FCNTL(int fd, int command, ...)
{
	va_list args;

	va_start(args, command);

	void *arg = va_arg(args, void *);

	va_end(args);
	if (command != F_OFD_SETLK || lock_errno == 0)
		return REAL_FCNTL(fd, command, arg);
	if (lock_fails_later) {
		lock_fails_later = false;
		return REAL_FCNTL(fd, command, arg);
	}
	errno = lock_errno;
	return -1;
}

long __wrap_syscall(long number, ...)
{
	/* Only openat2() goes this way. */
	(void)number;
	errno = ENOSYS;
	return -1;
}

static struct qcowfmt_storage *open_with_content(void)
{
	struct qcowfmt_storage *s = open_scratch("file", QCOWFMT_FILE_CREATE);
	static uint8_t bytes[3 << 20];

	memset(bytes, 0x55, sizeof(bytes));
	assert_works(qcf_storage_pwrite(s, bytes, sizeof(bytes), 0, errp));
	return s;
}

static void assert_bytes(struct qcowfmt_storage *s, uint64_t offset,
                         uint64_t end, uint8_t value)
{
	static uint8_t bytes[4 << 20];

	assert_works(
		qcf_storage_pread_exact(s, bytes, end - offset, offset, errp));
	ck_assert(all_bytes_are(bytes, value, (size_t)(end - offset)));
}

static const int unsupported[] = { EOPNOTSUPP, ENOSYS, ENODEV, EINVAL };

START_TEST(zeroing_without_fallocate)
{
	struct qcowfmt_storage *s = open_with_content();
	uint64_t size;

	fallocate_errno = unsupported[_i];
	assert_works(qcf_storage_zero(s, 1000, 2500000, true, errp));
	assert_bytes(s, 0, 1000, 0x55);
	assert_bytes(s, 1000, 2501000, 0);
	assert_bytes(s, 2501000, 3 << 20, 0x55);
	assert_works(qcf_storage_zero(s, 3 << 20, 5000, false, errp));
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, (3 << 20) + 5000);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(reserving_without_fallocate)
{
	struct qcowfmt_storage *s = open_with_content();
	uint64_t size;

	fallocate_errno = unsupported[_i];
	assert_works(qcf_storage_allocate(s, 1000, 2500000, errp));
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, 3 << 20);
	assert_works(qcf_storage_allocate(s, (3 << 20) - 1000, 6000, errp));
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, (3 << 20) + 5000);
	assert_bytes(s, 0, 3 << 20, 0x55);
	assert_bytes(s, 3 << 20, (3 << 20) + 5000, 0);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(missing_fallocate_is_remembered)
{
	struct qcowfmt_storage *s = open_with_content();

	fallocate_errno = EOPNOTSUPP;
	fallocate_calls = 0;
	for (int i = 0; i < 5; i++)
		assert_works(qcf_storage_zero(s, 0, 512, true, errp));
	ck_assert_int_eq(fallocate_calls, 2);
	for (int i = 0; i < 5; i++)
		assert_works(qcf_storage_allocate(s, 0, 512, errp));
	ck_assert_int_eq(fallocate_calls, 3);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(discarding_without_fallocate)
{
	struct qcowfmt_storage *s = open_with_content();

	fallocate_errno = unsupported[_i];
	assert_works(qcf_storage_discard(s, 0, 1 << 20, errp));
	assert_bytes(s, 0, 1 << 20, 0x55);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(real_failures_are_reported)
{
	struct qcowfmt_storage *s = open_with_content();

	fallocate_errno = ENOSPC;
	assert_fails(qcf_storage_zero(s, 0, 512, false, errp), ENOSPC,
	             QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_allocate(s, 0, 512, errp), ENOSPC,
	             QCOWFMT_ERR_NO_SPACE);
	fallocate_errno = EIO;
	assert_fails(qcf_storage_discard(s, 0, 512, errp), EIO, QCOWFMT_ERR_IO);
	fdatasync_errno = EIO;
	assert_fails(qcf_storage_flush(s, errp), EIO, QCOWFMT_ERR_IO);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(interrupted_flush_is_repeated)
{
	struct qcowfmt_storage *s = open_with_content();

	fdatasync_calls = 0;
	fdatasync_errno = EINTR;
	assert_works(qcf_storage_flush(s, errp));
	ck_assert_int_eq(fdatasync_calls, 2);
	qcowfmt_storage_free(s);
}

END_TEST

static int extent_kind(struct qcowfmt_storage *s, uint64_t offset)
{
	uint64_t run = 0;
	int kind = qcf_storage_extent(s, offset, 4096, &run, NULL);

	ck_assert(kind < 0 || run >= 1);
	return kind;
}

START_TEST(holes)
{
	struct qcowfmt_storage *s = open_with_content();

	assert_works(qcf_storage_zero(s, 0, 1 << 20, true, errp));
	/* Until a flush nobody's word about holes is taken. */
	ck_assert_int_eq(extent_kind(s, 0), QCOWFMT_STORAGE_DATA);
	assert_works(qcf_storage_flush(s, errp));
	ck_assert_int_eq(extent_kind(s, 0), QCOWFMT_STORAGE_HOLE);
	ck_assert_int_eq(extent_kind(s, 1 << 20), QCOWFMT_STORAGE_DATA);
	ck_assert_int_eq(extent_kind(s, 5 << 20), QCOWFMT_STORAGE_HOLE);
	lseek_errno = EINVAL;
	ck_assert_int_eq(extent_kind(s, 0), QCOWFMT_STORAGE_DATA);
	lseek_errno = EIO;
	ck_assert_int_eq(extent_kind(s, 0), -EIO);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(failed_flush_keeps_holes_untrusted)
{
	struct qcowfmt_storage *s = open_with_content();

	assert_works(qcf_storage_zero(s, 0, 1 << 20, true, errp));
	fdatasync_errno = EIO;
	ck_assert_int_eq(qcf_storage_flush(s, NULL), -EIO);
	ck_assert_int_eq(extent_kind(s, 0), QCOWFMT_STORAGE_DATA);
	qcowfmt_storage_free(s);
}

END_TEST

static const int no_locks[] = { EINVAL, ENOLCK, EOPNOTSUPP };

START_TEST(locking_without_locks)
{
	struct qcowfmt_storage *s = open_with_content();

	assert_works(qcf_storage_lock(s, QCF_LOCK_NONE, errp));
	lock_errno = no_locks[_i];
	assert_works(qcf_storage_lock(s, QCF_LOCK_IMAGE_WRITE, errp));
	assert_works(qcf_storage_lock(s, QCF_LOCK_IMAGE_READ, errp));
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(lost_locks_are_an_error)
{
	struct qcowfmt_storage *s = open_with_content();

	assert_works(qcf_storage_lock(s, QCF_LOCK_IMAGE_READ, errp));
	lock_errno = ENOLCK;
	assert_fails(qcf_storage_lock(s, QCF_LOCK_IMAGE_WRITE, errp), ENOLCK,
	             QCOWFMT_ERR_SYSTEM);
	lock_errno = 0;
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(foreign_write_lock)
{
	struct qcowfmt_storage *s = open_with_content();

	assert_works(qcf_storage_lock(s, QCF_LOCK_NONE, errp));
	lock_errno = EAGAIN;
	lock_fails_later = true;
	assert_fails(qcf_storage_lock(s, QCF_LOCK_IMAGE_WRITE, errp), EAGAIN,
	             QCOWFMT_ERR_LOCKED);
	lock_errno = 0;
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(confinement_without_openat2)
{
	struct qcowfmt_storage *s = open_with_content();

	qcowfmt_storage_free(s);
	assert_fails(qcf_storage_file_open("file", scratch_path("."),
	                                   QCOWFMT_FILE_READ_ONLY, &s, errp),
	             ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, zeroing_without_fallocate, 0,
	                    QCF_ARRAY_LEN(unsupported));
	tcase_add_loop_test(tcase, reserving_without_fallocate, 0,
	                    QCF_ARRAY_LEN(unsupported));
	tcase_add_test(tcase, missing_fallocate_is_remembered);
	tcase_add_loop_test(tcase, discarding_without_fallocate, 0,
	                    QCF_ARRAY_LEN(unsupported));
	tcase_add_test(tcase, real_failures_are_reported);
	tcase_add_test(tcase, interrupted_flush_is_repeated);
	tcase_add_test(tcase, holes);
	tcase_add_test(tcase, failed_flush_keeps_holes_untrusted);
	tcase_add_loop_test(tcase, locking_without_locks, 0,
	                    QCF_ARRAY_LEN(no_locks));
	tcase_add_test(tcase, lost_locks_are_an_error);
	tcase_add_test(tcase, foreign_write_lock);
	tcase_add_test(tcase, confinement_without_openat2);
}

int main(void)
{
	return run_with_scratch("old_kernels_are_survived", add);
}
