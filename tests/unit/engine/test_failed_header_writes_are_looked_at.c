/* SPDX-License-Identifier: MIT */
/*
 * Promise: when a write to the header fails, storage is asked what is there.  If
 * the old bytes stand, nothing has happened; if the new ones do, that is said; if
 * nobody can tell, the image is poisoned and nothing is freed that either needs.
 */
#include <errno.h>
#include <string.h>

#include "header_switch.h"
#include "unit.h"

#define AT  24u
#define LEN 8u

static const uint8_t old_bytes[LEN] = "old";
static const uint8_t new_bytes[LEN] = "new";

/* A header in memory, and what happens to a write, a read after it, a flush. */
static struct {
	uint8_t header[512];
	size_t arrives; /* bytes of the write */
	int write_error, read_error, flush_error;
	bool written;
} medium;

static int64_t medium_pread(void *opaque, void *buffer, size_t len,
                            uint64_t offset)
{
	(void)opaque;
	if (medium.written && medium.read_error != 0)
		return medium.read_error;
	memcpy(buffer, medium.header + offset, len);
	return (int64_t)len;
}

static int medium_pwrite(void *opaque, const void *buffer, size_t len,
                         uint64_t offset)
{
	(void)opaque;
	ck_assert_uint_eq(len, LEN);
	memcpy(medium.header + offset, buffer, medium.arrives);
	medium.written = true;
	return medium.write_error;
}

static int medium_flush(void *opaque)
{
	(void)opaque;
	return medium.flush_error;
}

static int medium_get_size(void *opaque, uint64_t *size)
{
	(void)opaque;
	*size = sizeof(medium.header);
	return 0;
}

static int medium_truncate(void *opaque, uint64_t size)
{
	(void)opaque;
	(void)size;
	return -ENOTSUP;
}

static const struct qcowfmt_storage_ops medium_ops = {
	.struct_size = sizeof(medium_ops),
	.pread = medium_pread,
	.pwrite = medium_pwrite,
	.flush = medium_flush,
	.get_size = medium_get_size,
	.truncate = medium_truncate,
};

static const struct {
	size_t arrives;
	int write_error, read_error, flush_error;
	int result;
	bool switched;
	bool poisoned;
	bool poisoned_by_replace;
} cases[] = {
	{ LEN, 0, 0, 0, 0, true, false, false },
	/* Nothing arrived. */
	{ 0, -EIO, 0, 0, -EIO, false, false, false },
	{ 0, -ENOSPC, 0, 0, -ENOSPC, false, false, false },
	/* All of it did, and the call failed. */
	{ LEN, -EIO, 0, 0, -EIO, true, false, true },
	/* Half of it: no storage that keeps its sectors whole does that. */
	{ 2, -EIO, 0, 0, -EIO, false, true, true },
	/* Nobody can tell. */
	{ LEN, -EIO, -EIO, 0, -EIO, false, true, true },
	{ 0, -EIO, -EIO, 0, -EIO, false, true, true },
	/* It is there and may not be stable. */
	{ LEN, 0, 0, -EIO, -EIO, true, true, true },
};

static struct qcf_meta meta;

static void begin(size_t i)
{
	memset(&medium, 0, sizeof(medium));
	memcpy(medium.header + AT, old_bytes, LEN);
	medium.arrives = cases[i].arrives;
	medium.write_error = cases[i].write_error;
	medium.read_error = cases[i].read_error;
	medium.flush_error = cases[i].flush_error;
	memset(&meta, 0, sizeof(meta));
	qcf_poison_init(&meta.poison);
	ck_assert_int_eq(qcowfmt_storage_new_custom(&medium_ops, NULL, "medium",
	                                            &meta.storage, NULL),
	                 0);
}

/* Whether the image is poisoned, and the end of it. */
static bool finish(void)
{
	bool poisoned = qcf_poison_check(&meta.poison, NULL) < 0;

	qcowfmt_storage_free(meta.storage);
	qcf_poison_fini(&meta.poison);
	return poisoned;
}

START_TEST(a_switch)
{
	struct qcowfmt_error *error = NULL;
	bool switched = false;
	int ret;

	begin((size_t)_i);
	ret = qcf_header_switch(&meta, AT, new_bytes, LEN, &switched, &error);
	ck_assert_int_eq(ret, cases[_i].result);
	ck_assert((error != NULL) == (ret < 0));
	qcowfmt_error_free(error);
	ck_assert(switched == cases[_i].switched);
	ck_assert(finish() == cases[_i].poisoned);
}

END_TEST

START_TEST(a_replacement)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	begin((size_t)_i);
	ret = qcf_header_replace(&meta, AT, new_bytes, LEN, &error);
	ck_assert_int_eq(ret, cases[_i].result);
	ck_assert((error != NULL) == (ret < 0));
	qcowfmt_error_free(error);
	ck_assert(finish() == cases[_i].poisoned_by_replace);
}

END_TEST

/* Then there is nothing to compare with: it is not tried. */
START_TEST(an_unreadable_header_is_not_written)
{
	bool switched = true;

	begin(0);
	medium.written = true;
	medium.read_error = -EIO;
	ck_assert_int_eq(
		qcf_header_switch(&meta, AT, new_bytes, LEN, &switched, NULL),
		-EIO);
	ck_assert(!switched);
	ck_assert_mem_eq(medium.header + AT, old_bytes, LEN);
	ck_assert(!finish());
}

END_TEST

static void add_tests(TCase *tcase)
{
	int count = (int)QCF_ARRAY_LEN(cases);

	tcase_add_loop_test(tcase, a_switch, 0, count);
	tcase_add_loop_test(tcase, a_replacement, 0, count);
	tcase_add_test(tcase, an_unreadable_header_is_not_written);
}

int main(void)
{
	return unit_run("failed header writes are looked at", add_tests);
}
