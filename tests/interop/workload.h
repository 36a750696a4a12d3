/* SPDX-License-Identifier: MIT */
/*
 * workload.h - seeded random operations on a disk and its oracle at once
 *
 * Operations stay within a few windows of the disk, so that a disk of
 * terabytes can be verified in full: windows, and a margin around each that
 * nothing may have touched.
 */
#ifndef QCF_WORKLOAD_H
#define QCF_WORKLOAD_H

#include "disk.h"

#define QCF_MAX_WINDOWS 4
#define QCF_LOG_LINES   16
#define QCF_LOG_LINE    80

struct qcf_window {
	uint64_t start;
	uint64_t end;
};

struct qcf_range {
	uint64_t offset;
	uint64_t len; /* at least 1 */
};

/* Told of each range before it is written, zeroed or discarded. */
typedef void (*qcf_watcher)(void *opaque, struct qcf_range range);

/* Where on a disk operations happen, and how large they are. */
struct qcf_target {
	uint64_t size; /* of the virtual disk */
	uint64_t cluster_size;
	uint64_t unit;       /* what is mapped: a cluster or a subcluster */
	bool discard_works;  /* else a discard changes nothing */
	bool compress_works; /* else everything is written as it is */
	/* Equal to the disk after a flush; NULL if there is none. */
	const char *raw_path;
	int window_count;
	struct qcf_window windows[QCF_MAX_WINDOWS];
	size_t max_len;      /* of a read or write */
	qcf_watcher watcher; /* NULL: nobody wants to know */
	void *watcher_opaque;
};

enum qcf_op {
	QCF_OP_READ,
	QCF_OP_WRITE,
	QCF_OP_ZERO,
	QCF_OP_ZERO_UNMAP,
	QCF_OP_DISCARD,
	QCF_OP_COMPRESS,
	QCF_OP_FLUSH,
	QCF_OP_REOPEN,
	QCF_OP_INSPECT,
	QCF_OP_COUNT
};

struct qcf_workload {
	struct qcf_disk *disk;
	struct qcf_oracle *oracle;
	struct qcf_target target;
	struct qcf_rng rng;
	uint8_t *buffer;                       /* target.max_len bytes */
	uint64_t done;                         /* operations so far */
	char log[QCF_LOG_LINES][QCF_LOG_LINE]; /* the last ones, a ring */
};

/*
 * Windows for a disk: all of it if small, otherwise its start and end and
 * places where an L2 table begins.
 */
void qcf_target_init(struct qcf_target *target, uint64_t size,
                     uint64_t cluster_size, bool discard_works);

/* The same windows on a disk of another size, as far as they exist there. */
void qcf_target_resize(struct qcf_target *target, uint64_t size);

/* A range to operate on: unaligned, near boundaries more often than not. */
struct qcf_range qcf_target_range(const struct qcf_target *target,
                                  struct qcf_rng *rng);
/* May be as long as a window. */
struct qcf_range qcf_target_long_range(const struct qcf_target *target,
                                       struct qcf_rng *rng);
/* Whole clusters, the last one of the disk as far as it goes. */
struct qcf_range qcf_target_clusters(const struct qcf_target *target,
                                     struct qcf_rng *rng);

/* Tell the watcher, if there is one. */
void qcf_target_touch(const struct qcf_target *target, struct qcf_range range);

/*
 * What a discard does to the content: whole clusters inside the range become
 * zeros, and a range that ends with the disk ends on a cluster boundary.
 */
void qcf_target_discard(const struct qcf_target *target,
                        struct qcf_oracle *oracle, struct qcf_range range);

void qcf_workload_init(struct qcf_workload *w, struct qcf_disk *disk,
                       struct qcf_oracle *oracle,
                       const struct qcf_target *target, uint64_t seed);
void qcf_workload_fini(struct qcf_workload *w);

/*
 * Run a number of operations on the open disk, which is open afterwards.  A
 * finding ends with the last operations.
 */
bool qcf_workload_run(struct qcf_workload *w, uint64_t count,
                      struct qcf_finding *finding);

/* Read all windows and their margins. */
bool qcf_workload_verify(struct qcf_workload *w, struct qcf_finding *finding);

#endif
