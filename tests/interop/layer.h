/* SPDX-License-Identifier: MIT */
/*
 * layer.h - an image and the chain below it: making it, judging it
 *
 * Each layer has its own oracle, which starts as a copy of the one below: what
 * the guest would see through this layer.  Once made, a layer below the top
 * gets an old time stamp, so that any later write to it shows.
 */
#ifndef QCF_LAYER_H
#define QCF_LAYER_H

#include "oracle.h"
#include "workload.h"

enum qcf_maker {
	QCF_MADE_BY_LIBRARY,
	QCF_MADE_BY_QEMU,
	QCF_MADE_BY_HAND, /* version 1: geometries that neither makes */
};

enum qcf_data_file {
	QCF_DATA_INSIDE,
	QCF_DATA_FILE,
	QCF_DATA_FILE_RAW, /* which is a raw image */
};

/* What an image is like, apart from its content. */
struct qcf_shape {
	bool raw;         /* the members below up to size do not apply */
	uint32_t version; /* 1, 2 or 3 */
	uint64_t cluster_size;
	uint32_t l2_bits; /* of version 1 made by hand */
	uint32_t refcount_bits;
	bool lazy_refcounts;
	bool extended_l2;
	bool zstd;
	bool compresses; /* some operations write compressed */
	enum qcf_data_file data_file;
	int32_t encryption;        /* enum qcowfmt_encryption */
	int luks;                  /* which algorithms LUKS uses */
	const char *preallocation; /* NULL: off */
	uint64_t size;             /* bytes; raw: may end within a sector */
	enum qcf_maker maker;
};

struct qcf_layer {
	struct qcf_shape shape;
	char name[16]; /* of the file in the directory */
	char path[QCF_PATH_SIZE];
	char data_path[QCF_PATH_SIZE]; /* of a data file */
	char secret[16];               /* if it is encrypted */
	struct qcf_oracle oracle;      /* size rounded up to a sector */
	struct qcf_target target;
	bool has_backing;
};

struct qcf_chain {
	struct qcf_tmpdir dir;
	struct qcf_qemu_image qemu_image; /* of the top */
	int count;
	struct qcf_layer layers[QCF_MAX_LAYERS]; /* 0 is the lowest */
};

/* Describe a layer in a few words, for messages. */
void qcf_shape_print(const struct qcf_shape *shape, char *out, size_t size);

/* What QEMU calls the format of a layer. */
const char *qcf_layer_driver(const struct qcf_layer *layer);

/* NULL if it is not encrypted. */
const char *qcf_layer_secret(const struct qcf_layer *layer);

/* Make the empty image of a layer, on the file of another one or none. */
bool qcf_layer_create(const struct qcf_layer *layer,
                      const struct qcf_layer *backing,
                      struct qcf_finding *finding);

/* An empty chain in a fresh directory. */
void qcf_chain_init(struct qcf_chain *chain);

/* Close all; the files of a failed one stay in the scratch directory. */
void qcf_chain_fini(struct qcf_chain *chain, bool failed);

struct qcf_layer *qcf_chain_top(struct qcf_chain *chain);

/*
 * Put a new, empty image on top of the chain.  Its operations will stay in the
 * windows of the target.
 */
bool qcf_chain_push(struct qcf_chain *chain, const struct qcf_shape *shape,
                    const struct qcf_target *target,
                    struct qcf_finding *finding);

/*
 * Give the top layer random content of its own, by random operations of its
 * maker.
 */
bool qcf_chain_fill(struct qcf_chain *chain, uint64_t count, uint64_t seed,
                    struct qcf_finding *finding);

/* How the top image is opened: its path, format, secrets and data file. */
void qcf_chain_open_options(struct qcf_chain *chain,
                            struct qcf_disk_options *options);

/*
 * Open the top image with further options as given, run random operations on
 * it, read everything and close it.
 */
bool qcf_chain_exercise(struct qcf_chain *chain,
                        const struct qcf_disk_options *options, uint64_t count,
                        uint64_t seed, struct qcf_finding *finding);

/*
 * Judge the closed image on top: our check and QEMU's find neither corruption
 * nor leak, it is not dirty, QEMU reads the same bytes as the oracle has, and
 * the layers below are untouched.  A raw data file has those bytes, too.
 */
bool qcf_chain_judge(struct qcf_chain *chain, struct qcf_finding *finding);

#endif
