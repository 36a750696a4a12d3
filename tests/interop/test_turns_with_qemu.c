/* SPDX-License-Identifier: MIT */
/*
 * test_turns_with_qemu.c - QEMU and the library can take turns on one image
 *
 * Each turn ends with a closed image that both must approve of and that reads
 * as the flat array.  Between turns qemu-img takes, applies and deletes
 * internal snapshots; the content of each must stay as it was when taken,
 * whatever is written over the clusters shared with it.  The images start as
 * QEMU makes them, in every preallocation mode, and QEMU's turns leave zero
 * clusters of both kinds.
 *
 * An argument "K/N" runs only every N-th image, from number K on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "built_with.h"
#include "harness.h"
#include "layer.h"
#include "qemu_turn.h"
#include "run.h"

#define ROUNDS        2 /* of a turn each, and perhaps a snapshot */
#define QEMU_OPS      40
#define OUR_OPS       150
#define MAX_SNAPSHOTS 6
#define MAX_SIZES     7

struct snapshot {
	char name[16];
	struct qcf_oracle oracle; /* what it must hold */
};

struct game {
	struct qcf_chain chain;
	struct qcf_shape shape;
	struct qcf_rng rng;
	bool with_backing;
	bool with_snapshots;
	int taken; /* snapshots so far, deleted ones included */
	int snapshot_count;
	struct snapshot snapshots[MAX_SNAPSHOTS];
};

/* Of clusters, ended by 0. */
static const uint64_t any_clusters[MAX_SIZES + 1] = {
	512, 1024, 4096, 16384, 65536, 262144, 2097152,
};
static const uint64_t some_clusters[MAX_SIZES + 1] = { 512, 4096, 65536 };
static const uint64_t with_subclusters[MAX_SIZES + 1] = { 16384, 32768, 65536,
	                                                  1048576 };
static const uint64_t version_1[MAX_SIZES + 1] = { 512, 2048, 4096, 65536 };
/* QEMU writes to version 1 with a backing file only this way. */
static const uint64_t smallest[MAX_SIZES + 1] = { 512 };

