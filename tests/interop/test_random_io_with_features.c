/* SPDX-License-Identifier: MIT */
/*
 * test_random_io_with_features.c - subclusters, data files, encryption,
 * preallocation, compressed writing and version 1 change nothing in what a
 * guest sees: a flat array
 *
 * One image per kind, cluster size and what is below it: nothing, a raw file, a
 * plain image, or an image of the same kind with a secret of its own.  The
 * library and QEMU make the images in turns, where they can.  Where there is a raw data file it
 * must equal the array after every flush.
 *
 * An argument "K/N" runs only every N-th image, from number K on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "built_with.h"
#include "harness.h"
#include "layer.h"

#define SIZES    4 /* of clusters, for each kind */
#define OPS      600
#define FILL_OPS 30

#define AES  QCOWFMT_ENCRYPTION_AES
#define LUKS QCOWFMT_ENCRYPTION_LUKS

enum below { BELOW_NOTHING, BELOW_RAW, BELOW_PLAIN, BELOW_SAME, BELOW_COUNT };

/* bits: log2 of the cluster sizes.  Of the members of a shape that are not
 * mentioned, version is 3 and the width of counts goes round. */
static const struct kind {
	uint32_t bits[SIZES];
	bool alone; /* cannot have a backing file */
	struct qcf_shape shape;
} kinds[] = {
	{ { 14, 15, 16, 21 }, false, { .extended_l2 = true } },
	{ { 14, 16, 17, 20 }, false, { .extended_l2 = true } },
	{ { 14, 15, 16, 18 },
	  false,
	  { .extended_l2 = true, .compresses = true } },
	{ { 14, 15, 16, 16 },
	  true,
	  { .extended_l2 = true, .preallocation = "metadata" } },
	{ { 9, 12, 16, 21 }, false, { .compresses = true } },
	{ { 10, 12, 15, 18 }, false, { .compresses = true, .zstd = true } },
	{ { 9, 11, 12, 16 }, false, { .compresses = true, .version = 2 } },
	{ { 9, 12, 16, 21 }, false, { .data_file = QCF_DATA_FILE } },
	{ { 14, 15, 16, 17 },
	  false,
	  { .data_file = QCF_DATA_FILE, .extended_l2 = true } },
	{ { 9, 12, 13, 16 }, true, { .data_file = QCF_DATA_FILE_RAW } },
	{ { 14, 15, 16, 17 },
	  true,
	  { .data_file = QCF_DATA_FILE_RAW, .extended_l2 = true } },
	{ { 9, 12, 16, 20 }, false, { .encryption = AES } },
	{ { 9, 12, 14, 16 }, false, { .encryption = AES, .version = 2 } },
	{ { 9, 12, 16, 19 }, false, { .encryption = LUKS } },
	{ { 10, 12, 15, 16 }, false, { .encryption = LUKS, .version = 2 } },
	{ { 14, 15, 16, 17 },
	  false,
	  { .encryption = LUKS, .extended_l2 = true } },
	{ { 9, 12, 14, 16 },
	  false,
	  { .encryption = LUKS, .data_file = QCF_DATA_FILE } },
	{ { 9, 12, 16, 18 }, true, { .preallocation = "metadata" } },
	{ { 9, 12, 14, 16 }, true, { .preallocation = "falloc" } },
	{ { 10, 12, 15, 17 }, true, { .preallocation = "full", .version = 2 } },
	{ { 9, 12, 13, 16 }, false, { .version = 1, .compresses = true } },
	{ { 9, 10, 12, 15 }, false, { .version = 1 } },
	{ { 9, 11, 12, 16 }, false, { .version = 1, .encryption = AES } },
};

#define KINDS  (int)(sizeof(kinds) / sizeof(kinds[0]))
#define IMAGES (KINDS * SIZES)

struct image {
	int index;
	enum below below;
	struct qcf_shape shape;
	struct qcf_target target;
	struct qcf_disk_options open;
	struct qcf_rng rng;
};

/*
 * Where everything is mapped beforehand, a disk is not to be huge; and QEMU 7.2
 * aborts when it meets 2 GiB of nothing in an encrypted image.
 */
static bool is_to_be_small(const struct qcf_shape *s)
{
	return s->preallocation || s->data_file == QCF_DATA_FILE_RAW ||
	       (s->encryption && s->cluster_size > 65536);
}

static uint64_t any_size(struct qcf_rng *rng, const struct qcf_shape *s)
{
	uint64_t cs = s->cluster_size;
	uint64_t l2_span = cs * (cs / (s->extended_l2 ? 16 : 8));
	uint64_t size = qcf_rng_between(rng, 256 << 10, 1536 << 10);

	if (is_to_be_small(s))
		size += 8 * cs;
	else if (cs > 4096)
		size = 2 * l2_span + qcf_rng_below(rng, l2_span);
	if (qcf_rng_percent(rng, 50))
		size -= size % cs;
	return size - size % 512;
}

