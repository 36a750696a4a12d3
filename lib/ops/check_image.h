/* SPDX-License-Identifier: MIT */
/* check_image.h - compare reference counts and tables; repair */
#ifndef QCF_CHECK_IMAGE_H
#define QCF_CHECK_IMAGE_H

#include "check_counts.h"
#include "check_id.h"
#include "image.h"

/* A check that is running. */
struct qcf_checker {
	struct qcf_meta *meta;
	struct qcowfmt_check_result *result;
	qcowfmt_finding_callback callback;
	void *opaque;
	uint64_t file_clusters;   /* length of the file, rounded up */
	struct qcf_counts counts; /* references found, by host cluster */
};

/* Tell the callback about a finding; counting it is up to the caller. */
void qcf_finding(struct qcf_checker *checker, enum qcf_check id,
                 uint64_t host_offset, const char *fmt, ...) QCF_PRINTF(4, 5);

/* As qcowfmt_check(); result members are all set. */
int qcf_check(struct qcowfmt_image *image, uint32_t flags,
              qcowfmt_finding_callback callback, void *opaque,
              struct qcowfmt_check_result *result, struct qcowfmt_error **errp);

/* The same for one image whose gate is closed already, without a callback. */
int qcf_check_alone(struct qcf_meta *meta, uint32_t flags,
                    struct qcowfmt_check_result *result,
                    struct qcowfmt_error **errp);

#endif
