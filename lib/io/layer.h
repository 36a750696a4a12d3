/* SPDX-License-Identifier: MIT */
/*
 * layer.h - one image of a chain
 *
 * A raw image is a layer without metadata whose map is the identity.
 */
#ifndef QCF_LAYER_H
#define QCF_LAYER_H

#include "meta.h"

struct qcf_layer {
	int format;  /* enum qcowfmt_format: RAW, QCOW or QCOW2 */
	bool probed; /* the format was found out from the content */
	bool writable;
	uint32_t depth;                    /* 0 = the image opened first */
	struct qcowfmt_storage *storage;   /* owned */
	struct qcowfmt_storage *data;      /* where guest data is: storage or
					  * data_file; NULL if that is not
					  * open */
	struct qcowfmt_storage *data_file; /* owned; NULL if there is none */
	_Atomic uint64_t virtual_size; /* changes while the gate is closed */
	_Atomic uint64_t known_size;   /* a length the file is known to have */
	struct qcf_meta *meta;         /* NULL for raw; owned */
	struct qcf_poison raw_poison;  /* raw: as meta->poison */
	char *backing_path; /* the backing name as it would be opened; owned,
			     * NULL if there is none */
	char *beneath;      /* directory part below that of the first image,
			     * for the policy "beneath"; owned */
};

struct qcf_layer_options {
	int format;
	bool writable;
	bool repair;
	bool no_lock;
	bool no_data; /* only metadata will be looked at */
	int lazy_refcounts;
	uint32_t depth;
	uint64_t max_table_size;
	struct qcf_budget *budget;
	struct qcf_gate *gate;
	const struct qcf_secret_source *secrets; /* depth and name are filled
						  * in */
	const char *snapshot_id; /* show a snapshot, as in the open options */
	const char *snapshot_name;
	struct qcowfmt_storage *data_storage; /* in place of the data file that
					       * the image names; NULL = none */
};

/*
 * Open the image in a storage.  On success the layer owns the storage; on
 * failure it stays the caller's.
 */
int qcf_layer_open(struct qcowfmt_storage *storage,
                   const struct qcf_layer_options *options,
                   struct qcf_layer **result, struct qcowfmt_error **errp);

/* Write back and free, also on failure.  NULL is allowed. */
int qcf_layer_close(struct qcf_layer *layer, struct qcowfmt_error **errp);

/* Free without writing anything; the storage goes back to the caller, without
 * a lock. */
void qcf_layer_abandon(struct qcf_layer *layer);

struct qcf_poison *qcf_layer_poison(struct qcf_layer *layer);

/* Whether guest data is in a file of its own.  Once the image is open this can be
 * asked at any time: unlike the geometry it never changes. */
static inline bool qcf_layer_has_data_file(const struct qcf_layer *layer)
{
	return layer->data != layer->storage;
}

/*
 * Give a layer its data file, which it owns from now on, also on failure; NULL
 * if it is not to be opened.
 */
int qcf_layer_set_data_file(struct qcf_layer *layer,
                            struct qcowfmt_storage *data, bool no_lock,
                            struct qcowfmt_error **errp);

/* The guest offset from which a qcow2 image keeps VM state: that of the first L1
 * entry that maps nothing of the disk. */
static inline uint64_t qcf_layer_vm_state_start(const struct qcf_layer *layer)
{
	const struct qcf_geometry *g = &layer->meta->geometry;

	return qcf_l1_entries_for(g, atomic_load(&layer->virtual_size))
	       << g->l1_shift;
}

/* Whether a guest offset is not one of the disk, but of VM state. */
static inline bool qcf_layer_is_vm_state(const struct qcf_layer *layer,
                                         uint64_t guest_offset)
{
	return guest_offset >= atomic_load(&layer->virtual_size) &&
	       layer->meta != NULL && layer->meta->geometry.version > 1 &&
	       guest_offset >= qcf_layer_vm_state_start(layer);
}

/* How guest data is encrypted; NULL if it is not. */
static inline struct qcf_crypto *qcf_layer_crypto(const struct qcf_layer *layer)
{
	return layer->meta == NULL ? NULL : layer->meta->crypto;
}

/*
 * Cut a range of guest data to what the image file holds, its last cluster
 * counting as whole.  A range wholly behind that is corruption.  Raw images and
 * data files go on as zeros.
 */
int qcf_layer_limit_to_file(struct qcf_layer *layer, uint64_t host_offset,
                            uint64_t *len, struct qcowfmt_error **errp);

#endif
