/* SPDX-License-Identifier: MIT */
/*
 * test_whole_image_changes.c - whatever changes an image as a whole, disk,
 * snapshots, VM state and bitmaps stay what they should be
 *
 * Random operations of a guest alternate with snapshots taken, applied and
 * deleted, changes of bitmaps, of the size, of properties of the image, and
 * compaction, by the library and by QEMU's programs on one image.  A model
 * follows; between the steps the image is held against it, and checked: no
 * corruption and no leak.
 *
 * An argument "K/N" runs only every N-th image, from number K on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "approve.h"
#include "built_with.h"
#include "change.h"
#include "harness.h"
#include "model_check.h"
#include "qemu_turn.h"

#define ROUNDS     2 /* the image is opened so often, times the long factor */
#define STEPS      6 /* of our changes, each time */
#define QEMU_STEPS 2 /* and of QEMU's, in between */
#define GUEST_OPS  12
#define QEMU_OPS   12
#define MAX_SIZES  6
#define MODEL_PART 100 /* of the seed */

/* Of clusters, ended by 0. */
static const uint64_t any_clusters[MAX_SIZES + 1] = { 512,   1024,    4096,
	                                              65536, 2097152, 0 };
static const uint64_t some_clusters[MAX_SIZES + 1] = { 512, 4096, 65536, 0 };
static const uint64_t with_subclusters[MAX_SIZES + 1] = { 16384, 65536, 0 };

static const struct kind {
	const uint64_t *sizes;
	bool with_backing;
	struct qcf_shape shape;
} kinds[] = {
	{ any_clusters, false, { .refcount_bits = 16 } },
	{ some_clusters, true, { .refcount_bits = 16 } },
	{ some_clusters, false, { .version = 2, .refcount_bits = 16 } },
	{ some_clusters, true, { .version = 2, .refcount_bits = 16 } },
	{ some_clusters, false, { .refcount_bits = 1 } },
	{ some_clusters,
	  false,
	  { .refcount_bits = 2, .lazy_refcounts = true } },
	{ some_clusters, true, { .refcount_bits = 4 } },
	{ some_clusters, false, { .refcount_bits = 8, .compresses = true } },
	{ some_clusters,
	  false,
	  { .refcount_bits = 32, .preallocation = "metadata" } },
	{ some_clusters,
	  false,
	  { .refcount_bits = 64, .lazy_refcounts = true } },
	{ some_clusters,
	  true,
	  { .refcount_bits = 16, .compresses = true, .zstd = true } },
	{ some_clusters,
	  false,
	  { .version = 2, .refcount_bits = 16, .compresses = true } },
	{ with_subclusters,
	  false,
	  { .refcount_bits = 16, .extended_l2 = true } },
	{ with_subclusters,
	  true,
	  { .refcount_bits = 16, .extended_l2 = true, .compresses = true } },
	{ some_clusters,
	  false,
	  { .refcount_bits = 16, .data_file = QCF_DATA_FILE } },
	{ some_clusters,
	  false,
	  { .refcount_bits = 16, .data_file = QCF_DATA_FILE_RAW } },
	{ some_clusters,
	  false,
	  { .refcount_bits = 16, .encryption = QCOWFMT_ENCRYPTION_AES } },
	{ some_clusters,
	  true,
	  { .version = 2,
	    .refcount_bits = 16,
	    .encryption = QCOWFMT_ENCRYPTION_LUKS } },
	{ some_clusters, false, { .version = 1 } },
};

#define KINDS (int)(sizeof(kinds) / sizeof(kinds[0]))

static int size_count(const struct kind *kind)
{
	int count = 0;

	while (kind->sizes[count] != 0)
		count++;
	return count;
}

static int image_count(void)
{
	int count = 0;
	int i;

	for (i = 0; i < KINDS; i++)
		count += size_count(&kinds[i]);
	return count;
}

static enum qcf_maker any_maker(struct qcf_rng *rng, const struct qcf_shape *s)
{
	if (s->version == 1)
		return QCF_MADE_BY_HAND;
	return s->encryption || qcf_rng_percent(rng, 50) ? QCF_MADE_BY_LIBRARY
	                                                 : QCF_MADE_BY_QEMU;
}

/* Several L2 tables where clusters are small; always several clusters. */
static uint64_t any_size(struct qcf_rng *rng, uint64_t cluster_size)
{
	uint64_t size = cluster_size < 65536
	                        ? qcf_rng_between(rng, 96 << 10, 640 << 10)
	                        : qcf_rng_between(rng, 3 * cluster_size,
	                                          8 * cluster_size);

	return size - size % 512;
}

static const struct kind *choose(int index, struct qcf_rng *rng,
                                 struct qcf_shape *shape)
{
	const struct kind *kind = kinds;

	for (; index >= size_count(kind); kind++)
		index -= size_count(kind);
	*shape = kind->shape;
	shape->zstd = shape->zstd && built_with_zstd();
	shape->version = shape->version ? shape->version : 3;
	shape->cluster_size = kind->sizes[index];
	shape->l2_bits = 6;
	shape->size = any_size(rng, shape->cluster_size);
	shape->maker = any_maker(rng, shape);
	return kind;
}

