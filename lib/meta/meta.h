/* SPDX-License-Identifier: MIT */
/*
 * meta.h - the metadata of one open qcow2 image
 *
 * Opening reads and validates the header, the L1 table and the refcount table;
 * L2 tables and refcount blocks come and go through caches.
 */
#ifndef QCF_META_H
#define QCF_META_H

#include "bitmap_store.h"
#include "block_cache.h"
#include "crypto.h"
#include "feature.h"
#include "gate.h"
#include "header.h"
#include "l2_bounds.h"
#include "l2_entry.h"
#include "overlap.h"
#include "poison.h"
#include "quarantine.h"
#include "refcount_entry.h"
#include "storage.h"

/* The refcount table and what the allocator knows. */
struct qcf_refcounts {
	/* guarded by lock */
	struct qcf_mutex lock;
	uint64_t *table;        /* host offsets of blocks; 0 = none */
	uint64_t entry_count;   /* of table, in memory */
	uint64_t stored_offset; /* of the table the header points to */
	uint64_t stored_entry_count;
	uint64_t moving_to; /* host offset reserved for a larger table; 0 = no
			     * move under way */
	uint64_t moving_clusters;
	uint64_t dirty_first; /* entries [dirty_first, dirty_end) differ from */
	uint64_t dirty_end;   /* storage; none if equal */
	uint64_t first_free;  /* no host cluster below it is free */
	uint64_t fresh_from;  /* host clusters from here on were never written
			       * to and read as zeros */
	uint64_t old_end;     /* fresh_from when the image was opened */
	bool growing_zeroes;  /* whether fresh clusters exist at all */
	uint64_t pack_offset; /* where the next compressed cluster may follow
			       * the last one; 0 = in a new host cluster */
	uint64_t packed_end;  /* of the compressed data written last */
	uint64_t append_at;   /* version 1: end of what is in use, bytes */
};

/* Entries of the L1 table that are read at once. */
#define QCF_L1_PIECE UINT64_C(512)

/* The active L1 table. */
struct qcf_l1 {
	uint64_t entry_count;
	_Atomic uint64_t *entries; /* encoded as on storage; NULL: in pieces */
	/* The table of an image that is only read, if it is long: QCF_L1_PIECE
	 * entries each, NULL before they are asked for. */
	_Atomic(uint64_t *) *pieces;

	/* making and unsharing L2 tables, one at a time */
	struct qcf_mutex lock;

	/* guarded by the map lock */
	uint32_t *dirty; /* indexes of entries that differ from storage */
	size_t dirty_count;
	size_t dirty_room;
};

struct qcf_commit_state {
	/* one committer at a time; guards the members below but started */
	struct qcf_mutex lock;
	_Atomic uint64_t started; /* commits begun so far */
	uint64_t last_complete;   /* the last one that succeeded */
	bool dirty_bit_set;       /* stable in the header */
};

struct qcf_meta_options {
	bool writable;
	bool repair;
	int lazy_refcounts;      /* -1 as in the image, 0 off, 1 on */
	uint64_t max_table_size; /* bytes of L1 or refcount table */
	const struct qcf_secret_source *secrets; /* NULL: guest data will not be
						  * read */
	struct qcf_budget *budget;
	struct qcf_gate *gate;
};

struct qcf_meta {
	struct qcowfmt_storage *storage; /* not owned */
	struct qcowfmt_storage *data;    /* where guest data is: storage, or a
					  * data file; not owned; NULL if that
					  * is not open */
	struct qcf_header header; /* as read; refcount table fields follow the
				   * header under commit.lock */
	struct qcf_geometry geometry;
	_Atomic uint64_t incompatible; /* features, as in the header now */
	_Atomic uint64_t reclaims; /* times clusters became free for reuse */
	struct qcf_crypto *crypto; /* of guest data; owned, NULL if there is
				    * none */
	bool writable;
	atomic_bool unusable; /* opened to be repaired: tables that writing
			       * relies on make no sense yet */
	bool lazy_refcounts;
	bool discard_other;    /* give back the host space of tables that are
				* freed, too */
	bool has_backing;      /* unallocated clusters show the backing file */
	bool shows_snapshot;   /* l1 and the virtual size are those of a
				* snapshot */
	struct qcf_gate *gate; /* of the image; not owned */
	struct qcf_budget *budget; /* of the chain; not owned */

	struct qcf_l1 l1;
	struct qcf_l2_bounds l2_bounds;
	struct qcf_cache l2_cache;       /* words change under map_lock */
	struct qcf_cache refcount_cache; /* words change under refcounts.lock */
	struct qcf_refcounts refcounts;
	struct qcf_mutex map_lock; /* publishing; copying for writeback */
	struct qcf_quarantine quarantine;
	struct qcf_overlap overlap;
	struct qcf_poison poison;
	struct qcf_commit_state commit;
	struct qcf_bitmaps bitmaps;
};

/*
 * Read the metadata of the image in a storage.  On failure *meta needs no
 * qcf_meta_close().
 */
int qcf_meta_open(struct qcf_meta *meta, struct qcowfmt_storage *storage,
                  const struct qcf_meta_options *options,
                  struct qcowfmt_error **errp);

/*
 * Write everything back, lower the refcounts of freed clusters, and clear the
 * dirty bit; then free the memory, also on failure.  No request is running.
 */
int qcf_meta_close(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* Free the memory and write nothing. */
void qcf_meta_abandon(struct qcf_meta *meta);

/* Flush guest data and metadata; a failure poisons the image. */
int qcf_meta_flush(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* An error if the image has to be repaired before anything is written. */
int qcf_meta_check_usable(const struct qcf_meta *meta,
                          struct qcowfmt_error **errp);

/* Everything that writing relies on makes sense now. */
int qcf_meta_now_usable(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* Whether a host offset can be that of a table or a whole cluster. */
bool qcf_meta_is_cluster_offset(const struct qcf_meta *meta,
                                uint64_t host_offset);

#endif
