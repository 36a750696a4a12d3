/* SPDX-License-Identifier: MIT */
/*
 * snapshot_entry.c - one entry of the snapshot table, as snapshot_entry.h draws
 * it
 *
 * Entries have grown over time through their extra data: each field of it is
 * present if extra_len reaches to its end.  Encoding always writes all fields
 * that are known, and then the extra bytes that are not, as they were read.
 * An entry that did not say its disk size must be given one before it is
 * encoded.
 */
#include <errno.h>
#include <inttypes.h>

#include "auto.h"
#include "check_id.h"
#include "checked.h"
#include "snapshot_entry.h"

/* Where the known fields of the extra data end. */
#define EXTRA_VM_STATE_SIZE_END 8u
#define EXTRA_DISK_SIZE_END     16u
#define EXTRA_ICOUNT_END        24u

#define NO_ICOUNT UINT64_MAX

/* Fields that are lengths of what follows. */
struct lengths {
	uint16_t id;
	uint16_t name;
	uint32_t extra;
};

void qcf_snapshot_entry_fini(struct qcf_snapshot_entry *entry)
{
	free(entry->id);
	free(entry->name);
	free(entry->unknown_extra);
	*entry = (struct qcf_snapshot_entry){ 0 };
}

bool qcf_snapshot_entry_has_disk_size(const struct qcf_snapshot_entry *entry)
{
	return entry->extra_len >= EXTRA_DISK_SIZE_END;
}

size_t qcf_snapshot_entry_len(const struct qcf_snapshot_entry *entry)
{
	size_t len = QCF_SNAPSHOT_FIXED_LEN + EXTRA_ICOUNT_END +
	             entry->unknown_extra_len + strlen(entry->id) +
	             strlen(entry->name);

	return qcf_align_up(len, 8);
}

int qcf_snapshot_check_size(const struct qcf_geometry *g,
                            const struct qcf_snapshot_entry *entry,
                            struct qcowfmt_error **errp)
{
	if (entry->disk_size <= g->max_virtual_size &&
	    qcf_is_aligned(entry->disk_size, QCF_SECTOR_SIZE))
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_SNAPSHOT_ENTRY, QCOWFMT_NO_OFFSET,
	                    "disk size, have %" PRIu64
	                    ", want a multiple of 512 up to %" PRIu64,
	                    entry->disk_size, g->max_virtual_size);
}

static int malformed(struct qcowfmt_error **errp, const char *why)
{
	return qcf_corruptf(errp, QCF_CHECK_SNAPSHOT_ENTRY, QCOWFMT_NO_OFFSET,
	                    "%s", why);
}

static struct lengths decode_fixed(struct qcf_snapshot_entry *entry,
                                   struct qcf_reader *reader)
{
	struct lengths lengths;

	entry->l1_table_offset = qcf_read_u64(reader);
	entry->l1_size = qcf_read_u32(reader);
	lengths.id = qcf_read_u16(reader);
	lengths.name = qcf_read_u16(reader);
	entry->date_sec = qcf_read_u32(reader);
	entry->date_nsec = qcf_read_u32(reader);
	entry->vm_clock_nsec = qcf_read_u64(reader);
	entry->vm_state_size = qcf_read_u32(reader);
	lengths.extra = qcf_read_u32(reader);
	return lengths;
}

static int check_fixed(const struct qcf_snapshot_entry *entry,
                       const struct qcf_geometry *g, struct lengths lengths,
                       struct qcowfmt_error **errp)
{
	uint64_t l1_len = entry->l1_size * (uint64_t)sizeof(uint64_t);

	if (lengths.extra > QCF_MAX_SNAPSHOT_EXTRA)
		return qcf_corruptf(
			errp, QCF_CHECK_SNAPSHOT_ENTRY, QCOWFMT_NO_OFFSET,
			"extra data length, have %" PRIu32 ", want at most %u",
			lengths.extra, QCF_MAX_SNAPSHOT_EXTRA);
	if (l1_len > QCF_MAX_L1_SIZE)
		return qcf_corruptf(
			errp, QCF_CHECK_SNAPSHOT_ENTRY, QCOWFMT_NO_OFFSET,
			"l1_size, have %" PRIu32 ", want at most %" PRIu64,
			entry->l1_size, QCF_MAX_L1_SIZE / sizeof(uint64_t));
	if (!qcf_is_aligned(entry->l1_table_offset, g->cluster_size) ||
	    !qcf_range_within(entry->l1_table_offset, l1_len, INT64_MAX))
		return qcf_corruptf(errp, QCF_CHECK_SNAPSHOT_ENTRY,
		                    QCOWFMT_NO_OFFSET,
		                    "l1_table_offset, have 0x%" PRIx64
		                    ", want a multiple of %" PRIu64,
		                    entry->l1_table_offset, g->cluster_size);
	return 0;
}

static int decode_extra(struct qcf_snapshot_entry *entry,
                        struct qcf_reader *reader, uint32_t len,
                        struct qcowfmt_error **errp)
{
	const uint8_t *bytes = qcf_read_span(reader, len);

	if (bytes == NULL)
		return 0;
	struct qcf_reader extra = qcf_reader_init(bytes, len);

