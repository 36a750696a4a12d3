/* SPDX-License-Identifier: MIT */
/*
 * bitmap_entry.c - persistent dirty bitmaps on disk, as bitmap_entry.h draws
 * them
 *
 * An entry is decoded if it can be told where it ends: then the entries behind it
 * can be, too, and one bitmap that makes no sense does not take the others with
 * it.  All that is in an entry is kept, so that it can be written back as it was.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "auto.h"
#include "bitmap_entry.h"
#include "check_id.h"
#include "checked.h"
#include "header_ext.h"

#define ENTRY_ALIGNMENT 8u

/* The shortest entry: a name of one byte, padded. */
#define MIN_ENTRY_SIZE 32u

/* ----------------------------------------------------------------- extension */

static int malformed_ext(struct qcowfmt_error **errp, const char *member,
                         uint64_t have, const char *want)
{
	return qcf_corruptf(errp, QCF_CHECK_BITMAP_EXTENSION, QCOWFMT_NO_OFFSET,
	                    "%s, have %" PRIu64 ", want %s", member, have,
	                    want);
}

static int check_ext(const struct qcf_bitmap_ext *ext,
                     const struct qcf_geometry *g, struct qcowfmt_error **errp)
{
	if (ext->count == 0 || ext->count > QCF_MAX_BITMAPS)
		return malformed_ext(errp, "number of bitmaps", ext->count,
		                     "1 to 65535");
	if (ext->directory_size > QCF_MAX_BITMAP_DIRECTORY ||
	    ext->directory_size < (uint64_t)ext->count * MIN_ENTRY_SIZE)
		return malformed_ext(errp, "directory size",
		                     ext->directory_size,
		                     "32 to 1024 bytes a bitmap");
	if (ext->directory_offset == 0 ||
	    !qcf_is_aligned(ext->directory_offset, g->cluster_size) ||
	    ext->directory_offset >= QCF_HOST_OFFSET_LIMIT)
		return malformed_ext(errp, "directory offset",
		                     ext->directory_offset,
		                     "a multiple of the cluster size");
	return 0;
}

int qcf_bitmap_ext_decode(struct qcf_bitmap_ext *ext,
                          const struct qcf_extension *raw,
                          const struct qcf_geometry *g,
                          struct qcowfmt_error **errp)
{
	struct qcf_reader reader = qcf_reader_init(raw->data, raw->len);
	uint32_t reserved;

	if (raw->len != QCF_BITMAP_EXT_LEN)
		return malformed_ext(errp, "length", raw->len, "24");
	ext->count = qcf_read_u32(&reader);
	reserved = qcf_read_u32(&reader);
	ext->directory_size = qcf_read_u64(&reader);
	ext->directory_offset = qcf_read_u64(&reader);
	if (reserved != 0)
		return malformed_ext(errp, "reserved field", reserved, "0");
	return check_ext(ext, g, errp);
}

void qcf_bitmap_ext_encode(const struct qcf_bitmap_ext *ext,
                           uint8_t bytes[QCF_BITMAP_EXT_LEN])
{
	struct qcf_writer writer = qcf_writer_init(bytes, QCF_BITMAP_EXT_LEN);

	qcf_write_u32(&writer, ext->count);
	qcf_write_u32(&writer, 0);
	qcf_write_u64(&writer, ext->directory_size);
	qcf_write_u64(&writer, ext->directory_offset);
}

void qcf_bitmap_ext_dump(const struct qcf_bitmap_ext *ext, char *text,
                         size_t len)
{
	snprintf(text, len,
	         "%" PRIu32 " bitmaps, directory of %" PRIu64
	         " bytes at 0x%" PRIx64,
	         ext->count, ext->directory_size, ext->directory_offset);
}

/* ----------------------------------------------------------- directory entry */

void qcf_bitmap_entry_fini(struct qcf_bitmap_entry *entry)
{
	free(entry->name);
	free(entry->extra);
	*entry = (struct qcf_bitmap_entry){ 0 };
}

static int malformed(struct qcowfmt_error **errp, const char *member,
                     uint64_t have, const char *want)
{
	return qcf_corruptf(errp, QCF_CHECK_BITMAP_ENTRY, QCOWFMT_NO_OFFSET,
	                    "%s, have %" PRIu64 ", want %s", member, have,
	                    want);
}

static void decode_fixed(struct qcf_bitmap_entry *entry,
                         struct qcf_reader *reader)
{
	entry->table_offset = qcf_read_u64(reader);
	entry->table_entries = qcf_read_u32(reader);
	entry->flags = qcf_read_u32(reader);
	entry->type = qcf_read_u8(reader);
	entry->granularity_bits = qcf_read_u8(reader);
	entry->name_len = qcf_read_u16(reader);
	entry->extra_len = qcf_read_u32(reader);
}

