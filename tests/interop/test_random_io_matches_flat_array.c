/* SPDX-License-Identifier: MIT */
/*
 * test_random_io_matches_flat_array.c - any sequence of reads, writes,
 * zeroings, discards, flushes and reopenings leaves what the same sequence
 * leaves in a flat array
 *
 * One image per cluster size, version and kind of backing chain; refcount
 * width, lazy refcounts, cache size, discard mode and direct I/O go round so that each
 * meets each cluster size.  After the last close our check and QEMU's must be
 * content, and QEMU must read the flat array.
 *
 * An argument "K/N" runs only every N-th image, from number K on.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "layer.h"
#include "scratch.h"

#define CLUSTER_SIZES 13 /* 512 ... 2 MiB */
#define VERSIONS      2

#define OPS      1000 /* on the image */
#define FILL_OPS 30   /* for each layer below the top */

enum backing {
	BACKING_NONE,
	BACKING_RAW,
	BACKING_RAW_SHORT, /* and ends within a sector */
	BACKING_RAW_LONG,
	BACKING_QCOW2,
	BACKING_QCOW2_SHORT, /* smaller clusters, or the smallest too */
	BACKING_QCOW2_LONG,  /* larger clusters, or the largest too */
	BACKING_TWO,         /* raw below qcow2 of another version */
	BACKINGS
};

#define IMAGES (CLUSTER_SIZES * VERSIONS * BACKINGS)

struct image {
	int index;
	int cluster; /* 0 is 512 */
	enum backing backing;
	struct qcf_shape shape;
	struct qcf_target target;
	struct qcf_disk_options open;
	struct qcf_rng rng;
	uint64_t ops;
};

static uint64_t any_size(struct qcf_rng *rng, uint64_t cluster_size)
{
	uint64_t l2_span = cluster_size * (cluster_size / 8);
	uint64_t size;

	if (cluster_size <= 4096)
		size = qcf_rng_between(rng, 256 << 10, 1536 << 10);
	else
		size = 2 * l2_span + qcf_rng_below(rng, l2_span);
	if (qcf_rng_percent(rng, 50))
		size -= size % cluster_size;
	return size - size % 512;
}

