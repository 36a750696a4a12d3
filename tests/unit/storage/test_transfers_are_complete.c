/* SPDX-License-Identifier: MIT */
/*
 * Promise: a read or write that the system interrupts, shortens or splits comes
 * out complete or fails; the usual case is one system call without a lock.
 *
 * The C library's preadv, pwritev and some others are replaced at link time.
 */
#include <pthread.h>
#include <unistd.h>

#include "storage_mem.h"
#include "storage_test.h"

ssize_t REAL(preadv)(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t REAL(pwritev)(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t WRAPPED(preadv)(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t WRAPPED(pwritev)(int fd, const struct iovec *iov, int n, off_t offset);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);

/* The longest vector that Linux takes. */
#define MAX_VECTOR 1024

/* What the system does to a transfer. */
static enum { WHOLE, SHORT, NOTHING, BROKEN } mood;

static int calls;
static int longest_vector;
static int locks_taken;
static struct unit_random random_state;

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	locks_taken++;
	return __real_pthread_mutex_lock(mutex);
}

/* Decides what happens to a call: *len becomes what may be moved. */
static ssize_t disturb(const struct iovec *iov, int n, size_t *len)
{
	calls++;
	longest_vector = QCF_MAX(longest_vector, n);
	*len = 0;
	for (int i = 0; i < n; i++)
		*len += iov[i].iov_len;
	if (mood == SHORT && unit_random_below(&random_state, 3) == 0) {
		errno = EINTR;
		return -1;
	}
	if (mood == SHORT && *len > 1)
		*len = 1 + unit_random_below(&random_state, *len);
	if (mood == NOTHING)
		*len = 0;
	if (mood == BROKEN && calls > 1) {
		errno = EIO;
		return -1;
	}
	if (mood == BROKEN)
		*len = QCF_MIN(*len, (size_t)512);
	return 0;
}

typedef ssize_t (*transfer_fn)(int, const struct iovec *, int, off_t);

static ssize_t disturbed(transfer_fn real, int fd, const struct iovec *iov,
                         int n, off_t offset)
{
	struct iovec part[MAX_VECTOR];
	size_t len;

	if (n > MAX_VECTOR) {
		errno = EINVAL;
		return -1;
	}
	if (disturb(iov, n, &len) < 0)
		return -1;
	return real(fd, part, qcf_iov_slice(iov, n, 0, len, part), offset);
}

ssize_t WRAPPED(preadv)(int fd, const struct iovec *iov, int n, off_t offset)
{
	return disturbed(REAL(preadv), fd, iov, n, offset);
}

ssize_t WRAPPED(pwritev)(int fd, const struct iovec *iov, int n, off_t offset)
{
	return disturbed(REAL(pwritev), fd, iov, n, offset);
}

#define SIZE 200000u

static uint8_t written[SIZE], got[SIZE];

static void fill(void)
{
	for (size_t i = 0; i < SIZE; i++)
		written[i] = (uint8_t)unit_random_u64(&random_state);
	memset(got, 0, sizeof(got));
}

/* Cut a buffer into a vector of count elements, some of them empty. */
static void cut(uint8_t *buffer, struct iovec *iov, int count)
{
	size_t left = SIZE;

	for (int i = 0; i < count; i++) {
		size_t most = 2 * SIZE / (size_t)count;
		size_t len =
			i == count - 1
				? left
				: unit_random_below(&random_state,
		                                    QCF_MIN(most, left) + 1);

		iov[i] = (struct iovec){ buffer, len };
		buffer += len;
		left -= len;
	}
}

static void round_trip(struct qcowfmt_storage *s, int count)
{
	struct iovec *iov = calloc((size_t)count, sizeof(*iov));

	ck_assert_ptr_nonnull(iov);
	fill();
	cut(written, iov, count);
	assert_works(qcf_storage_pwritev(s, iov, count, 4096, errp));
	cut(got, iov, count);
	assert_works(qcf_storage_preadv(s, iov, count, 4096, false, errp));
	ck_assert_mem_eq(got, written, SIZE);
	free(iov);
}

static struct qcowfmt_storage *start(const char *name)
{
	random_state = unit_random_init();
	calls = 0;
	longest_vector = 0;
	return open_scratch(name, QCOWFMT_FILE_CREATE);
}

START_TEST(interrupted_and_short)
{
	struct qcowfmt_storage *s = start("short");

	mood = SHORT;
	for (int count = 1; count < 200; count += 33)
		round_trip(s, count);
	ck_assert_int_gt(calls, 20);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(long_vectors_are_split)
{
	struct qcowfmt_storage *s = start("long");

	ck_assert_int_eq(sysconf(_SC_IOV_MAX), MAX_VECTOR);
	mood = WHOLE;
	round_trip(s, MAX_VECTOR);
	round_trip(s, MAX_VECTOR + 1);
	round_trip(s, 3 * MAX_VECTOR + 7);
	ck_assert_int_eq(longest_vector, MAX_VECTOR);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(write_that_makes_no_progress)
{
	struct qcowfmt_storage *s = start("nothing");

	mood = NOTHING;
	assert_fails(qcf_storage_pwrite(s, written, SIZE, 0, errp), EIO,
	             QCOWFMT_ERR_IO);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(failure_after_a_part)
{
	struct qcowfmt_storage *s = start("broken");

	mood = BROKEN;
	assert_fails(qcf_storage_pwrite(s, written, SIZE, 0, errp), EIO,
	             QCOWFMT_ERR_IO);
	mood = WHOLE;
	assert_works(qcf_storage_pwrite(s, written, SIZE, 0, errp));
	mood = BROKEN;
	calls = 0;
	assert_fails(qcf_storage_pread_exact(s, got, SIZE, 0, errp), EIO,
	             QCOWFMT_ERR_IO);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(usual_case_is_one_call_and_no_lock)
{
	struct qcowfmt_storage *s = start("usual");
	struct iovec iov[2] = { { written, 1000 }, { written + 1000, 4000 } };

	mood = WHOLE;
	locks_taken = 0;

	int ret = qcf_storage_pwritev(s, iov, 2, 12345, NULL);
	int writes = calls;

	if (ret == 0)
		ret = qcf_storage_preadv(s, iov, 2, 12345, false, NULL);

	int reads = calls - writes;
	int locks = locks_taken;

	ck_assert_int_eq(ret, 0);
	ck_assert_int_eq(writes, 1);
	ck_assert_int_eq(reads, 1);
	ck_assert_int_eq(locks, 0);
	qcowfmt_storage_free(s);

	/* The counter works: memory takes a lock. */
	assert_works(qcf_storage_mem_new(0, &s, errp));
	locks_taken = 0;
	ret = qcf_storage_pwritev(s, iov, 2, 12345, NULL);
	locks = locks_taken;
	ck_assert_int_eq(ret, 0);
	ck_assert_int_gt(locks, 0);
	qcowfmt_storage_free(s);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, interrupted_and_short);
	tcase_add_test(tcase, long_vectors_are_split);
	tcase_add_test(tcase, write_that_makes_no_progress);
	tcase_add_test(tcase, failure_after_a_part);
	tcase_add_test(tcase, usual_case_is_one_call_and_no_lock);
}

int main(void)
{
	return run_with_scratch("transfers_are_complete", add);
}
