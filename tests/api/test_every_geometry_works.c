/* SPDX-License-Identifier: MIT */
/*
 * Promise: every version, cluster size and refcount width holds data, gives
 * space back and takes it again, and is sound by our own check and by QEMU's.
 */
#include "api_test.h"

#define SIZE  ((uint64_t)5 << 20)
#define STEPS 30

static struct qcowfmt_image *image;
static uint8_t model[SIZE];

static void create(uint32_t version, uint64_t cluster_size, uint32_t bits)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.version = version,
		.cluster_size = cluster_size,
		.refcount_bits = bits,
	};

	API_OK(qcowfmt_create_file(scratch_path("g.qcow2"), &options,
	                           &api_error));
	memset(model, 0, sizeof(model));
}

static void write_range(uint64_t at, size_t len, uint8_t value)
{
	memset(model + at, value, len);
	api_write(image, at, len, value);
}

static void zero_range(uint64_t at, size_t len, uint32_t flags)
{
	memset(model + at, 0, len);
	API_OK(qcowfmt_write_zeroes(image, at, len, flags, &api_error));
}

/* Whole clusters read as zeros afterwards, the rest is as it was. */
static void discard_range(uint64_t at, size_t len, uint64_t cluster_size)
{
	uint64_t first = (at + cluster_size - 1) / cluster_size * cluster_size;
	uint64_t end = (at + len) / cluster_size * cluster_size;

	/* The last cluster may be cut off by the end of the disk. */
	if (at + len == SIZE)
		end = SIZE;
	if (first < end)
		memset(model + first, 0, end - first);
	API_OK(qcowfmt_discard(image, at, len, &api_error));
}

static void expect_model(void)
{
	static uint8_t bytes[SIZE];
	size_t at = 0;

	API_OK(qcowfmt_pread(image, bytes, sizeof(bytes), 0, &api_error));
	while (at < SIZE && bytes[at] == model[at])
		at++;
	ck_assert_msg(at == SIZE, "byte %zu is 0x%02x, want 0x%02x", at,
	              bytes[at % SIZE], model[at % SIZE]);
}

static void random_step(struct unit_random *random, uint64_t cluster_size)
{
	uint64_t at = unit_random_below(random, SIZE);
	uint64_t max = SIZE - at < 700000 ? SIZE - at : 700000;
	size_t len = 1 + (size_t)unit_random_below(random, max);
	uint8_t value = (uint8_t)(1 + unit_random_below(random, 255));

	switch (unit_random_below(random, 6)) {
	case 0:
		zero_range(at, len, 0);
		break;
	case 1:
		zero_range(at, len, QCOWFMT_ZERO_MAY_UNMAP);
		break;
	case 2:
		discard_range(at, len, cluster_size);
		break;
	case 3:
		API_OK(qcowfmt_flush(image, &api_error));
		break;
	default:
		write_range(at, len, value);
		break;
	}
}

static void check_geometry(uint32_t version, uint64_t cluster_size,
                           uint32_t bits, struct unit_random *random)
{
	create(version, cluster_size, bits);
	for (int session = 0; session < 2; session++) {
		image = api_open(scratch_path("g.qcow2"), API_RW);
		expect_model();
		for (int i = 0; i < STEPS; i++)
			random_step(random, cluster_size);
		expect_model();
		api_check_clean(image);
		api_close(image);
		api_qemu_check(scratch_path("g.qcow2"));
	}
}

START_TEST(cluster_sizes)
{
	struct unit_random random = unit_random_init();

	for (uint64_t size = 512; size <= 2 << 20; size *= 2) {
		check_geometry(3, size, 16, &random);
		check_geometry(2, size, 16, &random);
	}
}

END_TEST

START_TEST(refcount_widths)
{
	struct unit_random random = unit_random_init();

	for (uint32_t bits = 1; bits <= 64; bits *= 2) {
		check_geometry(3, 512, bits, &random);
		check_geometry(3, 65536, bits, &random);
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, cluster_sizes);
	tcase_add_test(tcase, refcount_widths);
}

int main(int argc, char **argv)
{
	return api_main("every_geometry_works", add_tests, argc, argv);
}
