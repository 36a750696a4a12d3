/* SPDX-License-Identifier: MIT */
/* fuzz_model.c - flat arrays of what a disk and its snapshots have to read as */
#include "fuzz_model.h"

#define SECTOR 512u

static bool take_view(struct fuzz_array *array, const struct fuzz_view *view)
{
	if (!view->is_there || view->size > FUZZ_DISK_SIZE ||
	    view->size % FUZZ_VIEW_PIECE != 0)
		return false;
	for (uint64_t i = 0; i < view->size / FUZZ_VIEW_PIECE; i++) {
		if (!view->is_readable[i])
			return false;
	}
	array->size = view->size;
	memset(array->bytes, 0, sizeof(array->bytes));
	memcpy(array->bytes, view->bytes, (size_t)view->size);
	return true;
}

bool fuzz_model_begin(struct fuzz_model *model, const struct fuzz_view *views,
                      uint32_t snapshots)
{
	model->snapshot_count = 0;
	if (!take_view(&model->disk, &views[0]))
		return false;
	for (uint32_t i = 0; i < snapshots; i++) {
		if (!take_view(&model->room[i], &views[i + 1]))
			return false;
		model->snapshots[i] =
			(struct fuzz_model_snapshot){ i + 1, &model->room[i] };
		model->snapshot_count++;
	}
	for (uint32_t i = snapshots; i < FUZZ_MODEL_SNAPSHOTS; i++)
		model->snapshots[i].disk = &model->room[i];
	return true;
}

static void read_range(struct qcowfmt_image *image, uint8_t *bytes,
                       uint64_t offset, uint64_t len, const char *why)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	/* What is not filled in shows. */
	memset(bytes, 0xa5, (size_t)len);
	ret = qcowfmt_pread(image, bytes, (size_t)len, offset, &error);

	FUZZ_ASSERT(ret == 0, "%s: reading 0x%" PRIx64 ": %s", why, offset,
	            qcowfmt_error_message(error));
}

void fuzz_model_expect(const struct fuzz_array *array,
                       struct qcowfmt_image *image, uint64_t offset,
                       uint64_t len, const char *why)
{
	static uint8_t bytes[FUZZ_MODEL_ROOM];

	if (offset >= array->size)
		return;
	if (len > array->size - offset)
		len = array->size - offset;
	read_range(image, bytes, offset, len, why);
	if (memcmp(bytes, array->bytes + offset, (size_t)len) == 0)
		return;
	for (uint64_t i = 0; i < len; i++)
		FUZZ_ASSERT(bytes[i] == array->bytes[offset + i],
		            "%s: at 0x%" PRIx64 " is 0x%02x, want 0x%02x", why,
		            offset + i, bytes[i], array->bytes[offset + i]);
}

void fuzz_model_expect_all(const struct fuzz_array *array,
                           struct qcowfmt_image *image, const char *why)
{
	FUZZ_ASSERT(qcowfmt_get_size(image) == array->size,
	            "%s: %" PRIu64 " bytes, want %" PRIu64, why,
	            qcowfmt_get_size(image), array->size);
	fuzz_model_expect(array, image, 0, array->size, why);
}

void fuzz_model_follow(struct fuzz_array *array, struct qcowfmt_image *image,
                       uint64_t offset, uint64_t len, const uint8_t *new_bytes,
                       const char *why)
{
	static const uint8_t zeros[SECTOR];
	static uint8_t bytes[FUZZ_MODEL_ROOM];
	uint64_t done = 0;

	read_range(image, bytes, offset, len, why);
	while (done < len) {
		uint8_t *old = array->bytes + offset + done;
		uint64_t n = SECTOR - (offset + done) % SECTOR;

		n = n < len - done ? n : len - done;
		FUZZ_ASSERT(memcmp(bytes + done, old, n) == 0 ||
		                    memcmp(bytes + done,
		                           new_bytes == NULL ? zeros
		                                             : new_bytes + done,
		                           n) == 0,
		            "%s: the sector at 0x%" PRIx64
		            " is neither old nor new",
		            why, offset + done);
		memcpy(old, bytes + done, n);
		done += n;
	}
}

/* ------------------------------------------------------------------- snapshots */

struct fuzz_array *fuzz_model_find(const struct fuzz_model *model, uint32_t id)
{
	for (uint32_t i = 0; i < model->snapshot_count; i++) {
		if (model->snapshots[i].id == id)
			return model->snapshots[i].disk;
	}
	return NULL;
}

/* The id is one more than the largest there is. */
bool fuzz_model_add(struct fuzz_model *model)
{
	struct fuzz_model_snapshot *snapshot;
	uint32_t id = 1;

	if (model->snapshot_count == FUZZ_MODEL_SNAPSHOTS)
		return false;
	for (uint32_t i = 0; i < model->snapshot_count; i++) {
		if (model->snapshots[i].id >= id)
			id = model->snapshots[i].id + 1;
	}
	snapshot = &model->snapshots[model->snapshot_count++];
	snapshot->id = id;
	*snapshot->disk = model->disk;
	return true;
}

void fuzz_model_remove(struct fuzz_model *model, uint32_t id)
{
	uint32_t last = model->snapshot_count - 1;

	for (uint32_t i = 0; i <= last; i++) {
		struct fuzz_model_snapshot *snapshot = &model->snapshots[i];
		struct fuzz_model_snapshot gone = *snapshot;

		if (gone.id != id)
			continue;
		*snapshot = model->snapshots[last];
		model->snapshots[last] = gone;
		model->snapshot_count--;
		return;
	}
}
