/* SPDX-License-Identifier: MIT */
/* change_qemu.c - one random change of an image, by QEMU's programs */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "change.h"
#include "run.h"

#define MAX_WORDS 5

/* "qemu-img WORDS... IMAGE [LAST]"; words end with NULL. */
static bool run(struct qcf_model *m, const char *const words[],
                const char *last, struct qcf_finding *finding)
{
	const struct qcf_qemu_image *image = &m->chain.qemu_image;
	const char *argv[QCF_RUN_MAX_ARGS] = { "qemu-img", words[0] };
	int n = qcf_qemu_image_options(image, argv, 2);
	int i;

	for (i = 1; words[i]; i++)
		argv[n++] = words[i];
	argv[n++] = image->spec;
	if (last)
		argv[n++] = last;
	argv[n] = NULL;
	qcf_model_note(m, "qemu-img %s %s %s %s", words[0], words[1],
	               words[1] && words[2] ? words[2] : "", last ? last : "");
	return qcf_run_ok(argv, NULL, QCF_FOUND_METADATA, finding);
}

static struct qcf_shape *shape_of(struct qcf_model *m)
{
	return &qcf_chain_top(&m->chain)->shape;
}

/* ----------------------------------------------------------------- snapshots */

static bool can_share(struct qcf_model *m)
{
	const struct qcf_shape *s = shape_of(m);

	return s->version > 1 && !s->data_file &&
	       !qcf_model_may_overflow(m, s->refcount_bits);
}

/* QEMU leaves alone VM state that it does not know of. */
static bool take(struct qcf_model *m, struct qcf_finding *finding)
{
	char name[16];
	const char *words[MAX_WORDS] = { "snapshot", "-c", name };

	if (m->snapshot_count == QCF_MODEL_SNAPSHOTS || !can_share(m))
		return true;
	qcf_change_new_name(m, name);
	return run(m, words, NULL, finding) &&
	       qcf_model_take(m, name, false, finding);
}

/* QEMU loses track of VM state behind a disk that it makes shorter or longer. */
static bool can_resize(const struct qcf_model *m)
{
	return m->vm.known && m->vm.len == 0;
}

static bool apply(struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcf_snapshot_model *s = qcf_change_any_snapshot(m);
	const char *words[MAX_WORDS] = { "snapshot", "-a" };

	if (!s || !can_share(m) || m->bitmap_count > 0 ||
	    (!can_resize(m) &&
	     s->oracle.size != qcf_chain_top(&m->chain)->oracle.size))
		return true;
	words[2] = s->name;
	return run(m, words, NULL, finding) && qcf_model_apply(m, s, finding);
}

static bool delete (struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcf_snapshot_model *s = qcf_change_any_snapshot(m);
	const char *words[MAX_WORDS] = { "snapshot", "-d" };

	if (!s)
		return true;
	words[2] = s->name;
	if (!run(m, words, NULL, finding))
		return false;
	qcf_model_delete(m, s);
	return true;
}

/* ------------------------------------------------------------------- bitmaps */

/* "qemu-img bitmap" cannot be told of backing files. */
static bool can_have_bitmaps(struct qcf_model *m)
{
	return shape_of(m)->version >= 3 &&
	       !strstr(m->chain.qemu_image.spec, "backing.");
}

static bool add_bitmap(struct qcf_model *m, struct qcf_finding *finding)
{
	uint64_t granularity = qcf_change_any_granularity(m);
	char text[24];
	char name[16];
	const char *words[MAX_WORDS] = { "bitmap", "--add", "-g", text };

	if (m->bitmap_count == QCF_MODEL_BITMAPS || !can_have_bitmaps(m))
		return true;
	qcf_change_new_name(m, name);
	snprintf(text, sizeof(text), "%" PRIu64, granularity);
	if (!run(m, words, name, finding))
		return false;
	qcf_model_add_bitmap(m, name, granularity, true);
	return true;
}

static bool some_bitmap(struct qcf_model *m, struct qcf_finding *finding)
{
	static const char *const kinds[] = { "--remove", "--clear", "--enable",
		                             "--disable" };
	uint64_t kind = qcf_rng_below(&m->rng, 4);
	struct qcf_bitmap_model *b = qcf_change_any_bitmap(m);
	const char *words[MAX_WORDS] = { "bitmap", kinds[kind] };

	if (!b || !can_have_bitmaps(m) || (kind == 2 && b->enabled) ||
	    (kind == 3 && !b->enabled))
		return true;
	if (!run(m, words, b->name, finding))
		return false;
	if (kind == 0)
		qcf_model_remove_bitmap(m, b);
	else if (kind == 1)
		qcf_model_clear_bitmap(b);
	else
		b->enabled = kind == 2;
	return true;
}

