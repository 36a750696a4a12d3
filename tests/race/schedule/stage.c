/* SPDX-License-Identifier: MIT */
/* stage.c - the images that threads act on */
#include "stage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acts.h"
#include "script.h"

#define SECRET     "of the scheduler"
#define SETUP      9 /* thread that versions of the setup are by */
#define BASE_SETUP 8

static const struct qcowfmt_encryption_options aes = {
	.struct_size = sizeof(aes),
	.encryption = QCOWFMT_ENCRYPTION_AES,
	.secret = SECRET,
	.secret_len = sizeof(SECRET) - 1,
};

static void must(int ret, struct qcowfmt_error **error, const char *what)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(*error));
	abort();
}

static void create(struct qcf_stage *stage, enum qcf_stage_disk which)
{
	const struct qcf_stage_shape *s = &stage->scenario->shape;
	bool is_top = which == QCF_STAGE_TOP;
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = s->sectors * QCF_SECTOR,
		.version = s->version,
		.cluster_size = s->cluster_size,
		.refcount_bits = s->refcount_bits,
	};
	struct qcowfmt_storage *storage =
		qcf_disk_storage(stage->disks[which], true, false);
	struct qcowfmt_storage *data = NULL;
	struct qcowfmt_error *error = NULL;

	if (is_top) {
		options.flags =
			(s->lazy_refcounts ? QCOWFMT_CREATE_LAZY_REFCOUNTS
		                           : 0) |
			(s->extended_l2 ? QCOWFMT_CREATE_EXTENDED_L2 : 0);
		options.encryption = s->encrypted ? &aes : NULL;
		options.backing_filename = s->chain ? "base" : NULL;
		options.backing_format = s->chain ? "qcow2" : NULL;
		if (s->data_file) {
			data = qcf_disk_storage(stage->disks[QCF_STAGE_DATA],
			                        true, true);
			options.data_filename = "data";
			options.data_storage = data;
		}
	}
	must(qcowfmt_create(storage, &options, &error), &error, "create");
	qcowfmt_storage_free(storage);
	qcowfmt_storage_free(data);
}

static int give_reference(void *opaque,
                          const struct qcowfmt_reference *reference,
                          struct qcowfmt_storage **storage, int32_t *format)
{
	struct qcf_stage *stage = opaque;

	bool is_base = reference->kind == QCOWFMT_REFERENCE_BACKING;

	*storage = qcf_disk_storage(
		stage->disks[is_base ? QCF_STAGE_BASE : QCF_STAGE_DATA],
		reference->writable != 0, !is_base);
	*format = is_base ? QCOWFMT_FORMAT_QCOW2 : QCOWFMT_FORMAT_RAW;
	return 0;
}

static int open_disk(struct qcf_stage *stage, struct qcf_disk *disk,
                     const struct qcowfmt_open_options *wanted,
                     struct qcowfmt_image **image, struct qcowfmt_error **errp)
{
	const struct qcf_stage_shape *s = &stage->scenario->shape;
	bool writable = (wanted->flags & QCOWFMT_OPEN_READ_WRITE) != 0;
	struct qcowfmt_storage *storage =
		qcf_disk_storage(disk, writable, false);
	struct qcowfmt_open_options options = *wanted;
	int ret;

	options.struct_size = sizeof(options);
	options.format = QCOWFMT_FORMAT_QCOW2;
	options.reference_policy = QCOWFMT_REFERENCES_CALLBACK;
	options.reference_callback = give_reference;
	options.reference_opaque = stage;
	options.cache_size = s->cache_size;
	if (s->encrypted) {
		options.secret = SECRET;
		options.secret_len = sizeof(SECRET) - 1;
	}
	ret = qcowfmt_open(storage, &options, image, errp);
	if (ret < 0)
		qcowfmt_storage_free(storage);
	return ret;
}

int qcf_stage_open(struct qcf_stage *stage, uint32_t flags,
                   const char *snapshot, struct qcf_disk *top,
                   struct qcowfmt_image **image, struct qcowfmt_error **errp)
{
	const struct qcowfmt_open_options options = {
		.flags = flags,
		.snapshot_name = snapshot,
	};

	return open_disk(stage, top != NULL ? top : stage->disks[QCF_STAGE_TOP],
	                 &options, image, errp);
}

