/* SPDX-License-Identifier: MIT */
/*
 * bitmap_entry.h - persistent dirty bitmaps on disk
 *
 * Header extension (QCF_EXT_BITMAPS), valid while the autoclear bit is set:
 *
 *   byte  0 -  3  count             bitmaps, 1 ... 65535
 *         4 -  7  reserved, 0
 *         8 - 15  directory_size    bytes
 *        16 - 23  directory_offset  host offset, cluster aligned
 *
 * One entry of the bitmap directory, which they fill exactly:
 *
 *   byte  0 -  7  table_offset      host offset, cluster aligned
 *         8 - 11  table_entries     u64 entries in the bitmap table
 *        12 - 15  flags             QCF_BITMAP_*
 *             16  type              1 = dirty tracking
 *             17  granularity_bits  one bit covers 1 << granularity_bits
 *        18 - 19  name_len          bytes, no terminator
 *        20 - 23  extra_len         bytes we do not know but must keep
 *        24 ...   extra, name, zero padding to a multiple of 8
 *
 * One entry of a bitmap table, for one cluster of bits:
 *
 *   bit       0  without an offset: all bits are 1
 *   bits  9-55   host offset of the cluster, cluster aligned; 0 = none: all
 *                bits are 0, or 1 as bit 0 says
 *   rest         reserved, 0
 *
 * Bit n of a bitmap is bit n % 8, lowest first, of byte n / 8.
 */
#ifndef QCF_BITMAP_ENTRY_H
#define QCF_BITMAP_ENTRY_H

#include "bytes.h"
#include "geometry.h"
#include "header.h"

#define QCF_MAX_BITMAPS UINT32_C(65535)
/* So many entries of 1024 bytes. */
#define QCF_MAX_BITMAP_DIRECTORY (UINT64_C(65535) * 1024)
#define QCF_MAX_BITMAP_NAME      1023u
/* Of one bitmap, bytes and table entries. */
#define QCF_MAX_BITMAP_SIZE      (UINT64_C(512) << 20)
#define QCF_MAX_BITMAP_TABLE     (UINT32_C(1) << 27)
#define QCF_MIN_GRANULARITY_BITS 9u
#define QCF_MAX_GRANULARITY_BITS 31u

#define QCF_BITMAP_EXT_LEN   24u
#define QCF_BITMAP_ENTRY_LEN 24u /* without extra data and name */
/* Where the flags are in an entry: they change in place. */
#define QCF_BITMAP_FLAGS_AT 12u

#define QCF_BITMAP_TYPE_DIRTY 1u

#define QCF_BITMAP_IN_USE           UINT32_C(1)
#define QCF_BITMAP_AUTO             UINT32_C(2)
#define QCF_BITMAP_EXTRA_COMPATIBLE UINT32_C(4)

struct qcf_bitmap_ext {
	uint32_t count;
	uint64_t directory_size;
	uint64_t directory_offset;
};

/*
 * Decode and check the extension of a header.  What it says is then within the
 * limits above; where the file ends is not looked at.
 */
int qcf_bitmap_ext_decode(struct qcf_bitmap_ext *ext,
                          const struct qcf_extension *raw,
                          const struct qcf_geometry *g,
                          struct qcowfmt_error **errp);
void qcf_bitmap_ext_encode(const struct qcf_bitmap_ext *ext,
                           uint8_t bytes[QCF_BITMAP_EXT_LEN]);

/* One line for messages and dumps. */
void qcf_bitmap_ext_dump(const struct qcf_bitmap_ext *ext, char *text,
                         size_t len);

struct qcf_bitmap_entry {
	uint64_t table_offset;
	uint32_t table_entries;
	uint32_t flags;
	uint8_t type;
	uint8_t granularity_bits;
	uint32_t name_len;
	uint32_t extra_len;
	char *name;     /* owned, also ended by NUL; may hold NULs if it is
			 * broken */
	uint8_t *extra; /* owned; NULL if there is none */
};

void qcf_bitmap_entry_fini(struct qcf_bitmap_entry *entry);

/*
 * Decode the entry at the cursor and move it behind the entry and its padding.
 * Fails if it does not end inside the directory; whether its members make sense
 * is for qcf_bitmap_entry_check() to say.  On failure *entry needs no
 * qcf_bitmap_entry_fini().
 */
int qcf_bitmap_entry_decode(struct qcf_bitmap_entry *entry,
                            struct qcf_reader *reader,
                            struct qcowfmt_error **errp);

/* Encode at the cursor, padded to 8.  The cursor's overrun flag tells. */
void qcf_bitmap_entry_encode(const struct qcf_bitmap_entry *entry,
                             struct qcf_writer *writer);

/* Bytes of an entry in the directory. */
uint64_t qcf_bitmap_entry_size(const struct qcf_bitmap_entry *entry);

/*
 * Whether this library understands an entry: flags, type, granularity, name and
 * extra data are what they may be, and there is room for a table.  A bitmap that
 * is not in use must have the table entries that its disk needs.
 */
int qcf_bitmap_entry_check(const struct qcf_bitmap_entry *entry,
                           const struct qcf_geometry *g, uint64_t virtual_size,
                           struct qcowfmt_error **errp);

/* The part of it that tells where the table is: its clusters can be counted. */
int qcf_bitmap_entry_check_table(const struct qcf_bitmap_entry *entry,
                                 const struct qcf_geometry *g,
                                 struct qcowfmt_error **errp);

/* One line for messages and dumps; the name is escaped. */
void qcf_bitmap_entry_dump(const struct qcf_bitmap_entry *entry, char *text,
                           size_t len);

/*
 * Table entries for a disk at a granularity; false if the bitmap would be larger
 * than the format allows.
 */
bool qcf_bitmap_table_entries_for(const struct qcf_geometry *g,
                                  uint64_t virtual_size,
                                  uint32_t granularity_bits,
                                  uint32_t *table_entries);

/* Bits of a bitmap of a disk. */
uint64_t qcf_bitmap_bits_for(uint64_t virtual_size, uint32_t granularity_bits);

#define QCF_BITMAP_CLUSTER_ONES     UINT64_C(1)
#define QCF_BITMAP_CLUSTER_OFFSET   UINT64_C(0x00fffffffffffe00)
#define QCF_BITMAP_CLUSTER_RESERVED UINT64_C(0xff000000000001fe)

/* A decoded entry of a bitmap table. */
struct qcf_bitmap_cluster {
	uint64_t host_offset; /* 0 = none */
	bool ones;            /* without a host cluster: all bits are 1 */
	uint64_t reserved;    /* reserved bits that are set */
};

static inline bool qcf_bitmap_cluster_is_zero(struct qcf_bitmap_cluster cluster)
{
	return cluster.host_offset == 0 && !cluster.ones;
}

/* Never fails; whether it makes sense is for qcf_bitmap_cluster_check(). */
struct qcf_bitmap_cluster qcf_bitmap_cluster_decode(struct qcf_be64 raw);
struct qcf_be64 qcf_bitmap_cluster_encode(struct qcf_bitmap_cluster cluster);

/* Returns 0 or the corruption id. */
uint32_t qcf_bitmap_cluster_check(const struct qcf_geometry *g,
                                  struct qcf_be64 raw);

/* One line for messages and dumps. */
void qcf_bitmap_cluster_dump(struct qcf_bitmap_cluster cluster, char *text,
                             size_t len);

#endif
