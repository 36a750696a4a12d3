/* SPDX-License-Identifier: MIT */
/*
 * damaged_images.h - an image for each kind of corruption, from damages.def
 *
 * Sound images of each kind are made by the library; a damage is a copy of one
 * with a few numbers changed.
 */
#ifndef QCF_DAMAGED_IMAGES_H
#define QCF_DAMAGED_IMAGES_H

#include "api_disk.h"
#include "api_test.h"

#define DAMAGED_SIZE ((uint64_t)1 << 20) /* of the disk, bytes */

enum damage_base {
	PLAIN, /* version 3 with data in guest clusters 0 to 31 */
	VERSION_2,
	SNAPSHOTS, /* two of them, and data written in between */
	BITMAPS,   /* "one" and "two", both with bits */
	EXTENDED,
	COMPRESSED, /* guest clusters 0 to 31 */
	DATA_FILE,
	LUKS,
	VERSION_1,
	BASE_COUNT
};

extern const char *const damage_base_names[BASE_COUNT];

/* What an offset of a change counts from. */
enum damage_anchor {
	HEADER = 0,
	L1,
	L2,
	REFTABLE,
	BLOCK,
	SNAPSHOT_TABLE,
	SNAPSHOT_L1, /* of the first one */
	SNAPSHOT_ENTRY_2,
	BITMAP_EXT,
	BITMAP_ENTRY,
	BITMAP_ENTRY_2,
	BITMAP_TABLE,
	LUKS_EXT,
	LUKS_HEADER,
	LENGTH, /* no place: the file has value bytes */
};

#define MAX_CHANGES 5

struct damage_change {
	enum damage_anchor anchor;
	uint64_t at;
	size_t width; /* bytes, perhaps with FLIP; 0 ends the list */
	uint64_t value;
};

/* The value is for an exclusive or with what is there. */
#define FLIP 0x100u

enum damage_open { OPEN_NO, OPEN_YES };

enum damage_check {
	CHECK_CLEAN,
	CHECK_LEAKS,
	CHECK_CORRUPT,
	CHECK_ERRORS,
	CHECK_REFUSED,
};

enum damage_repair { REPAIR_NOTHING, REPAIR_MENDS, REPAIR_REFUSED };

/* One row of damages.def. */
struct damage {
	uint32_t id;
	enum damage_base base;
	const char *what;
	enum damage_open read_only;
	enum damage_open read_write;
	enum damage_check check;
	enum damage_repair repair;
	enum damage_check after;
	struct damage_change changes[MAX_CHANGES];
};

extern const struct damage damages[];
extern const size_t damage_count;

/* Sound images, one for each base; to be dropped in the end. */
void damage_make_bases(void);
void damage_drop_bases(void);

/* One of them. */
const struct api_disk *damage_base(enum damage_base base);

/* A damaged copy of its base, which the caller ends with api_disk_fini(). */
struct api_disk damage_make(const struct damage *damage);

struct api_disk damage_copy_disk(const struct api_disk *disk);

/* Open an image of a kind; api_error is set after a failure. */
int damage_open(enum damage_base base, struct api_disk *disk, uint32_t flags,
                struct qcowfmt_image **image);

#endif
