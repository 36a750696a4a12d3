/* SPDX-License-Identifier: MIT */
/*
 * header.h - the header of an image: its first cluster
 *
 * This is how versions 2 and 3 have it; version 1 is in header_v1.h.
 *
 *   byte   0 -   3  magic                    "QFI\xfb"
 *          4 -   7  version                  2 or 3
 *          8 -  15  backing_file_offset      0 = none
 *         16 -  19  backing_file_size        bytes, at most 1023
 *         20 -  23  cluster_bits             9 ... 21
 *         24 -  31  virtual_size             bytes, rounded down to 512
 *         32 -  35  crypt_method             0 none, 1 AES, 2 LUKS
 *         36 -  39  l1_size                  entries
 *         40 -  47  l1_table_offset          cluster aligned
 *         48 -  55  refcount_table_offset    cluster aligned
 *         56 -  59  refcount_table_clusters
 *         60 -  63  snapshot_count
 *         64 -  71  snapshots_offset         cluster aligned
 *   version 3 only:
 *         72 -  79  incompatible_features
 *         80 -  87  compatible_features
 *         88 -  95  autoclear_features
 *         96 -  99  refcount_order           width is 1 << order bits
 *        100 - 103  header_length            104, 112 or more
 *              104  compression_type         if header_length > 104
 *        105 - 111  padding
 *        112 ...    fields we do not know but must keep
 *
 * Behind it, up to the backing file name or the end of the cluster, come
 * extensions: u32 type, u32 length, data, padding to 8.
 */
#ifndef QCF_HEADER_H
#define QCF_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "geometry.h"

#define QCF_MAGIC UINT32_C(0x514649fb)

/* Offsets of the fields that are updated in place. */
#define QCF_HEADER_AT_VIRTUAL_SIZE 24u
#define QCF_HEADER_AT_L1           36u /* l1_size, l1_table_offset: 12 bytes */
#define QCF_HEADER_AT_REFTABLE     48u /* offset, clusters: 12 bytes */
#define QCF_HEADER_AT_SNAPSHOTS    60u /* count, offset: 12 bytes */
#define QCF_HEADER_AT_INCOMPATIBLE 72u
#define QCF_HEADER_AT_AUTOCLEAR    88u

/* Extension types */
#define QCF_EXT_END            UINT32_C(0x00000000)
#define QCF_EXT_BACKING_FORMAT UINT32_C(0xe2792aca)
#define QCF_EXT_FEATURE_NAMES  UINT32_C(0x6803f857)
#define QCF_EXT_BITMAPS        UINT32_C(0x23852875)
#define QCF_EXT_ENCRYPTION     UINT32_C(0x0537be77)
#define QCF_EXT_DATA_FILE      UINT32_C(0x44415441)

/* One header extension, in file order, data not interpreted. */
struct qcf_extension {
	uint32_t type;
	uint32_t len;
	uint8_t *data; /* owned */
};

struct qcf_header {
	uint32_t version;
	uint32_t cluster_bits;
	uint32_t l2_bits;      /* version 1 only */
	uint64_t virtual_size; /* rounded down to 512 */
	uint32_t crypt_method;
	uint32_t l1_size; /* entries; version 1: follows from the size */
	uint64_t l1_table_offset;
	uint64_t refcount_table_offset;
	uint32_t refcount_table_clusters;
	uint32_t snapshot_count;
	uint64_t snapshots_offset;
	uint64_t incompatible_features;
	uint64_t compatible_features;
	uint64_t autoclear_features;
	uint32_t refcount_order;
	uint32_t header_length; /* as read; encode writes 48, 72 or 112, and
				 * unknown */
	uint8_t compression_type;
	/* version 1 only, kept for encode: */
	uint32_t mtime;
	uint16_t reserved;
	uint16_t size_tail; /* what rounding took from virtual_size */

	char *backing_name;   /* owned, NUL-terminated; NULL = none */
	char *backing_format; /* owned; NULL = none; version 1 has no place
			       * for it */
	char *data_file_name; /* owned, NUL-terminated; NULL = none */

