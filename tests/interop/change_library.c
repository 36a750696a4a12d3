/* SPDX-License-Identifier: MIT */
/* change_library.c - one random change of an image, by the library */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <qcowfmt.h>

#include "change.h"

/* What a call may come to besides success. */
struct wanted {
	int may;  /* errno of a refusal that is all right; 0: none */
	int must; /* errno of a refusal that has to be; 0: none */
};

static struct qcf_shape *shape_of(struct qcf_model *m)
{
	return &qcf_chain_top(&m->chain)->shape;
}

static struct qcowfmt_image *image_of(struct qcf_model *m)
{
	return qcf_disk_lib_image(m->disk);
}

/* *done: the call succeeded and was to succeed. */
static bool outcome(const char *what, int ret, struct qcowfmt_error *error,
                    struct wanted wanted, bool *done,
                    struct qcf_finding *finding)
{
	*done = ret >= 0;
	if (ret >= 0 && wanted.must == 0)
		return true;
	if (ret >= 0)
		return qcf_found(finding, QCF_FOUND_ERROR,
		                 "%s succeeds, want errno %d", what,
		                 wanted.must);
	if (wanted.must == 0 ? ret != -wanted.may : ret != -wanted.must)
		return qcf_found_error(finding, what, ret, error);
	qcowfmt_error_free(error);
	return true;
}

/* ----------------------------------------------------------------- snapshots */

/* Version 1 and data files have no snapshots; narrow counts only some. */
static struct wanted wanted_of_sharing(struct qcf_model *m)
{
	const struct qcf_shape *s = shape_of(m);

	return (struct wanted){
		.may = qcf_model_may_overflow(m, s->refcount_bits) ? EOVERFLOW
		                                                   : 0,
		.must = s->version == 1 || s->data_file ? ENOTSUP : 0,
	};
}

static bool write_vm_state(struct qcf_model *m, struct qcf_finding *finding)
{
	const struct qcf_shape *s = shape_of(m);
	struct wanted wanted = {
		.must = s->version == 1 || s->data_file ? ENOTSUP : 0,
	};
	struct qcf_vm_model vm = {
		.known = true,
		.len = qcf_rng_between(&m->rng, 1, 3 * s->cluster_size),
		.seed = qcf_rng_next(&m->rng),
	};
	struct qcowfmt_error *error = NULL;
	uint8_t *bytes = malloc(vm.len);
	bool done;
	int ret;

	if (!bytes)
		abort();
	qcf_model_note(m, "VM state of %" PRIu64, vm.len);
	qcf_model_fill_vm_state(&vm, bytes);
	ret = qcowfmt_vm_state_pwrite(image_of(m), bytes, vm.len, 0, &error);
	free(bytes);
	if (!outcome("vm_state_pwrite", ret, error, wanted, &done, finding))
		return false;
	if (done)
		m->vm = vm;
	return true;
}

static bool take(struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.vm_state_size = m->vm.known ? m->vm.len : 0,
	};
	struct qcowfmt_error *error = NULL;
	char name[16];
	bool done;
	int ret;

	if (m->snapshot_count == QCF_MODEL_SNAPSHOTS)
		return true;
	qcf_change_new_name(m, name);
	options.name = name;
	qcf_model_note(m, "take %s, %" PRIu64 " of VM state", name,
	               options.vm_state_size);
	ret = qcowfmt_snapshot_create(image_of(m), &options, &error);
	if (!outcome("snapshot_create", ret, error, wanted_of_sharing(m), &done,
	             finding))
		return false;
	return !done || qcf_model_take(m, name, true, finding);
}

static bool apply(struct qcf_model *m, struct qcf_finding *finding)
{
	struct wanted wanted = wanted_of_sharing(m);
	struct qcf_snapshot_model *s = qcf_change_any_snapshot(m);
	struct qcowfmt_error *error = NULL;
	bool done;
	int ret;

	if (!s)
		return true;
	if (m->bitmap_count > 0)
		wanted.must = ENOTSUP;
	qcf_model_note(m, "apply %s", s->name);
	ret = qcowfmt_snapshot_apply(image_of(m), NULL, s->name, &error);
	if (!outcome("snapshot_apply", ret, error, wanted, &done, finding))
		return false;
	return !done || qcf_model_apply(m, s, finding);
}

