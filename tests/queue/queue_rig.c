/* SPDX-License-Identifier: MIT */
/* queue_rig.c - images of many kinds for queues, and what they should hold */
#include <stdio.h>
#include <stdlib.h>

#include "queue_rig.h"

#define SECRET "open sesame"

const struct rig_kind rig_kinds[] = {
	{ .name = "plain", .cluster_size = 65536 },
	{ .name = "small clusters", .cluster_size = 512 },
	{ .name = "version 2", .version = 2, .cluster_size = 4096 },
	{ .name = "overlay", .cluster_size = 4096, .backing = true },
	{ .name = "compressed", .cluster_size = 4096, .compressed = true },
	{ .name = "encrypted", .cluster_size = 4096, .encrypted = true },
	{ .name = "subclusters",
	  .cluster_size = 16384,
	  .create_flags = QCOWFMT_CREATE_EXTENDED_L2,
	  .backing = true },
	{ .name = "data file", .cluster_size = 4096, .data_file = true },
	{ .name = "bitmap", .cluster_size = 4096, .bitmap = true },
	{ .name = "direct",
	  .cluster_size = 4096,
	  .open_flags = QCOWFMT_OPEN_DIRECT,
	  .backing = true },
	{ .name = "raw", .format = QCOWFMT_FORMAT_RAW },
	{ .name = "version 1", .format = QCOWFMT_FORMAT_QCOW },
};
const size_t rig_kind_count = QCF_ARRAY_LEN(rig_kinds);

uint64_t rig_draw(struct rig *rig, uint64_t below)
{
	rig->random = rig->random * UINT64_C(6364136223846793005) + 1442695041;
	return (rig->random >> 33) % below;
}

void rig_fill(struct rig *rig, void *buffer, size_t len)
{
	uint8_t first = (uint8_t)rig_draw(rig, 255);

	for (size_t i = 0; i < len; i++)
		((uint8_t *)buffer)[i] = (uint8_t)(1 + (first + i) % 255);
}

static struct qcowfmt_image *open_disk(const struct rig_kind *kind,
                                       uint32_t flags)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format =
			kind->format == 0 ? QCOWFMT_FORMAT_QCOW2 : kind->format,
		.flags = flags | kind->open_flags,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.cache_size = 16384,
		.secret = kind->encrypted ? SECRET : NULL,
		.secret_len = kind->encrypted ? strlen(SECRET) : 0,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(scratch_path("disk"), &options, &image,
	                         &api_error));
	return image;
}

/* Something in every other part of a disk. */
static void scatter(struct rig *rig, struct qcowfmt_image *image,
                    bool compressed)
{
	const uint64_t step = 65536;
	uint8_t *buffer = malloc(step);

	ck_assert_ptr_nonnull(buffer);
	for (uint64_t at = 0; at < RIG_SIZE; at += step) {
		if (rig_draw(rig, 2) == 0)
			continue;
		rig_fill(rig, buffer, step);
		if (compressed)
			API_OK(qcowfmt_pwrite_compressed(image, buffer, step,
			                                 at, &api_error));
		else
			API_OK(qcowfmt_pwrite(image, buffer, step, at,
			                      &api_error));
		memcpy(rig->model + at, buffer, step);
	}
	free(buffer);
}

static void make_backing(struct rig *rig)
{
	struct qcowfmt_image *image;

	api_create(scratch_path("base"), RIG_SIZE, 8192);
	image = api_open(scratch_path("base"), API_RW);
	scatter(rig, image, false);
	api_close(image);
}

static void make_disk(const struct rig_kind *kind)
{
	const struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 10,
		.secret = SECRET,
		.secret_len = strlen(SECRET),
	};
	const struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = RIG_SIZE,
		.format = kind->format,
		.version = kind->version,
		.cluster_size = kind->cluster_size,
		.flags = kind->create_flags,
		.backing_filename = kind->backing ? "base" : NULL,
		.backing_format = kind->backing ? "qcow2" : NULL,
		.data_filename = kind->data_file ? scratch_path("data") : NULL,
		.encryption = kind->encrypted ? &encryption : NULL,
	};

	API_OK(qcowfmt_create_file(scratch_path("disk"), &options, &api_error));
}

void rig_open(struct rig *rig, const struct rig_kind *kind, uint64_t seed)
{
	struct qcowfmt_image *image;

	*rig = (struct rig){ .kind = kind, .random = seed };
	rig->model = calloc(1, RIG_SIZE);
	ck_assert_ptr_nonnull(rig->model);
	if (kind->backing)
		make_backing(rig);
	make_disk(kind);
	image = open_disk(kind, API_RW);
	if (kind->bitmap)
		api_add_bitmap(image, "all");
	scatter(rig, image, kind->compressed);
	api_close(image);
	rig->image = open_disk(kind, API_RW);
}

static void compare(struct rig *rig, const char *when)
{
	uint8_t *buffer = malloc(RIG_SIZE);
	uint64_t i = 0;

	ck_assert_ptr_nonnull(buffer);
	API_OK(qcowfmt_pread(rig->image, buffer, RIG_SIZE, 0, &api_error));
	while (i < RIG_SIZE && buffer[i] == rig->model[i])
		i++;
	ck_assert_msg(i == RIG_SIZE, "%s: byte %" PRIu64 " is wrong %s",
	              rig->kind->name, i, when);
	free(buffer);
}

void rig_judge(struct rig *rig)
{
	bool is_qcow2 = rig->kind->format == 0;

	compare(rig, "at the end");
	api_close(rig->image);
	rig->image = open_disk(rig->kind, 0);
	compare(rig, "when opened again");
	if (is_qcow2)
		api_check_clean(rig->image);
	api_close(rig->image);
	if (is_qcow2 && !rig->kind->encrypted)
		api_qemu_check(scratch_path("disk"));
	free(rig->model);
}

struct qcowfmt_queue *rig_queue(struct qcowfmt_image *image, uint32_t depth,
                                int uring)
{
	const struct qcowfmt_queue_options options = {
		.struct_size = sizeof(options),
		.depth = depth,
		.workers = 3,
		.flags = uring != 0 ? 0 : QCOWFMT_QUEUE_NO_URING,
	};
	struct qcowfmt_queue *queue = NULL;

	API_OK(qcowfmt_queue_new(image, &options, &queue, &api_error));
	ck_assert_int_eq(qcowfmt_queue_uses_uring(queue), uring);
	return queue;
}

bool rig_has_uring(void)
{
	struct qcowfmt_queue *queue = NULL;
	struct qcowfmt_image *image;
	bool uses;

	api_create(scratch_path("probe"), RIG_SIZE, 0);
	image = api_open(scratch_path("probe"), 0);
	API_OK(qcowfmt_queue_new(image, NULL, &queue, &api_error));
	uses = qcowfmt_queue_uses_uring(queue) != 0;
	qcowfmt_queue_free(queue);
	api_close(image);
	if (!uses)
		fprintf(stderr, "SKIPPED in part: no io_uring here\n");
	return uses;
}
