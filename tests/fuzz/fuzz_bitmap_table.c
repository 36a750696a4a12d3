/* SPDX-License-Identifier: MIT */
/*
 * fuzz_bitmap_table.c - target: the bitmap directory and bitmap tables
 *
 * Input: a byte that chooses the geometry, 8 bytes of virtual size, and the
 * directory; the same bytes then stand for a table.
 */
#include "bitmap_entry.h"
#include "fuzz.h"

static void expect_same(const struct qcf_bitmap_entry *entry)
{
	size_t len = (size_t)qcf_bitmap_entry_size(entry);
	uint8_t *bytes = fuzz_need(malloc(len));
	struct qcf_writer writer = qcf_writer_init(bytes, len);
	struct qcf_reader reader = qcf_reader_init(bytes, len);
	struct qcf_bitmap_entry again;
	int ret;

	qcf_bitmap_entry_encode(entry, &writer);
	FUZZ_ASSERT(!writer.overrun && writer.pos == len, "%zu of %zu",
	            writer.pos, len);
	ret = qcf_bitmap_entry_decode(&again, &reader, NULL);
	FUZZ_ASSERT(ret == 0, "%d", ret);
	FUZZ_ASSERT(again.name_len == entry->name_len &&
	                    memcmp(again.name, entry->name, entry->name_len) ==
	                            0 &&
	                    again.table_offset == entry->table_offset &&
	                    again.flags == entry->flags &&
	                    again.extra_len == entry->extra_len,
	            "decodes to something else");
	qcf_bitmap_entry_fini(&again);
	free(bytes);
}

static void check_entry(const struct qcf_bitmap_entry *entry,
                        const struct qcf_geometry *g, uint64_t virtual_size)
{
	uint32_t want;
	char text[2048];

	qcf_bitmap_entry_dump(entry, text, sizeof(text));
	(void)qcf_bitmap_entry_check_table(entry, g, NULL);
	expect_same(entry);
	if (qcf_bitmap_entry_check(entry, g, virtual_size, NULL) < 0)
		return;
	FUZZ_ASSERT(qcf_bitmap_entry_check_table(entry, g, NULL) == 0,
	            "the table of a good entry");
	FUZZ_ASSERT(memchr(entry->name, '\0', entry->name_len) == NULL &&
	                    entry->name_len > 0,
	            "%" PRIu32, entry->name_len);
	FUZZ_ASSERT(entry->granularity_bits >= QCF_MIN_GRANULARITY_BITS &&
	                    entry->granularity_bits <= QCF_MAX_GRANULARITY_BITS,
	            "%u", entry->granularity_bits);
	if ((entry->flags & QCF_BITMAP_IN_USE) != 0)
		return;
	FUZZ_ASSERT(qcf_bitmap_table_entries_for(
			    g, virtual_size, entry->granularity_bits, &want) &&
	                    want == entry->table_entries,
	            "%" PRIu32 " entries", entry->table_entries);
}

static void check_word(struct qcf_be64 raw, const struct qcf_geometry *g)
{
	struct qcf_bitmap_cluster cluster = qcf_bitmap_cluster_decode(raw);
	char text[256];

	qcf_bitmap_cluster_dump(cluster, text, sizeof(text));
	if (qcf_bitmap_cluster_check(g, raw) != 0)
		return;
	FUZZ_ASSERT(cluster.host_offset % g->cluster_size == 0 &&
	                    cluster.host_offset < QCF_HOST_OFFSET_LIMIT,
	            "0x%" PRIx64, cluster.host_offset);
	FUZZ_ASSERT(qcf_bitmap_cluster_encode(cluster).raw == raw.raw,
	            "encodes to something else");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcf_reader reader = qcf_reader_init(data, size);
	uint8_t choice = qcf_read_u8(&reader);
	uint64_t virtual_size = qcf_read_u64(&reader);
	struct qcf_reader table = reader;
	struct qcf_bitmap_entry entry;
	struct qcf_geometry g;

	if (qcf_geometry_init(&g, 3, 9 + choice % 13, 4, false, NULL) < 0 ||
	    virtual_size > g.max_virtual_size)
		return 0;
	while (qcf_reader_left(&reader) > 0 &&
	       qcf_bitmap_entry_decode(&entry, &reader, NULL) == 0) {
		check_entry(&entry, &g, virtual_size);
		qcf_bitmap_entry_fini(&entry);
	}
	while (qcf_reader_left(&table) >= 8) {
		struct qcf_be64 raw = qcf_be64_encode(qcf_read_u64(&table));

		check_word(raw, &g);
	}
	return 0;
}
