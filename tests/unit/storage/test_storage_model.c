/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever the kind of storage, random reads, writes, zeroings,
 * truncations and extent queries agree with a plain array of bytes.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "array_ops.h"
#include "scratch.h"
#include "storage_file.h"
#include "storage_mem.h"
#include "storage_user.h"
#include "unit.h"

#define SPACE        (300u * 1024u)
#define MAX_LEN      (40u * 1024u)
#define MAX_IOV      9
#define STEPS        3000
#define DIRECT_STEPS 600

struct model {
	struct qcowfmt_storage *s;
	struct unit_random random;
	uint8_t bytes[SPACE]; /* zeros beyond size */
	uint64_t size;
	uint8_t *buffer; /* SPACE bytes and some, for transfers */
};

static uint64_t below(struct model *m, uint64_t limit)
{
	return unit_random_below(&m->random, limit);
}

/* Offsets and lengths of every kind: byte, sector and page aligned. */
static uint64_t random_value(struct model *m, uint64_t limit)
{
	static const uint64_t units[] = { 1, 512, 4096 };
	uint64_t value = below(m, limit);

	return value - value % units[below(m, 3)];
}

/* Cut the transfer buffer, from an odd or even address on, into a vector. */
static int random_vector(struct model *m, size_t len, struct iovec *iov)
{
	uint8_t *at = m->buffer + (below(m, 2) == 0 ? 0 : below(m, 4096));
	int count = 0;

	while (count < MAX_IOV - 1 && len > 0 && below(m, 3) != 0) {
		size_t part = (size_t)below(m, len + 1);

		iov[count++] = (struct iovec){ at, part };
		at += part;
		len -= part;
	}
	iov[count++] = (struct iovec){ at, len };
	return count;
}

static void random_range(struct model *m, uint64_t *offset, size_t *len)
{
	*len = (size_t)random_value(m, MAX_LEN) + 1;
	if (below(m, 2) == 0)
		*len = (*len + 511) / 512 * 512;
	*offset = random_value(m, SPACE - MAX_LEN - 512);
}

/* As random_range(), but leaves no gap before it if gaps hold anything. */
static void random_change(struct model *m, uint64_t *offset, size_t *len)
{
	random_range(m, offset, len);
	if (!m->s->reads_zero_when_grown)
		*offset = QCF_MIN(*offset, m->size);
}

static void step_write(struct model *m)
{
	struct iovec iov[MAX_IOV];
	uint64_t offset;
	size_t len;

	random_change(m, &offset, &len);

	int count = random_vector(m, len, iov);
	uint8_t tag = (uint8_t)(below(m, 255) + 1);

	for (size_t i = 0; i < len; i++)
		m->bytes[offset + i] = (uint8_t)(tag + i * 7 / 512);
	qcf_iov_from_buffer(iov, count, 0, m->bytes + offset, len);
	ck_assert_int_eq(qcf_storage_pwritev(m->s, iov, count, offset, NULL),
	                 0);
	m->size = QCF_MAX(m->size, offset + len);
}

static void step_read(struct model *m)
{
	struct iovec iov[MAX_IOV];
	uint64_t offset;
	size_t len;

	random_range(m, &offset, &len);

	int count = random_vector(m, len, iov);
	bool beyond = below(m, 2) == 0;
	int ret = qcf_storage_preadv(m->s, iov, count, offset, beyond, NULL);

	if (offset >= m->size && !beyond) {
		ck_assert_int_eq(ret, -EIO);
		return;
	}
	ck_assert_int_eq(ret, 0);
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > 0)
			ck_assert_mem_eq(iov[i].iov_base, m->bytes + offset,
			                 iov[i].iov_len);
		offset += iov[i].iov_len;
	}
}

static void step_zero(struct model *m)
{
	uint64_t offset;
	size_t len;

	random_change(m, &offset, &len);
	memset(m->bytes + offset, 0, len);
	ck_assert_int_eq(
		qcf_storage_zero(m->s, offset, len, below(m, 2) == 0, NULL), 0);
	m->size = QCF_MAX(m->size, offset + len);
}

/* Wherever it begins: a gap before it has to be zeros, too. */
static void step_allocate(struct model *m)
{
	uint64_t offset;
	size_t len;

	random_range(m, &offset, &len);
	ck_assert_int_eq(qcf_storage_allocate(m->s, offset, len, NULL), 0);
	m->size = QCF_MAX(m->size, offset + len);
}