static bool delete (struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcf_snapshot_model *s = qcf_change_any_snapshot(m);
	struct qcowfmt_error *error = NULL;
	bool done;
	int ret;

	if (!s)
		return true;
	qcf_model_note(m, "delete %s", s->name);
	ret = qcowfmt_snapshot_delete(image_of(m), NULL, s->name, &error);
	if (!outcome("snapshot_delete", ret, error, (struct wanted){ 0 }, &done,
	             finding))
		return false;
	qcf_model_delete(m, s);
	return true;
}

/* ------------------------------------------------------------------- bitmaps */

static bool change_bitmap(struct qcf_model *m, const char *name, int32_t kind,
                          uint64_t granularity, const char *source, bool *done,
                          struct qcf_finding *finding)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image_of(m),
		.name = name,
		.kind = kind,
		.granularity = granularity,
		.source_name = source,
	};
	struct wanted wanted = {
		.must = shape_of(m)->version < 3 ? ENOTSUP : 0,
	};
	struct qcowfmt_error *error = NULL;
	int ret;

	qcf_model_note(m, "bitmap %s: %d, %" PRIu64 " %s", name, kind,
	               granularity, source ? source : "");
	ret = qcowfmt_bitmap_change(&action, 1, NULL, &error);
	return outcome("bitmap_change", ret, error, wanted, done, finding);
}

static bool add_bitmap(struct qcf_model *m, struct qcf_finding *finding)
{
	uint64_t granularity = qcf_change_any_granularity(m);
	char name[16];
	bool done;

	if (m->bitmap_count == QCF_MODEL_BITMAPS)
		return true;
	qcf_change_new_name(m, name);
	if (!change_bitmap(m, name, QCOWFMT_BITMAP_ADD, granularity, NULL,
	                   &done, finding))
		return false;
	if (done)
		qcf_model_add_bitmap(m, name, granularity, true);
	return true;
}

static bool merge_bitmap(struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcf_bitmap_model *to = qcf_change_any_bitmap(m);
	struct qcf_bitmap_model *from = qcf_change_any_bitmap(m);
	bool done;

	if (!to)
		return true;
	if (!change_bitmap(m, to->name, QCOWFMT_BITMAP_MERGE, 0, from->name,
	                   &done, finding))
		return false;
	qcf_model_merge(to, from, qcf_chain_top(&m->chain)->oracle.size);
	return true;
}

static bool some_bitmap(struct qcf_model *m, struct qcf_finding *finding)
{
	int32_t kind = (int32_t)qcf_rng_between(&m->rng, QCOWFMT_BITMAP_REMOVE,
	                                        QCOWFMT_BITMAP_DISABLE);
	struct qcf_bitmap_model *b = qcf_change_any_bitmap(m);
	bool done;

	if (!b)
		return true;
	if (!change_bitmap(m, b->name, kind, 0, NULL, &done, finding))
		return false;
	if (kind == QCOWFMT_BITMAP_REMOVE)
		qcf_model_remove_bitmap(m, b);
	else if (kind == QCOWFMT_BITMAP_CLEAR)
		qcf_model_clear_bitmap(b);
	else
		b->enabled = kind == QCOWFMT_BITMAP_ENABLE;
	return true;
}

/* -------------------------------------------------------- the image as a whole */

static bool resize(struct qcf_model *m, struct qcf_finding *finding)
{
	const struct qcf_shape *s = shape_of(m);
	uint64_t size = qcf_change_any_size(m);
	struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	struct wanted wanted = {
		.must = s->version == 1 || (s->version == 2 &&
		                            m->snapshot_count > 0)
		                ? ENOTSUP
		                : 0,
	};
	struct qcowfmt_error *error = NULL;
	bool done;
	int ret;

	if (size > qcowfmt_get_size(image_of(m)) &&
	    qcf_rng_percent(&m->rng, 20))
		options.preallocation = QCOWFMT_PREALLOCATION_METADATA;
	qcf_model_note(m, "resize to %" PRIu64 ", preallocation %d", size,
	               options.preallocation);
	ret = qcowfmt_resize(image_of(m), size, &options, &error);
	if (!outcome("resize", ret, error, wanted, &done, finding))
		return false;
	return !done || qcf_model_resize(m, size, finding);
}

