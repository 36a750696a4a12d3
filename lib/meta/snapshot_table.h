/* SPDX-License-Identifier: MIT */
/*
 * snapshot_table.h - the snapshot table of an open image
 *
 * It is read when it is needed and not kept.  A changed table is written to new
 * clusters; the header then switches to it (CS-6).
 */
#ifndef QCF_SNAPSHOT_TABLE_H
#define QCF_SNAPSHOT_TABLE_H

#include "area.h"
#include "snapshot_entry.h"

struct qcf_snapshot_table {
	struct qcf_snapshot_entry *entries; /* owned */
	uint32_t count;
	size_t stored_len; /* bytes it takes on storage, 0 = none */
};

/*
 * Read and decode the table.  Entries that do not say how large the disk was are
 * given its present size.  On failure *table needs no fini.
 */
int qcf_snapshot_table_load(struct qcf_meta *meta,
                            struct qcf_snapshot_table *table,
                            struct qcowfmt_error **errp);
void qcf_snapshot_table_fini(struct qcf_snapshot_table *table);

/* The first entry with this id and this name, NULL being any; -ENOENT if there
 * is none, -EINVAL if both are NULL. */
int qcf_snapshot_table_find(const struct qcf_snapshot_table *table,
                            const char *id, const char *name, uint32_t *index,
                            struct qcowfmt_error **errp);

/* Add an entry at the end, which takes over what *entry owns. */
int qcf_snapshot_table_append(struct qcf_snapshot_table *table,
                              struct qcf_snapshot_entry *entry,
                              struct qcowfmt_error **errp);

void qcf_snapshot_table_remove(struct qcf_snapshot_table *table,
                               uint32_t index);

/* Bytes it will take on storage, padding included. */
uint64_t qcf_snapshot_table_len(const struct qcf_snapshot_table *table);

/*
 * Write the table to clusters of its own: to those from host cluster first on,
 * which are reserved, or to free ones if that is 0.  An empty table takes none.
 * -EOVERFLOW and code LIMIT if it is longer than the format allows.  It is not
 * stable when this returns.
 */
int qcf_snapshot_table_write(struct qcf_meta *meta,
                             const struct qcf_snapshot_table *table,
                             uint64_t first, struct qcf_area *area,
                             struct qcowfmt_error **errp);

/* Make the header, in memory too, point to a table that is stable in an area,
 * and protect it there.  *switched: it does, even if something failed then. */
int qcf_snapshot_table_switch(struct qcf_meta *meta,
                              const struct qcf_snapshot_table *table,
                              const struct qcf_area *area, bool *switched,
                              struct qcowfmt_error **errp);

/* Have the overlap check protect the table at a host offset, of len bytes, and
 * the L1 tables it names.  Fails only for lack of memory. */
int qcf_snapshot_table_protect(struct qcf_meta *meta,
                               const struct qcf_snapshot_table *table,
                               uint64_t host_offset, uint64_t len,
                               struct qcowfmt_error **errp);

/* Read the L1 table of an entry; the caller frees *entries, which has at least
 * room for one. */
int qcf_snapshot_read_l1(struct qcf_meta *meta,
                         const struct qcf_snapshot_entry *entry,
                         struct qcf_be64 **entries,
                         struct qcowfmt_error **errp);

/*
 * Make a read-only image that has just been opened show the first snapshot with
 * this id and this name instead of the active state.
 */
int qcf_snapshot_show(struct qcf_meta *meta, const char *id, const char *name,
                      struct qcowfmt_error **errp);

#endif
