/* SPDX-License-Identifier: MIT */
/*
 * matrix_turn.c - random operations that one side does on the closed image
 *
 * What QEMU does wrong, and so is not asked to do:
 *
 *   - In version 1 with a backing file, a write to a part of an unallocated
 *     cluster loses the rest.  It gets whole clusters.
 *   - It compresses only into clusters that have no host cluster, and in
 *     version 1 overwrites neighbours otherwise.  It gets untouched ones.
 *   - Compressing goes on behind the last compressed cluster of the session even
 *     if that one has been freed.  It comes first in a turn.
 */
#include "matrix_turn.h"

#include <inttypes.h>
#include <string.h>

#define COMPRESSED_OPS 5
#define TRIES          8

struct rules {
	bool whole_clusters;
	bool fresh_clusters; /* for compressed writes */
};

struct draft {
	struct qcf_turn *turn;
	struct qcf_matrix_image *image;
	struct rules rules;
	struct qcf_rng rng;
};

static struct rules rules_for(const struct qcf_traits *t, enum qcf_side side)
{
	bool qemu = side == QCF_SIDE_QEMU || qcf_subject_is_qemu();

	return (struct rules){
		.whole_clusters = qemu && t->version == 1 &&
		                  t->backing != QCF_BACKING_NONE &&
		                  t->cluster_size > 512,
		.fresh_clusters = qemu,
	};
}

static struct qcf_range widen(const struct qcf_target *target,
                              struct qcf_range range)
{
	uint64_t cs = target->cluster_size;
	uint64_t end = (range.offset + range.len + cs - 1) / cs * cs;

	if (end > target->size)
		end = target->size;
	range.offset -= range.offset % cs;
	range.len = end - range.offset;
	return range;
}

static void touch(struct qcf_matrix_image *image, struct qcf_range range)
{
	uint64_t cs = image->target.cluster_size;
	uint64_t i;

	for (i = range.offset / cs; i <= (range.offset + range.len - 1) / cs;
	     i++)
		image->touched[i] = 1;
}

static void write_pattern(struct draft *d, struct qcf_range range)
{
	uint8_t *to = d->image->oracle.bytes + range.offset;
	uint64_t i;

	for (i = 0; i < range.len; i++)
		to[i] = d->turn->pattern[i % QCF_PATTERN_LEN];
}

static void apply(struct draft *d, const struct qcf_turn_op *op)
{
	struct qcf_matrix_image *image = d->image;

	switch (op->kind) {
	case QCF_TURN_WRITE_BYTE:
	case QCF_TURN_COMPRESS_BYTE:
		memset(image->oracle.bytes + op->range.offset, op->byte,
		       op->range.len);
		break;
	case QCF_TURN_WRITE_PATTERN:
	case QCF_TURN_COMPRESS_PATTERN:
		write_pattern(d, op->range);
		break;
	case QCF_TURN_ZERO:
	case QCF_TURN_ZERO_UNMAP:
		qcf_oracle_zero(&image->oracle, op->range.offset,
		                op->range.len);
		break;
	case QCF_TURN_DISCARD:
		qcf_target_discard(&image->target, &image->oracle, op->range);
		return;
	case QCF_TURN_FLUSH:
	case QCF_TURN_OP_KINDS:
		return;
	}
	touch(image, op->range);
}

static void add(struct draft *d, enum qcf_turn_op_kind kind,
                struct qcf_range range)
{
	struct qcf_turn_op *op = &d->turn->ops[d->turn->count++];

	op->kind = kind;
	op->range = range;
	op->byte = (uint8_t)qcf_rng_below(&d->rng, 256);
	apply(d, op);
}

static enum qcf_turn_op_kind any_kind(struct qcf_rng *rng)
{
	uint64_t pick = qcf_rng_below(rng, 20);

	if (pick < 6)
		return QCF_TURN_WRITE_BYTE;
	if (pick < 11)
		return QCF_TURN_WRITE_PATTERN;
	if (pick < 13)
		return QCF_TURN_ZERO;
	if (pick < 15)
		return QCF_TURN_ZERO_UNMAP;
	if (pick < 19)
		return QCF_TURN_DISCARD;
	return QCF_TURN_FLUSH;
}

static void add_any(struct draft *d)
{
	const struct qcf_target *target = &d->image->target;
	enum qcf_turn_op_kind kind = any_kind(&d->rng);
	struct qcf_range range =
		kind == QCF_TURN_WRITE_BYTE || kind == QCF_TURN_WRITE_PATTERN
			? qcf_target_range(target, &d->rng)
			: qcf_target_long_range(target, &d->rng);

	/* QEMU discards whole clusters, the library subclusters as well. */
	if (d->rules.whole_clusters ||
	    (kind == QCF_TURN_DISCARD && d->image->traits.extended_l2))
		range = widen(target, range);
	add(d, kind, range);
}