/* One property at a time, so that it is known what may be refused. */
static struct wanted choose_amendment(struct qcf_model *m,
                                      struct qcowfmt_amend_options *options)
{
	const struct qcf_shape *s = shape_of(m);
	struct wanted wanted = { 0 };

	if (s->version == 1) {
		options->version = 3;
		wanted.must = ENOTSUP;
	} else if (s->version == 2) {
		options->version = 3;
	} else if (qcf_rng_percent(&m->rng, 25)) {
		options->version = 2;
		options->refcount_bits = 16;
		wanted.must = qcf_change_fits_version_2(m) ? 0 : EINVAL;
		/* Clusters compressed with zstd stand in the way. */
		wanted.may = s->zstd ? EINVAL : EOVERFLOW;
	} else if (qcf_rng_percent(&m->rng, 50)) {
		options->lazy_refcounts = s->lazy_refcounts ? -1 : 1;
	} else {
		options->refcount_bits = 1u << qcf_rng_below(&m->rng, 7);
		if (qcf_model_may_overflow(m, options->refcount_bits))
			wanted.may = EOVERFLOW;
	}
	return wanted;
}

static void follow_amendment(struct qcf_model *m,
                             const struct qcowfmt_amend_options *options)
{
	struct qcf_shape *s = shape_of(m);

	if (options->refcount_bits)
		s->refcount_bits = options->refcount_bits;
	if (options->lazy_refcounts)
		s->lazy_refcounts = options->lazy_refcounts == 1;
	if (options->version)
		s->version = options->version;
	if (options->version == 2) {
		s->lazy_refcounts = false;
		s->zstd = false;
		while (m->bitmap_count > 0)
			qcf_model_remove_bitmap(m, &m->bitmaps[0]);
	}
	qcf_model_aim(m);
}

static bool amend(struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcowfmt_amend_options options = {
		.struct_size = sizeof(options),
	};
	struct wanted wanted = choose_amendment(m, &options);
	struct qcowfmt_error *error = NULL;
	bool done;
	int ret;

	qcf_model_note(m, "amend: version %u, %u bits, lazy %d",
	               options.version, options.refcount_bits,
	               options.lazy_refcounts);
	ret = qcowfmt_amend(image_of(m), &options, &error);
	if (!outcome("amend", ret, error, wanted, &done, finding))
		return false;
	if (done)
		follow_amendment(m, &options);
	return true;
}

static bool compact(struct qcf_model *m, struct qcf_finding *finding)
{
	struct wanted wanted = {
		.must = shape_of(m)->version == 1 ? ENOTSUP : 0,
	};
	struct qcowfmt_error *error = NULL;
	bool done;
	int ret;

	qcf_model_note(m, "compact");
	ret = qcowfmt_compact(image_of(m), NULL, NULL, &error);
	return outcome("compact", ret, error, wanted, &done, finding);
}

bool qcf_change_by_library(struct qcf_model *m, struct qcf_finding *finding)
{
	static const struct {
		unsigned int weight; /* of 100 */
		bool (*change)(struct qcf_model *m,
		               struct qcf_finding *finding);
	} changes[] = {
		{ 18, take },          { 10, apply },     { 10, delete },
		{ 8, write_vm_state }, { 8, add_bitmap }, { 8, some_bitmap },
		{ 8, merge_bitmap },   { 12, resize },    { 10, amend },
		{ 8, compact },
	};

	uint64_t pick = qcf_rng_below(&m->rng, 100);
	int i = 0;

	for (; pick >= changes[i].weight; i++)
		pick -= changes[i].weight;
	return changes[i].change(m, finding);
}
