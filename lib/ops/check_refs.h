/* SPDX-License-Identifier: MIT */
/* check_refs.h - references to host clusters, and tables that hold them */
#ifndef QCF_CHECK_REFS_H
#define QCF_CHECK_REFS_H

#include "check_image.h"

/*
 * Count n references to each cluster that len bytes touch, as far as they are in
 * the file; what is behind its last cluster is corruption, and nothing new may be
 * put there.
 */
int qcf_check_count_range(struct qcf_checker *checker, uint64_t offset,
                          uint64_t len, uint32_t n,
                          struct qcowfmt_error **errp);

/* The same for a table that a repair puts elsewhere: what is behind the end of the
 * file is not claimed. */
int qcf_check_count_table(struct qcf_checker *checker, uint64_t offset,
                          uint64_t len, struct qcowfmt_error **errp);

/* Whether a host offset can be that of a table or a whole cluster. */
bool qcf_check_is_offset(const struct qcf_checker *checker, uint64_t offset);

/* Whether a cluster is in the file, at least in part. */
bool qcf_check_in_file(const struct qcf_checker *checker, uint64_t offset);

/* Report and count a corruption that no repair takes away, n times. */
#define qcf_check_report(checker, id, at, n, ...)                \
	do {                                                     \
		qcf_finding((checker), (id), (at), __VA_ARGS__); \
		(checker)->result->corruptions += (n);           \
	} while (0)

/*
 * Read len bytes of a table; what lies behind the end of the file reads as zeros.
 * What storage cannot read is a check error, and *ok false then.
 */
int qcf_check_read(struct qcf_checker *checker, const char *what,
                   uint64_t offset, void *buffer, uint64_t len, bool *ok,
                   struct qcowfmt_error **errp);

/* The same into memory that the caller frees; NULL if it could not be read. */
int qcf_check_read_table(struct qcf_checker *checker, const char *what,
                         uint64_t offset, uint64_t len, struct qcf_be64 **table,
                         struct qcowfmt_error **errp);

/* A buffer for reading ahead: as long as the file at most, so that small images
 * cost little, but at least a cluster. */
uint64_t qcf_check_read_ahead(const struct qcf_checker *checker);

#endif