	entry->extra_len = len;
	if (len >= EXTRA_VM_STATE_SIZE_END)
		entry->vm_state_size = qcf_read_u64(&extra);
	if (len >= EXTRA_DISK_SIZE_END)
		entry->disk_size = qcf_read_u64(&extra);
	if (len >= EXTRA_ICOUNT_END)
		entry->icount = qcf_read_u64(&extra);
	if (len <= EXTRA_ICOUNT_END)
		return 0;
	entry->unknown_extra_len = qcf_reader_left(&extra);
	entry->unknown_extra = malloc(entry->unknown_extra_len);
	if (entry->unknown_extra == NULL)
		return qcf_fail_oom(errp);
	qcf_read_bytes(&extra, entry->unknown_extra, entry->unknown_extra_len);
	return 0;
}

static int decode_text(char **text, struct qcf_reader *reader, uint16_t len,
                       struct qcowfmt_error **errp)
{
	const uint8_t *bytes = qcf_read_span(reader, len);

	if (bytes == NULL)
		return 0;
	if (len > 0 && memchr(bytes, '\0', len) != NULL)
		return malformed(errp, "a NUL byte in its id or name");
	*text = strndup((const char *)bytes, len);
	return *text == NULL ? qcf_fail_oom(errp) : 0;
}

static void skip_padding(struct qcf_reader *reader, size_t entry_len)
{
	size_t padding = (8 - entry_len % 8) % 8;

	qcf_read_span(reader, QCF_MIN(padding, qcf_reader_left(reader)));
}

static int decode_all(struct qcf_snapshot_entry *entry,
                      const struct qcf_geometry *g, struct qcf_reader *reader,
                      struct qcowfmt_error **errp)
{
	size_t start = reader->pos;
	struct lengths lengths = decode_fixed(entry, reader);
	int ret = 0;

	if (!reader->overrun)
		ret = check_fixed(entry, g, lengths, errp);
	if (ret == 0)
		ret = decode_extra(entry, reader, lengths.extra, errp);
	if (ret == 0)
		ret = decode_text(&entry->id, reader, lengths.id, errp);
	if (ret == 0)
		ret = decode_text(&entry->name, reader, lengths.name, errp);
	if (ret == 0 && reader->overrun)
		ret = malformed(errp, "it does not end inside the table");
	if (ret == 0)
		skip_padding(reader, reader->pos - start);
	return ret;
}

int qcf_snapshot_entry_decode(struct qcf_snapshot_entry *entry,
                              const struct qcf_geometry *g,
                              struct qcf_reader *reader,
                              struct qcowfmt_error **errp)
{
	*entry = (struct qcf_snapshot_entry){ .icount = NO_ICOUNT };

	int ret = decode_all(entry, g, reader, errp);

	if (ret < 0)
		qcf_snapshot_entry_fini(entry);
	return ret;
}

bool qcf_snapshot_entry_locate(struct qcf_snapshot_parts *parts,
                               struct qcf_reader *reader)
{
	struct qcf_snapshot_entry entry = { 0 };
	struct lengths lengths;

	*parts = (struct qcf_snapshot_parts){ .start = reader->pos };
	lengths = decode_fixed(&entry, reader);
	parts->l1_table_offset = entry.l1_table_offset;
	parts->l1_size = entry.l1_size;
	parts->extra_len = lengths.extra;
	parts->id_len = lengths.id;
	parts->name_len = lengths.name;
	qcf_read_span(reader, lengths.extra);
	qcf_read_span(reader, parts->id_len + parts->name_len);
	parts->end = reader->pos;
	if (!reader->overrun)
		skip_padding(reader, reader->pos - parts->start);
	return !reader->overrun;
}

void qcf_snapshot_entry_encode(const struct qcf_snapshot_entry *entry,
                               struct qcf_writer *writer)
{
	size_t id_len = strlen(entry->id);
	size_t name_len = strlen(entry->name);
	size_t extra_len = EXTRA_ICOUNT_END + entry->unknown_extra_len;
	uint64_t vm_state_size_32 =
		entry->vm_state_size > UINT32_MAX ? 0 : entry->vm_state_size;

	qcf_write_u64(writer, entry->l1_table_offset);
	qcf_write_u32(writer, entry->l1_size);
	qcf_write_u16(writer, (uint16_t)id_len);
	qcf_write_u16(writer, (uint16_t)name_len);
	qcf_write_u32(writer, entry->date_sec);
	qcf_write_u32(writer, entry->date_nsec);
	qcf_write_u64(writer, entry->vm_clock_nsec);
	qcf_write_u32(writer, (uint32_t)vm_state_size_32);
	qcf_write_u32(writer, (uint32_t)extra_len);
	qcf_write_u64(writer, entry->vm_state_size);
	qcf_write_u64(writer, entry->disk_size);
	qcf_write_u64(writer, entry->icount);
	qcf_write_bytes(writer, entry->unknown_extra, entry->unknown_extra_len);
	qcf_write_bytes(writer, entry->id, id_len);
	qcf_write_bytes(writer, entry->name, name_len);
	qcf_write_pad(writer, 8);
}
