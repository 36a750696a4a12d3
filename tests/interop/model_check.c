/* SPDX-License-Identifier: MIT */
/* model_check.c - whether an image holds what its model says */
#include "model_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcowfmt.h>

#include "run.h"

/* ------------------------------------------------------------------- bitmaps */

/* The first dirty range from an offset on; false if there is none. */
static bool next_range(const struct qcf_bitmap_model *b, uint64_t from,
                       uint64_t disk_size, struct qcf_range *range)
{
	uint64_t i = from / b->granularity;
	uint64_t end;

	while (i < b->count && !b->dirty[i])
		i++;
	range->offset = i * b->granularity;
	if (range->offset < from)
		range->offset = from;
	while (i < b->count && b->dirty[i])
		i++;
	end = i * b->granularity < disk_size ? i * b->granularity : disk_size;
	range->len = range->offset < end ? end - range->offset : 0;
	return range->len > 0;
}

static bool ranges_agree(const struct qcf_bitmap_model *b, bool have,
                         struct qcf_range got, bool wanted,
                         struct qcf_range want, struct qcf_finding *finding)
{
	if (have == wanted &&
	    (!have || (got.offset == want.offset && got.len == want.len)))
		return true;
	return qcf_found(finding, QCF_FOUND_METADATA,
	                 "bitmap %s (%" PRIu64 "): %s %" PRIu64 " +%" PRIu64
	                 " dirty, want %s %" PRIu64 " +%" PRIu64,
	                 b->name, b->granularity, have ? "" : "not",
	                 have ? got.offset : 0, have ? got.len : 0,
	                 wanted ? "" : "not", wanted ? want.offset : 0,
	                 wanted ? want.len : 0);
}

static bool bitmap_is_true(struct qcf_model *m,
                           const struct qcf_bitmap_model *b,
                           struct qcf_finding *finding)
{
	uint64_t size = qcf_chain_top(&m->chain)->oracle.size;
	struct qcowfmt_image *image = qcf_disk_lib_image(m->disk);
	struct qcowfmt_error *error = NULL;
	struct qcf_range got = { 0 };
	struct qcf_range want = { 0 };
	uint64_t from = 0;
	bool wanted = true;
	int ret;

	while (wanted) {
		ret = qcowfmt_bitmap_next(image, b->name, from, &got.offset,
		                          &got.len, &error);
		if (ret < 0)
			return qcf_found_error(finding, "bitmap_next", ret,
			                       error);
		wanted = next_range(b, from, size, &want);
		if (!ranges_agree(b, ret == 1, got, wanted, want, finding))
			return false;
		from = want.offset + want.len;
	}
	return true;
}

static bool bitmap_is_listed(const struct qcf_model *m,
                             const struct qcowfmt_bitmap *listed,
                             struct qcf_finding *finding)
{
	int i;

	for (i = 0; i < m->bitmap_count; i++) {
		const struct qcf_bitmap_model *b = &m->bitmaps[i];
		uint32_t enabled = b->enabled ? QCOWFMT_BITMAP_ENABLED : 0;

		if (strcmp(b->name, listed->name) == 0 &&
		    b->granularity == listed->granularity &&
		    (listed->flags & ~QCOWFMT_BITMAP_IN_USE) == enabled)
			return true;
	}
	return qcf_found(finding, QCF_FOUND_METADATA,
	                 "bitmap %s with granularity %" PRIu64
	                 " and flags %u is listed",
	                 listed->name, listed->granularity, listed->flags);
}

static bool bitmaps_are_listed(struct qcf_model *m, struct qcf_finding *finding)
{
	struct qcowfmt_image *image = qcf_disk_lib_image(m->disk);
	struct qcowfmt_bitmap listed = { .struct_size = sizeof(listed) };
	struct qcowfmt_bitmap_list *list = NULL;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_bitmap_list(image, 0, &list, &error);
	uint32_t count = ret < 0 ? 0 : qcowfmt_bitmap_list_count(list);
	bool good = true;
	uint32_t i;

	if (ret < 0)
		return qcf_found_error(finding, "bitmap_list", ret, error);
	if (count != (uint32_t)m->bitmap_count)
		good = qcf_found(finding, QCF_FOUND_METADATA,
		                 "%u bitmaps, want %d", count, m->bitmap_count);
	for (i = 0; good && i < count; i++)
		good = qcowfmt_bitmap_list_get(list, i, &listed, NULL) == 0 &&
		       bitmap_is_listed(m, &listed, finding);
	qcowfmt_bitmap_list_free(list);
	return good;
}