static bool is_fresh(const struct qcf_matrix_image *image,
                     struct qcf_range range)
{
	uint64_t cs = image->target.cluster_size;
	uint64_t i;

	for (i = range.offset / cs; i <= (range.offset + range.len - 1) / cs;
	     i++) {
		if (image->touched[i])
			return false;
	}
	return true;
}

/*
 * One cluster, or two if they may be any: version 1 of QEMU takes one at a time.
 * They may lie outside the windows, where fresh ones are.
 */
static bool any_clusters(struct draft *d, struct qcf_range *range)
{
	const struct qcf_target *target = &d->image->target;
	uint64_t cs = target->cluster_size;
	int i;

	for (i = 0; i < TRIES; i++) {
		struct qcf_range one = qcf_target_range(target, &d->rng);

		if (qcf_rng_percent(&d->rng, 30))
			one.offset = qcf_rng_below(&d->rng, target->size);
		one.len = 1;
		one = widen(target, one);
		if (!d->rules.fresh_clusters && one.len == cs &&
		    target->size - one.offset >= 2 * cs)
			one.len += cs;
		*range = one;
		if (!d->rules.fresh_clusters || is_fresh(d->image, one))
			return true;
	}
	return false;
}

static void add_compressed(struct draft *d)
{
	struct qcf_range range;

	if (any_clusters(d, &range))
		add(d,
		    qcf_rng_percent(&d->rng, 50) ? QCF_TURN_COMPRESS_BYTE
		                                 : QCF_TURN_COMPRESS_PATTERN,
		    range);
}

/* A write that changes every byte it covers. */
static void add_last_write(struct draft *d)
{
	const struct qcf_target *target = &d->image->target;
	struct qcf_range range = qcf_target_range(target, &d->rng);

	if (d->rules.whole_clusters)
		range = widen(target, range);
	add(d, QCF_TURN_WRITE_PATTERN, range);
}

/* The library may mix compressed writes with everything else. */
static void fill(struct draft *d)
{
	bool compresses = d->image->traits.compressed_writes;
	bool at_once = compresses && d->rules.fresh_clusters;
	/* Few others, so that some stay compressed for the next turn. */
	int limit = at_once ? QCF_TURN_OPS / 2 : QCF_TURN_OPS - 1;
	int most = (int)qcf_rng_between(&d->rng, QCF_TURN_OPS / 3,
	                                (uint64_t)limit);
	int i;

	for (i = 0; at_once && i < COMPRESSED_OPS; i++)
		add_compressed(d);
	while (d->turn->count < most) {
		if (compresses && !at_once && qcf_rng_percent(&d->rng, 40))
			add_compressed(d);
		else
			add_any(d);
	}
	add_last_write(d);
}

void qcf_turn_draw(struct qcf_turn *turn, struct qcf_matrix_image *image,
                   enum qcf_side side, uint64_t seed)
{
	struct draft draft = {
		.turn = turn,
		.image = image,
		.rules = rules_for(&image->traits, side),
		.rng = qcf_rng_new(seed, 2),
	};

	memset(turn, 0, sizeof(*turn));
	turn->side = side;
	turn->seed = seed;
	qcf_rng_fill(&draft.rng, turn->pattern, sizeof(turn->pattern));
	fill(&draft);
}

bool qcf_turn_take(const struct qcf_turn *turn,
                   const struct qcf_matrix_image *image,
                   struct qcf_finding *finding)
{
	if (turn->side == QCF_SIDE_QEMU || qcf_subject_is_qemu())
		return qcf_turn_by_qemu(turn, image, finding);
	return qcf_turn_by_library(turn, image, finding);
}

void qcf_turn_print(const struct qcf_turn *turn, FILE *stream)
{
	static const char *const names[QCF_TURN_OP_KINDS] = {
		"write byte",    "write pattern",    "zero",
		"zero+unmap",    "discard",          "flush",
		"compress byte", "compress pattern",
	};
	int i;

	if (turn->count == 0)
		return;
	fprintf(stream, "turn of %s:\n",
	        turn->side == QCF_SIDE_QEMU ? "qemu" : "the library");
	for (i = 0; i < turn->count; i++)
		fprintf(stream, "  %s %" PRIu64 " +%" PRIu64 " 0x%02x\n",
		        names[turn->ops[i].kind], turn->ops[i].range.offset,
		        turn->ops[i].range.len, turn->ops[i].byte);
}
