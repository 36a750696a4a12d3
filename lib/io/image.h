/* SPDX-License-Identifier: MIT */
/*
 * image.h - the handle that applications hold
 *
 * layers[0] is the image opened, the others its backing files, which are only
 * ever read.  Requests enter the gate, do their work through extent.h, read.h,
 * write.h and zero_discard.h, and leave it.
 */
#ifndef QCF_IMAGE_H
#define QCF_IMAGE_H

#include "chain_skip.h"
#include "compress.h"
#include "decoded.h"
#include "gate.h"
#include "inflight.h"
#include "layer.h"

struct qcowfmt_queue;

struct qcowfmt_image {
	uint64_t serial; /* in which order images of the process were made */
	struct qcf_layer **layers;
	uint32_t layer_count;
	bool incomplete;  /* the last layer names a backing file that was not
			  * opened (QCOWFMT_REFERENCES_IGNORE, chain_limit) */
	bool no_data;     /* opened to look at metadata only */
	int discard_mode; /* enum qcowfmt_discard_mode */
	bool keep_snapshot_space; /* host space of what snapshots free */
	struct qcf_gate gate;
	struct qcf_inflight inflight; /* guest clusters of layers[0] */
	struct qcf_budget budget;
	struct qcf_chain_skip skip;
	struct qcf_decoded_cache decoded; /* of all layers */
	struct qcf_compressor compressor; /* the level is for layers[0] */

	/* guarded by queues_lock */
	struct qcf_mutex queues_lock;
	struct qcowfmt_queue *queues; /* linked by next */
	uint32_t queue_count;
};

static inline struct qcf_layer *qcf_image_top(const struct qcowfmt_image *image)
{
	return image->layers[0];
}

/* The image at a depth of the chain; -ENOENT if there is none. */
int qcf_image_layer(const struct qcowfmt_image *image, uint32_t depth,
                    struct qcf_layer **layer, struct qcowfmt_error **errp);

/* The data for a guest range: a vector and how far into it the range begins. */
struct qcf_payload {
	const struct iovec *iov;
	int iovcnt;
	uint64_t skip;
	uint64_t guest_offset;
	uint64_t len;
};

/* A running request. */
struct qcf_request {
	struct qcowfmt_image *image;
	struct qcf_gate_slot *slot; /* NULL: the only one, the gate is closed;
				     * or under the slot of another request */
};

/* An image without layers; the chain is opened into it. */
int qcf_image_new(struct qcowfmt_image **image, struct qcowfmt_error **errp);

/* Close all layers and free; the first failure is reported. */
int qcf_image_close(struct qcowfmt_image *image, struct qcowfmt_error **errp);

/* Free without writing anything; the storage of the first layer goes back to
 * the caller.  For an image whose opening failed. */
void qcf_image_abandon(struct qcowfmt_image *image);

/*
 * Enter for a change: -EROFS on a read-only image, POISONED after a failure.
 */
int qcf_request_begin_write(struct qcf_request *request,
                            struct qcowfmt_image *image,
                            struct qcowfmt_error **errp);
/* Whether it would let a request in; to be asked inside the gate. */
bool qcf_image_takes_writes(struct qcowfmt_image *image);

void qcf_request_begin_read(struct qcf_request *request,
                            struct qcowfmt_image *image);
void qcf_request_end(struct qcf_request *request);

/*
 * Whoever is inside the gate of one image, or has closed it, and waits for that of
 * another one enters or closes them in this order, and each of them once: others
 * who wait for the same two gates would otherwise wait for ever.
 */
static inline bool qcf_image_comes_first(const struct qcowfmt_image *image,
                                         const struct qcowfmt_image *other)
{
	return image->serial < other->serial;
}

/* Enter two images, which may be the same, for reading. */
void qcf_request_begin_both(struct qcf_request *first,
                            struct qcowfmt_image *first_image,
                            struct qcf_request *second,
                            struct qcowfmt_image *second_image);

/* Forget all mappings looked up so far. */
void qcf_request_renew(struct qcf_request *request);

/*
 * Between two steps of a request that changes mappings, holding nothing: write
 * back if much is dirty, and free what has left quarantine.
 */
int qcf_request_breathe(struct qcf_request *request,
                        struct qcowfmt_error **errp);

/* -EINVAL if a range is not inside the virtual disk. */
int qcf_image_check_range(const struct qcowfmt_image *image,
                          uint64_t guest_offset, uint64_t len,
                          struct qcowfmt_error **errp);

/* Make all completed changes stable. */
int qcf_image_flush(struct qcowfmt_image *image, struct qcowfmt_error **errp);

#endif
