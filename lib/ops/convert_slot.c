/* SPDX-License-Identifier: MIT */
/* convert_slot.c - a piece of the disk on its way from source to target */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "convert_slot.h"
#include "zeros.h"

/* Buffers that direct I/O can use as they are. */
#define BUFFER_ALIGNMENT 4096u

int qcf_slot_init(struct qcf_slot *slot, uint64_t buffer_size, uint64_t unit,
                  bool pack, struct qcowfmt_error **errp)
{
	uint64_t units = buffer_size / unit;

	*slot = (struct qcf_slot){
		.buffer = aligned_alloc(
			BUFFER_ALIGNMENT,
			qcf_align_up(buffer_size, BUFFER_ALIGNMENT)),
		.zeros = malloc(units),
	};
	if (pack) {
		slot->packed = malloc(buffer_size);
		slot->packed_lens = calloc(units, sizeof(*slot->packed_lens));
	}
	if (slot->buffer != NULL && slot->zeros != NULL &&
	    (!pack || (slot->packed != NULL && slot->packed_lens != NULL)))
		return 0;
	qcf_slot_fini(slot);
	return qcf_fail_oom(errp);
}

void qcf_slot_reset(struct qcf_slot *slot)
{
	for (size_t i = 0; i < slot->lost_count; i++)
		free(slot->lost[i].message);
	slot->lost_count = 0;
	slot->is_unread = false;
	slot->is_last = false;
	slot->ret = 0;
	slot->stage = QCOWFMT_CONVERT_NOT_FAILED;
	qcowfmt_error_free(qcf_take(&slot->error));
}

void qcf_slot_fini(struct qcf_slot *slot)
{
	qcf_slot_reset(slot);
	free(slot->lost);
	free(slot->packed_lens);
	free(slot->packed);
	free(slot->zeros);
	free(slot->buffer);
	*slot = (struct qcf_slot){ 0 };
}

/* ----------------------------------------------------------------- salvage */

static int add_lost(struct qcf_slot *slot, uint64_t offset, uint64_t len,
                    const char *message, struct qcowfmt_error **errp)
{
	struct qcf_lost lost = { .offset = offset, .len = len };

	if (slot->lost_count == slot->lost_room) {
		size_t room = 2 * slot->lost_room + 4;
		struct qcf_lost *more =
			realloc(slot->lost, room * sizeof(*more));

		if (more == NULL)
			return qcf_fail_oom(errp);
		slot->lost = more;
		slot->lost_room = room;
	}
	lost.message = strdup(message);
	if (lost.message == NULL)
		return qcf_fail_oom(errp);
	slot->lost[slot->lost_count++] = lost;
	return 0;
}

/* Remember a sector; neighbours that fail in the same way are one range. */
static int note_lost(const struct qcf_source *source, struct qcf_slot *slot,
                     uint64_t offset, uint64_t len,
                     const struct qcowfmt_error *error,
                     struct qcowfmt_error **errp)
{
	struct qcf_lost *last = slot->lost_count == 0
	                                ? NULL
	                                : &slot->lost[slot->lost_count - 1];

	if (last != NULL && last->offset + last->len == offset &&
	    qcf_source_image_at(source, last->offset) ==
	            qcf_source_image_at(source, offset)) {
		last->len += len;
		return 0;
	}
	return add_lost(slot, offset, len, qcowfmt_error_message(error), errp);
}

static int salvage(const struct qcf_fill *fill, struct qcf_slot *slot,
                   struct qcowfmt_error **errp)
{
	const struct qcf_copy_piece *piece = &slot->piece;
	int ret = 0;

	for (uint64_t at = 0; ret == 0 && at < piece->length;
	     at += QCF_SECTOR_SIZE) {
		QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
		uint64_t len = QCF_MIN(piece->length - at, QCF_SECTOR_SIZE);

		if (qcf_source_read(fill->source, slot->buffer + at, len,
		                    piece->offset + at, &error) == 0)
			continue;
		memset(slot->buffer + at, 0, len);
		ret = note_lost(fill->source, slot, piece->offset + at, len,
		                error, errp);
	}
	return ret;
}

/* ----------------------------------------------------------------- reading */

/* Zeros too few to be worth a hole become data: where any unit of a block, of
 * what the piece has of it, is data, all are. */
static void fill_blocks(const struct qcf_fill *fill, struct qcf_slot *slot,
                        uint64_t units)
{
	uint64_t first = 0;

	while (first < units) {
		uint64_t offset = slot->piece.offset + first * fill->unit;
		uint64_t left = fill->zero_block - offset % fill->zero_block;
		uint64_t count = QCF_MIN((left + fill->unit - 1) / fill->unit,
		                         units - first);

		if (memchr(slot->zeros + first, 0, count) != NULL)
			memset(slot->zeros + first, 0, count);
		first += count;
	}
}

void qcf_slot_find_zeros(const struct qcf_fill *fill, struct qcf_slot *slot)
{
	uint64_t units = qcf_slot_units(slot, fill->unit);

	for (uint64_t i = 0; i < units; i++) {
		uint64_t start = i * fill->unit;
		uint64_t len = QCF_MIN(fill->unit, slot->piece.length - start);

		slot->zeros[i] = !fill->write_all &&
		                 qcf_is_zero(slot->buffer + start, len);
	}
	if (fill->zero_block > fill->unit)
		fill_blocks(fill, slot, units);
}

static int take_input(struct qcf_input *input, struct qcf_slot *slot,
                      struct qcowfmt_error **errp)
{
	int ret = qcf_input_take(input, slot->buffer, slot->piece.length,
	                         &slot->piece.length, errp);

	slot->is_last = atomic_load(&input->at_end);
	slot->piece.progress = slot->piece.length;
	return ret;
}

int qcf_slot_read(const struct qcf_fill *fill, struct qcf_slot *slot,
                  struct qcowfmt_error **errp)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret;

	if (fill->source->input != NULL)
		return take_input(fill->source->input, slot, errp);
	ret = qcf_source_read(fill->source, slot->buffer, slot->piece.length,
	                      slot->piece.offset, &error);
	if (ret < 0 && fill->salvage)
		ret = salvage(fill, slot, errp);
	else if (ret < 0)
		qcf_error_move(errp, qcf_take(&error));
	return ret;
}

int qcf_slot_fill(const struct qcf_fill *fill, struct qcf_slot *slot,
                  struct qcowfmt_error **errp)
{
	int ret = qcf_slot_read(fill, slot, errp);

	if (ret == 0)
		qcf_slot_find_zeros(fill, slot);
	return ret;
}
