/* SPDX-License-Identifier: MIT */
/* check_l2.h - what the entries of L2 tables refer to */
#ifndef QCF_CHECK_L2_H
#define QCF_CHECK_L2_H

#include "check_image.h"

/*
 * Count what an L2 table refers to, once for each of its names, and report
 * entries that make no sense; words is its content, NULL if it could not be read.
 * An active one adds to the counters about guest clusters.
 */
int qcf_check_walk_l2(struct qcf_checker *checker, const struct qcf_l2_ref *ref,
                      const struct qcf_be64 *words,
                      struct qcowfmt_error **errp);

/* Whether an entry is zeros with a cluster at an impossible offset: the cluster
 * means nothing, and a repair takes it out. */
bool qcf_check_is_bad_zero(const struct qcf_checker *checker,
                           const struct qcf_mapping *mapping);

/* Whether the first word of an entry is a data cluster in the file, private or
 * not, and nothing else; and how many entries from words[0] on, which is one, are
 * such clusters with the same flag that follow each other. */
bool qcf_check_is_plain(const struct qcf_checker *checker, uint64_t word);
uint64_t qcf_check_plain_run(const struct qcf_checker *checker,
                             const struct qcf_be64 *words, uint64_t max);

/*
 * Reads L2 tables one after the other; those that follow each other in the file
 * are read together.
 */
struct qcf_l2_reader {
	struct qcf_checker *checker;
	struct qcf_be64 *words; /* owned */
	uint64_t room;          /* bytes */
	uint64_t first;         /* host offset of its first byte */
	uint64_t len;           /* 0 = it holds nothing */
	uint64_t total;         /* bytes of all tables so far */
	/* A hole of the file that was met last: tables in it are empty. */
	uint64_t hole;
	uint64_t hole_end;
};

int qcf_l2_reader_init(struct qcf_l2_reader *reader,
                       struct qcf_checker *checker,
                       struct qcowfmt_error **errp);
void qcf_l2_reader_fini(struct qcf_l2_reader *reader);

/*
 * The table at refs[0], knowing that those behind it in the array (count with it)
 * are wanted next.  *words is valid until the next call, and NULL if there is
 * nothing to be read.
 */
int qcf_l2_reader_get(struct qcf_l2_reader *reader,
                      struct qcf_l2_ref *const *refs, size_t count,
                      const struct qcf_be64 **words,
                      struct qcowfmt_error **errp);

#endif
