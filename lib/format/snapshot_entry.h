/* SPDX-License-Identifier: MIT */
/*
 * snapshot_entry.h - one entry of the snapshot table
 *
 *   byte  0 -  7  l1_table_offset  cluster aligned
 *         8 - 11  l1_size          entries
 *        12 - 13  id_len
 *        14 - 15  name_len
 *        16 - 19  date_sec
 *        20 - 23  date_nsec
 *        24 - 31  vm_clock_nsec
 *        32 - 35  vm_state_size, low 32 bits
 *        36 - 39  extra_len
 *        40 ...   extra: u64 vm_state_size, u64 disk_size, u64 icount, unknown
 *                 then id, name, and padding to 8 between entries
 */
#ifndef QCF_SNAPSHOT_ENTRY_H
#define QCF_SNAPSHOT_ENTRY_H

#include "bytes.h"
#include "geometry.h"

struct qcf_snapshot_entry {
	uint64_t l1_table_offset;
	uint32_t l1_size;
	uint32_t date_sec;
	uint32_t date_nsec;
	uint64_t vm_clock_nsec;
	uint64_t vm_state_size;
	uint64_t disk_size;     /* bytes; 0 if the entry does not say */
	uint64_t icount;        /* UINT64_MAX = none */
	char *id;               /* owned */
	char *name;             /* owned */
	uint32_t extra_len;     /* as read */
	uint8_t *unknown_extra; /* extra bytes from 24 on; owned */
	size_t unknown_extra_len;
};

void qcf_snapshot_entry_fini(struct qcf_snapshot_entry *entry);

/* Whether the entry, as it was read, says how large the disk was. */
bool qcf_snapshot_entry_has_disk_size(const struct qcf_snapshot_entry *entry);

/* Bytes that encoding takes, padding included. */
size_t qcf_snapshot_entry_len(const struct qcf_snapshot_entry *entry);

/* Whether an image can have a disk of that size: if not, it is corruption. */
int qcf_snapshot_check_size(const struct qcf_geometry *g,
                            const struct qcf_snapshot_entry *entry,
                            struct qcowfmt_error **errp);

/*
 * Decode the entry at the cursor and move it behind the entry and its padding
 * (which may be missing after the last entry).
 */
int qcf_snapshot_entry_decode(struct qcf_snapshot_entry *entry,
                              const struct qcf_geometry *g,
                              struct qcf_reader *reader,
                              struct qcowfmt_error **errp);

/* Where the parts of an entry are in its table, whatever they say. */
struct qcf_snapshot_parts {
	uint64_t l1_table_offset;
	uint32_t l1_size;
	uint32_t extra_len;
	size_t start; /* of the entry */
	size_t id_len;
	size_t name_len;
	size_t end; /* without padding */
};

/*
 * Move the cursor behind the entry and its padding.  False if the entry does not
 * end in the table.
 */
bool qcf_snapshot_entry_locate(struct qcf_snapshot_parts *parts,
                               struct qcf_reader *reader);

/* Extra data beyond this is refused, as by other software. */
#define QCF_MAX_SNAPSHOT_EXTRA 1024u
/* Version 3 wants so much of it. */
#define QCF_MIN_SNAPSHOT_EXTRA 16u
/* What is known of it. */
#define QCF_KNOWN_SNAPSHOT_EXTRA 24u
#define QCF_SNAPSHOT_FIXED_LEN   40u
/* Where an entry has the lengths of its id and name. */
#define QCF_SNAPSHOT_TEXT_LENS 12u

/* Encode at the cursor, padded to 8.  The cursor's overrun flag tells. */
void qcf_snapshot_entry_encode(const struct qcf_snapshot_entry *entry,
                               struct qcf_writer *writer);

#endif
