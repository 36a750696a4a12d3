/* SPDX-License-Identifier: MIT */
/*
 * test_tables_grow.c - an image goes on working when its tables run out of room
 *
 * With 512-byte clusters the refcount table has 64 entries; each stands for a
 * block of 4096 / refcount_bits counts.  Filling more than 64 of those makes
 * the table move and grow, more than once for wide counts.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "harness.h"
#include "layer.h"
#include "qemu_turn.h"

#define CLUSTER  512u
#define CHUNK    65536u
#define L2_SPAN  (UINT64_C(64) * CLUSTER)
#define QEMU_OPS 200

struct run {
	struct qcf_chain chain;
	struct qcf_disk *disk;
	struct qcf_layer *top;
	struct qcf_rng rng;
	struct qcf_workload w; /* for its verification */
};

static void must(bool good, const struct qcf_finding *finding)
{
	if (!good)
		ck_abort_msg("QCF_SEED=%" PRIu64 ": %s", qcf_seed(),
		             finding->text);
}

static void start(struct run *run, uint32_t refcount_bits, uint64_t size,
                  int part)
{
	const struct qcf_shape shape = {
		.version = refcount_bits == 16 ? 2 : 3,
		.cluster_size = CLUSTER,
		.refcount_bits = refcount_bits,
		.size = size,
	};
	struct qcf_finding finding = { 0 };
	struct qcf_disk_options options = { .cache_size = 262144 };
	struct qcf_target target = {
		.size = size,
		.cluster_size = CLUSTER,
		.discard_works = true,
		.window_count = 1,
		.windows = { { 0, size } },
		.max_len = 4 * CHUNK,
	};

	run->rng = qcf_rng_new(qcf_seed(), (uint64_t)part);
	qcf_chain_init(&run->chain);
	must(qcf_chain_push(&run->chain, &shape, &target, &finding), &finding);
	run->top = qcf_chain_top(&run->chain);
	options.path = run->top->path;
	options.seed = qcf_rng_next(&run->rng);
	run->disk = qcf_disk_new(&options);
	qcf_workload_init(&run->w, run->disk, &run->top->oracle, &target,
	                  options.seed);
	must(run->disk->verbs->open(run->disk, &finding), &finding);
}

static void write_random(struct run *run, uint64_t offset, size_t len)
{
	struct qcf_finding finding = { 0 };
	uint8_t *to = run->top->oracle.bytes + offset;

	qcf_rng_fill(&run->rng, to, len);
	must(run->disk->verbs->write(run->disk, to, len, offset, &finding),
	     &finding);
}

/* Close, let all judge, let QEMU write, open again and read everything. */
static void let_qemu_on(struct run *run)
{
	struct qcf_finding finding = { 0 };

	must(run->disk->verbs->close(run->disk, &finding) &&
	             qcf_chain_judge(&run->chain, &finding) &&
	             qcf_qemu_turn(&run->chain.dir, &run->chain.qemu_image,
	                           &run->top->target, &run->top->oracle,
	                           QEMU_OPS, qcf_rng_next(&run->rng),
	                           &finding) &&
	             run->disk->verbs->open(run->disk, &finding) &&
	             qcf_workload_verify(&run->w, &finding),
	     &finding);
}

static void finish(struct run *run)
{
	struct qcf_finding finding = { 0 };

	must(run->disk->verbs->close(run->disk, &finding) &&
	             qcf_chain_judge(&run->chain, &finding),
	     &finding);
	qcf_workload_fini(&run->w);
	run->disk->verbs->free(run->disk);
	qcf_chain_fini(&run->chain, false);
}

static const struct {
	uint32_t refcount_bits;
	bool shuffled; /* chunks in random order */
	bool only_long;
	uint64_t mib; /* more than 64 blocks count */
} growths[] = {
	{ 16, false, false, 20 }, { 16, true, false, 12 },
	{ 64, false, false, 10 }, { 64, true, false, 6 },
	{ 32, false, false, 10 }, { 8, true, false, 20 },
	{ 1, false, true, 140 },
};

#define GROWTHS (int)(sizeof(growths) / sizeof(growths[0]))

/* Numbers from 0 to count - 1 in random order; the caller frees them. */
static uint64_t *shuffle(struct qcf_rng *rng, uint64_t count, bool shuffled)
{
	uint64_t *order = calloc(count, sizeof(*order));
	uint64_t other;
	uint64_t i;

	if (!order)
		abort();
	for (i = 0; i < count; i++) {
		other = shuffled ? qcf_rng_below(rng, i + 1) : i;
		order[i] = order[other];
		order[other] = i;
	}
	return order;
}

START_TEST(refcount_table_grows)
{
	uint64_t size = growths[_i].mib << 20;
	uint64_t count = size / CHUNK;
	struct run run;
	uint64_t *order;
	uint64_t i;

	if (growths[_i].only_long && qcf_long_factor() == 1)
		return;
	start(&run, growths[_i].refcount_bits, size, _i);
	order = shuffle(&run.rng, count, growths[_i].shuffled);
	for (i = 0; i < count; i++) {
		write_random(&run, order[i] * CHUNK, CHUNK);
		if (i == count / 2)
			let_qemu_on(&run);
	}
	let_qemu_on(&run);
	free(order);
	finish(&run);
}

END_TEST

static void one_sector_per_table(struct run *run, uint64_t tables)
{
	uint64_t *order = shuffle(&run->rng, tables, true);
	uint64_t i;

	for (i = 0; i < tables; i++) {
		size_t len = (size_t)qcf_rng_between(&run->rng, 1, 1000);
		uint64_t inside = qcf_rng_below(&run->rng, L2_SPAN - len);

		write_random(run, order[i] * L2_SPAN + inside, len);
	}
	free(order);
}

START_TEST(l2_tables_everywhere)
{
	const uint64_t tables = 2048;
	struct qcf_finding finding = { 0 };
	struct run run;

	start(&run, 16, tables * L2_SPAN, 100);
	one_sector_per_table(&run, tables);
	let_qemu_on(&run);
	must(run.disk->verbs->discard(run.disk, 0, tables * L2_SPAN, &finding),
	     &finding);
	qcf_oracle_zero(&run.top->oracle, 0, tables * L2_SPAN);
	one_sector_per_table(&run, tables);
	finish(&run);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("tables grow");
	TCase *tcase = tcase_create("table");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, refcount_table_grows, 0, GROWTHS);
	tcase_add_test(tcase, l2_tables_everywhere);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, true);
}