static void step_truncate(struct model *m)
{
	uint64_t size = random_value(m, SPACE);

	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
	ck_assert_int_eq(qcf_storage_truncate(m->s, size, NULL), 0);
}

/* What was discarded may read as anything: write it again at once. */
static void step_discard(struct model *m)
{
	uint64_t offset;
	size_t len;

	random_range(m, &offset, &len);
	ck_assert_int_eq(qcf_storage_discard(m->s, offset, len, NULL), 0);
	if (offset >= m->size)
		return;
	len = (size_t)QCF_MIN((uint64_t)len, m->size - offset);
	ck_assert_int_eq(
		qcf_storage_pwrite(m->s, m->bytes + offset, len, offset, NULL),
		0);
}

static void step_extent(struct model *m)
{
	uint64_t offset, run;
	size_t len;

	random_range(m, &offset, &len);

	int kind = qcf_storage_extent(m->s, offset, len, &run, NULL);

	ck_assert_int_gt(kind, 0);
	ck_assert_uint_ge(run, 1);
	ck_assert_uint_le(run, len);
	if (kind == QCOWFMT_STORAGE_HOLE)
		ck_assert(all_bytes_are(m->bytes + offset, 0, (size_t)run));
}

static void step(struct model *m)
{
	static void (*const steps[])(struct model *) = {
		step_write,  step_write,   step_read,
		step_read,   step_zero,    step_truncate,
		step_extent, step_discard, step_allocate,
	};
	uint64_t size;

	if (below(m, 16) == 0)
		ck_assert_int_eq(qcf_storage_flush(m->s, NULL), 0);
	steps[below(m, QCF_ARRAY_LEN(steps))](m);
	ck_assert_int_eq(qcf_storage_get_size(m->s, &size, NULL), 0);
	ck_assert_uint_eq(size, m->size);
}

static void run_model(struct qcowfmt_storage *s, int steps)
{
	struct model *m = calloc(1, sizeof(*m));

	ck_assert_ptr_nonnull(m);
	m->s = s;
	m->random = unit_random_init();
	m->buffer = aligned_alloc(4096, 1u << 20);
	ck_assert_ptr_nonnull(m->buffer);
	for (int i = 0; i < steps; i++)
		step(m);
	free(m->buffer);
	free(m);
	qcowfmt_storage_free(s);
}

START_TEST(file)
{
	struct qcowfmt_storage *s;

	ck_assert_int_eq(qcf_storage_file_open(scratch_path("file"), NULL,
	                                       QCOWFMT_FILE_CREATE, &s, NULL),
	                 0);
	run_model(s, STEPS);
}

END_TEST

START_TEST(direct_file)
{
	struct qcowfmt_storage *s;
	int ret = qcf_storage_file_open(
		scratch_path("direct"), NULL,
		QCOWFMT_FILE_CREATE | QCOWFMT_FILE_DIRECT, &s, NULL);

	if (ret == -EINVAL) {
		printf("no O_DIRECT here: direct_file is not tested\n");
		return;
	}
	ck_assert_int_eq(ret, 0);
	ck_assert_uint_gt(s->alignment, 1);
	run_model(s, DIRECT_STEPS);
}

END_TEST

START_TEST(memory)
{
	struct qcowfmt_storage *s;

	ck_assert_int_eq(qcf_storage_mem_new(0, &s, NULL), 0);
	run_model(s, STEPS);
}

END_TEST

START_TEST(functions)
{
	struct qcowfmt_storage *s;
	struct byte_array *array = byte_array_new(2 * SPACE);

	ck_assert_int_eq(
		qcf_storage_user_new(&byte_array_ops, array, NULL, &s, NULL),
		0);
	run_model(s, STEPS);
}

END_TEST

START_TEST(few_functions)
{
	struct qcowfmt_storage *s;
	struct byte_array *array = byte_array_new(2 * SPACE);
	struct qcowfmt_storage_ops ops = byte_array_ops;

	ops.zero = NULL;
	ops.discard = NULL;
	ops.extent = NULL;
	ops.allocate = NULL;
	ck_assert_int_eq(qcf_storage_user_new(&ops, array, "few", &s, NULL), 0);
	run_model(s, STEPS);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, file);
	tcase_add_test(tcase, direct_file);
	tcase_add_test(tcase, memory);
	tcase_add_test(tcase, functions);
	tcase_add_test(tcase, few_functions);
}

int main(void)
{
	scratch_init();

	int status = unit_run("storage_model", add);

	scratch_fini();
	return status;
}