static void open_all(struct qcf_stage *stage)
{
	const struct qcf_stage_shape *s = &stage->scenario->shape;
	const struct qcowfmt_open_options base = {
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_open_options top = base;
	struct qcowfmt_error *error = NULL;

	top.chain_limit = s->cut_chain ? 1 : 0;
	must(open_disk(stage, stage->disks[QCF_STAGE_TOP], &top, &stage->image,
	               &error),
	     &error, "open");
	if (s->cut_chain)
		must(open_disk(stage, stage->disks[QCF_STAGE_BASE], &base,
		               &stage->base, &error),
		     &error, "open the base");
	if (s->converts)
		must(open_disk(stage, stage->disks[QCF_STAGE_TARGET], &base,
		               &stage->target, &error),
		     &error, "open the target");
}

int qcf_stage_close(struct qcf_stage *stage, struct qcowfmt_error **errp)
{
	int ret = qcowfmt_close(stage->image, errp);
	int other = qcowfmt_close(stage->base, NULL);
	int third = qcowfmt_close(stage->target, NULL);

	stage->image = NULL;
	stage->base = NULL;
	stage->target = NULL;
	if (ret == 0)
		ret = other < 0 ? other : third;
	return ret;
}

uint64_t qcf_stage_unit(const struct qcf_stage *stage)
{
	const struct qcf_stage_shape *s = &stage->scenario->shape;

	return s->cluster_size / (s->extended_l2 ? 32 : 1) / QCF_SECTOR;
}

/* ------------------------------------------------------------------- setup */

static bool is_used(const struct qcf_stage *stage, enum qcf_stage_disk which)
{
	const struct qcf_stage_shape *s = &stage->scenario->shape;

	switch (which) {
	case QCF_STAGE_BASE:
		return s->chain;
	case QCF_STAGE_DATA:
		return s->data_file;
	case QCF_STAGE_TARGET:
		return s->converts;
	default:
		return true;
	}
}

static void note_version(struct qcf_stage *stage, const struct qcf_act *act,
                         uint64_t version)
{
	uint64_t s;

	if (act->kind == 's') {
		memcpy(stage->base_snapshot, stage->versions,
		       sizeof(stage->versions));
		stage->has_base_snapshot = true;
	}
	for (s = act->first; s < act->first + act->count; s++) {
		if (act->kind == 'w' || act->kind == 'c')
			stage->versions[s] = version;
		else if (qcf_act_writes(act))
			stage->versions[s] = 0;
	}
}

static void run_setup(struct qcf_stage *stage, struct qcowfmt_image *image,
                      int thread, const char *text)
{
	struct qcowfmt_error *error = NULL;
	struct qcf_script script;

	qcf_script_parse(&script, text != NULL ? text : "");
	for (int i = 0; i < script.count; i++) {
		uint64_t version = qcf_version(thread, (uint64_t)i);

		must(qcf_act_plain(image, &script.acts[i], version, &error),
		     &error, "setup");
		note_version(stage, &script.acts[i], version);
	}
}

static void add_bitmaps(struct qcf_stage *stage, struct qcowfmt_image *image)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_bitmap_action actions[2] = {
		{
			.struct_size = sizeof(actions[0]),
			.image = image,
			.name = "kept",
			.kind = QCOWFMT_BITMAP_ADD,
			.granularity = QCF_SECTOR,
		},
	};

	if (!stage->scenario->shape.bitmaps)
		return;
	actions[1] = actions[0];
	actions[1].name = "other";
	must(qcowfmt_bitmap_change(actions, 2, NULL, &error), &error,
	     "bitmaps");
}

static void make_start(struct qcf_stage *stage)
{
	const struct qcf_scenario *s = stage->scenario;
	const struct qcowfmt_open_options options = {
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_error *error = NULL;

	if (s->shape.chain) {
		must(open_disk(stage, stage->disks[QCF_STAGE_BASE], &options,
		               &stage->base, &error),
		     &error, "open the base");
		run_setup(stage, stage->base, BASE_SETUP, s->base_setup);
		add_bitmaps(stage, stage->base);
		memcpy(stage->base_versions, stage->versions,
		       sizeof(stage->versions));
		must(qcowfmt_close(stage->base, &error), &error, "close");
	}
	must(open_disk(stage, stage->disks[QCF_STAGE_TOP], &options,
	               &stage->image, &error),
	     &error, "open");
	run_setup(stage, stage->image, SETUP, s->setup);
	add_bitmaps(stage, stage->image);
	must(qcowfmt_close(stage->image, &error), &error, "close");
}

void qcf_stage_init(struct qcf_stage *stage,
                    const struct qcf_scenario *scenario)
{
	*stage = (struct qcf_stage){ .scenario = scenario };
	for (int i = 0; i < QCF_STAGE_DISKS; i++)
		stage->disks[i] = qcf_disk_new();
	if (scenario->shape.chain)
		create(stage, QCF_STAGE_BASE);
	if (scenario->shape.converts)
		create(stage, QCF_STAGE_TARGET);
	create(stage, QCF_STAGE_TOP);
	make_start(stage);
	stage->image = NULL;
	stage->base = NULL;
	for (int i = 0; i < QCF_STAGE_DISKS; i++)
		qcf_disk_save(stage->disks[i], &stage->start[i]);
}

void qcf_stage_fini(struct qcf_stage *stage)
{
	(void)qcf_stage_close(stage, NULL);
	for (int i = 0; i < QCF_STAGE_DISKS; i++) {
		qcf_disk_free(stage->disks[i]);
		qcf_bytes_free(&stage->start[i]);
	}
}

void qcf_stage_reset(struct qcf_stage *stage)
{
	for (int i = 0; i < QCF_STAGE_DISKS; i++) {
		if (is_used(stage, (enum qcf_stage_disk)i))
			qcf_disk_load(stage->disks[i], &stage->start[i]);
	}
	open_all(stage);
}
