/* SPDX-License-Identifier: MIT */
/*
 * fuzz_snapshot_table.c - target: entries of the snapshot table
 *
 * Input: a byte that chooses the geometry, and the table.  An entry that decodes
 * ends where the one that looks for its parts says, and encodes to one that
 * decodes to the same.
 */
#include "fuzz.h"
#include "snapshot_entry.h"

static void expect_same(const struct qcf_snapshot_entry *entry,
                        const struct qcf_geometry *g)
{
	size_t len = qcf_snapshot_entry_len(entry);
	uint8_t *bytes = fuzz_need(malloc(len));
	struct qcf_writer writer = qcf_writer_init(bytes, len);
	struct qcf_reader reader = qcf_reader_init(bytes, len);
	struct qcf_snapshot_entry again;
	int ret;

	qcf_snapshot_entry_encode(entry, &writer);
	FUZZ_ASSERT(!writer.overrun && writer.pos == len, "%zu of %zu",
	            writer.pos, len);
	ret = qcf_snapshot_entry_decode(&again, g, &reader, NULL);
	FUZZ_ASSERT(ret == 0, "%d", ret);
	FUZZ_ASSERT(strcmp(again.id, entry->id) == 0 &&
	                    strcmp(again.name, entry->name) == 0 &&
	                    again.l1_size == entry->l1_size &&
	                    again.vm_state_size == entry->vm_state_size &&
	                    again.unknown_extra_len == entry->unknown_extra_len,
	            "decodes to something else");
	qcf_snapshot_entry_fini(&again);
	free(bytes);
}

static bool take_one(struct qcf_reader *reader, const struct qcf_geometry *g)
{
	struct qcf_reader other = *reader;
	struct qcf_snapshot_parts parts;
	struct qcf_snapshot_entry entry;
	bool located = qcf_snapshot_entry_locate(&parts, &other);

	if (qcf_snapshot_entry_decode(&entry, g, reader, NULL) < 0)
		return false;
	FUZZ_ASSERT(located, "decoded, but its parts are not found");
	FUZZ_ASSERT(other.pos == reader->pos && parts.end <= reader->len,
	            "%zu and %zu", other.pos, reader->pos);
	FUZZ_ASSERT(parts.l1_size == entry.l1_size, "%" PRIu32, parts.l1_size);
	(void)qcf_snapshot_check_size(g, &entry, NULL);
	expect_same(&entry, g);
	qcf_snapshot_entry_fini(&entry);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcf_reader reader = qcf_reader_init(data, size);
	uint8_t choice = qcf_read_u8(&reader);
	struct qcf_geometry g;

	if (qcf_geometry_init(&g, 2 + (choice & 1), 9 + choice / 2 % 13, 4,
	                      false, NULL) < 0)
		return 0;
	/* Each entry takes at least its fixed part: this comes to an end. */
	while (qcf_reader_left(&reader) > 0) {
		if (!take_one(&reader, &g))
			break;
	}
	return 0;
}
