/* SPDX-License-Identifier: MIT */
/*
 * meta_protect.h - which host clusters of an image hold metadata
 *
 * The functions that protect fail only for lack of memory, but where the tables
 * they read make no sense.
 */
#ifndef QCF_META_PROTECT_H
#define QCF_META_PROTECT_H

#include "meta.h"

/* Whether a range of the image file holds metadata. */
bool qcf_meta_is_metadata(const struct qcf_meta *meta, uint64_t host_offset,
                          uint64_t len);

/* Protect an L2 table, and ask whether one is other metadata at the same time:
 * then it must not be written to. */
int qcf_meta_protect_l2(struct qcf_meta *meta, uint64_t l2_offset,
                        struct qcowfmt_error **errp);
bool qcf_meta_is_not_only_l2(const struct qcf_meta *meta, uint64_t l2_offset);

/* The L1 table.  Units that it shares with something else are protected, too: in
 * version 1 with the header in front of it. */
void qcf_meta_protect_l1(struct qcf_meta *meta, uint64_t offset, uint64_t size);

/* The L2 tables and refcount blocks that the tables in memory name. */
int qcf_meta_protect_tables(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* The snapshot table and the L1 tables it names. */
int qcf_meta_protect_snapshots(struct qcf_meta *meta,
                               struct qcowfmt_error **errp);

/* Corruption if the L1 table shares its place with another table, when all of them
 * are protected: whoever writes to one would change both.  In version 1 that has
 * been looked at with the header. */
int qcf_meta_check_l1_place(const struct qcf_meta *meta,
                            struct qcowfmt_error **errp);

/* Key slots and key material, which stay where they are. */
int qcf_meta_protect_keys(struct qcf_meta *meta, struct qcowfmt_error **errp);

#endif
