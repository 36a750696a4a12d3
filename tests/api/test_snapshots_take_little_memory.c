/* SPDX-License-Identifier: MIT */
/*
 * Promise: however many clusters an image has, snapshots take no more memory
 * than the metadata cache may have, and a little for the tables.
 */
#include <sys/resource.h>

#include "api_test.h"

/* All mapped: 8 MiB of counts, 32 MiB of L2 tables. */
#define SIZE       (UINT64_C(16) << 30)
#define CLUSTER    UINT64_C(4096)
#define CACHE_SIZE (UINT64_C(8) << 20)
#define MORE_KIB   (CACHE_SIZE / 1024 + 4096)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEASURABLE 0
#else
#define MEASURABLE 1
#endif

static uint64_t peak_kib(void)
{
	struct rusage usage;

	ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
	return (uint64_t)usage.ru_maxrss;
}

static struct qcowfmt_image *open_image(void)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.cache_size = CACHE_SIZE,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(scratch_path("image"), &options, &image,
	                         &api_error));
	return image;
}

static void expect_peak_below(uint64_t limit, const char *what)
{
	ck_assert_msg(!MEASURABLE || peak_kib() < limit,
	              "%s: %" PRIu64
	              " KiB at the peak, want less than %" PRIu64,
	              what, peak_kib(), limit);
}

/* Each time the image is opened anew, with nothing in its caches. */
START_TEST(snapshots_take_little_memory)
{
	const struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.cluster_size = CLUSTER,
		.preallocation = QCOWFMT_PREALLOCATION_METADATA,
	};
	const struct qcowfmt_snapshot_options first = {
		.struct_size = sizeof(first),
		.name = "first",
	};
	const struct qcowfmt_snapshot_options second = {
		.struct_size = sizeof(second),
		.name = "second",
	};
	struct qcowfmt_image *image;
	uint64_t limit;

	API_OK(qcowfmt_create_file(scratch_path("image"), &create, &api_error));
	limit = peak_kib() + MORE_KIB;
	image = open_image();
	API_OK(qcowfmt_snapshot_create(image, &first, &api_error));
	api_close(image);
	expect_peak_below(limit, "first");
	image = open_image();
	API_OK(qcowfmt_snapshot_create(image, &second, &api_error));
	api_close(image);
	expect_peak_below(limit, "second");
	image = open_image();
	API_OK(qcowfmt_snapshot_apply(image, NULL, "first", &api_error));
	api_close(image);
	expect_peak_below(limit, "apply");
	image = open_image();
	API_OK(qcowfmt_snapshot_delete(image, NULL, "first", &api_error));
	api_close(image);
	expect_peak_below(limit, "delete");
	image = open_image();
	api_check_clean(image);
	api_close(image);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, snapshots_take_little_memory);
}

int main(int argc, char **argv)
{
	return api_main("snapshots_take_little_memory", add, argc, argv);
}
