/* SPDX-License-Identifier: MIT */
/*
 * l2_entry.c - L1 and L2 table entries: bits to meaning and back
 *
 * Decoding gives every bit pattern a meaning; whether an offset can be right is
 * asked separately, because reading, writing and checking react differently.
 * Reserved bits travel through decode and encode unchanged.
 *
 * With extended L2 entries only the first word is looked at: it has no zero
 * flag.  Images with that feature are refused when opened.
 */
#include <inttypes.h>
#include <stdio.h>

#include "check_id.h"
#include "checked.h"
#include "l2_entry.h"

struct qcf_l1_entry qcf_l1_entry_decode(struct qcf_be64 raw)
{
	uint64_t word = qcf_be64_decode(raw);
	uint64_t offset = word & QCF_ENTRY_OFFSET;

	return (struct qcf_l1_entry){
		.l2_offset = offset,
		.copied = offset != 0 && (word & QCF_ENTRY_COPIED) != 0,
		.reserved = word & QCF_L1_RESERVED,
	};
}

struct qcf_be64 qcf_l1_entry_encode(struct qcf_l1_entry entry)
{
	uint64_t word = entry.l2_offset | (entry.reserved & QCF_L1_RESERVED);

	if (entry.copied)
		word |= QCF_ENTRY_COPIED;
	return qcf_be64_encode(word);
}

/*
 * A compressed entry is COPIED, COMPRESSED, then a count of additional sectors
 * of cluster_bits - 8 bits, then the host offset in the bits that are left.
 */
static uint32_t compressed_offset_bits(const struct qcf_geometry *g)
{
	return 62 - (g->cluster_bits - 8);
}

static struct qcf_mapping decode_compressed(const struct qcf_geometry *g,
                                            uint64_t word)
{
	uint32_t shift = compressed_offset_bits(g);
	uint64_t offset = word & ((UINT64_C(1) << shift) - 1);
	uint64_t flags = QCF_ENTRY_COPIED | QCF_ENTRY_COMPRESSED;
	uint64_t more_sectors = (word & ~flags) >> shift;

	return (struct qcf_mapping){
		.kind = QCF_COMPRESSED,
		.host_offset = offset,
		.compressed_len = (more_sectors + 1) * QCF_SECTOR_SIZE -
		                  offset % QCF_SECTOR_SIZE,
		.copied = (word & QCF_ENTRY_COPIED) != 0,
	};
}

static enum qcf_kind kind_of(bool zero, uint64_t host_offset)
{
	if (zero)
		return host_offset == 0 ? QCF_ZERO_PLAIN : QCF_ZERO_ALLOCATED;
	return host_offset == 0 ? QCF_UNALLOCATED : QCF_DATA;
}

struct qcf_mapping qcf_l2_entry_decode(const struct qcf_geometry *g,
                                       struct qcf_be64 raw)
{
	uint64_t word = qcf_be64_decode(raw);
	uint64_t offset = word & QCF_ENTRY_OFFSET;
	bool zero = !g->extended_l2 && (word & QCF_ENTRY_ZERO) != 0;

	if ((word & QCF_ENTRY_COMPRESSED) != 0)
		return decode_compressed(g, word);
	return (struct qcf_mapping){
		.kind = kind_of(zero, offset),
		.host_offset = offset,
		.copied = offset != 0 && (word & QCF_ENTRY_COPIED) != 0,
		.reserved = word & QCF_L2_RESERVED,
	};
}

static uint64_t encode_compressed(const struct qcf_geometry *g,
                                  struct qcf_mapping mapping)
{
	uint64_t first = mapping.host_offset / QCF_SECTOR_SIZE;
	uint64_t last = (mapping.host_offset + mapping.compressed_len - 1) /
	                QCF_SECTOR_SIZE;

	return QCF_ENTRY_COMPRESSED |
	       (last - first) << compressed_offset_bits(g) |
	       mapping.host_offset;
}

struct qcf_be64 qcf_l2_entry_encode(const struct qcf_geometry *g,
                                    struct qcf_mapping mapping)
{
	uint64_t word = mapping.reserved & QCF_L2_RESERVED;

	switch (mapping.kind) {
	case QCF_UNALLOCATED:
		break;
	case QCF_ZERO_PLAIN:
		word |= QCF_ENTRY_ZERO;
		break;
	case QCF_ZERO_ALLOCATED:
		word |= QCF_ENTRY_ZERO | mapping.host_offset;
		break;
	case QCF_DATA:
		word |= mapping.host_offset;
		break;
	case QCF_COMPRESSED:
		return qcf_be64_encode(encode_compressed(g, mapping));
	}
	if (mapping.copied)
		word |= QCF_ENTRY_COPIED;
	return qcf_be64_encode(word);
}

uint32_t qcf_mapping_check(const struct qcf_geometry *g, struct qcf_be64 raw)
{
	struct qcf_mapping mapping = qcf_l2_entry_decode(g, raw);
	bool zero = mapping.kind == QCF_ZERO_PLAIN ||
	            mapping.kind == QCF_ZERO_ALLOCATED;

	if (zero && g->version < 3)
		return QCF_CHECK_ZERO_FLAG_V2;
	if (mapping.kind == QCF_COMPRESSED)
		return mapping.host_offset < QCF_HOST_OFFSET_LIMIT
		               ? QCF_CHECK_NONE
		               : QCF_CHECK_DATA_OFFSET;
	return qcf_is_aligned(mapping.host_offset, g->cluster_size)
	               ? QCF_CHECK_NONE
	               : QCF_CHECK_DATA_OFFSET;
}

void qcf_mapping_dump(struct qcf_mapping mapping, char *text, size_t len)
{
	const char *copied = mapping.copied ? ", copied" : "";

	switch (mapping.kind) {
	case QCF_UNALLOCATED:
		snprintf(text, len, "unallocated");
		return;
	case QCF_ZERO_PLAIN:
		snprintf(text, len, "zero");
		return;
	case QCF_ZERO_ALLOCATED:
		snprintf(text, len, "zero, space at 0x%" PRIx64 "%s",
		         mapping.host_offset, copied);
		return;
	case QCF_DATA:
		snprintf(text, len, "data at 0x%" PRIx64 "%s",
		         mapping.host_offset, copied);
		return;
	case QCF_COMPRESSED:
		snprintf(text, len,
		         "compressed at 0x%" PRIx64 ", at most %" PRIu64
		         " bytes%s",
		         mapping.host_offset, mapping.compressed_len, copied);
		return;
	}
	snprintf(text, len, "unknown kind %d", (int)mapping.kind);
}
