/* SPDX-License-Identifier: MIT */
/* convert_test.c - disks for the tests of converting */
#include <dirent.h>
#include <time.h>

#include "compressed_data.h"
#include "convert_test.h"

#define CLUSTER ((size_t)65536)

/* ThreadSanitizer has a thread of its own. */
#ifdef __SANITIZE_THREAD__
#define OWN_THREADS 2
#else
#define OWN_THREADS 1
#endif

enum content {
	NOISE,
	WORDS,
	WRITTEN_ZEROS,
	ZEROS,
	NOTHING,
	MIXED, /* words, but zeros at the beginning */
	CONTENTS,
};

static enum content content_of(uint64_t cluster)
{
	struct unit_random random = { cluster + 1 };

	return (enum content)unit_random_below(&random, CONTENTS);
}

static size_t cluster_len(uint64_t cluster)
{
	uint64_t left = MODEL_SIZE - cluster * CLUSTER;

	return left < CLUSTER ? (size_t)left : CLUSTER;
}

static void fill(uint8_t *bytes, size_t len, uint64_t cluster)
{
	struct unit_random random = { cluster };

	memset(bytes, 0, len);
	switch (content_of(cluster)) {
	case NOISE:
		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)unit_random_u64(&random);
		break;
	case WORDS:
		compressed_fill(bytes, len, cluster);
		break;
	case MIXED:
		compressed_fill(bytes + len / 2, len - len / 2, cluster);
		break;
	default:
		break;
	}
}

uint8_t *convert_model(void)
{
	uint8_t *model = malloc(MODEL_SIZE);

	ck_assert_ptr_nonnull(model);
	for (uint64_t i = 0; i * CLUSTER < MODEL_SIZE; i++)
		fill(model + i * CLUSTER, cluster_len(i), i);
	return model;
}

void convert_source_bytes(struct api_disk *disk)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
	};
	struct qcowfmt_image *image = convert_target(disk, &options, 0);
	QCF_AUTO_FREE uint8_t *model = convert_model();

	for (uint64_t i = 0; i * CLUSTER < MODEL_SIZE; i++) {
		enum content content = content_of(i);
		const uint8_t *bytes = model + i * CLUSTER;

		if (content == NOTHING)
			continue;
		if (content == ZEROS)
			API_OK(qcowfmt_write_zeroes(image, i * CLUSTER,
			                            cluster_len(i), 0,
			                            &api_error));
		else if (content == WORDS && i % 2 == 0)
			API_OK(qcowfmt_pwrite_compressed(
				image, bytes, cluster_len(i), i * CLUSTER,
				&api_error));
		else
			API_OK(qcowfmt_pwrite(image, bytes, cluster_len(i),
			                      i * CLUSTER, &api_error));
	}
	api_close(image);
}

struct qcowfmt_image *convert_open(struct api_disk *disk, int format,
                                   uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = format,
		.flags = flags,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open(api_disk_storage(disk), &options, &image,
	                    &api_error));
	return image;
}

struct qcowfmt_image *convert_source(struct api_disk *disk)
{
	convert_source_bytes(disk);
	return convert_open(disk, QCOWFMT_FORMAT_QCOW2, 0);
}

struct qcowfmt_image *convert_target(
	struct api_disk *disk, const struct qcowfmt_create_options *options,
	int level)
{
	struct qcowfmt_create_options create = *options;
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = options->format != 0 ? options->format
		                               : QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.compression_level = level,
	};
	struct qcowfmt_storage *storage = api_disk_storage(disk);
	struct qcowfmt_image *image = NULL;

	if (create.virtual_size == 0)
		create.virtual_size = MODEL_SIZE;
	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_OK(qcowfmt_open(storage, &open, &image, &api_error));
	return image;
}

void convert_expect(struct qcowfmt_image *image)
{
	QCF_AUTO_FREE uint8_t *model = convert_model();
	QCF_AUTO_FREE uint8_t *have = malloc(MODEL_SIZE);
	uint64_t size = qcowfmt_get_size(image);

	ck_assert_uint_ge(size, MODEL_SIZE);
	API_OK(qcowfmt_pread(image, have, MODEL_SIZE, 0, &api_error));
	for (uint64_t i = 0; i < MODEL_SIZE; i += 512)
		ck_assert_msg(memcmp(have + i, model + i, 512) == 0,
		              "other bytes at guest offset %" PRIu64, i);
	if (size > MODEL_SIZE)
		api_expect(image, MODEL_SIZE, (size_t)(size - MODEL_SIZE), 0);
}

static int thread_count(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	int count = 0;

	ck_assert_ptr_nonnull(tasks);
	while ((entry = readdir(tasks)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(tasks);
	return count;
}

bool convert_no_thread_left(void)
{
	const struct timespec nap = { .tv_nsec = 10000000 };

	for (int i = 0; i < 300; i++) {
		if (thread_count() <= OWN_THREADS)
			return true;
		nanosleep(&nap, NULL);
	}
	return false;
}
