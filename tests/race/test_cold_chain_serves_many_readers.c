/* SPDX-License-Identifier: MIT */
/*
 * test_cold_chain_serves_many_readers.c - threads that read an image whose
 * tables are not in memory yet all get the right bytes from the right layer
 *
 * Three layers, each with every third extent of the disk, are opened anew for
 * each round with a small cache, so that threads miss the same table slices at
 * the same time.  What qcowfmt_map() says while others read must be right too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "scratch.h"
#include "stamp.h"
#include "team.h"

#define THREADS  6
#define OPENINGS 6
#define READS    400
#define LAYERS   3
#define DISK     (UINT64_C(6) << 20)
#define EXTENT   (UINT64_C(12) << 10)
#define MAX_LEN  (64u << 10)

static const uint64_t cluster_sizes[LAYERS] = { 4096, 512, 1024 };

struct job {
	struct qcowfmt_image *image;
};

static void layer_name(int layer, char out[32])
{
	snprintf(out, 32, "layer%d", layer);
}

/* Version in a sector: the layer that has it. */
static uint64_t version_at(uint64_t sector)
{
	uint64_t extent = sector * QCF_SECTOR / EXTENT;

	if (extent % (LAYERS + 1) == LAYERS)
		return QCF_VERSION_ZERO;
	return qcf_version((int)(extent % (LAYERS + 1)), 0);
}

static void create_layer(int layer)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = DISK,
		.cluster_size = cluster_sizes[layer],
	};
	char backing[32];
	char name[32];

	layer_name(layer, name);
	if (layer > 0) {
		layer_name(layer - 1, backing);
		options.backing_filename = backing;
		options.backing_format = "qcow2";
	}
	ck_assert_int_eq(
		qcowfmt_create_file(scratch_path(name), &options, NULL), 0);
}

static struct qcowfmt_image *open_layer(int layer, uint32_t flags)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
		.cache_size = 32768,
	};
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *image = NULL;
	char name[32];
	int ret;

	layer_name(layer, name);
	ret = qcowfmt_open_file(scratch_path(name), &options, &image, &error);
	ck_assert_msg(ret == 0, "%s", qcowfmt_error_message(error));
	return image;
}

static void fill_layer(int layer)
{
	struct qcowfmt_image *image =
		open_layer(layer, QCOWFMT_OPEN_READ_WRITE);
	static uint8_t data[EXTENT];
	uint64_t offset = (uint64_t)layer * EXTENT;

	for (; offset < DISK; offset += (LAYERS + 1) * EXTENT) {
		uint64_t len = DISK - offset < EXTENT ? DISK - offset : EXTENT;

		qcf_stamp_fill(data, offset / QCF_SECTOR, len / QCF_SECTOR,
		               qcf_version(layer, 0));
		ck_assert_int_eq(qcowfmt_pwrite(image, data, len, offset, NULL),
		                 0);
	}
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static bool is_right(struct qcf_member *m, const uint8_t *data, uint64_t sector)
{
	struct qcf_reading reading;

	if (!qcf_stamp_read(data, sector, &reading, &m->finding))
		return false;
	if (reading.count == 1 && reading.versions[0] == version_at(sector))
		return true;
	return qcf_found(&m->finding, QCF_FOUND_CONTENT,
	                 "sector %" PRIu64 " has version 0x%" PRIx64
	                 ", want 0x%" PRIx64,
	                 sector, reading.versions[0], version_at(sector));
}

static bool read_one(struct qcf_member *m, uint8_t *buffer)
{
	struct job *job = m->job;
	uint64_t count = qcf_rng_between(&m->rng, 1, MAX_LEN / QCF_SECTOR);
	uint64_t first = qcf_rng_below(&m->rng, DISK / QCF_SECTOR - count);
	struct qcowfmt_error *error = NULL;
	uint64_t i;
	int ret = qcowfmt_pread(job->image, buffer, count * QCF_SECTOR,
	                        first * QCF_SECTOR, &error);

	if (ret < 0)
		return qcf_found_error(&m->finding, "read", ret, error);
	for (i = 0; i < count; i++) {
		if (!is_right(m, buffer + i * QCF_SECTOR, first + i))
			return false;
	}
	return true;
}

static bool map_one(struct qcf_member *m)
{
	struct job *job = m->job;
	uint64_t sector = qcf_rng_below(&m->rng, DISK / QCF_SECTOR);
	uint64_t version = version_at(sector);
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_extent extent;
	int ret = qcowfmt_map(job->image, sector * QCF_SECTOR, QCF_SECTOR, 0,
	                      &extent, 1, &error);

	if (ret < 0)
		return qcf_found_error(&m->finding, "map", ret, error);
	if (ret != 1 || (extent.kind == QCOWFMT_EXTENT_DATA) != (version != 0))
		return qcf_found(&m->finding, QCF_FOUND_METADATA,
		                 "map of sector %" PRIu64
		                 ": %d extents, kind %d",
		                 sector, ret, extent.kind);
	return true;
}

static bool read_much(struct qcf_member *m)
{
	unsigned int rounds = qcf_team_rounds(READS);
	uint8_t *buffer = malloc(MAX_LEN);
	bool good = true;
	unsigned int i;

	if (!buffer)
		abort();
	for (i = 0; i < rounds && good && qcf_team_goes_on(m); i++)
		good = read_one(m, buffer) && map_one(m);
	free(buffer);
	return good;
}

START_TEST(cold_chain_serves_many_readers)
{
	struct qcf_finding finding = { 0 };
	struct job job;
	int i;

	for (i = 0; i < LAYERS; i++) {
		create_layer(i);
		fill_layer(i);
	}
	for (i = 0; i < OPENINGS; i++) {
		job.image = open_layer(LAYERS - 1, 0);
		ck_assert_msg(qcf_team_run(THREADS, read_much, 0, NULL, &job,
		                           qcf_seed() + (uint64_t)i, &finding),
		              "QCF_SEED=%" PRIu64 ": %s", qcf_seed(),
		              finding.text);
		ck_assert_int_eq(qcowfmt_close(job.image, NULL), 0);
	}
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("cold chain serves many readers");
	TCase *tcase = tcase_create("readers");

	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_test(tcase, cold_chain_serves_many_readers);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