/* Not every file system for scratch files can bypass the page cache. */
static bool direct_io_works(void)
{
	int fd = open(scratch_path("direct"),
	              O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void choose_open(struct image *image)
{
	static const uint64_t cache_sizes[] = { 0, 0, 65536, 1048576 };
	static const int32_t modes[] = { QCOWFMT_DISCARD_UNMAP,
		                         QCOWFMT_DISCARD_UNMAP,
		                         QCOWFMT_DISCARD_KEEP,
		                         QCOWFMT_DISCARD_UNMAP,
		                         QCOWFMT_DISCARD_IGNORE };

	image->open.cache_size = cache_sizes[image->index % 4];
	image->open.discard_mode = modes[image->index % 5];
	image->open.seed = qcf_rng_next(&image->rng);
	if (image->open.discard_mode == QCOWFMT_DISCARD_IGNORE)
		image->target.discard_works = false;
	if (image->index % 12 == 7 && direct_io_works())
		image->open.open_flags = QCOWFMT_OPEN_DIRECT;
}

static void choose_image(struct image *image, int index)
{
	int cluster = index % CLUSTER_SIZES;
	int backing = index / CLUSTER_SIZES % BACKINGS;
	bool v3 = index < IMAGES / VERSIONS;
	struct qcf_shape *s = &image->shape;

	memset(image, 0, sizeof(*image));
	image->index = index;
	image->cluster = cluster;
	image->backing = (enum backing)backing;
	image->rng = qcf_rng_new(qcf_seed(), (uint64_t)index);
	image->ops = (uint64_t)OPS * qcf_long_factor();
	s->version = v3 ? 3 : 2;
	s->cluster_size = UINT64_C(512) << cluster;
	s->refcount_bits = v3 ? 1u << (backing + cluster) % 7 : 16;
	s->lazy_refcounts = v3 && ((cluster >> 1) + backing) % 2 == 1;
	s->size = any_size(&image->rng, s->cluster_size);
	qcf_target_init(&image->target, s->size, s->cluster_size,
	                v3 || backing == BACKING_NONE);
	choose_open(image);
}

/* The n-th layer below the top, from the bottom; false if there is none. */
static bool backing_shape(const struct image *image, int n,
                          struct qcf_shape *shape)
{
	const struct qcf_shape *top = &image->shape;

	*shape = *top;
	shape->maker =
		image->index % 2 ? QCF_MADE_BY_QEMU : QCF_MADE_BY_LIBRARY;
	shape->raw = image->backing <= BACKING_RAW_LONG || n == 0;
	switch (image->backing) {
	case BACKING_NONE:
	case BACKINGS:
		return false;
	case BACKING_RAW:
		return n == 0;
	case BACKING_RAW_SHORT:
		shape->size = top->size / 2 + 1000 - top->size / 2 % 512;
		return n == 0;
	case BACKING_RAW_LONG:
		shape->size += 3 * top->cluster_size + 512;
		return n == 0;
	case BACKING_QCOW2:
		shape->raw = false;
		return n == 0;
	case BACKING_QCOW2_SHORT:
		shape->raw = false;
		shape->size = top->size / 3 * 2 - top->size / 3 * 2 % 512;
		shape->cluster_size =
			image->cluster > 2 ? top->cluster_size / 8 : 512;
		return n == 0;
	case BACKING_QCOW2_LONG:
		shape->raw = false;
		shape->size += 5 * top->cluster_size + 1024;
		shape->cluster_size = image->cluster < 11
		                              ? top->cluster_size * 4
		                              : 2048 << 10;
		return n == 0;
	case BACKING_TWO:
		if (n == 0)
			shape->size = top->size / 2 + 777;
		shape->version = 5 - top->version;
		shape->refcount_bits = 16;
		shape->lazy_refcounts = false;
		return n <= 1;
	}
	return false;
}

static bool make_chain(struct image *image, struct qcf_chain *chain,
                       struct qcf_finding *finding)
{
	struct qcf_shape shape;
	int n;

	for (n = 0; backing_shape(image, n, &shape); n++) {
		if (!qcf_chain_push(chain, &shape, &image->target, finding) ||
		    !qcf_chain_fill(chain, FILL_OPS, qcf_rng_next(&image->rng),
		                    finding) ||
		    (!shape.raw && !qcf_chain_judge(chain, finding)))
			return false;
	}
	image->shape.maker =
		image->index % 3 == 0 ? QCF_MADE_BY_QEMU : QCF_MADE_BY_LIBRARY;
	return qcf_chain_push(chain, &image->shape, &image->target, finding);
}

START_TEST(image_matches_flat_array)
{
	struct qcf_finding finding = { 0 };
	struct qcf_chain chain;
	struct image image;
	char text[160];
	bool good;

	choose_image(&image, qcf_shard_index(_i));
	qcf_shape_print(&image.shape, text, sizeof(text));
	qcf_chain_init(&chain);
	good = make_chain(&image, &chain, &finding) &&
	       qcf_chain_exercise(&chain, &image.open, image.ops,
	                          qcf_rng_next(&image.rng), &finding) &&
	       qcf_chain_judge(&chain, &finding);
	qcf_chain_fini(&chain, !good);
	if (!good)
		ck_abort_msg("QCF_SEED=%" PRIu64 " image %d/%d (%s, backing "
		             "kind %d): %s",
		             qcf_seed(), image.index, IMAGES, text,
		             (int)image.backing, finding.text);
}

END_TEST

int main(int argc, char **argv)
{
	int images = qcf_shard_init(argc, argv, IMAGES);
	Suite *suite = suite_create("random io matches a flat array");
	TCase *tcase = tcase_create("image");

	printf("%d images, %u operations each\n", images,
	       OPS * qcf_long_factor());
	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, image_matches_flat_array, 0, images);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, true);
}
