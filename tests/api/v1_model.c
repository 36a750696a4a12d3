/* SPDX-License-Identifier: MIT */
/* v1_model.c - a version 1 image under random steps, and what it should hold */
#include <stdio.h>

#include "compressed_data.h"
#include "v1_model.h"

#define MAX_LEN 40000u

struct v1_model v1;

uint64_t v1_below(uint64_t limit)
{
	return unit_random_below(&v1.random, limit);
}

void v1_expect(void)
{
	static uint8_t bytes[V1_WINDOW];
	size_t at = 0;

	API_OK(qcowfmt_pread(v1.image, bytes, V1_WINDOW, v1.start, &api_error));
	while (at < V1_WINDOW && bytes[at] == v1.bytes[at])
		at++;
	ck_assert_msg(at == V1_WINDOW, "%s: byte %zu is 0x%02x, want 0x%02x",
	              v1.path, at, bytes[at % V1_WINDOW],
	              v1.bytes[at % V1_WINDOW]);
}

static void write_expected(const char *path)
{
	FILE *file = fopen(path, "wb");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fseeko(file, (off_t)v1.start, SEEK_SET), 0);
	ck_assert_uint_eq(fwrite(v1.bytes, 1, V1_WINDOW, file), V1_WINDOW);
	ck_assert_int_eq(fclose(file), 0);
}

void v1_expect_by_qemu(void)
{
	char raw[200];
	char theirs[300];
	char ours[300];
	int ret;

	if (api_qemu_img == NULL)
		return;
	snprintf(raw, sizeof(raw), "%s", scratch_path("expected.raw"));
	write_expected(raw);
	snprintf(theirs, sizeof(theirs), "driver=qcow,file.filename=%s%s",
	         v1.path,
	         v1.encrypted ? ",encrypt.format=aes,encrypt.key-secret=s"
	                      : "");
	snprintf(ours, sizeof(ours), "driver=raw,file.filename=%s", raw);
	ret = api_run(api_qemu_img, "compare", "--object",
	              "secret,id=s,data=123456", "--image-opts", theirs, ours,
	              NULL);
	ck_assert_msg(ret == 0, "%s: qemu-img compare returns %d", v1.path,
	              ret);
}

void v1_open_model(uint32_t flags)
{
	struct qcowfmt_open_options options = v1_options(flags);

	if (v1.encrypted) {
		options.secret = "123456";
		options.secret_len = 6;
	}
	API_OK(qcowfmt_open_file(v1.path, &options, &v1.image, &api_error));
}

/* Sectors, clusters and odd bytes. */
static uint64_t random_value(uint64_t limit)
{
	const uint64_t units[] = { 1, 512, v1.cluster_size };
	uint64_t value = v1_below(limit);

	return value - value % units[v1_below(3)];
}

static void random_range(uint64_t *at, size_t *len)
{
	*at = random_value(V1_WINDOW);
	*len = (size_t)random_value(MAX_LEN) + 1;
	*len = QCF_MIN(*len, (size_t)(V1_WINDOW - *at));
}

static void step_write(void)
{
	uint64_t at;
	size_t len;

	random_range(&at, &len);
	compressed_fill(v1.bytes + at, len, unit_random_u64(&v1.random));
	API_OK(qcowfmt_pwrite(v1.image, v1.bytes + at, len, v1.start + at,
	                      &api_error));
}

static void step_zero(void)
{
	uint64_t at;
	size_t len;

	random_range(&at, &len);
	memset(v1.bytes + at, 0, len);
	API_OK(qcowfmt_write_zeroes(
		v1.image, v1.start + at, len,
		v1_below(2) == 0 ? 0 : QCOWFMT_ZERO_MAY_UNMAP, &api_error));
}

/* There is no way to free anything: the content stays. */
static void step_discard(void)
{
	uint64_t at;
	size_t len;

	random_range(&at, &len);
	API_OK(qcowfmt_discard(v1.image, v1.start + at, len, &api_error));
}

static void step_read(void)
{
	static uint8_t bytes[MAX_LEN + 1];
	uint64_t at;
	size_t len;

	random_range(&at, &len);
	API_OK(qcowfmt_pread(v1.image, bytes, len, v1.start + at, &api_error));
	ck_assert_mem_eq(bytes, v1.bytes + at, len);
}

static void step_compress(void)
{
	uint64_t clusters = V1_WINDOW / v1.cluster_size;
	uint64_t at = v1_below(clusters) * v1.cluster_size;
	uint64_t len = (1 + v1_below(3)) * v1.cluster_size;

	if (v1.start % v1.cluster_size != 0)
		return;
	len = QCF_MIN(len, clusters * v1.cluster_size - at);
	compressed_fill(v1.bytes + at, (size_t)len,
	                unit_random_u64(&v1.random));
	API_OK(qcowfmt_pwrite_compressed(v1.image, v1.bytes + at, (size_t)len,
	                                 v1.start + at, &api_error));
}

static void step_flush(void)
{
	API_OK(qcowfmt_flush(v1.image, &api_error));
}

void v1_random_steps(int count, bool compress)
{
	static void (*const steps[])(void) = {
		step_write, step_write, step_zero,  step_discard,
		step_read,  step_flush, step_write, step_compress,
	};

	for (int i = 0; i < count; i++)
		steps[v1_below(QCF_ARRAY_LEN(steps) - !compress)]();
}

void v1_sessions(int sessions, int steps, bool compress)
{
	for (int i = 0; i < sessions; i++) {
		v1_open_model(API_RW);
		v1_expect();
		v1_random_steps(steps, compress);
		v1_expect();
		api_close(v1.image);
	}
	v1_expect_by_qemu();
}

void v1_start(const char *name, uint32_t cluster_bits)
{
	snprintf(v1.path, sizeof(v1.path), "%s", scratch_path(name));
	v1.start = 0;
	v1.cluster_size = UINT64_C(1) << cluster_bits;
	v1.encrypted = false;
	memset(v1.bytes, 0, V1_WINDOW);
}

void v1_make_window(const char *name, struct forged_v1 *spec)
{
	uint64_t span = UINT64_C(1) << (spec->cluster_bits + spec->l2_bits);

	v1_start(name, spec->cluster_bits);
	v1.start = span > V1_WINDOW ? span - (96u << 10) : 0;
	v1.start -= v1.start % v1.cluster_size;
	spec->virtual_size = v1.start + V1_WINDOW;
	v1_make(v1.path, spec);
}
