/* SPDX-License-Identifier: MIT */
/*
 * l2_list.h - every L2 table of an image, active or of a snapshot, once
 *
 * For operations that look at, or change, the entries of all tables.  Nothing
 * is dirty while the list is made, and no request is running as long as it is
 * used.
 */
#ifndef QCF_L2_LIST_H
#define QCF_L2_LIST_H

#include "meta.h"

struct qcf_l2_name {
	uint64_t l2_offset;
	uint32_t l1_index;   /* of the entries that name it */
	uint32_t references; /* how many L1 entries name it */
	bool active;         /* one of them is in the active L1 table */
	bool misplaced;      /* they are at different indexes */
};

struct qcf_l2_list {
	struct qcf_l2_name *tables; /* sorted by l2_offset */
	size_t count;
	size_t room;
};

/* *list needs qcf_l2_list_fini() in any case. */
int qcf_l2_list_collect(struct qcf_meta *meta, struct qcf_l2_list *list,
                        struct qcowfmt_error **errp);
void qcf_l2_list_fini(struct qcf_l2_list *list);

/* The table at an offset, or NULL. */
const struct qcf_l2_name *qcf_l2_list_find(const struct qcf_l2_list *list,
                                           uint64_t l2_offset);

/*
 * Call visit for the entries of a table, one slice of the cache after the
 * other. The slice begins with entry first and is pinned meanwhile.
 */
typedef int (*qcf_l2_visitor)(void *opaque, const struct qcf_l2_name *table,
                              struct qcf_block *slice, uint64_t first,
                              struct qcowfmt_error **errp);
int qcf_l2_visit(struct qcf_meta *meta, const struct qcf_l2_name *table,
                 qcf_l2_visitor visit, void *opaque,
                 struct qcowfmt_error **errp);

/* The same for all tables of a list. */
int qcf_l2_visit_all(struct qcf_meta *meta, const struct qcf_l2_list *list,
                     qcf_l2_visitor visit, void *opaque,
                     struct qcowfmt_error **errp);

/* Entry i of a slice; changing the first word of it. */
struct qcf_l2_raw qcf_l2_slice_get(const struct qcf_meta *meta,
                                   const struct qcf_block *slice, uint64_t i);
void qcf_l2_slice_set(struct qcf_meta *meta, struct qcf_block *slice,
                      uint64_t i, struct qcf_l2_raw raw);

#endif
