/* SPDX-License-Identifier: MIT */
/*
 * l2_entry.c - L1 and L2 table entries: bits to meaning and back
 *
 * Decoding gives every bit pattern a meaning; whether an offset can be right is
 * asked separately, because reading, writing and checking react differently.
 * Reserved bits travel through decode and encode unchanged.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check_id.h"
#include "checked.h"
#include "l2_entry.h"

struct qcf_l1_entry qcf_l1_entry_decode(const struct qcf_geometry *g,
                                        struct qcf_be64 raw)
{
	uint64_t word = qcf_be64_decode(raw);
	uint64_t offset = word & QCF_ENTRY_OFFSET;

	if (g->version == 1)
		return (struct qcf_l1_entry){
			.l2_offset = word,
			.copied = word != 0,
		};
	return (struct qcf_l1_entry){
		.l2_offset = offset,
		.copied = offset != 0 && (word & QCF_ENTRY_COPIED) != 0,
		.reserved = word & QCF_L1_RESERVED,
	};
}

struct qcf_be64 qcf_l1_entry_encode(const struct qcf_geometry *g,
                                    struct qcf_l1_entry entry)
{
	uint64_t word = entry.l2_offset | (entry.reserved & QCF_L1_RESERVED);

	if (entry.copied && g->version > 1)
		word |= QCF_ENTRY_COPIED;
	return qcf_be64_encode(word);
}

/* -------------------------------------------------------------- version 1 */

#define V1_COMPRESSED (UINT64_C(1) << 63)

static struct qcf_mapping decode_v1(const struct qcf_geometry *g, uint64_t word)
{
	uint32_t shift = 63 - g->cluster_bits;

	if (word == 0)
		return (struct qcf_mapping){ .kind = QCF_UNALLOCATED };
	if ((word & V1_COMPRESSED) != 0)
		return (struct qcf_mapping){
			.kind = QCF_COMPRESSED,
			.host_offset = word & ((UINT64_C(1) << shift) - 1),
			.compressed_len = word >> shift & (g->cluster_size - 1),
		};
	return (struct qcf_mapping){
		.kind = QCF_DATA,
		.host_offset = word,
		.copied = true,
	};
}

/* What version 1 cannot say never gets here. */
static uint64_t encode_v1(const struct qcf_geometry *g,
                          const struct qcf_mapping *mapping)
{
	if (mapping->kind == QCF_COMPRESSED)
		return V1_COMPRESSED |
		       mapping->compressed_len << (63 - g->cluster_bits) |
		       mapping->host_offset;
	return mapping->kind == QCF_DATA ? mapping->host_offset : 0;
}

static uint32_t check_v1(const struct qcf_mapping *mapping)
{
	if (mapping->kind == QCF_COMPRESSED && mapping->compressed_len == 0)
		return QCF_CHECK_COMPRESSED_LEN;
	if (mapping->host_offset >= QCF_HOST_OFFSET_LIMIT ||
	    (mapping->kind == QCF_DATA &&
	     !qcf_is_aligned(mapping->host_offset, QCF_SECTOR_SIZE)))
		return QCF_CHECK_DATA_OFFSET;
	return QCF_CHECK_NONE;
}

/* -------------------------------------------------------- versions 2 and 3 */

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

static enum qcf_kind kind_of(bool zero, bool has_cluster)
{
	if (zero)
		return has_cluster ? QCF_ZERO_ALLOCATED : QCF_ZERO_PLAIN;
	return has_cluster ? QCF_DATA : QCF_UNALLOCATED;
}

static struct qcf_mapping decode_plain(const struct qcf_geometry *g,
                                       uint64_t word)
{
	uint64_t offset = word & QCF_ENTRY_OFFSET;
	bool copied = (word & QCF_ENTRY_COPIED) != 0;
	bool zero = !g->extended_l2 && (word & QCF_ENTRY_ZERO) != 0;
	bool has_cluster = offset != 0 || (g->data_file && copied);

	return (struct qcf_mapping){
		.kind = kind_of(zero, has_cluster),
		.host_offset = offset,
		.copied = has_cluster && copied,
		.reserved = word & QCF_L2_RESERVED,
	};
}

struct qcf_mapping qcf_l2_entry_decode(const struct qcf_geometry *g,
                                       struct qcf_l2_raw raw)
{
	uint64_t word = qcf_be64_decode(raw.word);
	uint64_t bitmap = qcf_be64_decode(raw.bitmap);
	struct qcf_mapping m;

	if (g->version == 1)
		return decode_v1(g, word);
	m = (word & QCF_ENTRY_COMPRESSED) != 0 ? decode_compressed(g, word)
	                                       : decode_plain(g, word);
	m.allocated = (uint32_t)bitmap;
	m.zero = (uint32_t)(bitmap >> 32);
	return m;
}

