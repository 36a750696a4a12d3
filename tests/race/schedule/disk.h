/* SPDX-License-Identifier: MIT */
/*
 * disk.h - storage whose operations take time, lose what was not flushed and
 * fail when told to
 *
 * Every operation begins and ends at a point of the scheduler, and a long one is
 * half done at another.  A write that has not been flushed survives a power cut
 * or not, or some of its sectors do; so do writes that end while a flush runs.
 * Discarded bytes hold garbage.
 */
#ifndef QCF_DISK_H
#define QCF_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcowfmt.h>

#define QCF_DISK_SIZE (UINT64_C(8) << 20) /* at most */
#define QCF_DISK_PAGE 4096u

/*
 * Content of a disk.  It knows what it was copied from last, and which pages have
 * changed since, so that copying the same again costs little.
 */
struct qcf_bytes {
	uint8_t *data;
	uint64_t size;
	uint64_t room;
	const struct qcf_bytes *like; /* must not change meanwhile; or NULL */
	bool changed[QCF_DISK_SIZE / QCF_DISK_PAGE]; /* pages; with like */
	uint64_t changed_end; /* pages from there on have not */
};

void qcf_bytes_free(struct qcf_bytes *bytes);

/* What fails. */
enum qcf_fault {
	QCF_FAULT_NONE,
	QCF_FAULT_READ,
	QCF_FAULT_WRITE,
	QCF_FAULT_NO_SPACE, /* writes behind the end, from then on */
	QCF_FAULT_FLUSH,
};

struct qcf_disk;

struct qcf_disk *qcf_disk_new(void);
void qcf_disk_free(struct qcf_disk *disk);

/* All of it is stable from now on, and nothing fails.  The bytes stay as they are
 * as long as the disk is there. */
void qcf_disk_load(struct qcf_disk *disk, const struct qcf_bytes *bytes);

/* What reads return now. */
void qcf_disk_save(const struct qcf_disk *disk, struct qcf_bytes *bytes);

/* A storage on it, which can make zeros or leaves that to writes; the disk must
 * outlive the storage. */
struct qcowfmt_storage *qcf_disk_storage(struct qcf_disk *disk, bool writable,
                                         bool has_zeros);

/* Put on another disk what a power cut would leave now, chosen at random. */
void qcf_disk_cut(const struct qcf_disk *disk, struct qcf_disk *left);

/* The n-th operation of that kind from now on fails, with n from 1. */
void qcf_disk_fail(struct qcf_disk *disk, enum qcf_fault fault, uint64_t n);

/* The thread that met the failure; -1 if nobody has. */
int qcf_disk_victim(const struct qcf_disk *disk);

#endif