static bool set_up(struct qcf_model *m, int index, struct qcf_finding *finding)
{
	struct qcf_shape shape;
	const struct kind *kind = choose(index, &m->rng, &shape);
	struct qcf_shape base = {
		.raw = !shape.encryption,
		.version = 3,
		.cluster_size = 4096,
		.refcount_bits = 16,
		.size = qcf_rng_between(&m->rng, shape.size / 2,
		                        shape.size / 4 * 5),
	};
	struct qcf_target target;

	base.size -= base.size % 512;
	qcf_target_init(&target, shape.size, shape.cluster_size, true);
	if (kind->with_backing &&
	    (!qcf_chain_push(&m->chain, &base, &target, finding) ||
	     !qcf_chain_fill(&m->chain, 20, qcf_rng_next(&m->rng), finding)))
		return false;
	m->vm.known = true;
	if (!qcf_chain_push(&m->chain, &shape, &target, finding))
		return false;
	qcf_model_aim(m);
	return true;
}

static bool open_disk(struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcf_disk_options options = {
		.seed = qcf_rng_next(&m->rng),
		.cache_size = qcf_rng_percent(&m->rng, 50) ? 65536 : 0,
	};

	qcf_chain_open_options(&m->chain, &options);
	m->disk = qcf_disk_lib_new(&options);
	return m->disk->verbs->open(m->disk, finding);
}

static bool close_disk(struct qcf_model *m, struct qcf_finding *finding)
{
	bool good = m->disk->verbs->close(m->disk, finding);

	m->disk->verbs->free(m->disk);
	m->disk = NULL;
	return good;
}

static bool guest_works(struct qcf_model *m, uint64_t count,
                        struct qcf_finding *finding)
{
	struct qcf_layer *top = qcf_chain_top(&m->chain);
	struct qcf_workload w;
	bool good;

	qcf_workload_init(&w, m->disk, &top->oracle, &top->target,
	                  qcf_rng_next(&m->rng));
	good = qcf_workload_run(&w, count, finding) &&
	       (count > 0 || qcf_workload_verify(&w, finding));
	qcf_workload_fini(&w);
	return good;
}

static bool open_image_is_true(struct qcf_model *m, struct qcf_finding *finding)
{
	return qcf_model_check_open(m, finding) && guest_works(m, 0, finding) &&
	       (qcf_chain_top(&m->chain)->shape.version == 1 ||
	        qcf_check_is_clean(qcf_disk_lib_image(m->disk), false,
	                           finding));
}

static bool our_turn(struct qcf_model *m, struct qcf_finding *finding)
{
	int i;

	if (!open_disk(m, finding))
		return false;
	for (i = 0; i < STEPS; i++) {
		if (!guest_works(m, GUEST_OPS, finding) ||
		    !qcf_change_by_library(m, finding) ||
		    (i % 2 == 1 && !open_image_is_true(m, finding)))
			return false;
	}
	return close_disk(m, finding);
}

static bool qemu_turn(struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcf_layer *top = qcf_chain_top(&m->chain);
	int i;

	for (i = 0; i < QEMU_STEPS; i++) {
		if (!qcf_change_by_qemu(m, finding))
			return false;
	}
	qcf_model_note(m, "qemu-io, %d operations", QEMU_OPS);
	/* What is wrong now is not the library's fault. */
	return qcf_qemu_turn(&m->chain.dir, &m->chain.qemu_image, &top->target,
	                     &top->oracle, QEMU_OPS, qcf_rng_next(&m->rng),
	                     finding) &&
	       (top->shape.version == 1 ||
	        qcf_qemu_image_approves(&m->chain.qemu_image, finding));
}

static bool play(struct qcf_model *m, int index, struct qcf_finding *finding)
{
	unsigned int rounds = ROUNDS * qcf_long_factor();
	unsigned int i;

	if (!set_up(m, index, finding))
		return false;
	for (i = 0; i < rounds; i++) {
		if (!our_turn(m, finding) ||
		    !qcf_chain_judge(&m->chain, finding) ||
		    !qcf_model_check_snapshots(m, true, finding) ||
		    !qemu_turn(m, finding))
			return false;
	}
	return our_turn(m, finding) && qcf_chain_judge(&m->chain, finding) &&
	       qcf_model_check_snapshots(m, true, finding);
}

START_TEST(image_follows_its_model)
{
	int index = qcf_shard_index(_i);
	struct qcf_finding finding = { 0 };
	char log[QCF_MODEL_LOG * QCF_LOG_LINE];
	struct qcf_model m;
	char text[200] = "";
	bool good;

	qcf_model_init(&m, qcf_seed(), MODEL_PART + (uint64_t)index);
	good = play(&m, index, &finding);
	if (m.chain.count > 0)
		qcf_shape_print(&qcf_chain_top(&m.chain)->shape, text,
		                sizeof(text));
	qcf_model_print_log(&m, log, sizeof(log));
	qcf_model_fini(&m, !good);
	if (!good)
		ck_abort_msg("QCF_SEED=%" PRIu64 " image %d (%s): %s%s",
		             qcf_seed(), index, text, finding.text, log);
}

END_TEST

int main(int argc, char **argv)
{
	int images = qcf_shard_init(argc, argv, image_count());
	Suite *suite = suite_create("whole image changes");
	TCase *tcase = tcase_create("image");

	printf("%d images, %u rounds each\n", images,
	       ROUNDS * qcf_long_factor());
	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, image_follows_its_model, 0, images);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, true);
}
