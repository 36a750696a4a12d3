/* SPDX-License-Identifier: MIT */
/*
 * model.h - what an image must hold besides its disk
 *
 * Snapshots with the disk and VM state they keep, and dirty bitmaps.  The disk
 * itself is the oracle of the chain's top layer.  Whoever changes the image
 * changes the model in the same way; model_check.h compares.
 */
#ifndef QCF_MODEL_H
#define QCF_MODEL_H

#include "layer.h"

#define QCF_MODEL_SNAPSHOTS 5
#define QCF_MODEL_BITMAPS   4
#define QCF_MODEL_LOG       12

/* Random bytes behind the disk. */
struct qcf_vm_model {
	bool known; /* else nothing is said about what is there */
	uint64_t len;
	uint64_t seed;
};

struct qcf_snapshot_model {
	char name[16];
	struct qcf_oracle oracle;
	struct qcf_vm_model vm;
};

struct qcf_bitmap_model {
	char name[16];
	bool enabled;
	uint64_t granularity;
	uint64_t count; /* of units the disk has */
	bool *dirty;    /* owned; one for each unit */
};

struct qcf_model {
	struct qcf_chain chain;
	struct qcf_rng rng;
	struct qcf_disk *disk; /* of the top image; NULL while closed */
	int names;             /* given so far */
	struct qcf_vm_model vm;
	int snapshot_count;
	struct qcf_snapshot_model snapshots[QCF_MODEL_SNAPSHOTS];
	int bitmap_count;
	struct qcf_bitmap_model bitmaps[QCF_MODEL_BITMAPS];
	uint64_t changes; /* so far */
	char log[QCF_MODEL_LOG][QCF_LOG_LINE];
};

void qcf_model_init(struct qcf_model *m, uint64_t seed, uint64_t part);
void qcf_model_fini(struct qcf_model *m, bool failed);

/* The whole disk is operated on, and what is written is dirty from now on. */
void qcf_model_aim(struct qcf_model *m);

/* Remember a change for the message of a failure. */
void qcf_model_note(struct qcf_model *m, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void qcf_model_print_log(const struct qcf_model *m, char *out, size_t size);

/* The disk has another size. */
bool qcf_model_resize(struct qcf_model *m, uint64_t size,
                      struct qcf_finding *finding);

/* A snapshot of the present disk was taken, with or without the VM state. */
bool qcf_model_take(struct qcf_model *m, const char *name, bool with_vm_state,
                    struct qcf_finding *finding);
bool qcf_model_apply(struct qcf_model *m, const struct qcf_snapshot_model *s,
                     struct qcf_finding *finding);
void qcf_model_delete(struct qcf_model *m, struct qcf_snapshot_model *s);

void qcf_model_add_bitmap(struct qcf_model *m, const char *name,
                          uint64_t granularity, bool enabled);
void qcf_model_remove_bitmap(struct qcf_model *m, struct qcf_bitmap_model *b);
void qcf_model_clear_bitmap(struct qcf_bitmap_model *b);
void qcf_model_merge(struct qcf_bitmap_model *to,
                     const struct qcf_bitmap_model *from, uint64_t disk_size);

/* As many random bytes as the VM state has. */
void qcf_model_fill_vm_state(const struct qcf_vm_model *vm, uint8_t *buffer);

/* Where a count may exceed what its bits hold: taking or applying a snapshot
 * may then be refused, or narrowing counts to so many bits. */
bool qcf_model_may_overflow(const struct qcf_model *m, uint32_t refcount_bits);

#endif
