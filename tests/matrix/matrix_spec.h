/* SPDX-License-Identifier: MIT */
/*
 * matrix_spec.h - which kinds of image there are
 *
 * A kind of image is a point in a space of dimensions: version, cluster size,
 * encryption and so on.  Not all combinations of values are legal; the rules are
 * here.  A spec has a one-line form that a failed test prints and takes back.
 */
#ifndef QCF_MATRIX_SPEC_H
#define QCF_MATRIX_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum qcf_dimension {
	QCF_DIM_VERSION,
	QCF_DIM_CLUSTER_SIZE,
	QCF_DIM_COMPRESSION,
	QCF_DIM_ENCRYPTION,
	QCF_DIM_EXTENDED_L2,
	QCF_DIM_DATA_FILE,
	QCF_DIM_BACKING,
	QCF_DIM_PREALLOCATION,
	QCF_DIM_REFCOUNT_BITS,
	QCF_DIM_LAZY_REFCOUNTS,
	QCF_DIM_SNAPSHOT,
	QCF_DIMENSIONS
};

/* No dimension has more values than this. */
#define QCF_MAX_VALUES 16

#define QCF_SPEC_SIZE 256

/* One combination: for each dimension the number of a value. */
struct qcf_spec {
	uint8_t value[QCF_DIMENSIONS];
};

/* How LUKS encrypts, in the terms of both QEMU and the library. */
struct qcf_luks_kind {
	const char *cipher_alg;
	const char *cipher_mode;
	const char *ivgen_alg;
	const char *ivgen_hash_alg; /* NULL: the generator has none */
	const char *hash_alg;
};

enum qcf_backing_kind {
	QCF_BACKING_NONE,
	QCF_BACKING_RAW,
	QCF_BACKING_V1,
	QCF_BACKING_V2,
	QCF_BACKING_V3,
	QCF_BACKING_AES, /* version 3, encrypted */
	QCF_BACKING_KINDS
};

/* A spec decoded. */
struct qcf_traits {
	uint32_t version;
	uint64_t cluster_size;
	bool compressed_writes;
	uint32_t compression_type;
	int32_t encryption;               /* enum qcowfmt_encryption */
	const struct qcf_luks_kind *luks; /* NULL unless LUKS */
	bool extended_l2;
	bool data_file;
	bool raw_data_file;
	enum qcf_backing_kind backing;
	bool backing_is_long;  /* longer than the image; else shorter */
	int32_t preallocation; /* enum qcowfmt_preallocation */
	const char *preallocation_name;
	uint32_t refcount_bits; /* 0 in version 1 */
	bool lazy_refcounts;
	bool snapshot; /* an internal one is taken on the way */
};

/* How many values a dimension has. */
unsigned int qcf_dimension_values(enum qcf_dimension dimension);

bool qcf_spec_is_legal(const struct qcf_spec *spec);

struct qcf_traits qcf_spec_traits(const struct qcf_spec *spec);

/* "version=3,cluster_size=65536,..." */
void qcf_spec_print(const struct qcf_spec *spec, char out[QCF_SPEC_SIZE]);

/* The reverse; false, with a message on stderr, if it is not understood or
 * names a combination that is not legal. */
bool qcf_spec_parse(const char *text, struct qcf_spec *spec);

/* A number that depends on nothing but the values. */
uint64_t qcf_spec_hash(const struct qcf_spec *spec);

/*
 * Whether either side can create it: in version 1 both have one cluster size with
 * a backing file and one without.
 */
bool qcf_can_be_created(const struct qcf_traits *traits);

#endif