static bool merge_bitmap(struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcf_bitmap_model *to = qcf_change_any_bitmap(m);
	struct qcf_bitmap_model *from = qcf_change_any_bitmap(m);
	const char *words[MAX_WORDS] = { "bitmap", "--merge" };

	if (!to || to == from || !can_have_bitmaps(m))
		return true;
	words[2] = from->name;
	if (!run(m, words, to->name, finding))
		return false;
	qcf_model_merge(to, from, qcf_chain_top(&m->chain)->oracle.size);
	return true;
}

/* -------------------------------------------------------- the image as a whole */

/* Version 2 cannot hide a backing file, and of a compressed cluster with
 * subclusters QEMU does not clear a part. */
static bool resize(struct qcf_model *m, struct qcf_finding *finding)
{
	const struct qcf_layer *top = qcf_chain_top(&m->chain);
	const struct qcf_shape *s = &top->shape;
	uint64_t size = qcf_change_any_size(m);
	const char *words[MAX_WORDS] = { "resize", "-q", "--shrink" };
	char text[24];

	if (s->version == 1 || !can_resize(m) ||
	    (s->version == 2 && (m->snapshot_count > 0 || top->has_backing)) ||
	    (s->extended_l2 && s->compresses))
		return true;
	snprintf(text, sizeof(text), "%" PRIu64, size);
	if (!run(m, words, text, finding) ||
	    !qcf_model_resize(m, size, finding))
		return false;
	m->vm.known = true;
	return true;
}

static bool amend_option(struct qcf_model *m, const char *option,
                         struct qcf_finding *finding)
{
	const char *const words[MAX_WORDS] = { "amend", "-o", option };

	return run(m, words, NULL, finding);
}

/* Zeros that QEMU writes out when it goes down it does not encrypt, and it writes
 * them over clusters that snapshots still need. */
static bool amend_version(struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcf_shape *s = shape_of(m);
	bool up = s->version == 2;

	if (!up && (m->bitmap_count > 0 || m->snapshot_count > 0 ||
	            s->lazy_refcounts || s->zstd || s->encryption ||
	            s->refcount_bits != 16 || !qcf_change_fits_version_2(m)))
		return true;
	if (!amend_option(m, up ? "compat=1.1" : "compat=0.10", finding))
		return false;
	s->version = up ? 3 : 2;
	qcf_model_aim(m);
	return true;
}

static bool amend_lazy(struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcf_shape *s = shape_of(m);
	bool on = !s->lazy_refcounts;

	if (!amend_option(m, on ? "lazy_refcounts=on" : "lazy_refcounts=off",
	                  finding))
		return false;
	s->lazy_refcounts = on;
	return true;
}

static bool amend_bits(struct qcf_model *m, struct qcf_finding *finding)
{
	uint32_t bits = 1u << qcf_rng_below(&m->rng, 7);
	char text[32];

	/* With many counts in a block QEMU takes many seconds. */
	if (qcf_model_may_overflow(m, bits) ||
	    shape_of(m)->cluster_size * 8 / bits > 32768)
		return true;
	snprintf(text, sizeof(text), "refcount_bits=%u", bits);
	if (!amend_option(m, text, finding))
		return false;
	shape_of(m)->refcount_bits = bits;
	return true;
}

static bool amend(struct qcf_model *m, struct qcf_finding *finding)
{
	uint32_t version = shape_of(m)->version;

	if (version == 1)
		return true;
	if (version == 2 || qcf_rng_percent(&m->rng, 25))
		return amend_version(m, finding);
	return qcf_rng_percent(&m->rng, 50) ? amend_lazy(m, finding)
	                                    : amend_bits(m, finding);
}

bool qcf_change_by_qemu(struct qcf_model *m, struct qcf_finding *finding)
{
	static const struct {
		unsigned int weight; /* of 100 */
		bool (*change)(struct qcf_model *m,
		               struct qcf_finding *finding);
	} changes[] = {
		{ 20, take },       { 12, apply },       { 12, delete },
		{ 10, add_bitmap }, { 10, some_bitmap }, { 14, merge_bitmap },
		{ 12, resize },     { 10, amend },
	};

	uint64_t pick = qcf_rng_below(&m->rng, 100);
	int i = 0;

	for (; pick >= changes[i].weight; i++)
		pick -= changes[i].weight;
	return changes[i].change(m, finding);
}
