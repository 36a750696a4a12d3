/* SPDX-License-Identifier: MIT */
/*
 * crash_world.h - an image on recording storage, and what its guest may find
 *
 * The world drives an image through the public interface and remembers, for
 * every 512-byte sector, each content it was given and when.  After a power cut
 * a sector may read as the content that the last acknowledged flush covered or
 * as a newer one whose writing had begun, and as nothing else.
 */
#ifndef QCF_CRASH_WORLD_H
#define QCF_CRASH_WORLD_H

#include "crash_stamp.h"
#include "crash_states.h"
#include "fail_storage.h"
#include "qcowfmt.h"
#include "rec_storage.h"

struct geometry {
	const char *name;
	uint32_t version; /* 1, 2 or 3 */
	uint32_t l2_bits; /* of version 1; 0: as the library makes them */
	uint32_t cluster_size;
	uint32_t refcount_bits;
	bool lazy;
	bool backing;
	bool snapshot;   /* everything filled is shared with one */
	bool compressed; /* everything filled is compressed */
	bool compresses; /* some operations write compressed clusters */
	bool extended_l2;
	bool data_file;
	bool data_file_raw;    /* with data_file: it is a raw image */
	int32_t encryption;    /* enum qcowfmt_encryption */
	int32_t preallocation; /* enum qcowfmt_preallocation */
	uint64_t virtual_clusters;
	uint64_t filled; /* clusters at the start that have content */
	/* Go on filling until the file has this many clusters; 0: don't. */
	uint64_t file_clusters;
	uint64_t cache_size; /* of metadata, bytes; 0: the default */
	/* States to visit in a normal run. */
	uint64_t budget;
};

extern const struct geometry crash_geometries[];
extern const size_t crash_geometry_count;

/* NULL if there is none of that name. */
const struct geometry *crash_geometry_find(const char *name);

/* The enum qcowfmt_format of a geometry. */
int32_t crash_format(const struct geometry *geometry);

/* Of every encrypted image. */
#define CRASH_SECRET "open sesame"

/* How an image of a geometry is made.  Its data file is "data" in the scratch
 * directory. */
struct creation {
	struct qcowfmt_create_options options;
	struct qcowfmt_encryption_options encryption;
	char data_filename[256];
};

void crash_creation_init(struct creation *creation,
                         const struct geometry *geometry);

/* One content that a sector was given. */
struct content {
	uint64_t stamp;  /* 0: zeros */
	size_t position; /* in the log, when writing it began */
	uint32_t turn;   /* counts guest operations */
	bool uncertain;  /* the operation failed: it is there or not */
};

/* More than any one operation transfers. */
#define WORLD_BUFFER_SIZE (8u << 20)

#define MAX_CONTENTS 16

struct sector {
	int count;
	struct content contents[MAX_CONTENTS];
};

/* An acknowledged flush: all of turns before it is stable from mark on. */
struct acknowledgement {
	size_t mark; /* position behind its mark in the log */
	uint32_t turn;
};

#define MAX_ACKNOWLEDGEMENTS 16

/* A snapshot, and from when to when it may and must be there. */
struct world_snapshot {
	char id[12];
	size_t begun;  /* in no state of the log up to this position */
	size_t there;  /* in all from this mark on; SIZE_MAX: in some */
	size_t ending; /* deleting began; SIZE_MAX: it did not */
	size_t gone;   /* in no state from this mark on; SIZE_MAX: in some */
	/* How many contents each sector had when it was taken. */
	uint8_t *contents;
};

#define MAX_WORLD_SNAPSHOTS 16

struct world {
	const struct geometry *geometry;
	uint64_t cluster_size;
	uint64_t sectors_per_cluster;

	struct rec_log *log;
	/* The image and its data file before any operation. */
	struct byte_image *start[REC_FILES];
	struct byte_image *backing;
	struct qcowfmt_image *image;

	/* Sectors of the clusters that have or had content; NULL: never. */
	struct sector **clusters;
	bool *filled; /* clusters with content in the start image */
	uint64_t generation;
	uint32_t turn;
	struct acknowledgement acknowledgements[MAX_ACKNOWLEDGEMENTS];
	int acknowledgement_count;
	/* The disk's size in clusters, as if it were the content of a sector. */
	struct sector size;
	struct world_snapshot snapshots[MAX_WORLD_SNAPSHOTS];
	int snapshot_count;
	/* An operation ran that sets the dirty bit, or in version 2 leaves
	 * COPIED flags behind when it is cut short. */
	bool rewritten;
	uint8_t *buffer; /* for one transfer, of WORLD_BUFFER_SIZE */

	const char *sequence; /* what was done, for messages */

	/* With a plan, storage fails as it says and operations may fail, too:
	 * what the last one returned, and with which error code. */
	struct fail_plan *plan;
	bool may_fail; /* without a plan, too */
	int result;
	int code;
	uint64_t failures;

	/* Called with true before and false after each call of the library.
	 * May be NULL. */
	void (*guard)(bool inside);
	/* Write straight to log->now and record nothing: storage then allocates
	 * no memory while it is called. */
	bool unrecorded;
};

/* Make the image of a geometry.  Ends the program if that fails. */
struct world *world_new(const struct geometry *geometry, const char *qemu_img);
void world_free(struct world *w);

/* Back to the start image, opened, with nothing recorded. */
void world_restart(struct world *w);

/* Record on: close the image, acknowledging what was written. */
void world_close(struct world *w);

/* Guest operations; positions in sectors.  Without a plan for faults they end
 * the program if they fail. */
void world_write(struct world *w, uint64_t sector, uint64_t count);
void world_compress(struct world *w, uint64_t sector, uint64_t count);
void world_zero(struct world *w, uint64_t sector, uint64_t count,
                uint32_t flags);
void world_discard(struct world *w, uint64_t sector, uint64_t count);
void world_flush(struct world *w);
void world_reopen(struct world *w);

/* Cut the disk off and give it back its size, filled with zeros. */
void world_cut_and_grow(struct world *w, uint64_t clusters);

/* Snapshots; numbers are those of w->snapshots. */
void world_snapshot_create(struct world *w);
void world_snapshot_apply(struct world *w, int number);
void world_snapshot_delete(struct world *w, int number);

/* --- what a test looks at --- */

/* The image is of the kind that was asked for; prints what is not. */
bool image_is_like(struct qcowfmt_image *image, const struct geometry *g);

/* Open an image in bytes; NULL and a message on failure.  data: of the data
 * file, NULL if there is none. */
struct qcowfmt_image *world_open(const struct world *w,
                                 struct byte_image *bytes,
                                 struct byte_image *data, bool writable);

/* The same of a snapshot, to read. */
struct qcowfmt_image *world_open_snapshot(const struct world *w,
                                          struct byte_image *bytes,
                                          const char *id);

#endif
