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
	bool commits;          /* the backing file is written to as well */
	bool bitmap;           /* there is a dirty bitmap from the start */
	int32_t encryption;    /* enum qcowfmt_encryption */
	int32_t preallocation; /* enum qcowfmt_preallocation */
	uint64_t virtual_clusters;
	uint64_t filled; /* clusters at the start that have content */
	/* Go on filling until the file has this many clusters; 0: don't. */
	uint64_t file_clusters;
	uint64_t cache_size; /* of metadata, bytes; 0: the default */
	/* States to visit in a normal run. */
	uint64_t budget;
	/* A long run tries all sequences of three operations. */
	bool triples;
};

extern const struct geometry crash_geometries[];
extern const size_t crash_geometry_count;

/* NULL if there is none of that name. */
const struct geometry *crash_geometry_find(const char *name);

/* Whether snapshots can be taken, also of what it may become. */
bool crash_has_snapshots(const struct geometry *geometry);

/* Whether it can be put on another backing file with other content.  QEMU and the
 * library do that to images with snapshots, too, which then change. */
bool crash_rebases(const struct geometry *geometry);

/* Whether what the backing file shows can be copied into it as a whole. */
bool crash_flattens(const struct geometry *geometry);

/* The enum qcowfmt_format of a geometry. */
int32_t crash_format(const struct geometry *geometry);

/* Of every encrypted image, and what some get beside it. */
#define CRASH_SECRET       "open sesame"
#define CRASH_OTHER_SECRET "another word"

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

#define MAX_CONTENTS 32

struct sector {
	int count;
	struct content contents[MAX_CONTENTS];
};

/* An acknowledged flush: all of turns before it is stable from mark on. */
struct acknowledgement {
	size_t mark; /* position behind its mark in the log */
	uint32_t turn;
};

#define MAX_ACKNOWLEDGEMENTS 128

/* A snapshot, and from when to when it may and must be there. */
struct world_snapshot {
	char id[12];
	size_t begun;  /* in no state of the log up to this position */
	size_t there;  /* in all from this mark on; SIZE_MAX: in some */
	size_t ending; /* deleting began; SIZE_MAX: it did not */
	size_t gone;   /* in no state from this mark on; SIZE_MAX: in some */
	/* How many contents each sector had when it was taken. */
	uint8_t *contents;
	uint64_t vm_stamp; /* of its VM state; 0: it has none */
};

#define MAX_WORLD_SNAPSHOTS 16

/* VM state, where there is some. */
#define VM_STATE_SECTORS 3u

/* What an image is put on. */
enum crash_base {
	BASE_NONE,
	BASE_FIRST,
	BASE_RENAMED, /* the same content by another name */
	BASE_OTHER,   /* some clusters of it are different */
};

/* What can be changed about an image without its guest seeing it. */
struct traits {
	uint32_t version;
	uint32_t refcount_bits;
	enum crash_base base;
	bool lazy;
	bool data_renamed;
	bool data_raw;
};

/* All dirty bitmaps as they were stored at some time. */
struct bitmap_version {
	char *text;      /* a line for each */
	size_t position; /* in the log, when storing began */
	uint32_t turn;
	size_t used; /* writing to the disk began behind it; SIZE_MAX: not */
};

#define MAX_BITMAP_VERSIONS 64

/* Bits: which of the secrets open an encrypted image. */
#define KEY_FIRST 1u
#define KEY_OTHER 2u

struct world {
	const struct geometry *geometry;
	uint64_t cluster_size;
	uint64_t sectors_per_cluster;

	struct rec_log *log;
	/* The image and its data file before any operation. */
	struct byte_image *start[REC_FILES];
	struct byte_image *backing;
	struct byte_image *other; /* of BASE_OTHER; NULL if never used */
	struct qcowfmt_image *image;
	uint32_t open_flags;  /* of the next opening for operations */
	uint32_t chain_limit; /* the same */