static uint64_t encode_compressed(const struct qcf_geometry *g,
                                  const struct qcf_mapping *mapping)
{
	uint64_t first = mapping->host_offset / QCF_SECTOR_SIZE;
	uint64_t last = (mapping->host_offset + mapping->compressed_len - 1) /
	                QCF_SECTOR_SIZE;

	return QCF_ENTRY_COMPRESSED |
	       (last - first) << compressed_offset_bits(g) |
	       mapping->host_offset;
}

static uint64_t encode_plain(const struct qcf_mapping *mapping)
{
	uint64_t word = mapping->reserved & QCF_L2_RESERVED;

	if (mapping->kind == QCF_ZERO_PLAIN ||
	    mapping->kind == QCF_ZERO_ALLOCATED)
		word |= QCF_ENTRY_ZERO;
	if (qcf_mapping_has_cluster(mapping))
		word |= mapping->host_offset;
	if (mapping->copied)
		word |= QCF_ENTRY_COPIED;
	return word;
}

struct qcf_l2_raw qcf_l2_entry_encode(const struct qcf_geometry *g,
                                      struct qcf_mapping mapping)
{
	uint64_t bitmap = (uint64_t)mapping.zero << 32 | mapping.allocated;
	uint64_t word;

	if (g->version == 1)
		word = encode_v1(g, &mapping);
	else if (mapping.kind == QCF_COMPRESSED)
		word = encode_compressed(g, &mapping);
	else
		word = encode_plain(&mapping);
	return (struct qcf_l2_raw){ qcf_be64_encode(word),
		                    qcf_be64_encode(bitmap) };
}

static uint32_t check_bitmap(const struct qcf_mapping *m)
{
	if ((m->allocated & m->zero) != 0 ||
	    (m->allocated != 0 && !qcf_mapping_has_cluster(m)) ||
	    (m->kind == QCF_COMPRESSED && m->zero != 0))
		return QCF_CHECK_SUBCLUSTER_BITMAP;
	return QCF_CHECK_NONE;
}

uint32_t qcf_mapping_check(const struct qcf_geometry *g, struct qcf_l2_raw raw)
{
	struct qcf_mapping m = qcf_l2_entry_decode(g, raw);

	if (g->version == 1)
		return check_v1(&m);
	if (g->version < 3 &&
	    (m.kind == QCF_ZERO_PLAIN || m.kind == QCF_ZERO_ALLOCATED))
		return QCF_CHECK_ZERO_FLAG_V2;
	if (g->extended_l2 && check_bitmap(&m) != 0)
		return QCF_CHECK_SUBCLUSTER_BITMAP;
	if (m.kind == QCF_COMPRESSED) {
		if (g->data_file)
			return QCF_CHECK_DATA_FILE_COMPRESSED;
		return m.host_offset < QCF_HOST_OFFSET_LIMIT
		               ? QCF_CHECK_NONE
		               : QCF_CHECK_DATA_OFFSET;
	}
	return qcf_is_aligned(m.host_offset, g->cluster_size)
	               ? QCF_CHECK_NONE
	               : QCF_CHECK_DATA_OFFSET;
}

struct qcf_l2_raw qcf_l2_table_get(const struct qcf_geometry *g,
                                   const struct qcf_be64 *words, uint64_t i)
{
	if (!g->extended_l2)
		return (struct qcf_l2_raw){ .word = words[i] };
	return (struct qcf_l2_raw){ words[2 * i], words[2 * i + 1] };
}

/* -------------------------------------------------------------------- dump */

static void dump_cluster(const struct qcf_mapping *m, char *text, size_t len)
{
	const char *copied = m->copied ? ", copied" : "";

	switch (m->kind) {
	case QCF_UNALLOCATED:
		snprintf(text, len, "unallocated");
		return;
	case QCF_ZERO_PLAIN:
		snprintf(text, len, "zero");
		return;
	case QCF_ZERO_ALLOCATED:
		snprintf(text, len, "zero, space at 0x%" PRIx64 "%s",
		         m->host_offset, copied);
		return;
	case QCF_DATA:
		snprintf(text, len, "data at 0x%" PRIx64 "%s", m->host_offset,
		         copied);
		return;
	case QCF_COMPRESSED:
		snprintf(text, len,
		         "compressed at 0x%" PRIx64 ", at most %" PRIu64
		         " bytes%s",
		         m->host_offset, m->compressed_len, copied);
		return;
	}
	snprintf(text, len, "unknown kind %d", (int)m->kind);
}

void qcf_mapping_dump(struct qcf_mapping mapping, char *text, size_t len)
{
	size_t used;

	dump_cluster(&mapping, text, len);
	if (mapping.allocated == 0 && mapping.zero == 0)
		return;
	used = strlen(text);
	snprintf(text + used, len - used,
	         ", subclusters allocated 0x%08" PRIx32 " zero 0x%08" PRIx32,
	         mapping.allocated, mapping.zero);
}