/* What the kinds of images are about. */
static const struct kind {
	const uint64_t *sizes;
	bool with_backing;
	bool with_snapshots;
	struct qcf_shape shape;
} kinds[] = {
	{ any_clusters, false, true, { .version = 3, .refcount_bits = 16 } },
	{ any_clusters, true, true, { .version = 3, .refcount_bits = 16 } },
	{ any_clusters,
	  false,
	  true,
	  { .version = 3,
	    .refcount_bits = 64,
	    .lazy_refcounts = true,
	    .preallocation = "metadata" } },
	{ any_clusters,
	  false,
	  false,
	  { .version = 3, .refcount_bits = 1, .preallocation = "metadata" } },
	{ any_clusters,
	  false,
	  true,
	  { .version = 3, .refcount_bits = 8, .preallocation = "falloc" } },
	{ any_clusters,
	  false,
	  true,
	  { .version = 2, .refcount_bits = 16, .preallocation = "full" } },
	{ any_clusters, true, true, { .version = 2, .refcount_bits = 16 } },
	{ any_clusters,
	  true,
	  false,
	  { .version = 3, .refcount_bits = 4, .lazy_refcounts = true } },
	{ with_subclusters,
	  false,
	  true,
	  { .version = 3, .refcount_bits = 16, .extended_l2 = true } },
	{ with_subclusters,
	  true,
	  true,
	  { .version = 3,
	    .refcount_bits = 16,
	    .extended_l2 = true,
	    .compresses = true } },
	{ with_subclusters,
	  false,
	  true,
	  { .version = 3,
	    .refcount_bits = 16,
	    .extended_l2 = true,
	    .preallocation = "metadata" } },
	{ some_clusters,
	  true,
	  true,
	  { .version = 3, .refcount_bits = 16, .compresses = true } },
	{ some_clusters,
	  false,
	  false,
	  { .version = 3,
	    .refcount_bits = 2,
	    .compresses = true,
	    .zstd = true } },
	{ some_clusters,
	  true,
	  false,
	  { .version = 3, .refcount_bits = 16, .data_file = QCF_DATA_FILE } },
	{ with_subclusters,
	  false,
	  false,
	  { .version = 3,
	    .refcount_bits = 16,
	    .extended_l2 = true,
	    .data_file = QCF_DATA_FILE } },
	{ some_clusters,
	  false,
	  false,
	  { .version = 3,
	    .refcount_bits = 16,
	    .data_file = QCF_DATA_FILE_RAW } },
	{ with_subclusters,
	  false,
	  false,
	  { .version = 3,
	    .refcount_bits = 16,
	    .extended_l2 = true,
	    .data_file = QCF_DATA_FILE_RAW } },
	{ some_clusters,
	  true,
	  true,
	  { .version = 3,
	    .refcount_bits = 16,
	    .encryption = QCOWFMT_ENCRYPTION_AES } },
	{ some_clusters,
	  true,
	  true,
	  { .version = 2,
	    .refcount_bits = 16,
	    .encryption = QCOWFMT_ENCRYPTION_LUKS } },
	{ with_subclusters,
	  true,
	  true,
	  { .version = 3,
	    .refcount_bits = 16,
	    .extended_l2 = true,
	    .encryption = QCOWFMT_ENCRYPTION_LUKS } },
	{ version_1, false, false, { .version = 1, .compresses = true } },
	{ version_1,
	  false,
	  false,
	  { .version = 1, .encryption = QCOWFMT_ENCRYPTION_AES } },
	{ smallest, true, false, { .version = 1, .compresses = true } },
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

static uint64_t any_size(const struct game *game, struct qcf_rng *rng)
{
	uint64_t cs = game->shape.cluster_size;
	uint64_t size = qcf_rng_between(rng, 192 << 10, 768 << 10) + 3 * cs;

	/* QEMU 7.2 aborts when it meets 2 GiB of nothing in an encrypted
	 * image. */
	if (!game->shape.preallocation && cs > 4096 &&
	    game->shape.data_file != QCF_DATA_FILE_RAW &&
	    (!game->shape.encryption || cs <= 65536))
		size += cs * (cs / (game->shape.extended_l2 ? 16 : 8));
	return size - size % 512;
}

/* QEMU takes seconds to make LUKS. */
static enum qcf_maker any_maker(const struct qcf_shape *s, bool with_backing)
{
	if (s->version == 1 && s->cluster_size != (with_backing ? 512 : 4096))
		return QCF_MADE_BY_HAND;
	return s->encryption == QCOWFMT_ENCRYPTION_LUKS ? QCF_MADE_BY_LIBRARY
	                                                : QCF_MADE_BY_QEMU;
}

static void choose_game(struct game *game, int index)
{
	const struct kind *kind = kinds;
	int size = index;

	for (; size >= size_count(kind); kind++)
		size -= size_count(kind);
	memset(game, 0, sizeof(*game));
	game->rng = qcf_rng_new(qcf_seed(), (uint64_t)index);
	game->shape = kind->shape;
	game->shape.zstd = game->shape.zstd && built_with_zstd();
	game->shape.cluster_size = kind->sizes[size];
	game->shape.luks = index;
	game->shape.l2_bits = 6 + (uint32_t)size;
	game->shape.maker = any_maker(&game->shape, kind->with_backing);
	game->shape.size = any_size(game, &game->rng);
	game->with_backing = kind->with_backing;
	game->with_snapshots = kind->with_snapshots;
}

/* Another one, but not so small that a huge disk takes QEMU seconds to scan. */
static uint64_t base_cluster_size(uint64_t cluster_size)
{
	return cluster_size > 16384 ? cluster_size / 4 : 4096;
}

static bool set_up(struct game *game, struct qcf_finding *finding)
{
	struct qcf_shape base = {
		.raw = game->shape.version == 2 && !game->shape.encryption,
		.version = 3,
		.cluster_size = base_cluster_size(game->shape.cluster_size),
		.refcount_bits = 16,
		.size = game->shape.size / 4 * 3,
		.encryption = game->shape.encryption,
		.luks = game->shape.luks + 1,
	};
	struct qcf_target target;

	base.maker = any_maker(&base, false);
	qcf_target_init(&target, game->shape.size, game->shape.cluster_size,
	                true);
	if (!base.raw)
		base.size -= base.size % 512;
	if (game->with_backing &&
	    (!qcf_chain_push(&game->chain, &base, &target, finding) ||
	     !qcf_chain_fill(&game->chain, QEMU_OPS, qcf_rng_next(&game->rng),
	                     finding)))
		return false;
	return qcf_chain_push(&game->chain, &game->shape, &target, finding);
}

static bool qemu_snapshot(struct game *game, const char *action,
                          const char *name, struct qcf_finding *finding)
{
	const struct qcf_qemu_image *image = &game->chain.qemu_image;
	const char *argv[QCF_RUN_MAX_ARGS] = { "qemu-img", "snapshot", "-q" };
	int n = qcf_qemu_image_options(image, argv, 3);

	argv[n++] = action;
	argv[n++] = name;
	argv[n++] = image->spec;
	argv[n] = NULL;
	return qcf_run_ok(argv, NULL, QCF_FOUND_METADATA, finding);
}

static bool take_snapshot(struct game *game, struct qcf_finding *finding)
{
	struct qcf_oracle *active = &qcf_chain_top(&game->chain)->oracle;
	struct snapshot *s = &game->snapshots[game->snapshot_count];
	char path[QCF_PATH_SIZE];

	snprintf(s->name, sizeof(s->name), "snap%d", game->taken++);
	qcf_tmpdir_path(&game->chain.dir, s->name, path);
	if (!qcf_oracle_copy(active, &s->oracle, path, active->size, finding))
		return false;
	game->snapshot_count++;
	return qemu_snapshot(game, "-c", s->name, finding);
}

static bool apply_snapshot(struct game *game, const struct snapshot *s,
                           struct qcf_finding *finding)
{
	struct qcf_oracle *active = &qcf_chain_top(&game->chain)->oracle;
	char path[QCF_PATH_SIZE];

	snprintf(path, sizeof(path), "%s", active->path);
	qcf_oracle_close(active);
	return qcf_oracle_copy(&s->oracle, active, path, s->oracle.size,
	                       finding) &&
	       qemu_snapshot(game, "-a", s->name, finding);
}

static bool delete_snapshot(struct game *game, struct snapshot *s,
                            struct qcf_finding *finding)
{
	bool good = qemu_snapshot(game, "-d", s->name, finding);

	qcf_oracle_close(&s->oracle);
	*s = game->snapshots[--game->snapshot_count];
	return good;
}

static bool some_snapshot_action(struct game *game, struct qcf_finding *finding)
{
	uint64_t pick = qcf_rng_below(&game->rng, 10);
	int count = game->snapshot_count;
	struct snapshot *any;

	if (!game->with_snapshots)
		return true;
	if (count == 0 || (pick < 6 && count < MAX_SNAPSHOTS))
		return take_snapshot(game, finding);
	any = &game->snapshots[qcf_rng_below(&game->rng, (uint64_t)count)];
	if (pick < 8)
		return apply_snapshot(game, any, finding);
	return delete_snapshot(game, any, finding);
}

static bool snapshots_are_unchanged(struct game *game,
                                    struct qcf_finding *finding)
{
	char copy[QCF_PATH_SIZE];
	int i;

	qcf_tmpdir_path(&game->chain.dir, "snapshot.raw", copy);
	for (i = 0; i < game->snapshot_count; i++) {
		if (!qcf_qemu_image_has_snapshot(
			    &game->chain.qemu_image, game->snapshots[i].name,
			    game->snapshots[i].oracle.path, copy, finding))
			return false;
	}
	return true;
}

static bool qemu_turn(struct game *game, struct qcf_finding *finding)
{
	struct qcf_layer *top = qcf_chain_top(&game->chain);

	return qcf_qemu_turn(&game->chain.dir, &game->chain.qemu_image,
	                     &top->target, &top->oracle, QEMU_OPS,
	                     qcf_rng_next(&game->rng), finding);
}

/* What QEMU and snapshots left is read first, by a run of no operations. */
static bool our_turn(struct game *game, struct qcf_finding *finding)
{
	struct qcf_disk_options options = {
		.seed = qcf_rng_next(&game->rng),
		.cache_size = qcf_rng_percent(&game->rng, 50) ? 65536 : 0,
	};

	return qcf_chain_exercise(&game->chain, &options, 0, options.seed,
	                          finding) &&
	       qcf_chain_exercise(&game->chain, &options, OUR_OPS, options.seed,
	                          finding);
}

static bool play(struct game *game, struct qcf_finding *finding)
{
	unsigned int rounds = ROUNDS * qcf_long_factor();
	unsigned int i;

	if (!set_up(game, finding))
		return false;
	for (i = 0; i < rounds; i++) {
		if (!qemu_turn(game, finding) ||
		    !some_snapshot_action(game, finding) ||
		    !our_turn(game, finding) ||
		    !qcf_chain_judge(&game->chain, finding) ||
		    !some_snapshot_action(game, finding))
			return false;
	}
	return snapshots_are_unchanged(game, finding) &&
	       our_turn(game, finding) &&
	       qcf_chain_judge(&game->chain, finding) &&
	       snapshots_are_unchanged(game, finding);
}

START_TEST(turns_agree)
{
	struct qcf_finding finding = { 0 };
	struct game game;
	char text[200];
	bool good;
	int i;

	choose_game(&game, qcf_shard_index(_i));
	qcf_shape_print(&game.shape, text, sizeof(text));
	qcf_chain_init(&game.chain);
	good = play(&game, &finding);
	for (i = 0; i < game.snapshot_count; i++)
		qcf_oracle_close(&game.snapshots[i].oracle);
	qcf_chain_fini(&game.chain, !good);
	if (!good)
		ck_abort_msg("QCF_SEED=%" PRIu64 " image %d (%s%s): %s",
		             qcf_seed(), qcf_shard_index(_i), text,
		             game.with_backing ? ", backing" : "",
		             finding.text);
}

END_TEST

int main(int argc, char **argv)
{
	int images = qcf_shard_init(argc, argv, image_count());
	Suite *suite = suite_create("turns with qemu");
	TCase *tcase = tcase_create("image");

	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, turns_agree, 0, images);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, true);
}
