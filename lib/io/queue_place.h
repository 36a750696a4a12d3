/* SPDX-License-Identifier: MIT */
/* queue_place.h - where the data of a request is, if that is plain to see */
#ifndef QCF_QUEUE_PLACE_H
#define QCF_QUEUE_PLACE_H

#include "queue_request.h"

enum qcf_queue_place {
	QCF_PLACE_UNKNOWN, /* that takes a thread */
	QCF_PLACE_ZEROS,   /* nowhere: it reads as zeros */
	QCF_PLACE_HOST,    /* in one piece, as it is */
};

/*
 * Looks at memory only and never waits.  The caller is inside the gate, and what
 * is found holds as long.  HOST: *storage and *host_offset; a write to there
 * changes no mapping and no other metadata.
 */
enum qcf_queue_place qcf_queue_find_place(struct qcowfmt_image *image,
                                          const struct qcf_queue_request *r,
                                          struct qcowfmt_storage **storage,
                                          uint64_t *host_offset);

#endif
