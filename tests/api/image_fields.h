/* SPDX-License-Identifier: MIT */
/*
 * image_fields.h - every field of a small image, and the values that somebody might
 * put there
 *
 * The fields are found by walking a sound image: those of the header and its
 * extensions, entries of L1, L2 and refcount tables and of refcount blocks, of the
 * snapshot table, of bitmap directories and tables, and of the LUKS header.
 */
#ifndef QCF_IMAGE_FIELDS_H
#define QCF_IMAGE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whose data may be another one when a field has changed. */
enum field_reach {
	REACH_NOTHING, /* no guest data */
	REACH_RANGE,   /* a range of the active disk */
	REACH_ALL,
};

struct image_field {
	char name[40];
	uint64_t at;
	size_t width;           /* bytes */
	enum field_reach reach; /* in the active disk */
	uint64_t first;         /* of a range, guest offset */
	uint64_t len;
	bool snapshots;  /* those may be other ones, too */
	bool is_count;   /* allocating is not safe any more */
	bool is_pointer; /* it says where something is, or how long */
};

#define MAX_FIELDS 512
#define MAX_PLACES 64
#define MAX_VALUES 256

/* An image as it was before anything was changed. */
struct image_fields {
	const uint8_t *bytes;
	uint64_t size;
	uint64_t cluster_size;
	uint32_t version;
	bool extended_l2;
	struct image_field fields[MAX_FIELDS];
	size_t count;
	uint64_t places[MAX_PLACES]; /* where structures begin */
	size_t place_count;
};

/* Find them; the bytes are the caller's and outlive the list. */
void image_fields_find(struct image_fields *f, const uint8_t *bytes,
                       uint64_t size);

/* A big-endian number of the image. */
uint64_t image_fields_get(const struct image_fields *f, uint64_t at,
                          size_t width);

/*
 * The values for a field, none of them what it has: 0, 1, the largest, each bit
 * changed, misaligned, at and behind the end of the file, and onto each structure,
 * its own among them.  Returns how many.
 */
size_t image_fields_values(const struct image_fields *f,
                           const struct image_field *field,
                           uint64_t values[MAX_VALUES]);

#endif
