/* SPDX-License-Identifier: MIT */
/*
 * stage.h - the images that threads act on
 *
 * What an episode starts from is made once, by the setup script of its scenario,
 * and then copied to the disks again and again.
 */
#ifndef QCF_STAGE_H
#define QCF_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <qcowfmt.h>

#include "disk.h"
#include "finding.h"
#include "ledger.h"
#include "stamp.h"

enum qcf_stage_disk {
	QCF_STAGE_TOP,
	QCF_STAGE_BASE,   /* with shape.chain */
	QCF_STAGE_DATA,   /* with shape.data_file */
	QCF_STAGE_TARGET, /* of conversions: empty */
	QCF_STAGE_DISKS,
};

struct qcf_stage_shape {
	uint64_t cluster_size;
	uint64_t sectors; /* of the disk */
	uint32_t version;
	uint32_t refcount_bits;
	uint64_t cache_size;
	bool lazy_refcounts;
	bool extended_l2;
	bool data_file;
	bool encrypted;
	bool chain;
	bool cut_chain; /* open the top without the base, which is open, too */
	bool bitmaps;   /* "kept" and "other", in the base, too */
	bool converts;
};

struct qcf_scenario {
	const char *name;
	struct qcf_stage_shape shape;
	const char *base_setup; /* scripts, see script.h */
	const char *setup;
	const char *threads[5]; /* up to the first NULL */
	const char *kinds;      /* instead: acts of random threads */
	enum qcf_fault fault;   /* one in each episode */
};

struct qcf_stage {
	const struct qcf_scenario *scenario;
	struct qcf_disk *disks[QCF_STAGE_DISKS];
	struct qcf_bytes start[QCF_STAGE_DISKS];
	uint64_t versions[QCF_MAX_SECTORS];      /* at the start */
	uint64_t base_versions[QCF_MAX_SECTORS]; /* of the base alone */
	uint64_t base_snapshot[QCF_MAX_SECTORS];
	bool has_base_snapshot;
	struct qcowfmt_image *image;
	struct qcowfmt_image *base;   /* with shape.cut_chain */
	struct qcowfmt_image *target; /* with shape.converts */
};

/* Make the disks and what episodes start from.  Aborts if that fails. */
void qcf_stage_init(struct qcf_stage *stage,
                    const struct qcf_scenario *scenario);
void qcf_stage_fini(struct qcf_stage *stage);

/* Everything as at the start, and open. */
void qcf_stage_reset(struct qcf_stage *stage);

/* Close what is open. */
int qcf_stage_close(struct qcf_stage *stage, struct qcowfmt_error **errp);

/* Another look at the disks: the whole chain, or a snapshot.  NULL: all disks
 * are as they are; otherwise the top is taken from there. */
int qcf_stage_open(struct qcf_stage *stage, uint32_t flags,
                   const char *snapshot, struct qcf_disk *top,
                   struct qcowfmt_image **image, struct qcowfmt_error **errp);

/* The unit of discards, sectors. */
uint64_t qcf_stage_unit(const struct qcf_stage *stage);

#endif