/* The bytes behind the fixed part, copied, and a NUL behind them. */
static int decode_bytes(uint8_t **bytes, struct qcf_reader *reader, size_t len,
                        struct qcowfmt_error **errp)
{
	const uint8_t *span = qcf_read_span(reader, len);

	if (span == NULL)
		return 0;
	*bytes = malloc(len + 1);
	if (*bytes == NULL)
		return qcf_fail_oom(errp);
	memcpy(*bytes, span, len);
	(*bytes)[len] = 0;
	return 0;
}

static int decode_all(struct qcf_bitmap_entry *entry, struct qcf_reader *reader,
                      struct qcowfmt_error **errp)
{
	size_t start = reader->pos;
	uint8_t *name = NULL;
	int ret = 0;

	decode_fixed(entry, reader);
	if (entry->extra_len > 0)
		ret = decode_bytes(&entry->extra, reader, entry->extra_len,
		                   errp);
	if (ret == 0)
		ret = decode_bytes(&name, reader, entry->name_len, errp);
	entry->name = (char *)name;
	if (ret < 0)
		return ret;

	size_t len = reader->pos - start;

	qcf_read_span(reader, qcf_align_up(len, ENTRY_ALIGNMENT) - len);
	if (reader->overrun)
		return qcf_corruptf(errp, QCF_CHECK_BITMAP_DIRECTORY,
		                    QCOWFMT_NO_OFFSET,
		                    "an entry does not end inside it");
	return 0;
}

int qcf_bitmap_entry_decode(struct qcf_bitmap_entry *entry,
                            struct qcf_reader *reader,
                            struct qcowfmt_error **errp)
{
	*entry = (struct qcf_bitmap_entry){ 0 };

	int ret = decode_all(entry, reader, errp);

	if (ret < 0)
		qcf_bitmap_entry_fini(entry);
	return ret;
}

void qcf_bitmap_entry_encode(const struct qcf_bitmap_entry *entry,
                             struct qcf_writer *writer)
{
	qcf_write_u64(writer, entry->table_offset);
	qcf_write_u32(writer, entry->table_entries);
	qcf_write_u32(writer, entry->flags);
	qcf_write_u8(writer, entry->type);
	qcf_write_u8(writer, entry->granularity_bits);
	qcf_write_u16(writer, (uint16_t)entry->name_len);
	qcf_write_u32(writer, entry->extra_len);
	qcf_write_bytes(writer, entry->extra, entry->extra_len);
	qcf_write_bytes(writer, entry->name, entry->name_len);
	qcf_write_pad(writer, ENTRY_ALIGNMENT);
}

uint64_t qcf_bitmap_entry_size(const struct qcf_bitmap_entry *entry)
{
	return qcf_align_up(QCF_BITMAP_ENTRY_LEN + (uint64_t)entry->extra_len +
	                            entry->name_len,
	                    ENTRY_ALIGNMENT);
}

int qcf_bitmap_entry_check_table(const struct qcf_bitmap_entry *entry,
                                 const struct qcf_geometry *g,
                                 struct qcowfmt_error **errp)
{
	/* The product cannot wrap: 2^32 entries, clusters of 2^21 bytes. */
	if (entry->table_entries > QCF_MAX_BITMAP_TABLE ||
	    entry->table_entries * g->cluster_size > QCF_MAX_BITMAP_SIZE)
		return malformed(errp, "table entries", entry->table_entries,
		                 "a bitmap of at most 512 MiB");
	if (entry->table_offset == 0 ||
	    !qcf_is_aligned(entry->table_offset, g->cluster_size) ||
	    entry->table_offset >= QCF_HOST_OFFSET_LIMIT)
		return malformed(errp, "table offset", entry->table_offset,
		                 "a multiple of the cluster size");
	return 0;
}

static int check_name(const struct qcf_bitmap_entry *entry,
                      struct qcowfmt_error **errp)
{
	if (entry->name_len == 0 || entry->name_len > QCF_MAX_BITMAP_NAME)
		return malformed(errp, "name length", entry->name_len,
		                 "1 to 1023");
	if (memchr(entry->name, '\0', entry->name_len) != NULL)
		return qcf_corruptf(errp, QCF_CHECK_BITMAP_ENTRY,
		                    QCOWFMT_NO_OFFSET, "a NUL byte in a name");
	return 0;
}

static int check_kind(const struct qcf_bitmap_entry *entry,
                      struct qcowfmt_error **errp)
{
	uint32_t known = QCF_BITMAP_IN_USE | QCF_BITMAP_AUTO |
	                 QCF_BITMAP_EXTRA_COMPATIBLE;

