/* SPDX-License-Identifier: MIT */
/*
 * fault_trial.h - calls of the library on a prepared image, while something
 * fails, and the verdict on them
 *
 * A kind says what the image is like, a scenario what is called.  The image is
 * prepared once; each trial begins with a copy of it.  Scenarios make their calls
 * with TRY() and TRY_VALUE(), which let faults happen, look at what comes back
 * and take note that the function was called.
 *
 * Without a fault a trial is the rehearsal: what the disk, its facts and its
 * outputs are then is what each trial with a fault is held against.  The verdict
 * on a trial:
 *
 *   - a call that fails says why, in code, errno and words; one that returns
 *     success has done what it does in the rehearsal;
 *   - no memory and no descriptor is lost;
 *   - the handle goes on: it reads, and either the calls work when they are made
 *     again, or the image is poisoned and says so;
 *   - the file opens, and its check finds no corruption; each sector of the disk
 *     is as before or as after, and so are, all together, the facts (size,
 *     version, names, snapshots and what they hold, bitmaps, keys);
 *   - repair leaves nothing to be found, and the same disk;
 *   - files that the calls may not change have not changed.
 */
#ifndef QCF_FAULT_TRIAL_H
#define QCF_FAULT_TRIAL_H

#include <stdbool.h>

#include "fault_disk.h"
#include "fault_points.h"

/* The files of a trial. */
enum trial_file {
	TRIAL_TOP,   /* the image */
	TRIAL_BASE,  /* its backing file */
	TRIAL_DATA,  /* its data file */
	TRIAL_OTHER, /* another image, or what a call makes */
	TRIAL_FILES
};

#define TRIAL_MAX_DISK ((size_t)512 << 10)
#define TRIAL_SECRET   "hunter2"

/* What an image is like. */
struct trial_kind {
	const char *name;
	int32_t format; /* enum qcowfmt_format */
	uint32_t version;
	uint32_t flags; /* QCOWFMT_CREATE_* */
	uint64_t cluster_size;
	uint32_t refcount_bits;
	uint64_t clusters; /* of the disk; half a cluster more follows */
	int32_t encryption;
	int32_t base_format; /* PROBE: no backing file */
	bool data_file;
	bool snapshots;
	bool bitmaps;
	bool compressed;
	bool zstd;
};

extern const struct trial_kind trial_kinds[];
extern const size_t trial_kind_count;

/* What a scenario needs of a kind. */
#define NEEDS_QCOW2        0x1u
#define NEEDS_VERSION_3    0x2u
#define NEEDS_BASE         0x4u
#define NEEDS_SNAPSHOTS    0x8u
#define NEEDS_BITMAPS      0x10u
#define NEEDS_LUKS         0x20u
#define NEEDS_NO_DATA      0x40u /* no data file */
#define NEEDS_COUNTS       0x80u /* clusters counted: not raw, not version 1 */
#define NEEDS_NO_SECRET    0x100u
#define NEEDS_QCOW         0x200u /* any version */
#define NEEDS_NO_BITMAPS   0x400u
#define NEEDS_FILES        0x800u /* files in a directory */
#define NEEDS_DATA_FILE    0x1000u
#define NEEDS_NO_SNAPSHOTS 0x2000u
#define NEEDS_GROWING      0x4000u /* can be resized */
#define NEEDS_PLAIN        0x8000u /* what it has could be version 2 */

/* What a scenario does. */
#define CHANGES_BASE  0x1u
#define CHANGES_OTHER 0x2u
/* What OTHER becomes is not the same each time. */
#define OTHER_VARIES 0x4u
/* Opened read-only; nothing may change. */
#define READS_ONLY 0x8u
/* Opens the image itself, and closes it. */
#define OPENS 0x10u
/* Nothing is tried again. */
#define ONCE 0x20u
/* The image is damaged before the trial: leaks, too high counts. */
#define DAMAGED 0x40u
/* The result may be of another state than before or after: bitmaps that were in
 * use when the handle was lost. */
#define DIRTY 0x80u
/* The handle is opened without what is below. */
#define TOP_ONLY 0x100u
/* The facts may be of a mixture of before and after: several steps. */
#define STEPS 0x200u
/* Reads cannot be done in parts that are not whole blocks. */
#define WHOLE_BLOCKS 0x400u

struct trial;

/* How a trial ended, as far as the calls tell. */
enum trial_outcome {
	TRIAL_FAILED,
	TRIAL_POISONED,
	TRIAL_ARRIVED,  /* failed; made again, it turned out to have happened */
	TRIAL_REPEATED, /* failed; made again, worked */
	TRIAL_SUCCEEDED
};

struct scenario {
	const char *name;
	uint32_t needs;
	uint32_t does;
	void (*act)(struct trial *t);
	/* Before acting, with no faults; may be NULL. */
	void (*prepare)(struct trial *t);
	/* After acting, with no faults, the image closed; may be NULL. */
	void (*judge)(struct trial *t);
	/* What a second attempt may say, because the first had arrived. */
	int again_errno;
};

