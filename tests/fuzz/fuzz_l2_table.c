/* SPDX-License-Identifier: MIT */
/*
 * fuzz_l2_table.c - target: L1 and L2 entries, extended ones, and descriptors of
 * compressed clusters; and the runs that they make
 *
 * Input: two bytes that choose the geometry, 8 bytes for a position, and entries.
 */
#include "fuzz.h"
#include "map_range.h"

#define MAX_ENTRIES 512u

static bool choose_geometry(struct qcf_geometry *g, struct fuzz_cursor *in)
{
	uint64_t version = 1 + fuzz_take(in, 1) % 3;
	uint64_t choice = fuzz_take(in, 1);
	uint32_t bits = (uint32_t)(9 + choice % 13);
	bool extended = choice >= 128 && version == 3;

	if (version == 1)
		return qcf_geometry_init_v1(
			       g, bits, (uint32_t)(6 + choice / 16), NULL) == 0;
	if (qcf_geometry_init(g, (uint32_t)version, bits, 4, extended, NULL) <
	    0)
		return false;
	g->data_file = version == 3 && choice % 7 == 0;
	return true;
}

static void check_l1(const struct qcf_geometry *g, struct qcf_be64 raw)
{
	struct qcf_l1_entry entry = qcf_l1_entry_decode(g, raw);
	struct qcf_be64 again;

	again = qcf_l1_entry_encode(g, entry);
	FUZZ_ASSERT(qcf_l1_entry_decode(g, again).l2_offset == entry.l2_offset,
	            "0x%" PRIx64, entry.l2_offset);
}

static void check_entry(const struct qcf_geometry *g, struct qcf_l2_raw raw)
{
	struct qcf_mapping m = qcf_l2_entry_decode(g, raw);
	struct qcf_l2_raw again;
	char text[256];

	qcf_mapping_dump(m, text, sizeof(text));
	if (qcf_mapping_check(g, raw) != 0)
		return;
	FUZZ_ASSERT(m.host_offset < (m.kind == QCF_COMPRESSED
	                                     ? qcf_compressed_offset_limit(g)
	                                     : QCF_HOST_OFFSET_LIMIT),
	            "%s", text);
	FUZZ_ASSERT(m.kind != QCF_COMPRESSED ||
	                    (m.compressed_len > 0 &&
	                     m.compressed_len <= 2 * g->cluster_size + 512),
	            "%s", text);
	FUZZ_ASSERT((m.allocated & m.zero) == 0, "%s", text);
	again = qcf_l2_entry_encode(g, m);
	FUZZ_ASSERT(m.reserved != 0 || qcf_mapping_check(g, again) == 0,
	            "encodes to something that is wrong: %s", text);
}

static void check_runs(const struct qcf_geometry *g,
                       const struct qcf_l2_raw *entries, uint64_t count,
                       uint64_t at)
{
	uint64_t end = count << g->cluster_bits;
	struct qcf_run all = { .length = 0 };
	struct qcf_run run;

	for (at %= end; at < end; at += run.length) {
		uint64_t i = at >> g->cluster_bits;

		if (qcf_map_range(g, entries + i, count - i,
		                  qcf_offset_in_cluster(g, at), end - at,
		                  &run) != 0)
			return;
		FUZZ_ASSERT(run.length > 0 && run.length <= end - at,
		            "0x%" PRIx64 " at 0x%" PRIx64, run.length, at);
		if (!qcf_run_append(&all, &run))
			all = run;
		FUZZ_ASSERT(all.length >= run.length, "runs get shorter");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct qcf_l2_raw entries[MAX_ENTRIES];
	struct fuzz_cursor in = { data, size, 0 };
	struct qcf_geometry g;
	uint64_t count = 0;
	uint64_t at;

	if (!choose_geometry(&g, &in))
		return 0;
	at = fuzz_take(&in, 8);
	for (; count < MAX_ENTRIES && !fuzz_is_done(&in); count++) {
		struct qcf_l2_raw *entry = &entries[count];

		entry->word = qcf_be64_encode(fuzz_take(&in, 8));
		entry->bitmap =
			qcf_be64_encode(g.extended_l2 ? fuzz_take(&in, 8) : 0);
		check_l1(&g, entry->word);
		check_entry(&g, *entry);
	}
	if (count > 0)
		check_runs(&g, entries, count, at);
	return 0;
}
