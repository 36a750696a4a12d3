/* SPDX-License-Identifier: MIT */
/*
 * Promise: the crash tests would notice if the library left out a flush.
 *
 * A sequence of operations is recorded; then one flush after the other is taken
 * out of the record, as if the library had not asked for it, and some crash
 * state of what is left must be found wrong.  Flushes that make nothing stable
 * are not counted, and neither are operations on the whole image: they have
 * flushes that only bound what the dirty bit excuses.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_judge.h"
#include "crash_ops.h"
#include "scratch.h"
#include "unit.h"

/*
 * Kinds of image that need no other program, and how much must be caught, in
 * per cent of what was taken out.  What is left is harmless.  Without the last
 * flush of closing, lowered counts are leaks, and a dirty bit that comes back
 * costs a repair.  With lazy refcounts the flush after the dirty bit is needed
 * only if no other comes before the mapping.  In a data file each cluster has a
 * place of its own: what is lost there without a backing file reads as zeros, as
 * it did before, and if the file is a raw image, which clusters are zeros is
 * said twice.
 */
static const struct {
	const char *name;
	uint64_t wanted;
} kinds[] = {
	{ "v3_512", 90 },
	{ "v3_4096_overlay", 90 },
	{ "v3_512_lazy", 55 },
	{ "v3_512_block_growth", 90 },
	{ "v3_4096_compressing", 80 },
	{ "v3_64k_subclusters_overlay", 85 },
	{ "v3_4096_data_file", 60 },
	{ "v3_4096_data_file_overlay", 88 },
	{ "v3_4096_data_file_raw", 45 },
	{ "v2_4096_aes_overlay", 90 },
	{ "v1_4096_overlay", 90 },
};

struct score {
	uint64_t removed;
	uint64_t caught;
};

static bool is_flush(const struct rec_op *op, enum rec_file file)
{
	return op->kind == REC_FLUSH && op->file == file;
}

/* What a power cut may take back without harm.  In a data file that goes for zeros:
 * the tables say them, too. */
static bool is_work(const struct rec_op *op)
{
	return op->kind != REC_MARK && op->kind != REC_DISCARD &&
	       (op->kind != REC_ZERO || op->file != REC_DATA);
}

/* Whether a flush has something to make stable, and does it before another
 * flush of the file would. */
static bool has_work(const struct rec_log *log, size_t flush)
{
	enum rec_file file = log->ops[flush].file;

	if (flush + 1 < log->count && is_flush(&log->ops[flush + 1], file))
		return false;
	while (flush-- > 0 && !is_flush(&log->ops[flush], file)) {
		if (log->ops[flush].file == file && is_work(&log->ops[flush]))
			return true;
	}
	return false;
}

static bool is_caught(struct world *w)
{
	struct crash_options options = {
		.seed = 1,
		.exhaustive = 10,
		.samples = 256,
		.torn_stride = 8,
	};
	struct crash_totals totals = { 0 };
	struct judge judge = { .world = w, .quiet = true };

	return !crash_states_visit(w->log, &options, judge_state, &judge,
	                           &totals);
}

static void try_op(struct world *w, const struct crash_op *op,
                   struct score *score)
{
	world_restart(w);
	w->sequence = op->name;
	op->run(w);
	world_flush(w);
	op->run(w);
	world_close(w);
	ck_assert_msg(!is_caught(w), "%s is wrong as it is", op->name);
	for (size_t i = 0; i < w->log->count; i++) {
		if (w->log->ops[i].kind != REC_FLUSH || !has_work(w->log, i))
			continue;
		/* A mark changes nothing but what is looked at. */
		w->log->ops[i].kind = REC_MARK;
		score->removed++;
		if (is_caught(w))
			score->caught++;
		else
			printf("%s, %s: nobody misses flush %zu of %zu\n",
			       w->geometry->name, op->name, i, w->log->count);
		w->log->ops[i].kind = REC_FLUSH;
	}
}

START_TEST(removed)
{
	struct world *w = world_new(crash_geometry_find(kinds[_i].name), NULL);
	struct score score = { 0 };

	for (size_t op = 0; op < crash_op_count; op++) {
		if (!crash_ops[op].whole &&
		    crash_op_applies(&crash_ops[op], w->geometry))
			try_op(w, &crash_ops[op], &score);
	}
	printf("%s: %" PRIu64 " flushes taken out, %" PRIu64 " missed\n",
	       kinds[_i].name, score.removed, score.caught);
	ck_assert_uint_gt(score.removed, 30);
	ck_assert_uint_ge(score.caught * 100, score.removed * kinds[_i].wanted);
	world_free(w);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, removed, 0, QCF_ARRAY_LEN(kinds));
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	scratch_init();

	int status = unit_run("every_flush_is_needed", add);

	scratch_fini();
	return status;
}
