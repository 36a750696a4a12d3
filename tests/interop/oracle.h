/* SPDX-License-Identifier: MIT */
/*
 * oracle.h - the flat array that a virtual disk must equal
 *
 * A sparse raw file, mapped shared: memory to compare with, and at the same
 * time a file that "qemu-img compare" reads.  Its size may be terabytes as
 * long as little of it is written.
 */
#ifndef QCF_ORACLE_H
#define QCF_ORACLE_H

#include <stddef.h>
#include <stdint.h>

#include "finding.h"
#include "tmpdir.h"

struct qcf_oracle {
	char path[QCF_PATH_SIZE];
	uint64_t size;  /* bytes, at least 1 */
	int fd;         /* -1 when closed */
	uint8_t *bytes; /* size bytes, valid while fd is */
};

/* A new one, all zeros. */
bool qcf_oracle_create(struct qcf_oracle *oracle, const char *path,
                       uint64_t size, struct qcf_finding *finding);

/*
 * A copy in a new file of another size: cut off, or continued with zeros.
 */
bool qcf_oracle_copy(const struct qcf_oracle *from, struct qcf_oracle *to,
                     const char *path, uint64_t size,
                     struct qcf_finding *finding);

/* Cut off, or continue with zeros. */
bool qcf_oracle_resize(struct qcf_oracle *oracle, uint64_t size,
                       struct qcf_finding *finding);

/* Unmap; the file stays.  A closed or zeroed oracle is allowed. */
void qcf_oracle_close(struct qcf_oracle *oracle);

void qcf_oracle_write(struct qcf_oracle *oracle, const void *data, size_t len,
                      uint64_t offset);

void qcf_oracle_zero(struct qcf_oracle *oracle, uint64_t offset, uint64_t len);

/* Compare bytes that were read; names the first one that differs. */
bool qcf_oracle_verify(const struct qcf_oracle *oracle, const void *data,
                       size_t len, uint64_t offset,
                       struct qcf_finding *finding);

#endif