	if ((entry->flags & ~known) != 0)
		return malformed(errp, "flags", entry->flags, "0 to 7");
	if (entry->type != QCF_BITMAP_TYPE_DIRTY)
		return malformed(errp, "type", entry->type, "1");
	if (entry->granularity_bits < QCF_MIN_GRANULARITY_BITS ||
	    entry->granularity_bits > QCF_MAX_GRANULARITY_BITS)
		return malformed(errp, "granularity bits",
		                 entry->granularity_bits, "9 to 31");
	/* The flag says that the bitmap means the same without them. */
	if (entry->extra_len > 0 &&
	    (entry->flags & QCF_BITMAP_EXTRA_COMPATIBLE) == 0)
		return malformed(errp, "length of extra data", entry->extra_len,
		                 "0");
	return 0;
}

static int check_size(const struct qcf_bitmap_entry *entry,
                      const struct qcf_geometry *g, uint64_t virtual_size,
                      struct qcowfmt_error **errp)
{
	uint32_t want = 0;

	if ((entry->flags & QCF_BITMAP_IN_USE) != 0)
		return 0;
	if (!qcf_bitmap_table_entries_for(g, virtual_size,
	                                  entry->granularity_bits, &want) ||
	    entry->table_entries != want)
		return malformed(errp, "table entries", entry->table_entries,
		                 "as many as the disk needs");
	return 0;
}

int qcf_bitmap_entry_check(const struct qcf_bitmap_entry *entry,
                           const struct qcf_geometry *g, uint64_t virtual_size,
                           struct qcowfmt_error **errp)
{
	int ret = check_name(entry, errp);

	if (ret == 0)
		ret = check_kind(entry, errp);
	if (ret == 0)
		ret = qcf_bitmap_entry_check_table(entry, g, errp);
	if (ret == 0)
		ret = check_size(entry, g, virtual_size, errp);
	return ret;
}

void qcf_bitmap_entry_dump(const struct qcf_bitmap_entry *entry, char *text,
                           size_t len)
{
	char name[128];

	qcf_escape(name, sizeof(name), entry->name, entry->name_len);
	snprintf(text, len,
	         "\"%s\", type %u, granularity 2^%u, flags 0x%" PRIx32
	         ", table of %" PRIu32 " entries at 0x%" PRIx64 ", %" PRIu32
	         " bytes of extra data",
	         name, entry->type, entry->granularity_bits, entry->flags,
	         entry->table_entries, entry->table_offset, entry->extra_len);
}

uint64_t qcf_bitmap_bits_for(uint64_t virtual_size, uint32_t granularity_bits)
{
	return qcf_div_ceil(virtual_size, UINT64_C(1) << granularity_bits);
}

bool qcf_bitmap_table_entries_for(const struct qcf_geometry *g,
                                  uint64_t virtual_size,
                                  uint32_t granularity_bits,
                                  uint32_t *table_entries)
{
	uint64_t bits = qcf_bitmap_bits_for(virtual_size, granularity_bits);
	uint64_t entries = qcf_clusters_for(g, qcf_div_ceil(bits, 8));

	if (entries > QCF_MAX_BITMAP_SIZE >> g->cluster_bits)
		return false;
	*table_entries = (uint32_t)entries;
	return true;
}

/* --------------------------------------------------------------- table entry */

struct qcf_bitmap_cluster qcf_bitmap_cluster_decode(struct qcf_be64 raw)
{
	uint64_t word = qcf_be64_decode(raw);
	uint64_t host_offset = word & QCF_BITMAP_CLUSTER_OFFSET;
	uint64_t reserved = word & QCF_BITMAP_CLUSTER_RESERVED;

	if (host_offset != 0)
		reserved |= word & QCF_BITMAP_CLUSTER_ONES;
	return (struct qcf_bitmap_cluster){
		.host_offset = host_offset,
		.ones = host_offset == 0 &&
		        (word & QCF_BITMAP_CLUSTER_ONES) != 0,
		.reserved = reserved,
	};
}

struct qcf_be64 qcf_bitmap_cluster_encode(struct qcf_bitmap_cluster cluster)
{
	return qcf_be64_encode(cluster.host_offset |
	                       (cluster.ones ? QCF_BITMAP_CLUSTER_ONES : 0));
}

uint32_t qcf_bitmap_cluster_check(const struct qcf_geometry *g,
                                  struct qcf_be64 raw)
{
	struct qcf_bitmap_cluster cluster = qcf_bitmap_cluster_decode(raw);

	if (cluster.reserved != 0)
		return QCF_CHECK_BITMAP_TABLE_RESERVED;
	if (!qcf_is_aligned(cluster.host_offset, g->cluster_size))
		return QCF_CHECK_BITMAP_CLUSTER_OFFSET;
	return 0;
}

void qcf_bitmap_cluster_dump(struct qcf_bitmap_cluster cluster, char *text,
                             size_t len)
{
	if (cluster.host_offset != 0)
		snprintf(text, len, "bits at 0x%" PRIx64, cluster.host_offset);
	else
		snprintf(text, len, "all %c", cluster.ones ? '1' : '0');
}
