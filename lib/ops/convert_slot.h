/* SPDX-License-Identifier: MIT */
/*
 * convert_slot.h - a piece of the disk on its way from source to target
 *
 * A slot belongs to one thread at a time: to the worker that fills it, then to
 * the thread that stores it.
 */
#ifndef QCF_CONVERT_SLOT_H
#define QCF_CONVERT_SLOT_H

#include "convert_plan.h"

/* A range that could not be read. */
struct qcf_lost {
	uint64_t offset; /* in the whole disk */
	uint64_t len;
	char *message;
};

struct qcf_slot {
	struct qcf_copy_piece piece;
	uint8_t *buffer;      /* the data, if it was read */
	unsigned char *zeros; /* per unit from the start of the piece: it is
			       * all zeros */
	bool is_unread;       /* whoever stores it may know a shorter way */
	bool is_last;         /* of an input that ended in it */

	/* Only where clusters are compressed, each of them a unit. */
	uint8_t *packed;       /* room for as much as buffer has */
	uint32_t *packed_lens; /* per unit; 0: it is stored as it is */

	struct qcf_lost *lost; /* in order of offsets */
	size_t lost_count;
	size_t lost_room;

	/* How filling it went. */
	int ret;
	int stage; /* enum qcowfmt_convert_stage */
	struct qcowfmt_error *error;
};

int qcf_slot_init(struct qcf_slot *slot, uint64_t buffer_size, uint64_t unit,
                  bool pack, struct qcowfmt_error **errp);
void qcf_slot_fini(struct qcf_slot *slot);

/* Make it ready for another piece. */
void qcf_slot_reset(struct qcf_slot *slot);

static inline uint64_t qcf_slot_units(const struct qcf_slot *slot,
                                      uint64_t unit)
{
	return slot->piece.length / unit + (slot->piece.length % unit != 0);
}

struct qcf_fill {
	const struct qcf_source *source;
	uint64_t unit;
	uint64_t zero_block; /* bytes: zeros that are read are left out by it */
	bool salvage;        /* what cannot be read becomes zeros */
	bool write_all;      /* do not look for zeros */
};

/* Read the data of a piece and look for zeros in it.  Where input ends the piece
 * gets shorter, even empty. */
int qcf_slot_fill(const struct qcf_fill *fill, struct qcf_slot *slot,
                  struct qcowfmt_error **errp);

/* The two halves of it. */
int qcf_slot_read(const struct qcf_fill *fill, struct qcf_slot *slot,
                  struct qcowfmt_error **errp);
void qcf_slot_find_zeros(const struct qcf_fill *fill, struct qcf_slot *slot);

#endif