	/* Sectors of the clusters that have or had content; NULL: never. */
	struct sector **clusters;
	bool *filled; /* clusters with content in the start image */
	uint64_t generation;
	uint64_t first_generation; /* of what is written after the set-up */
	uint32_t turn;
	struct acknowledgement acknowledgements[MAX_ACKNOWLEDGEMENTS];
	int acknowledgement_count;
	/* The disk's size in clusters, as if it were the content of a sector. */
	struct sector size;
	/* Traits and working keys in the same way. */
	struct traits traits;
	struct sector trait_history;
	struct sector keys;
	struct bitmap_version bitmaps[MAX_BITMAP_VERSIONS];
	int bitmap_version_count;
	bool has_bitmaps; /* now */
	struct world_snapshot snapshots[MAX_WORLD_SNAPSHOTS];
	int snapshot_count;
	/* An operation ran that sets the dirty bit, or in version 2 leaves
	 * COPIED flags behind when it is cut short. */
	bool rewritten;
	bool may_be_dirty; /* refcounts are lazy or have been */
	uint8_t *buffer;   /* for one transfer, of WORLD_BUFFER_SIZE */

	const char *sequence; /* what was done, for messages */

	/* Of the state that was looked at last: the secret that opens it, and
	 * the newest turn that some sector is from. */
	const char *secret;
	uint32_t seen_turn;

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
void world_write_vector(struct world *w, uint64_t sector, uint64_t count);
void world_compress(struct world *w, uint64_t sector, uint64_t count);
void world_zero(struct world *w, uint64_t sector, uint64_t count,
                uint32_t flags);
void world_discard(struct world *w, uint64_t sector, uint64_t count);
void world_flush(struct world *w);
void world_reopen(struct world *w);

/* Cut the disk off and give it back its size, filled with zeros. */
void world_cut_and_grow(struct world *w, uint64_t clusters,
                        int32_t preallocation);

/* Snapshots; numbers are those of w->snapshots. */
void world_snapshot_create(struct world *w);
void world_snapshot_apply(struct world *w, int number);
void world_snapshot_delete(struct world *w, int number);

/* --- changes of the image as a whole; those that a kind of image cannot have
 * at the moment do nothing --- */

void world_repair(struct world *w);
void world_compact(struct world *w);
/* The first clusters of the disk come from another image. */
void world_convert(struct world *w, uint64_t clusters);
void world_reopen_lazy(struct world *w);
void world_amend_counts(struct world *w);
void world_amend_lazy(struct world *w);
void world_amend_version(struct world *w);
void world_amend_data_name(struct world *w);
void world_amend_data_raw(struct world *w);
void world_rename_base(struct world *w);
void world_rebase(struct world *w);
void world_flatten(struct world *w);
void world_commit(struct world *w);
void world_add_key(struct world *w);
void world_rotate_keys(struct world *w);
/* VM state, and a snapshot that keeps it. */
void world_save_vm_state(struct world *w);

/* --- dirty bitmaps: see crash_bitmaps.c --- */

bool world_can_have_bitmaps(const struct world *w);
/* Bitmaps are called "a", "b" ...; other is the source of a merge. */
void world_bitmap_change(struct world *w, int32_t kind, const char *name,
                         const char *other);

/* The content of BASE_OTHER is another one in this cluster. */
bool world_base_differs(const struct world *w, uint64_t cluster);

/* --- what a test looks at --- */

/* The image is of the kind that was asked for; prints what is not. */
bool image_is_like(struct qcowfmt_image *image, const struct geometry *g);

/* Open an image in bytes; NULL and a message on failure.  data: of the data
 * file, NULL if there is none. */
struct qcowfmt_image *world_open(struct world *w, struct byte_image *bytes,
                                 struct byte_image *data, bool writable);

/* Whether a secret opens it. */
bool world_secret_opens(struct world *w, struct byte_image *bytes,
                        struct byte_image *data, const char *secret);

/* The same on storages that it takes over. */
struct qcowfmt_image *world_open_on(struct world *w,
                                    struct qcowfmt_storage *storage,
                                    struct qcowfmt_storage *data,
                                    struct byte_image *base, bool writable,
                                    const char *snapshot);

/* The same of a snapshot, to read. */
struct qcowfmt_image *world_open_snapshot(struct world *w,
                                          struct byte_image *bytes,
                                          const char *id);

#endif