/* The groups of scenarios. */
extern const struct scenario guest_scenarios[], meta_scenarios[],
	whole_scenarios[], chain_scenarios[], file_scenarios[],
	queue_scenarios[];
extern const size_t guest_scenario_count, meta_scenario_count,
	whole_scenario_count, chain_scenario_count, file_scenario_count,
	queue_scenario_count;

/* All of them, by number; NULL behind the last. */
const struct scenario *trial_scenario(size_t index);

struct disk_content {
	uint64_t size;
	uint8_t bytes[TRIAL_MAX_DISK];
};

#define TRIAL_FACTS 4096

/* One state of the image. */
struct trial_state {
	struct disk_content disk;
	char facts[TRIAL_FACTS];
};

struct trial {
	const struct trial_kind *kind;
	const struct scenario *scenario;
	bool in_files; /* files in a directory, not the application's storage */
	struct fault_disk made[TRIAL_FILES];
	struct fault_disk now[TRIAL_FILES];
	struct fault_disk rehearsed[TRIAL_FILES];
	struct fault_disk damaged; /* the image, with wrong counts */

	/* Of the trial that runs. */
	struct qcowfmt_image *image;     /* of TOP */
	struct qcowfmt_image *other;     /* whatever the scenario opened */
	struct qcowfmt_storage *storage; /* that no image owns yet */
	struct qcowfmt_error *error;
	uint64_t failures; /* calls that failed */
	int first_errno;
	int first_code;
	uint64_t digest; /* of the outputs */
	bool rehearsing;
	bool disarmed; /* made again without faults */
	enum trial_outcome outcome;
	const char *failed_call;
	char message[256];

	struct trial_state before, after;
	uint64_t rehearsed_digest;
	uint64_t fsyncs, rehearsed_fsyncs;
	const struct fault *fault;
	uint64_t nth;
};

/* ------------------------------------------------------------- for scenarios */

void trial_enters(struct trial *t, const char *function);
int64_t trial_returned(struct trial *t, int64_t ret);
void trial_leaves(void);

/* Call a function that takes &t->error; its result, below 0 on failure. */
#define TRY(t, function, ...)                          \
	trial_returned(t, (trial_enters(t, #function), \
	                   (int64_t)function(__VA_ARGS__)))

/* Call a function that cannot fail, and have its value. */
#define TRY_VALUE(t, function, ...)                         \
	({                                                  \
		trial_enters(t, #function);                 \
		__auto_type value_ = function(__VA_ARGS__); \
		trial_leaves();                             \
		value_;                                     \
	})
#define TRY_VOID(t, function, ...)          \
	do {                                \
		trial_enters(t, #function); \
		function(__VA_ARGS__);      \
		trial_leaves();             \
	} while (0)

/* A call has succeeded and says that it could not do all of its work. */
void trial_incomplete(struct trial *t);

/* Add what a call put out to the digest. */
void trial_put(struct trial *t, const void *bytes, size_t len);
void trial_put_text(struct trial *t, const char *text);

/* Options to open a file of the trial with; open without faults. */
struct qcowfmt_open_options trial_options(struct trial *t, uint32_t flags);
struct qcowfmt_storage *trial_storage(struct trial *t, enum trial_file file,
                                      bool writable);
struct qcowfmt_image *trial_open(struct trial *t, enum trial_file file,
                                 const struct qcowfmt_open_options *options);

/* With faults; NULL after a failure.  t->storage is freed by the trial. */
struct qcowfmt_storage *trial_try_storage(struct trial *t, enum trial_file file,
                                          bool writable);

/* The path of a file; valid until called a few times more. */
const char *trial_path(enum trial_file file);
const char *trial_file_name(enum trial_file file);

/* Put what is in memory into the files, and the other way round. */
void trial_write_files(struct trial *t);
void trial_load_files(struct trial *t);

/* The byte that a sector has after a scenario wrote it. */
void trial_stamp(uint8_t *bytes, size_t len, uint8_t seed);

/* ------------------------------------------------------------------ for sweeps */

/* Functions called so far, by name. */
bool trial_was_called(const char *function);

bool trial_applies(const struct scenario *scenario,
                   const struct trial_kind *kind, bool in_files);

/* Prepare an image of the kind. */
void trial_init(struct trial *t, const struct trial_kind *kind, bool in_files);
void trial_fini(struct trial *t);

/* Without a fault: what the others are held against. */
void trial_rehearse(struct trial *t, const struct scenario *scenario);

/* With the n-th visit of the fault's site failing.  Returns whether there was one;
 * ends the test if the verdict is bad. */
bool trial_run(struct trial *t, const struct fault *fault, uint64_t nth);

#endif
