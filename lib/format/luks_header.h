/* SPDX-License-Identifier: MIT */
/*
 * luks_header.h - the LUKS version 1 header, at the start of the LUKS area
 *
 *   byte   0 -   5  magic              "LUKS\xba\xbe"
 *          6 -   7  version            1
 *          8 -  39  cipher             "aes", ends with NUL
 *         40 -  71  mode               "xts-plain64", "cbc-essiv:sha256"; NUL
 *         72 - 103  hash               "sha256"; NUL
 *        104 - 107  payload_sector     0 = the header is kept elsewhere
 *        108 - 111  key_len            of the master key, bytes
 *        112 - 131  digest             of the master key
 *        132 - 163  digest_salt
 *        164 - 167  digest_iterations
 *        168 - 207  uuid               text
 *        208 - 591  eight key slots of
 *                     0 -  3  state       active or inactive
 *                     4 -  7  iterations
 *                     8 - 39  salt
 *                    40 - 43  key_sector  of its key material
 *                    44 - 47  stripes     4000
 *
 * Sectors have 512 bytes and count from the start of the area.
 *
 * A slot can be written on its own.  The one that lies across the end of the
 * first sector has its state and iterations on this side of it, so whatever a
 * power cut leaves of it, it can be decoded.
 */
#ifndef QCF_LUKS_HEADER_H
#define QCF_LUKS_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define QCF_LUKS_HEADER_LEN 592u
#define QCF_LUKS_SLOT_LEN   48u
#define QCF_LUKS_SLOTS      8u
#define QCF_LUKS_SECTOR     512u
#define QCF_LUKS_STRIPES    4000u
#define QCF_LUKS_SALT_LEN   32u
#define QCF_LUKS_DIGEST_LEN 20u
#define QCF_LUKS_NAME_LEN   32u
#define QCF_LUKS_UUID_LEN   40u
#define QCF_LUKS_MAX_KEY    64u

struct qcf_luks_slot {
	bool active;
	uint32_t iterations;
	uint8_t salt[QCF_LUKS_SALT_LEN];
	uint32_t key_sector;
	uint32_t stripes;
};

struct qcf_luks_header {
	char cipher[QCF_LUKS_NAME_LEN];
	char mode[QCF_LUKS_NAME_LEN]; /* as it is stored */
	char hash[QCF_LUKS_NAME_LEN];
	uint32_t payload_sector;
	uint32_t key_len;
	uint8_t digest[QCF_LUKS_DIGEST_LEN];
	uint8_t digest_salt[QCF_LUKS_SALT_LEN];
	uint32_t digest_iterations;
	char uuid[QCF_LUKS_UUID_LEN + 1];
	struct qcf_luks_slot slots[QCF_LUKS_SLOTS];

	/* what mode consists of; not stored */
	char cipher_mode[QCF_LUKS_NAME_LEN];
	char ivgen[QCF_LUKS_NAME_LEN];
	char ivgen_hash[QCF_LUKS_NAME_LEN]; /* "" if it has none */
};

/*
 * Decode and check every field.  bytes holds the start of the area, whose length
 * is area_len.  After it each slot's key material lies inside the area, behind
 * the header, and apart from the others'.  Whether the names are known is not
 * looked at.  host_offset, of the area, is for messages.
 */
int qcf_luks_header_decode(struct qcf_luks_header *h, const uint8_t *bytes,
                           size_t len, uint64_t area_len, uint64_t host_offset,
                           struct qcowfmt_error **errp);

/* Encode into QCF_LUKS_HEADER_LEN bytes. */
void qcf_luks_header_encode(const struct qcf_luks_header *h, uint8_t *bytes);

/* Encode one slot into QCF_LUKS_SLOT_LEN bytes; where it is in the header. */
void qcf_luks_slot_encode(const struct qcf_luks_slot *slot, uint8_t *bytes);
uint32_t qcf_luks_slot_offset(uint32_t index);

/* Whether keys of a length can be stored. */
bool qcf_luks_key_len_ok(uint64_t key_len);

/* Bytes of key material of a key length, in whole sectors. */
size_t qcf_luks_material_len(uint32_t key_len);

/*
 * Set stripes, key_sector and payload_sector to the usual layout for key_len.
 */
void qcf_luks_header_lay_out(struct qcf_luks_header *h);

/*
 * Set mode, cipher_mode, ivgen and ivgen_hash (which may be NULL).  False if a
 * name is too long.
 */
bool qcf_luks_header_set_mode(struct qcf_luks_header *h,
                              const char *cipher_mode, const char *ivgen,
                              const char *ivgen_hash);

/* All fields but salts and digest, one a line, into a malloc'ed string; NULL on ENOMEM. */
char *qcf_luks_header_dump(const struct qcf_luks_header *h);

#endif