	uint8_t *unknown; /* what follows the known fields up to
			   * header_length; owned */
	size_t unknown_len;

	struct qcf_extension *extensions; /* all of them, but END; owned */
	size_t extension_count;
};

void qcf_header_fini(struct qcf_header *h);

/* A copy with strings and extensions of its own.  On failure *copy needs no
 * qcf_header_fini(). */
int qcf_header_copy(const struct qcf_header *h, struct qcf_header *copy,
                    struct qcowfmt_error **errp);

/*
 * Decode and validate the first cluster, in the order in which format errors
 * are documented to win.  bytes holds min(file size, cluster size) bytes, or the
 * first of them if they are qcf_header_is_whole(); the caller learns the cluster
 * size from a sector with qcf_header_peek_cluster_size().
 *
 * Checks every member against limits.h and the rest of the header, but not
 * whether features are supported (qcf_feature_check()) nor where the file ends.
 * On failure *h needs no qcf_header_fini().
 */
int qcf_header_decode(struct qcf_header *h, const uint8_t *bytes, size_t len,
                      struct qcowfmt_error **errp);

/*
 * From the first bytes of a file: its cluster size.  Checks magic, version and
 * cluster_bits only.  For version 1 it is the largest of that version, whatever
 * the image has: the backing file name may lie so far behind.
 */
int qcf_header_peek_cluster_size(const uint8_t *bytes, size_t len,
                                 uint64_t *cluster_size,
                                 struct qcowfmt_error **errp);

/*
 * Whether all that decoding looks at is in the first bytes of a file, which usually
 * is much less than a cluster.
 */
bool qcf_header_is_whole(const uint8_t *bytes, size_t len);

/* Geometry of a decoded header; cannot fail after a successful decode. */
int qcf_header_geometry(const struct qcf_header *h, struct qcf_geometry *g,
                        struct qcowfmt_error **errp);

/*
 * Encode into one whole cluster, which is zeroed first.  Extensions are written
 * in their order; the feature name table is regenerated, for version 3 with
 * clusters above 4 KiB only; the backing name follows the end record.  -ENOSPC
 * if it does not fit.
 *
 * Version 1: only the bytes in front of the L1 table are touched, and have to
 * be enough; the backing format is lost.
 */
int qcf_header_encode(const struct qcf_header *h, uint8_t *cluster,
                      size_t cluster_size, struct qcowfmt_error **errp);

/* A range of bytes. */
struct qcf_span {
	size_t first;
	size_t end; /* behind the last one */
};

/* Make a span cover another range, too. */
static inline void qcf_span_cover(struct qcf_span *span, size_t first,
                                  size_t end)
{
	if (span->first == span->end)
		*span = (struct qcf_span){ first, end };
	if (first < span->first)
		span->first = first;
	if (end > span->end)
		span->end = end;
}

/*
 * As qcf_header_encode(), but with everything of variable length from host offset
 * tail on, a multiple of 8 that is at least a sector.  Only the first sector and
 * the range *span are meant to be written.  -ENOSPC if it cannot be done.  Not for
 * version 1.
 */
int qcf_header_encode_at(const struct qcf_header *h, uint8_t *cluster,
                         size_t cluster_size, size_t tail,
                         struct qcf_span *span, struct qcowfmt_error **errp);

/*
 * Where, behind the first sector, an encoded header has what readers need:
 * extensions and the backing name; an empty span if nowhere.  *h is what the
 * bytes decode to.
 */
struct qcf_span qcf_header_find_tail(const struct qcf_header *h,
                                     const uint8_t *cluster,
                                     size_t cluster_size);

/*
 * Set the backing name and format (NULL removes).  Copies them.  The backing
 * format extension is derived from backing_format by encode.
 */
int qcf_header_set_backing(struct qcf_header *h, const char *name,
                           const char *format, struct qcowfmt_error **errp);

/* The last extension of a type, or NULL. */
const struct qcf_extension *qcf_header_extension(const struct qcf_header *h,
                                                 uint32_t type);

/* All fields, one a line, into a malloc'ed string; NULL on ENOMEM. */
char *qcf_header_dump(const struct qcf_header *h);

#endif
