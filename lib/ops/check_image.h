/* SPDX-License-Identifier: MIT */
/*
 * check_image.h - a check that is running, and what it has learned
 *
 * A check reads storage itself, past all caches: it looks at images that cannot
 * be opened, too.  While it runs nothing else changes the image.
 *
 * Everything the image says is counted or reported, nothing is trusted: a
 * structure that makes no sense is a finding, and the walk goes on.
 */
#ifndef QCF_CHECK_IMAGE_H
#define QCF_CHECK_IMAGE_H

#include "check_counts.h"
#include "check_id.h"
#include "header.h"
#include "l2_entry.h"
#include "storage.h"

struct qcowfmt_image;
struct qcf_meta;

/* An L2 table, and how many L1 entries name it. */
struct qcf_l2_ref {
	uint64_t offset;
	uint32_t names;
	uint32_t active; /* of them, in the active L1 table */
	bool walked;
};

/* An L2 entry that a repair turns into plain zeros. */
struct qcf_bad_zero {
	uint64_t at;    /* host offset of the entry */
	uint32_t names; /* of its table */
};

struct qcf_checker {
	struct qcowfmt_storage *storage;
	const struct qcf_header *header;
	const struct qcf_geometry *geometry;
	struct qcowfmt_check_result *result;
	qcowfmt_finding_callback callback;
	uint64_t told; /* findings so far */
	void *opaque;
	uint64_t file_size;
	uint64_t file_clusters; /* rounded up */

	/* What is to be repaired.  Findings about it then say so. */
	struct qcf_meta *meta; /* of the image; NULL: it is not changed */
	bool fix_leaks;
	bool fix_all;

	/* --- what the walk has found --- */
	struct qcf_counts counts;   /* references, by host cluster */
	struct qcf_counts dangling; /* clusters behind the end of the file that
				     * something refers to */
	struct qcf_l2_ref *tables;  /* of all L1 tables; sorted by offset */
	size_t table_count;
	struct qcf_bad_zero *bad_zeros; /* to be repaired */
	size_t bad_zero_count;
	size_t bad_zero_room;
	struct qcf_be64 *reftable; /* as on storage */
	uint64_t reftable_entries;
	bool need_flags;     /* COPIED flags have to be looked at one by one */
	bool need_rebuild;   /* refcount table or blocks cannot be used */
	bool need_snapshots; /* their table has to be written anew */
	bool need_bitmaps;   /* some bitmaps have to be dropped: */
	bool *sound_bitmaps; /* those in the directory that may stay; owned */
	uint32_t bitmap_count;
	bool broken_directory; /* none may */
	bool lost;             /* something that names clusters could not be
			     * followed: what seems leaked need not be */

	/* --- what comparing has found --- */
	bool mismatch;         /* some stored count is wrong */
	bool uncounted;        /* a cluster in use has a count of zero */
	bool overflow;         /* a cluster has more references than a count
			     * of so few bits can say */
	uint64_t count_errors; /* corruptions of counts and their tables */
	struct qcf_block_slice *slices; /* of refcount blocks; check_stored.h */
	uint64_t slice_count;
};

/* Tell the callback about a finding, but not about more of them than anybody can
 * read; counting it is up to the caller. */
void qcf_finding(struct qcf_checker *checker, enum qcf_check id,
                 uint64_t host_offset, const char *fmt, ...) QCF_PRINTF(4, 5);

/*
 * A finding that counts as n corruptions or, if a repair is going to see to it,
 * as n repaired ones.  The text begins with "Repairing" or "ERROR".
 */
void qcf_finding_fixable(struct qcf_checker *checker, enum qcf_check id,
                         uint64_t host_offset, bool fixed, uint64_t n,
                         const char *fmt, ...) QCF_PRINTF(6, 7);

/*
 * Begin a check of a storage; the header and result stay the caller's.  On
 * failure, too, it ends with qcf_checker_fini().
 */
int qcf_checker_init(struct qcf_checker *checker,
                     struct qcowfmt_storage *storage,
                     const struct qcf_header *header,
                     const struct qcf_geometry *geometry,
                     struct qcowfmt_check_result *result,
                     struct qcowfmt_error **errp);
void qcf_checker_fini(struct qcf_checker *checker);

/* Walk all tables. */
int qcf_checker_walk(struct qcf_checker *checker, struct qcowfmt_error **errp);

/* Walk all tables, and compare what is stored with what was found. */
int qcf_checker_look(struct qcf_checker *checker, struct qcowfmt_error **errp);

/* The count that a COPIED flag has to agree with, when a cluster has so many
 * references, and so many are stored: references that do not fit are still many. */
uint64_t qcf_checker_count_for_flag(const struct qcf_checker *checker,
                                    uint64_t stored, uint64_t found);

/* Hold the COPIED flags against the stored counts. */
int qcf_checker_look_at_flags(struct qcf_checker *checker,
                              struct qcowfmt_error **errp);

/* As qcowfmt_check(); result members are all set. */
int qcf_check(struct qcowfmt_image *image, uint32_t flags,
              qcowfmt_finding_callback callback, void *opaque,
              struct qcowfmt_check_result *result, struct qcowfmt_error **errp);

/* The same for one image whose gate is closed already, without a callback. */
int qcf_check_alone(struct qcf_meta *meta, uint32_t flags,
                    struct qcowfmt_check_result *result,
                    struct qcowfmt_error **errp);

#endif