/* QEMU takes seconds to make LUKS. */
static enum qcf_maker any_maker(const struct image *image)
{
	const struct qcf_shape *s = &image->shape;

	if (s->version == 1 &&
	    s->cluster_size != (image->below == BELOW_NOTHING ? 4096 : 512))
		return QCF_MADE_BY_HAND;
	if (s->encryption == LUKS && image->index % 16 != 0)
		return QCF_MADE_BY_LIBRARY;
	return image->index / 2 % 2 ? QCF_MADE_BY_QEMU : QCF_MADE_BY_LIBRARY;
}

static void choose_image(struct image *image, int index)
{
	static const uint64_t cache_sizes[] = { 0, 65536, 1048576 };
	const struct kind *kind = &kinds[index / SIZES];
	struct qcf_shape *s = &image->shape;

	memset(image, 0, sizeof(*image));
	image->index = index;
	image->rng = qcf_rng_new(qcf_seed(), (uint64_t)index);
	*s = kind->shape;
	s->zstd = s->zstd && built_with_zstd();
	s->version = s->version ? s->version : 3;
	s->cluster_size = UINT64_C(1) << kind->bits[index % SIZES];
	s->refcount_bits = s->version < 3 ? 16 : 1u << (index % 7);
	s->luks = index;
	s->size = any_size(&image->rng, s);
	if (!kind->alone)
		image->below =
			(enum below)((index + index / SIZES) % BELOW_COUNT);
	s->l2_bits = 6 + (uint32_t)index % 8;
	s->maker = any_maker(image);
	qcf_target_init(&image->target, s->size, s->cluster_size, true);
	image->open.cache_size = cache_sizes[index % 3];
	image->open.seed = qcf_rng_next(&image->rng);
}

/* False if there is nothing below. */
static bool shape_below(const struct image *image, struct qcf_shape *shape)
{
	*shape = image->shape;
	shape->maker =
		shape->version == 1 ? QCF_MADE_BY_HAND : QCF_MADE_BY_LIBRARY;
	if (image->index % 3 == 0)
		shape->size -= shape->size / 4 / 512 * 512;
	if (image->below == BELOW_RAW)
		*shape = (struct qcf_shape){ .raw = true, .size = shape->size };
	if (image->below == BELOW_PLAIN)
		*shape = (struct qcf_shape){
			.version = 3,
			.cluster_size = 4096,
			.refcount_bits = 16,
			.size = shape->size,
			.maker = QCF_MADE_BY_QEMU,
		};
	return image->below != BELOW_NOTHING;
}

static bool make_chain(struct image *image, struct qcf_chain *chain,
                       struct qcf_finding *finding)
{
	struct qcf_shape shape;

	if (shape_below(image, &shape) &&
	    (!qcf_chain_push(chain, &shape, &image->target, finding) ||
	     !qcf_chain_fill(chain, FILL_OPS, qcf_rng_next(&image->rng),
	                     finding) ||
	     (!shape.raw && !qcf_chain_judge(chain, finding))))
		return false;
	return qcf_chain_push(chain, &image->shape, &image->target, finding);
}

START_TEST(image_matches_flat_array)
{
	struct qcf_finding finding = { 0 };
	struct qcf_chain chain;
	struct image image;
	char text[200];
	bool good;

	choose_image(&image, qcf_shard_index(_i));
	qcf_shape_print(&image.shape, text, sizeof(text));
	qcf_chain_init(&chain);
	good = make_chain(&image, &chain, &finding) &&
	       qcf_chain_exercise(&chain, &image.open,
	                          (uint64_t)OPS * qcf_long_factor(),
	                          qcf_rng_next(&image.rng), &finding) &&
	       qcf_chain_judge(&chain, &finding);
	qcf_chain_fini(&chain, !good);
	if (!good)
		ck_abort_msg("QCF_SEED=%" PRIu64 " image %d/%d (%s, below %d): "
		             "%s",
		             qcf_seed(), image.index, IMAGES, text,
		             (int)image.below, finding.text);
}

END_TEST

int main(int argc, char **argv)
{
	int images = qcf_shard_init(argc, argv, IMAGES);
	Suite *suite = suite_create("random io with features");
	TCase *tcase = tcase_create("image");

	printf("%d images, %u operations each\n", images,
	       OPS * qcf_long_factor());
	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, image_matches_flat_array, 0, images);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, true);
}
