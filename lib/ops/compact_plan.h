/* SPDX-License-Identifier: MIT */
/*
 * compact_plan.h - which host clusters move, and where to
 *
 * A window is a part of the file that fits into memory.  For each of its
 * clusters it is found out what it is used for; from the end towards the
 * beginning each unit gets a place in front of it, as long as there is one: a
 * cluster, a run of compressed clusters that must stay together, or a whole
 * table.  The first unit that cannot move ends the plan, because the file would
 * not become shorter.
 */
#ifndef QCF_COMPACT_PLAN_H
#define QCF_COMPACT_PLAN_H

#include "image.h"
#include "l2_list.h"
#include "snapshot_table.h"

/* What a host cluster is used for. */
enum qcf_use {
	QCF_USE_UNKNOWN = 0, /* nothing that could move */
	QCF_USE_DATA,        /* guest data, one cluster of it */
	QCF_USE_PACKED,      /* compressed clusters, in part or whole */
	QCF_USE_L2,
	QCF_USE_BLOCK, /* refcount block */
	QCF_USE_BITS,  /* of a dirty bitmap */
	QCF_USE_TABLE, /* a table of several clusters */
	QCF_USE_MIXED, /* what should not be together: stays */
};

/* Tables that take several clusters and move as a whole. */
enum qcf_table_kind {
	QCF_TABLE_L1,
	QCF_TABLE_REFCOUNTS,
	QCF_TABLE_SNAPSHOTS,
	QCF_TABLE_SNAPSHOT_L1,
	QCF_TABLE_BITMAPS, /* the directory */
	QCF_TABLE_BITMAP,
};

struct qcf_table_place {
	enum qcf_table_kind kind;
	uint32_t index; /* SNAPSHOT_L1: in the snapshot table; BITMAP: in the
			 * directory */
	uint64_t first; /* host clusters */
	uint64_t count;
	uint64_t to; /* 0 = stays */
};

/* A place that stands for none. */
#define QCF_STAYS  UINT64_C(0)
#define QCF_VANISH UINT64_MAX /* a refcount block that nobody will need */

#define QCF_COMPACT_HINTS UINT64_C(64)

struct qcf_compaction {
	struct qcowfmt_image *image;
	struct qcf_layer *layer;
	struct qcf_meta *meta;
	const struct qcowfmt_compact_options *options;
	struct qcowfmt_compact_result *result;

	struct qcf_l2_list list;             /* of all L2 tables */
	struct qcf_snapshot_table snapshots; /* as stored */
	struct qcf_table_place *tables;      /* sorted by first; owned */
	size_t table_count;

	/* the window: host clusters [first, end) */
	uint64_t first;
	uint64_t end;
	uint64_t *to;    /* by cluster: the new one, or QCF_STAYS, QCF_VANISH */
	uint8_t *uses;   /* by cluster: enum qcf_use, and LINKED */
	bool linked_in;  /* compressed data crosses the start of the window */
	uint64_t moving; /* clusters that have a new place */
	bool blocked;    /* a unit of the window cannot move */
	/* no run of so many clusters, the index, is free in front of it */
	uint64_t hints[QCF_COMPACT_HINTS];
};

/* Clusters in a window: 9 bytes of memory for each. */
#define QCF_COMPACT_WINDOW (UINT64_C(1) << 21)

/* Memory for windows; qcf_compact_plan_fini() in any case. */
int qcf_compact_plan_init(struct qcf_compaction *c,
                          struct qcowfmt_error **errp);
void qcf_compact_plan_fini(struct qcf_compaction *c);

/* A cluster is used once, for this. */
void qcf_compact_mark(struct qcf_compaction *c, uint64_t cluster,
                      enum qcf_use use);

/* Find out where L2 tables and other tables are now. */
int qcf_compact_look(struct qcf_compaction *c, struct qcowfmt_error **errp);

/*
 * Plan the window that ends at c->end.  New places are counted in memory like
 * the old ones, so that each is given away once.
 */
int qcf_compact_plan_window(struct qcf_compaction *c,
                            struct qcowfmt_error **errp);

/* Take the new places back: nothing has been moved. */
void qcf_compact_abandon_window(struct qcf_compaction *c);

/* Behind the last host cluster that is counted. */
int qcf_compact_find_end(struct qcf_meta *meta, uint64_t *end,
                         struct qcowfmt_error **errp);

static inline bool qcf_compact_in_window(const struct qcf_compaction *c,
                                         uint64_t cluster)
{
	return cluster >= c->first && cluster < c->end;
}

/* The new place of a cluster, or QCF_STAYS. */
static inline uint64_t qcf_compact_new_place(const struct qcf_compaction *c,
                                             uint64_t cluster)
{
	uint64_t to = qcf_compact_in_window(c, cluster)
	                      ? c->to[cluster - c->first]
	                      : QCF_STAYS;

	return to == QCF_VANISH ? QCF_STAYS : to;
}

enum qcf_use qcf_compact_use(const struct qcf_compaction *c, uint64_t cluster);

#endif
