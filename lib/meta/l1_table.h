/* SPDX-License-Identifier: MIT */
/* l1_table.h - the active L1 table, and making L2 tables writable */
#ifndef QCF_L1_TABLE_H
#define QCF_L1_TABLE_H

#include "l2_tree.h"
#include "meta.h"

/* The table is to be read piece by piece, when it is asked for. */
int qcf_l1_expect(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* An entry as it is on storage, or is to be there. */
int qcf_l1_read_entry(struct qcf_meta *meta, uint64_t l1_index,
                      struct qcf_be64 *raw, struct qcowfmt_error **errp);

/* Take over other entries, all in memory. */
void qcf_l1_replace(struct qcf_meta *meta, struct qcf_be64 *entries,
                    uint64_t entry_count);

void qcf_l1_fini(struct qcf_meta *meta);

/*
 * The L2 table of an L1 index, for reading: 0 if there is none.  An offset that
 * cannot be right is corruption.
 */
int qcf_l1_lookup(struct qcf_meta *meta, uint64_t l1_index, uint64_t *l2_offset,
                  struct qcowfmt_error **errp);

/* The same without I/O, which noting corruption takes, too: false if that is not
 * enough. */
bool qcf_l1_peek(struct qcf_meta *meta, uint64_t l1_index, uint64_t *l2_offset);

/*
 * The L2 table of an L1 index, for changing: made if there is none, copied if it
 * is shared with a snapshot.  Called with no lock held.
 */
int qcf_l1_writable_table(struct qcf_meta *meta, uint64_t l1_index,
                          uint64_t *l2_offset, struct qcowfmt_error **errp);

/*
 * Make the table longer.  The new one is stable before the header points to it,
 * in one write.  No request is running and nothing is dirty.
 */
int qcf_l1_grow(struct qcf_meta *meta, uint64_t entry_count,
                struct qcowfmt_error **errp);

/*
 * Unlink the private L2 table of an L1 index, none of whose entries refers to
 * anything any more.
 */
int qcf_l1_drop_table(struct qcf_meta *meta, uint64_t l1_index,
                      struct qcowfmt_error **errp);

/*
 * Work on the whole table while no request runs and nothing is dirty.  Each
 * writes to storage what changes and then changes memory; nothing is flushed.
 *
 *   correct_flags  COPIED is set for tables that are alone in the tree
 *                  (l2_tree.h), and for none without a tree
 *   cut            entries from entry_count on become 0
 *   reload         memory gets what storage has, after something failed
 */
int qcf_l1_correct_flags(struct qcf_meta *meta, const struct qcf_tree *tree,
                         struct qcowfmt_error **errp);
int qcf_l1_cut(struct qcf_meta *meta, uint64_t entry_count,
               struct qcowfmt_error **errp);
int qcf_l1_reload(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* The header points to a table at another place now, whose entries are taken
 * over. */
void qcf_l1_adopt(struct qcf_meta *meta, struct qcf_be64 *entries,
                  uint64_t entry_count, uint64_t host_offset);

/* The entries as they are on storage while nothing is dirty; of an image that is
 * written. */
static inline const struct qcf_be64 *qcf_l1_raw(const struct qcf_meta *meta)
{
	return (const void *)(uintptr_t)meta->l1.entries;
}

/* Move the table to as many reserved clusters as it has; otherwise the same. */
int qcf_l1_move(struct qcf_meta *meta, uint64_t first,
                struct qcowfmt_error **errp);

/* Let an entry name a copy of its L2 table, which is stable. */
int qcf_l1_set_table(struct qcf_meta *meta, uint64_t l1_index,
                     uint64_t l2_offset, struct qcowfmt_error **errp);

/* Set or clear the COPIED flag of an L1 entry, for repair. */
int qcf_l1_set_copied(struct qcf_meta *meta, uint64_t l1_index, bool copied,
                      struct qcowfmt_error **errp);

/* A dirty L1 entry on its way to storage. */
struct qcf_l1_change {
	uint64_t host_offset; /* of the entry */
	struct qcf_be64 raw;
	uint32_t index;
};

/* Copy the dirty entries and mark them clean.  *changes is freed by the caller;
 * map_lock is held. */
int qcf_l1_collect(struct qcf_meta *meta, struct qcf_l1_change **changes,
                   size_t *count, struct qcowfmt_error **errp);

/* Mark entries dirty again that could not be written; map_lock is held. */
void qcf_l1_uncollect(struct qcf_meta *meta,
                      const struct qcf_l1_change *changes, size_t count);

#endif
