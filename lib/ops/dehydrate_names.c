/* SPDX-License-Identifier: MIT */
/*
 * dehydrate_names.c - metadata without the names in it
 *
 * Lengths stay, so everything else keeps its place; an unknown extension, whose
 * data may be anything, is overwritten, too.
 */
#include <errno.h>
#include <string.h>

#include "bitmap_entry.h"
#include "checked.h"
#include "dehydrate_names.h"
#include "snapshot_entry.h"

#define FILLER 'x'

/* --------------------------------------------------------------------- header */

static bool has_no_names(uint32_t type)
{
	return type == QCF_EXT_FEATURE_NAMES || type == QCF_EXT_BITMAPS ||
	       type == QCF_EXT_ENCRYPTION || type == QCF_EXT_BACKING_FORMAT;
}

/* Replace the data of extensions; returns where they end. */
static size_t mask_extensions(uint8_t *bytes, size_t start, size_t end)
{
	struct qcf_reader reader = qcf_reader_init(bytes, end);

	qcf_read_span(&reader, start);
	while (qcf_reader_left(&reader) >= 8) {
		uint32_t type = qcf_read_u32(&reader);
		uint32_t len = qcf_read_u32(&reader);
		size_t data = reader.pos;

		if (type == QCF_EXT_END || len > qcf_reader_left(&reader))
			break;
		if (!has_no_names(type))
			memset(bytes + data, FILLER, len);
		qcf_read_span(&reader,
		              QCF_MIN(qcf_align_up(len, 8),
		                      (uint64_t)qcf_reader_left(&reader)));
	}
	return reader.pos;
}

void qcf_dehydrate_header(const struct qcf_header *h, uint8_t *bytes,
                          size_t len)
{
	struct qcf_reader reader = qcf_reader_init(bytes, len);
	uint64_t name_offset;
	uint32_t name_len;
	size_t end = QCF_HEADER_LEN_V1;

	qcf_read_span(&reader, 8);
	name_offset = qcf_read_u64(&reader);
	name_len = qcf_read_u32(&reader);
	if (h == NULL || !qcf_range_within(name_offset, name_len, len))
		name_offset = name_len = 0;
	if (h != NULL && h->version > 1)
		end = mask_extensions(bytes, QCF_MIN(h->header_length, len),
		                      name_offset != 0 ? (size_t)name_offset
		                                       : len);
	else if (h == NULL)
		end = QCF_HEADER_LEN_V3;
	if (end < len)
		memset(bytes + end, 0, len - end);
	memset(bytes + name_offset, FILLER, name_offset != 0 ? name_len : 0);
}

/* ----------------------------------------------------------------- snapshots */

static bool is_number(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
	}
	return len > 0;
}

int qcf_dehydrate_snapshots(uint32_t count, uint8_t *bytes, size_t len,
                            struct qcowfmt_error **errp)
{
	struct qcf_reader reader = qcf_reader_init(bytes, len);
	struct qcf_snapshot_parts p;

	(void)errp;
	for (uint32_t i = 0;
	     i < count && qcf_snapshot_entry_locate(&p, &reader); i++) {
		uint8_t *name = bytes + p.end - p.name_len;
		uint8_t *id = name - p.id_len;

		memset(name, FILLER, p.name_len);
		if (!is_number(id, p.id_len))
			memset(id, FILLER, p.id_len);
	}
	return 0;
}

/* ------------------------------------------------------------------- bitmaps */

/* A text of its own for each number, as far as the length allows. */
static void number_name(uint8_t *name, size_t len, uint32_t number)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	const uint32_t base = sizeof(digits) - 1;

	memset(name, FILLER, len);
	for (size_t i = len; i > 0; i--) {
		name[i - 1] = (uint8_t)digits[number % base];
		number /= base;
		if (number == 0)
			return;
	}
}

int qcf_dehydrate_bitmaps(uint32_t count, uint8_t *bytes, size_t len,
                          struct qcowfmt_error **errp)
{
	struct qcf_reader reader = qcf_reader_init(bytes, len);

	for (uint32_t i = 0; i < count; i++) {
		struct qcf_bitmap_entry entry;
		size_t name = reader.pos + QCF_BITMAP_ENTRY_LEN;
		int ret = qcf_bitmap_entry_decode(&entry, &reader, NULL);

		if (ret == -ENOMEM)
			return qcf_fail_oom(errp);
		if (ret < 0)
			break;
		memset(bytes + name, 0, entry.extra_len);
		number_name(bytes + name + entry.extra_len, entry.name_len, i);
		qcf_bitmap_entry_fini(&entry);
	}
	return 0;
}
