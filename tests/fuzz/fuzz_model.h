/* SPDX-License-Identifier: MIT */
/*
 * fuzz_model.h - flat arrays of what a disk and its snapshots have to read as
 */
#ifndef QCF_FUZZ_MODEL_H
#define QCF_FUZZ_MODEL_H

#include "fuzz_view.h"

#define FUZZ_MODEL_ROOM      ((uint64_t)384 << 10) /* no disk gets larger */
#define FUZZ_MODEL_SNAPSHOTS 6u

struct fuzz_array {
	uint64_t size;
	uint8_t bytes[FUZZ_MODEL_ROOM];
};

struct fuzz_model_snapshot {
	uint32_t id;
	struct fuzz_array *disk;
};

struct fuzz_model {
	struct fuzz_array disk;
	struct fuzz_model_snapshot snapshots[FUZZ_MODEL_SNAPSHOTS];
	uint32_t snapshot_count;
	struct fuzz_array room[FUZZ_MODEL_SNAPSHOTS]; /* theirs */
};

/* What was seen of a disk and its first snapshots.  False if some of it could not
 * be read, or is too large. */
bool fuzz_model_begin(struct fuzz_model *model, const struct fuzz_view *views,
                      uint32_t snapshots);

/* The image reads as the array says, in a range. */
void fuzz_model_expect(const struct fuzz_array *array,
                       struct qcowfmt_image *image, uint64_t offset,
                       uint64_t len, const char *why);

/* All of it, and the size. */
void fuzz_model_expect_all(const struct fuzz_array *array,
                           struct qcowfmt_image *image, const char *why);

/*
 * Each sector of a range is as before or as it would be now; new_bytes NULL
 * stands for zeros.  The array follows what is there.
 */
void fuzz_model_follow(struct fuzz_array *array, struct qcowfmt_image *image,
                       uint64_t offset, uint64_t len, const uint8_t *new_bytes,
                       const char *why);

/* NULL if there is none, or no room for one. */
struct fuzz_array *fuzz_model_find(const struct fuzz_model *model, uint32_t id);
bool fuzz_model_add(struct fuzz_model *model);
void fuzz_model_remove(struct fuzz_model *model, uint32_t id);

#endif