/* ------------------------------------------------------------------ VM state */

static bool vm_state_is_true(struct qcowfmt_image *image,
                             const struct qcf_vm_model *vm,
                             struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	uint8_t *want = malloc(2 * vm->len + 1);
	uint8_t *got = want + vm->len;
	bool good;
	int ret;

	if (!want)
		abort();
	qcf_model_fill_vm_state(vm, want);
	ret = qcowfmt_vm_state_pread(image, got, vm->len, 0, &error);
	good = ret == 0 && memcmp(want, got, vm->len) == 0;
	free(want);
	if (ret < 0)
		return qcf_found_error(finding, "vm_state_pread", ret, error);
	return good ? true
	            : qcf_found(finding, QCF_FOUND_CONTENT,
	                        "VM state of %" PRIu64 " bytes differs",
	                        vm->len);
}

bool qcf_model_check_open(struct qcf_model *m, struct qcf_finding *finding)
{
	int i;

	if (qcf_chain_top(&m->chain)->shape.version == 1)
		return true;
	if (m->vm.known && m->vm.len > 0 &&
	    !vm_state_is_true(qcf_disk_lib_image(m->disk), &m->vm, finding))
		return false;
	if (!bitmaps_are_listed(m, finding))
		return false;
	for (i = 0; i < m->bitmap_count; i++) {
		if (!bitmap_is_true(m, &m->bitmaps[i], finding))
			return false;
	}
	return true;
}

/* ----------------------------------------------------------------- snapshots */

static bool content_is(struct qcowfmt_image *image,
                       const struct qcf_oracle *oracle,
                       struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	uint8_t *bytes = malloc(oracle->size);
	bool good;
	int ret;

	if (!bytes)
		abort();
	if (qcowfmt_get_size(image) != oracle->size) {
		free(bytes);
		return qcf_found(finding, QCF_FOUND_METADATA,
		                 "the size is %" PRIu64 ", want %" PRIu64,
		                 qcowfmt_get_size(image), oracle->size);
	}
	ret = qcowfmt_pread(image, bytes, oracle->size, 0, &error);
	good = ret < 0 ? qcf_found_error(finding, "read", ret, error)
	               : qcf_oracle_verify(oracle, bytes, oracle->size, 0,
	                                   finding);
	free(bytes);
	return good;
}

static bool name_it(struct qcf_finding *finding, const char *name)
{
	size_t used = strlen(finding->text);

	snprintf(finding->text + used, sizeof(finding->text) - used,
	         " (snapshot %s)", name);
	return false;
}

static bool snapshot_is_true(struct qcf_model *m,
                             const struct qcf_snapshot_model *s,
                             struct qcf_finding *finding)
{
	struct qcf_disk_options options = {
		.seed = qcf_rng_next(&m->rng),
		.snapshot = s->name,
	};
	struct qcf_disk *disk;
	struct qcowfmt_image *image;
	bool good;

	qcf_chain_open_options(&m->chain, &options);
	disk = qcf_disk_lib_new(&options);
	good = disk->verbs->open(disk, finding);
	image = qcf_disk_lib_image(disk);
	good = good && content_is(image, &s->oracle, finding) &&
	       (!s->vm.known || s->vm.len == 0 ||
	        vm_state_is_true(image, &s->vm, finding)) &&
	       disk->verbs->close(disk, finding);
	disk->verbs->free(disk);
	return good || name_it(finding, s->name);
}

bool qcf_model_check_snapshots(struct qcf_model *m, bool with_qemu,
                               struct qcf_finding *finding)
{
	char copy[QCF_PATH_SIZE];
	int i;

	for (i = 0; i < m->snapshot_count; i++) {
		if (!snapshot_is_true(m, &m->snapshots[i], finding))
			return false;
	}
	if (!with_qemu || m->snapshot_count == 0)
		return true;
	i = (int)qcf_rng_below(&m->rng, (uint64_t)m->snapshot_count);
	qcf_tmpdir_path(&m->chain.dir, "snapshot.raw", copy);
	/* qemu-img takes the size of the disk for that of its snapshots. */
	return m->snapshots[i].oracle.size !=
	               qcf_chain_top(&m->chain)->oracle.size ||
	       qcf_qemu_image_has_snapshot(
		       &m->chain.qemu_image, m->snapshots[i].name,
		       m->snapshots[i].oracle.path, copy, finding);
}
