/* SPDX-License-Identifier: MIT */
/*
 * map.h - guest range to mapping, and publishing new mappings
 *
 * Looking up takes no lock when the slice is in the cache.  What it returns is
 * true at some moment during the call; it stays usable as long as the request
 * is inside the gate, because clusters it names are not reused before.  Whether
 * it stays true is up to the caller: only holders of a claim on a guest cluster
 * (inflight.h) change its mapping.
 */
#ifndef QCF_MAP_H
#define QCF_MAP_H

#include "map_range.h"
#include "meta.h"

/* The run that begins at guest_offset, at most len bytes. */
int qcf_map_lookup(struct qcf_meta *meta, uint64_t guest_offset, uint64_t len,
                   struct qcf_run *run, struct qcowfmt_error **errp);

/*
 * The same from what is in memory, without waiting: false if that is not enough,
 * or if what is found makes no sense.
 */
bool qcf_map_peek(struct qcf_meta *meta, uint64_t guest_offset, uint64_t len,
                  struct qcf_run *run);

/* A pinned slice of a private L2 table, ready to be changed. */
struct qcf_slice {
	struct qcf_block *block;
	uint64_t index; /* of the guest cluster asked for */
	uint64_t count; /* entries from index to the end of the slice */
	uint32_t words; /* of an entry: 1, or 2 with extended L2 */
};

/* Pin the slice for a guest offset; makes or unshares its L2 table. */
int qcf_map_pin(struct qcf_meta *meta, uint64_t guest_offset,
                struct qcf_slice *slice, struct qcowfmt_error **errp);
void qcf_map_unpin(struct qcf_meta *meta, struct qcf_slice *slice);

/* The entry i clusters after the one asked for. */
static inline struct qcf_l2_raw qcf_slice_get(const struct qcf_slice *slice,
                                              uint64_t i)
{
	uint64_t at = (slice->index + i) * slice->words;
	struct qcf_l2_raw raw = { .word = qcf_block_word(slice->block, at) };

	if (slice->words > 1)
		raw.bitmap = qcf_block_word(slice->block, at + 1);
	return raw;
}

/*
 * Whether count entries from the first on, which are about to be replaced, make
 * sense; guest_offset is that of the slice.
 */
int qcf_map_check(struct qcf_meta *meta, const struct qcf_slice *slice,
                  uint64_t guest_offset, uint64_t count,
                  struct qcowfmt_error **errp);

/*
 * Make new mappings for count clusters visible to the guest.  Cannot fail, does
 * no I/O.
 *
 * The clusters that the old mappings used and the new ones do not are in freed
 * (or NULL); they go to quarantine, because a power cut may still find the old
 * mapping on storage (CS-5).
 */
void qcf_map_publish(struct qcf_meta *meta, const struct qcf_slice *slice,
                     const struct qcf_l2_raw *entries, uint64_t count,
                     struct qcf_freed_batch *freed);

#endif
