/* SPDX-License-Identifier: MIT */
/*
 * disk.h - the verbs of a disk under test
 *
 * A disk is made closed, for an image file that exists.  Implementations embed
 * struct qcf_disk as their first member.  Every verb returns true, or false
 * with a finding.
 */
#ifndef QCF_DISK_H
#define QCF_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "finding.h"
#include "oracle.h"
#include "qemu_image.h"
#include "rng.h"

struct qcf_disk;

struct qcf_disk_verbs {
	bool (*open)(struct qcf_disk *disk, struct qcf_finding *finding);
	/* Flush and close; everything written must be in the file then. */
	bool (*close)(struct qcf_disk *disk, struct qcf_finding *finding);
	bool (*read)(struct qcf_disk *disk, void *buffer, size_t len,
	             uint64_t offset, struct qcf_finding *finding);
	bool (*write)(struct qcf_disk *disk, const void *buffer, size_t len,
	              uint64_t offset, struct qcf_finding *finding);
	bool (*zero)(struct qcf_disk *disk, uint64_t offset, uint64_t len,
	             bool may_unmap, struct qcf_finding *finding);
	bool (*discard)(struct qcf_disk *disk, uint64_t offset, uint64_t len,
	                struct qcf_finding *finding);
	/* Whole clusters, or up to the end of the disk.  NULL: an ordinary
	 * write does. */
	bool (*compress)(struct qcf_disk *disk, const void *buffer, size_t len,
	                 uint64_t offset, struct qcf_finding *finding);
	bool (*flush)(struct qcf_disk *disk, struct qcf_finding *finding);
	/* Whatever else the disk says about a range must agree with the
	 * oracle.  NULL: it says nothing else. */
	bool (*inspect)(struct qcf_disk *disk, const struct qcf_oracle *oracle,
	                uint64_t offset, uint64_t len,
	                struct qcf_finding *finding);
	void (*free)(struct qcf_disk *disk);
};

struct qcf_disk {
	const struct qcf_disk_verbs *verbs;
};

/* The most images in a chain. */
#define QCF_MAX_LAYERS 3

/* How the image of a disk is opened.  What it points to outlives the disk. */
struct qcf_disk_options {
	const char *path;
	int32_t format; /* enum qcowfmt_format; 0: qcow2 */
	/* Of the image and those below it; NULL: it has none. */
	const char *secrets[QCF_MAX_LAYERS];
	/* The data file; NULL if there is none. */
	const char *data_path;
	/* How qemu-io opens it; NULL: as a qcow2 file at path. */
	const struct qcf_qemu_image *qemu_image;
	uint64_t cache_size;  /* 0: default */
	int32_t discard_mode; /* enum qcowfmt_discard_mode */
	uint32_t open_flags;  /* QCOWFMT_OPEN_* besides READ_WRITE */
	uint64_t seed;        /* of choices between equivalent calls */
	const char *snapshot; /* show this one, read-only; NULL: none */
};

/*
 * The library.  Reads and writes are split into vectors and moved to odd
 * memory addresses at random, which must make no difference.
 */
struct qcf_disk *qcf_disk_lib_new(const struct qcf_disk_options *options);

/* The image of an open one, to do to it what a disk has no verb for. */
struct qcowfmt_image *qcf_disk_lib_image(struct qcf_disk *disk);

/* qemu-io, kept running while the disk is open. */
struct qcf_disk *qcf_disk_qemu_new(const struct qcf_disk_options *options);

/* What $QCF_SUBJECT asks for: one of the two above. */
struct qcf_disk *qcf_disk_new(const struct qcf_disk_options *options);
bool qcf_subject_is_qemu(void);

/* Faults that a test must notice. */
enum qcf_fault {
	QCF_FAULT_LOST_WRITE,     /* succeeds and does nothing */
	QCF_FAULT_SHORT_WRITE,    /* the last byte is missing */
	QCF_FAULT_SHIFTED_READ,   /* one sector too far */
	QCF_FAULT_LOST_ZERO,      /* zeroing does nothing */
	QCF_FAULT_GREEDY_ZERO,    /* zeroes a byte too many */
	QCF_FAULT_GREEDY_DISCARD, /* also zeroes partial clusters */
	QCF_FAULT_LOST_DISCARD,   /* whole clusters keep their content */
	QCF_FAULT_LOST_ON_CLOSE,  /* a write since the last flush vanishes */
	QCF_FAULT_COUNT
};

const char *qcf_fault_name(enum qcf_fault fault);

/*
 * A disk that is right except that about one in five operations of the
 * fault's kind goes wrong.  Owns the inner disk.
 */
struct qcf_disk *qcf_disk_faulty_new(struct qcf_disk *inner,
                                     enum qcf_fault fault, uint64_t size,
                                     uint64_t seed);

#endif
